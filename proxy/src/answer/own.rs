//! Our own pages, and the pages of refusals: asked for through [`crate::Pages`], bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_LANGUAGE};
use http::{HeaderMap, HeaderValue, Response, request};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::asked_by::AskedBy;
use super::refusal::Refusal;
use crate::gate::Gate;
use crate::line::Decision;
use crate::origin::is_foreign_form;
use crate::pages::{KeepWay, Reference, Refused, Visitor};
use crate::peer::Peer;
use crate::rooms::record::Record;
use crate::rules::Place;
use crate::upload::{Upload, UploadFault};

/// How long the page of a refusal may take, and any page of ours.
const REFUSAL_PAGE: Duration = Duration::from_secs(2);
const OWN_PAGE: Duration = Duration::from_secs(60);
/// How long the body of a request for one may take in all, and how large it may be.
const OWN_TIME: Duration = Duration::from_secs(15);
const OWN_BODY: usize = 64 * 1024;

impl Gate {
    /// Serves one of our own pages.
    pub(crate) async fn own_page(
        &self,
        head: &request::Parts,
        peer: &Peer,
        upload: Option<Upload>,
        record: &mut Record,
    ) -> Response<Bytes> {
        let asker = self.asker(head, record.place());
        let Some(place) = record.place().cloned() else {
            return self.refuse(&asker, head, upload, record, Refusal::Fault).await;
        };
        if is_foreign_form(&head.method, &head.headers, &place, head.uri.path()) {
            return self.refuse(&asker, head, upload, record, Refusal::OtherSite).await;
        }
        let body = match read_body(upload).await {
            Ok(body) => body,
            Err(why) => return self.refuse(&asker, head, None, record, why).await,
        };
        record.note(|line| line.bytes_in = body.len() as u64);
        let mut request = http::Request::new(body);
        *request.method_mut() = head.method.clone();
        if let Some(target) = head.uri.path_and_query() {
            *request.uri_mut() = target.clone().into();
        }
        *request.headers_mut() = head.headers.clone();
        let accept = &place.rules().accept;
        accept.strip.clean(request.headers_mut(), accept.trusted.contains(peer.address()));
        request.headers_mut().insert(http::header::HOST, place.site().authority.clone());
        request.extensions_mut().insert(visitor(&asker, record, &place));
        record.decided(Decision::Own, "");
        match tokio::time::timeout(OWN_PAGE, (self.pages)(request)).await {
            Ok(mut page) => {
                if let Some(Reference(reference)) = page.extensions().get() {
                    record.note(|line| {
                        line.reference = Some(reference.clone());
                        line.is_kept = true;
                    });
                }
                guard_own(page.headers_mut());
                page
            }
            Err(_) => self.refuse(&asker, head, None, record, Refusal::Unproven).await,
        }
    }

    /// Asks for the page that tells a person why. The answer keeps its status and fields.
    pub(super) async fn page_of(
        &self,
        asker: &AskedBy,
        record: &Record,
        place: &Place,
        refused: Refused,
        answer: &mut Response<Bytes>,
    ) {
        let mut request = http::Request::new(Bytes::new());
        if let Ok(uri) = place.own("refused").parse() {
            *request.uri_mut() = uri;
        }
        for (name, value) in [(ACCEPT, &asker.accept), (ACCEPT_LANGUAGE, &asker.language)] {
            if let Some(value) = value {
                request.headers_mut().insert(name, value.clone());
            }
        }
        request.extensions_mut().insert(visitor(asker, record, place));
        request.extensions_mut().insert(refused);
        let Ok(page) = tokio::time::timeout(REFUSAL_PAGE, (self.pages)(request)).await else {
            tracing::warn!("a refusal page took longer than {REFUSAL_PAGE:?}; a few words were sent instead");
            return;
        };
        if page.status().is_server_error() {
            return;
        }
        let (parts, body) = page.into_parts();
        for (name, value) in &parts.headers {
            if !answer.headers().contains_key(name) {
                answer.headers_mut().append(name, value.clone());
            }
        }
        *answer.body_mut() = body;
    }

    /// The address of the login page for a way back that is too long for it: the way is kept at our side.
    pub(super) async fn kept_login(
        &self,
        asker: &AskedBy,
        record: &Record,
        place: &Place,
        way: &str,
    ) -> Option<HeaderValue> {
        let mut request = http::Request::new(Bytes::new());
        *request.uri_mut() = place.own("login").parse().ok()?;
        request.extensions_mut().insert(visitor(asker, record, place));
        request.extensions_mut().insert(KeepWay(way.to_owned()));
        let answer = tokio::time::timeout(REFUSAL_PAGE, (self.pages)(request)).await.ok()?;
        answer.status().is_redirection().then(|| answer.headers().get(http::header::LOCATION).cloned())?
    }
}

fn visitor(asker: &AskedBy, record: &Record, place: &Place) -> Visitor {
    let line = record.line();
    Visitor {
        app: place.app().id,
        client: line.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |line| line.client),
        detail: place.rules().log,
        session: asker.session,
        request_id: line.and_then(|line| Some(line.trace.as_ref()?.id().to_owned())).unwrap_or_default(),
    }
}

/// What a page of ours says unless it says otherwise itself.
fn guard_own(headers: &mut HeaderMap) {
    const DEFAULTS: [(&str, &str); 7] = [
        ("cache-control", "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("cross-origin-opener-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("vary", "Cookie"),
    ];
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The whole body of a request for a page of ours, within its time.
async fn read_body(upload: Option<Upload>) -> Result<Bytes, Refusal> {
    let Some(upload) = upload else { return Ok(Bytes::new()) };
    match tokio::time::timeout(OWN_TIME, Limited::new(upload, OWN_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Ok(Err(error)) => Err(match error.downcast_ref::<UploadFault>() {
            Some(UploadFault::Malformed(why)) => Refusal::from(*why),
            _ => Refusal::BodySlow,
        }),
        Err(_) => Err(Refusal::BodySlow),
    }
}

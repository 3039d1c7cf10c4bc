//! The pages around a refusal: asked for through [`crate::Pages`], bounded in time.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, LOCATION};
use http::{HeaderValue, Response};

use super::asked_by::AskedBy;
use crate::pages::{KeepWay, Pages, Refused, Visitor};
use crate::rooms::record::Record;
use crate::rules::Place;

/// How long a page of a refusal may take.
const REFUSAL_PAGE: Duration = Duration::from_secs(2);

/// Asks for the page that tells a person why. The answer keeps its status and fields.
pub(super) async fn page_of(
    pages: &Pages,
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
    let Ok(page) = tokio::time::timeout(REFUSAL_PAGE, pages(request)).await else {
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
    pages: &Pages,
    asker: &AskedBy,
    record: &Record,
    place: &Place,
    way: &str,
) -> Option<HeaderValue> {
    let mut request = http::Request::new(Bytes::new());
    *request.uri_mut() = place.own("login").parse().ok()?;
    request.extensions_mut().insert(visitor(asker, record, place));
    request.extensions_mut().insert(KeepWay(way.to_owned()));
    let answer = tokio::time::timeout(REFUSAL_PAGE, pages(request)).await.ok()?;
    answer.status().is_redirection().then(|| answer.headers().get(LOCATION).cloned())?
}

/// Who asks for a page.
pub(super) fn visitor(asker: &AskedBy, record: &Record, place: &Place) -> Visitor {
    let line = record.line();
    Visitor {
        app: place.app().id,
        client: line.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |line| line.client),
        detail: place.rules().log,
        session: asker.session,
        request_id: line.and_then(|line| Some(line.trace.as_ref()?.id().to_owned())).unwrap_or_default(),
    }
}

//! The pages around a refusal: asked for through [`crate::Pages`], bounded in time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderValue, Response};
use portcullis_policy::SessionHash;

use super::asked_by::AskedBy;
use crate::pages::{KeepWay, RefusalPage, Visitor, WhoIsIn};
use crate::rooms::identify::Identify;
use crate::rooms::record::Record;
use crate::rules::AppRules;

/// The longest time a page of a refusal may take.
const REFUSAL_PAGE: Duration = Duration::from_secs(2);

/// Asks for the page that tells a person why. The answer keeps its status and fields.
pub(super) async fn page_of(
    visitor: Visitor,
    asker: &AskedBy,
    place: &AppRules,
    refused: RefusalPage,
    answer: &mut Response<Bytes>,
) {
    let mut request = http::Request::new(Bytes::new());
    if let Ok(uri) = place.own_path("refused").parse() {
        *request.uri_mut() = uri;
    }
    for (name, value) in asker.wanted_page() {
        if let Some(value) = value {
            request.headers_mut().insert(name, value.clone());
        }
    }
    request.extensions_mut().insert(visitor);
    request.extensions_mut().insert(refused);
    let Ok(page) = tokio::time::timeout(REFUSAL_PAGE, (place.rules().pages)(request)).await else {
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
pub(super) async fn kept_login(visitor: Visitor, place: &AppRules, way: &str) -> Option<HeaderValue> {
    let mut request = http::Request::new(Bytes::new());
    *request.uri_mut() = place.own_path("login").parse().ok()?;
    request.extensions_mut().insert(visitor);
    request.extensions_mut().insert(KeepWay(way.to_owned()));
    let answer = tokio::time::timeout(REFUSAL_PAGE, (place.rules().pages)(request)).await.ok()?;
    answer.status().is_redirection().then(|| answer.headers().get(LOCATION).cloned())?
}

/// Looks up who is in by a session: Identify is asked when somebody has to know.
fn who_is_in(identify: &Arc<Identify>, session: Option<SessionHash>, place: &AppRules) -> WhoIsIn {
    let Some(hash) = session else { return WhoIsIn::found_by(None) };
    let (identify, place) = (identify.clone(), place.clone());
    WhoIsIn::found_by(Some(Arc::new(move || {
        let (identify, place) = (identify.clone(), place.clone());
        Box::pin(async move { identify.find_person(hash, place.app()).await })
    })))
}

/// Describes who asks for a page.
pub(super) fn describe_visitor(
    identify: &Arc<Identify>,
    asker: &AskedBy,
    record: &Record,
    place: &AppRules,
) -> Visitor {
    let line = record.line();
    Visitor {
        is_from_us: asker.is_from_us,
        kind: asker.kind(),
        who: who_is_in(identify, asker.session, place),
        app: place.app().id,
        client: line.map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |line| line.client),
        detail: place.rules().log,
        session: asker.session,
        request_id: line.and_then(|line| Some(line.trace.as_ref()?.id().to_owned())).unwrap_or_default(),
    }
}

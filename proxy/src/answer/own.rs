//! Our own pages: asked for through [`crate::Pages`], bounded in size and time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Response, request};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::asked_by::AskedBy;
use super::large_bodies::{LargeBodies, LargeBodyTurn};
use super::page::describe_visitor;
use super::refusal::RequestRefusal;
use crate::field_set::FieldSet;
use crate::logged_decision::LoggedDecision;
use crate::origin::is_foreign_form;
use crate::pages::{BodyAhead, NotSignedIn, ReadsBody, Reference};
use crate::peer::Peer;
use crate::rooms::identify::Identify;
use crate::rooms::record::Record;
use crate::rules::AppRules;
use crate::upload::{Upload, UploadFault};

/// The longest time a page of ours may take.
const OWN_PAGE: Duration = Duration::from_secs(60);
/// The longest time the body of a request for one may take in all, and its largest size in bytes.
const OWN_TIME: Duration = Duration::from_secs(15);
const OWN_BODY: usize = 64 * 1024;

/// Serves one of our own pages. The body is taken once it is read.
///
/// # Errors
/// Why it is refused, as a request of another site is, or one whose body is too large or too slow.
pub(crate) async fn serve_own(
    identify: &Arc<Identify>,
    large: &LargeBodies,
    asker: &mut AskedBy,
    head: &request::Parts,
    peer: &Peer,
    upload: &mut Option<Upload>,
    record: &mut Record,
) -> Result<Response<Bytes>, RequestRefusal> {
    let place = record.place().cloned().ok_or(RequestRefusal::Fault)?;
    if is_foreign_form(&head.method, &head.headers, &place, head.uri.path()) {
        return Err(RequestRefusal::OtherSite);
    }
    let mut request = http::Request::new(Bytes::new());
    *request.method_mut() = head.method.clone();
    if let Some(target) = head.uri.path_and_query() {
        *request.uri_mut() = target.clone().into();
    }
    *request.headers_mut() = head.headers.clone();
    let accept = &place.rules().accept;
    let has = FieldSet::of_headers(&head.headers);
    accept.strip.clean_headers(request.headers_mut(), has, peer.is_trusted(&accept.trusted));
    request.headers_mut().insert(http::header::HOST, place.site().authority.clone());
    let visitor = describe_visitor(identify, asker, record, &place);
    let client = visitor.client;
    request.extensions_mut().insert(visitor);
    record.note_decision(LoggedDecision::Own, "");
    let pages = &place.rules().pages;
    let mut limit = OWN_BODY;
    if upload.is_some() && reads_head_first(&place, head) {
        request.extensions_mut().insert(BodyAhead);
        let page = tokio::time::timeout(OWN_PAGE, pages(request.clone()));
        let page = page.await.map_err(|_| RequestRefusal::Unproven)?;
        match page.extensions().get() {
            Some(ReadsBody(most)) => limit = *most,
            None => return Ok(note_reference(page, record)),
        }
        request.extensions_mut().remove::<BodyAhead>();
    }
    let (body, _turn) = read_body(upload.take(), limit, large, client).await?;
    *request.body_mut() = body;
    record.note(|line| line.bytes_in = request.body().len() as u64);
    match tokio::time::timeout(OWN_PAGE, pages(request)).await {
        Ok(page) if page.extensions().get::<NotSignedIn>().is_some() => {
            // What is asked there is for scripts, even where a person has typed it.
            asker.treat_as_program();
            Err(RequestRefusal::Login)
        }
        Ok(page) => Ok(note_reference(page, record)),
        Err(_) => Err(RequestRefusal::Unproven),
    }
}

/// Tells whether the page says by the head alone whether it wants the body.
fn reads_head_first(place: &AppRules, head: &request::Parts) -> bool {
    let page = head.uri.path().strip_prefix(place.own_path("").as_str()).unwrap_or_default();
    page.starts_with("saml/")
}

fn note_reference(page: Response<Bytes>, record: &mut Record) -> Response<Bytes> {
    if let Some(Reference(reference)) = page.extensions().get() {
        record.note(|line| {
            line.reference = Some(reference.clone());
            line.is_kept = true;
        });
    }
    page
}

/// The whole body of a request for a page of ours, within its time. A few may be large at once, so that nobody fills our
/// memory with them; the others are told to come again.
async fn read_body(
    upload: Option<Upload>,
    limit: usize,
    large: &LargeBodies,
    client: IpAddr,
) -> Result<(Bytes, Option<LargeBodyTurn<'_>>), RequestRefusal> {
    let Some(upload) = upload else { return Ok((Bytes::new(), None)) };
    let mut body = std::pin::pin!(Limited::new(upload, limit));
    let reading = async {
        let (mut read, mut turn) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(refuse_body)?.into_data() else { continue };
            if read.len() + piece.len() > OWN_BODY && turn.is_none() {
                turn = Some(large.take_turn(client).await.ok_or(RequestRefusal::Unproven)?);
            }
            read.extend_from_slice(&piece);
        }
        Ok((read.freeze(), turn))
    };
    tokio::time::timeout(OWN_TIME, reading).await.map_err(|_| RequestRefusal::BodySlow)?
}

fn refuse_body(error: Box<dyn std::error::Error + Send + Sync>) -> RequestRefusal {
    if error.is::<LengthLimitError>() {
        return RequestRefusal::TooLarge;
    }
    match error.downcast_ref::<UploadFault>() {
        Some(UploadFault::Malformed(why)) => RequestRefusal::from(*why),
        _ => RequestRefusal::BodySlow,
    }
}

//! Telling the operator: the facts of a refusal into its record, and what is wrong with the application into the log.

use std::time::Duration;

use http::request;
use portcullis_keys::Random;
use portcullis_policy::DenyReason;

use super::detail::{RefusalContext, Trouble};
use super::refusal::RequestRefusal;
use crate::open::Open;
use crate::rooms::record::Record;
use crate::rules::{AppRules, Rules};
use crate::upstream::UpstreamFault;

/// Puts into the record what a refusal was decided by. `idle`: how long a body may pause.
pub(super) fn tell_record(
    record: &mut Record,
    rules: &Rules,
    head: &request::Parts,
    idle: Duration,
    why: RequestRefusal,
    trouble: Option<&Trouble>,
) {
    let place = record.place().cloned();
    let Some(line) = record.line() else { return };
    let seen = RefusalContext { rules, place: place.as_ref(), parts: head, line, idle, trouble };
    let rule =
        matches!(why, RequestRefusal::Denied(DenyReason::Role)).then(|| seen.rule().cloned()).flatten();
    let detail = record.recorder().takes_references().then(|| Box::new(seen.full_detail(why)));
    record.note(|line| {
        line.refused_by = rule;
        line.detail = detail;
    });
}

/// The application broke off an answer that it had begun. The client sees it end; the line of the access log has a
/// number that leads to why.
pub(crate) fn tell_broken(record: &mut Record, open: &Open, idle: Duration, fault: &UpstreamFault) {
    let place = open.place();
    record.recorder().metrics.broken.inc();
    let trouble = Trouble::from_fault(fault, true, open.upstream());
    record.note(|line| line.reference = Some(Random::from_system().draw_reference()));
    let (head, ()) = http::Request::new(()).into_parts();
    tell_record(record, place.rules(), &head, idle, RequestRefusal::Unreachable, Some(&trouble));
    log_trouble(place, record, &trouble, "broke off its answer");
}

/// Tells the log what is wrong with the application.
pub(super) fn log_trouble(place: &AppRules, record: &Record, trouble: &Trouble, what: &str) {
    let Trouble { upstream, cause, limit, .. } = trouble;
    let reference = record.line().and_then(|line| line.reference.as_deref());
    let (app, limit) = (&*place.site().name, limit.as_deref());
    tracing::warn!("ref" = reference, app, upstream, cause, limit, "the application {what}");
}

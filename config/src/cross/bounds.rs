//! Durations and sizes: values that can be written and cannot work.

use std::time::Duration;

use super::findings::Findings;
use crate::document::RootBlock;
use crate::idps::NamedIdp;
use crate::units::{Size, show_duration};

/// Refuses values that are too small or too large to work.
pub(super) fn check_bounds(findings: &mut Findings<'_, '_>, document: &RootBlock) {
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let RootBlock { session, limits, .. } = document;
    let span =
        |findings: &mut Findings<'_, '_>, path: &str, value: Duration, least: Duration, most: Duration| {
            check_between(findings, path, value, least, most, show_duration);
        };
    span(findings, "session.idle", session.idle, SECOND, YEAR);
    span(findings, "session.absolute", session.absolute, SECOND, YEAR);
    if session.idle > session.absolute && findings.has_key("session") {
        let what = "longer than session.absolute, so it never ends a session";
        findings.add_warning(
            "session.idle",
            what,
            format!("Write at most {}", show_duration(session.absolute)),
        );
    }
    if let Some(upstream) = &document.upstream.0 {
        let least = Duration::from_millis(10);
        span(findings, "upstream.connect_timeout", upstream.connect_timeout, least, HOUR);
        span(findings, "upstream.first_byte_timeout", upstream.first_byte_timeout, least, 24 * HOUR);
    }
    span(findings, "limits.head_time", limits.head_time, SECOND, HOUR);
    span(findings, "limits.idle", limits.idle, SECOND, HOUR);
    span(findings, "stop_grace", document.stop_grace, Duration::ZERO, HOUR);
    span(findings, "upgrade_grace", document.upgrade_grace, Duration::ZERO, 7 * 24 * HOUR);
    check_between(findings, "limits.head", limits.head, Size::kib(8), Size::kib(512), |size| {
        size.to_string()
    });
    // Above it more than 256 KiB may go out after a cut (measured: 2.4 times the setting).
    let (least, most) = (Size::kib(16), Size::kib(96));
    check_between(findings, "limits.send_buffer", limits.send_buffer, least, most, |size| size.to_string());
    for NamedIdp { name, idp } in document.idps.0.iter().flat_map(|idps| &idps.0) {
        let skews = [
            ("oidc", idp.oidc.as_ref().map(|oidc| oidc.skew)),
            ("saml", idp.saml.as_ref().map(|saml| saml.skew)),
        ];
        for (protocol, skew) in skews.into_iter().filter_map(|(protocol, skew)| Some((protocol, skew?))) {
            let path = format!("idps.{name}.{protocol}.skew");
            span(findings, &path, skew, Duration::ZERO, Duration::from_secs(300));
        }
    }
}

fn check_between<T: PartialOrd + Copy>(
    findings: &mut Findings<'_, '_>,
    path: &str,
    value: T,
    least: T,
    most: T,
    show: impl Fn(T) -> String,
) {
    if value < least || value > most {
        let what = format!("{} is out of bounds", show(value));
        findings.add_problem(
            path,
            what,
            format!("Write {} at least and {} at most", show(least), show(most)),
        );
    }
}

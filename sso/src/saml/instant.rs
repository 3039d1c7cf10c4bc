//! Moments as SAML writes them, and whether they are past or to come.

use chrono::{DateTime, SecondsFormat};
use portcullis_policy::Timestamp;

use super::shape::refuse_shape;
use super::xml::XmlElement;
use crate::{Class, LoginRefusal};

/// Reads an attribute that is a moment (SAML Core §1.3.3: `xs:dateTime` in UTC, written with a Z).
pub(crate) fn read_instant_of(element: &XmlElement, name: &str) -> Result<Option<Timestamp>, LoginRefusal> {
    let Some(text) = element.attribute(name) else { return Ok(None) };
    match read_instant(text) {
        Some(instant) => Ok(Some(instant)),
        None => Err(refuse_shape(&format!("{name} of {} as 2026-01-31T12:00:00Z", element.local), text)),
    }
}

/// Reads a moment (SAML Core §1.3.3).
pub(crate) fn read_instant(text: &str) -> Option<Timestamp> {
    let is_plain = text.ends_with('Z')
        && text.len() <= 40
        && text.as_bytes().get(10) == Some(&b'T')
        && !text.contains(|c: char| c.is_ascii_whitespace());
    let instant = DateTime::parse_from_rfc3339(text).ok().filter(|_| is_plain)?;
    Some(Timestamp(instant.timestamp_millis()))
}

/// Checks that a moment is not behind us, by more than the clocks may differ.
pub(crate) fn check_not_over(
    what: &str,
    end: Timestamp,
    now: Timestamp,
    skew_ms: i64,
) -> Result<(), LoginRefusal> {
    if now.0.saturating_sub(skew_ms) < end.0 {
        return Ok(());
    }
    let late = now.since_ms(end) / 1000;
    Err(LoginRefusal::new(
        Class::SamlExpired,
        format!("{what} after {} ({} s of skew are allowed)", show_instant(now), skew_ms / 1000),
        format!("{}, {late} s ago", show_instant(end)),
        "The clocks differ, or the response was kept: run NTP at the identity provider and here. `skew` of the identity \
         provider in our configuration is what we allow, 3 minutes and 5 at most.",
    ))
}

/// Checks that a moment is not before us, by more than the clocks may differ.
pub(crate) fn check_begun(
    what: &str,
    begin: Timestamp,
    now: Timestamp,
    skew_ms: i64,
) -> Result<(), LoginRefusal> {
    if begin.0 <= now.0.saturating_add(skew_ms) {
        return Ok(());
    }
    let early = begin.since_ms(now) / 1000;
    Err(LoginRefusal::new(
        Class::SamlNotYetValid,
        format!("{what} not after {} ({} s of skew are allowed)", show_instant(now), skew_ms / 1000),
        format!("{}, in {early} s", show_instant(begin)),
        "The clocks differ: run NTP at the identity provider and here. `skew` of the identity provider in our \
         configuration is what we allow, 3 minutes and 5 at most.",
    ))
}

/// Writes a moment for people.
pub(crate) fn show_instant(instant: Timestamp) -> String {
    DateTime::from_timestamp_millis(instant.0)
        .map_or_else(|| instant.0.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Writes a moment to the second (SAML Core §1.3.3).
pub(crate) fn write_instant(moment: Timestamp) -> String {
    let moment = DateTime::from_timestamp_millis(moment.0).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_to_the_second() {
        assert_eq!(write_instant(Timestamp(1_769_860_800_999)), "2026-01-31T12:00:00Z");
    }

    #[test]
    fn a_moment_is_of_utc_and_to_the_millisecond() {
        assert_eq!(read_instant("2026-01-31T12:00:00Z"), Some(Timestamp(1_769_860_800_000)));
        assert_eq!(read_instant("2026-01-31T12:00:00.1239999Z"), Some(Timestamp(1_769_860_800_123)));
        for wrong in [
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "2026-01-31T12:00:00+01:00",
            "2026-02-30T12:00:00Z",
            "2026-01-31",
            "",
            "Z",
            "2026-01-31T12:00:00.Z",
            "12026-01-31T12:00:00Z",
            "2026-01-31T25:00:00Z",
        ] {
            assert_eq!(read_instant(wrong), None, "{wrong}");
        }
    }
}

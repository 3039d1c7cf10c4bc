//! Moments (RFC 7643 §2.3.5), the last day of the calendar with them: 31 December 9999 is how directories say "never".

use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{DateTime, datetime};

/// A moment, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i128);

/// The beginning of Unix time, in UTC.
const EPOCH: DateTime = datetime(1970, 1, 1, 0, 0, 0, 0);

impl Moment {
    /// Reads a moment in any of the forms that a tolerant reader of RFC 3339 takes.
    pub fn parse(text: &str) -> Option<Self> {
        let read = text.parse::<jiff::Timestamp>().map(|moment| Self(moment.as_nanosecond()));
        read.ok().or_else(|| Self::parse_rfc3339(text))
    }

    /// Reads a moment as RFC 3339 writes it: date, `T`, time, and `Z` or an offset of less than a day.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let has_shape = |form: &str, at: &[u8]| {
            at.len() == form.len()
                && at.iter().zip(form.bytes()).all(|(byte, due)| match due {
                    b'0' => byte.is_ascii_digit(),
                    due => *byte == due,
                })
        };
        let (date_time, rest) = bytes.split_at_checked("0000-00-00T00:00:00".len())?;
        let fraction = match rest {
            [b'.', digits @ ..] => digits.iter().take_while(|byte| byte.is_ascii_digit()).count() + 1,
            _ => 0,
        };
        if !has_shape("0000-00-00T00:00:00", date_time) || fraction == 1 {
            return None;
        }
        let (civil, zone) = text.split_at_checked(date_time.len() + fraction)?;
        let ahead: i64 = match zone.as_bytes() {
            b"Z" => 0,
            [sign, offset @ ..] if has_shape("00:00", offset) => {
                let (hours, minutes) = zone.get(1..)?.split_once(':')?;
                let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
                let seconds = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
                match sign {
                    b'+' => seconds,
                    b'-' => -seconds,
                    _ => return None,
                }
            }
            _ => return None,
        };
        let civil: DateTime = civil.parse().ok()?;
        let since = civil.duration_since(EPOCH) - SignedDuration::from_secs(ahead);
        Some(Self(since.as_nanos()))
    }

    /// Nanoseconds since the beginning of Unix time.
    pub fn as_nanosecond(self) -> i128 {
        self.0
    }
}

impl fmt::Display for Moment {
    /// In UTC; behind the calendar's last moment with the offset that has it there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = SignedDuration::from_nanos_i128(self.0);
        let behind = SignedDuration::from_secs(23 * 3600 + 59 * 60);
        match (jiff::Timestamp::from_nanosecond(self.0), EPOCH.checked_add(since)) {
            (Ok(moment), _) => write!(f, "{moment}"),
            (Err(_), Ok(civil)) => write!(f, "{civil}Z"),
            (Err(_), Err(_)) => write!(f, "{}-23:59", EPOCH.saturating_add(since - behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_told_from_what_is_not() {
        for moment in [
            "2027-01-15T08:00:00Z",
            "2027-01-15T08:00:00.5+01:00",
            "2024-02-29T00:00:00-23:59",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.9999999Z",
            "9999-12-31T23:59:59-12:00",
            "0001-01-01T00:00:00Z",
        ] {
            assert!(Moment::parse_rfc3339(moment).is_some(), "{moment}");
        }
        for wrong in [
            "",
            "2027-01-15",
            "2027-01-15T08:00:00",
            "2027-01-15 08:00:00Z",
            "2027-01-15t08:00:00z",
            "2027-01-15T08:00:00.Z",
            "2027-02-29T08:00:00Z",
            "2027-01-15T08:00:00+0100",
            "2027-01-15T08:00:00+25:00",
            "2027-01-15T08:00:00+24:00",
            "2027-01-15T08:00:00+01:60",
            "2027-01-15T08:00:00+01:00[Europe/Berlin]",
            "+002027-01-15T08:00:00Z",
            "2027-01-15T08:00:00Zé",
            "2027-01-15T08:00:0é",
        ] {
            assert!(Moment::parse_rfc3339(wrong).is_none(), "{wrong}");
        }
        for last in [
            "9999-12-31T23:59:59.9999999Z",
            "9999-12-31T23:59:59-23:59",
            "9999-12-31T12:00:00-12:00",
            "0000-01-01T00:00:00+23:59",
        ] {
            let moment = Moment::parse(last).unwrap();
            assert_eq!(Moment::parse(&moment.to_string()), Some(moment), "{last}: {moment}");
        }
    }

    proptest! {
        /// Where the library can say it too, both say the same.
        #[test]
        fn a_moment_is_that_of_the_library(
            second in -62_135_596_800_i64..253_402_000_000, nanos in 0_i32..1_000_000_000, hours in -23_i64..24, minutes in 0_i64..60,
        ) {
            let moment = jiff::Timestamp::new(second, nanos).unwrap();
            let written = moment.to_string();
            prop_assert_eq!(Moment::parse_rfc3339(&written), Some(Moment(moment.as_nanosecond())));
            let (sign, ahead) = if hours < 0 { ('-', hours * 3600 - minutes * 60) } else { ('+', hours * 3600 + minutes * 60) };
            let there = format!("{}{sign}{:02}:{minutes:02}", written.trim_end_matches('Z'), hours.abs());
            let expected = moment.as_nanosecond() - i128::from(ahead) * 1_000_000_000;
            prop_assert_eq!(Moment::parse_rfc3339(&there), Some(Moment(expected)));
        }

        #[test]
        fn whatever_comes_is_read_or_not(text in "\\PC{0,40}|[0-9TZ:.+-]{0,40}") {
            let _ = Moment::parse(&text);
        }
    }
}

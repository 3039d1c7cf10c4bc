//! The gap between our clock and another machine's, as far as its answer tells (RFC 9110 §6.6.1).
//!
//! A `Date` has whole seconds and is as old as the answer's way, and an answer out of a cache is older by its `Age`: what is
//! told is the least gap that explains it all, so nobody is sent to a clock that is right.

use chrono::DateTime;
use http::header::{AGE, DATE};
use http::{HeaderMap, HeaderName};
use portcullis_policy::Timestamp;

/// Reads the gap in milliseconds: positive where the other clock is ahead of ours. `None` where the answer has no date.
pub fn read_clock_gap(headers: &HeaderMap, sent: Timestamp, received: Timestamp) -> Option<i64> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let said = DateTime::parse_from_rfc2822(text(DATE)?).ok()?.timestamp_millis();
    let age: i64 = text(AGE).and_then(|age| age.trim().parse::<u32>().ok()).unwrap_or_default().into();
    let from = said.saturating_add(age * 1000);
    let to = from.saturating_add(1000);
    Some(if from > received.0 {
        from - received.0
    } else if to < sent.0 {
        to - sent.0
    } else {
        0
    })
}

/// The gap that is nearest to none: an answer may have been kept somewhere and not say so.
pub(crate) fn nearest_gap(gaps: impl IntoIterator<Item = i64>) -> Option<i64> {
    gaps.into_iter().min_by_key(|gap| gap.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn gap(date: &'static str, age: Option<&'static str>, sent: i64, received: i64) -> Option<i64> {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static(date));
        headers.extend(age.map(|age| (AGE, HeaderValue::from_static(age))));
        read_clock_gap(&headers, Timestamp(sent), Timestamp(received))
    }

    #[test]
    fn a_gap_is_the_least_that_explains_the_date() {
        const AT: i64 = 1_780_272_000_000;
        const DATE: &str = "Mon, 01 Jun 2026 00:00:00 GMT";
        assert_eq!(gap(DATE, None, AT, AT + 200), Some(0));
        assert_eq!(gap(DATE, None, AT + 999, AT + 1_400), Some(0), "a date has whole seconds");
        assert_eq!(gap(DATE, None, AT - 3_000, AT + 10), Some(0), "it was long under way");
        assert_eq!(gap(DATE, None, AT - 90_000, AT - 89_000), Some(89_000));
        assert_eq!(gap(DATE, None, AT + 61_000, AT + 62_000), Some(-60_000));
        assert_eq!(gap(DATE, Some("3600"), AT + 3_600_000, AT + 3_600_100), Some(0), "out of a cache");
    }

    #[test]
    fn what_is_no_date_tells_nothing() {
        for date in ["", "yesterday", "Mon, 99 Jun 2026 00:00:00 GMT", "0"] {
            assert_eq!(gap(date, None, 0, 0), None, "{date}");
        }
        assert_eq!(read_clock_gap(&HeaderMap::new(), Timestamp(0), Timestamp(0)), None);
        assert_eq!(
            gap("Mon, 01 Jun 2026 00:00:00 GMT", Some("x"), 1_780_272_000_000, 1_780_272_000_000),
            Some(0)
        );
        assert_eq!(nearest_gap([-7_200_000, 3, 90_000]), Some(3));
    }
}

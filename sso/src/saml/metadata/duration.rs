//! Spans of time as XML writes them (`xs:duration`, XML Schema Part 2 §3.2.6).

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Reads a span in milliseconds, a year as 365 days and a month as 30. A negative one is none.
pub(super) fn read_duration(text: &str) -> Option<i64> {
    let rest = text.strip_prefix('P').filter(|rest| !rest.is_empty() && text.len() <= 40)?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let days = sum_units(days, &[('Y', 365 * DAY), ('M', 30 * DAY), ('D', DAY)])?;
    days.checked_add(sum_units(time, &[('H', 60 * 60 * 1000), ('M', 60 * 1000), ('S', 1000)])?)
}

/// Sums up numbers with their units, each unit at most once and in order. Parts of a second are left out.
fn sum_units(mut text: &str, units: &[(char, i64)]) -> Option<i64> {
    let mut sum = 0_i64;
    for (unit, ms) in units {
        let Some((number, rest)) = text.split_once(*unit) else { continue };
        let whole = match number.split_once('.') {
            Some((whole, part)) if *unit == 'S' && is_number(part) => whole,
            _ => number,
        };
        if !is_number(whole) {
            return None;
        }
        sum = sum.checked_add(whole.parse::<i64>().ok()?.checked_mul(*ms)?)?;
        text = rest;
    }
    text.is_empty().then_some(sum)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_summed_up() {
        assert_eq!(read_duration("PT1H"), Some(3_600_000));
        assert_eq!(read_duration("P1DT2H3M4.5S"), Some(93_784_000));
        assert_eq!(read_duration("P1Y2M"), Some(425 * DAY));
        assert_eq!(read_duration("PT0S"), Some(0));
        for wrong in [
            "",
            "P",
            "PT",
            "P1",
            "1D",
            "-P1D",
            "P1S",
            "PT1D",
            "P1D1Y",
            "PT1.5H",
            "P-1D",
            "P1DT",
            "PT1.S",
            "P 1D",
            "P999999999999999Y",
            "P99999999999999999999D",
        ] {
            assert_eq!(read_duration(wrong), None, "{wrong}");
        }
    }
}

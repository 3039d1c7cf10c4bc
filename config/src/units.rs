//! Durations and sizes: a whole number and a unit, nothing else, so that nobody has to guess the unit of a bare number.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::node::YamlNode;
use crate::read::{FromYaml, read_text};
use crate::report::Report;

/// Ten years: longer is a mistake, and sums of it cannot overflow.
const LONGEST: Duration = Duration::from_secs(10 * 365 * DAY);
const DAY: u64 = 24 * 60 * 60;

impl FromYaml for Duration {
    const WANTED: &'static str = "a duration such as 90s";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        match parse_duration(text) {
            Some(duration) => Some(duration),
            None => report.add_problem(
                node,
                at,
                format!("\"{}\" is not a duration", show_value(text)),
                "Write a whole number and its unit: 500ms, 90s, 15m, 12h or 30d",
            ),
        }
    }
}

/// Reads a duration as the configuration writes it: `500ms`, `90s`, `15m`, `12h` or `30d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(60 * 60)?),
        "d" => Duration::from_secs(number.checked_mul(DAY)?),
        _ => return None,
    };
    (duration <= LONGEST).then_some(duration)
}

/// A duration as the configuration writes it: in the largest unit that leaves no rest.
pub(crate) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if ms > 0 && ms.is_multiple_of(length) {
            return format!("{}{unit}", ms / length);
        }
    }
    format!("{ms}ms")
}

/// A schema for durations, which schemars would describe as serde's pair of numbers.
pub(crate) struct Period;

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(usize);

impl Size {
    pub(crate) const fn kib(count: usize) -> Self {
        Self(count * 1024)
    }

    /// The number of bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes.is_multiple_of(1024 * 1024) => {
                write!(f, "{}MiB", bytes / (1024 * 1024))
            }
            bytes if bytes > 0 && bytes.is_multiple_of(1024) => write!(f, "{}KiB", bytes / 1024),
            bytes => write!(f, "{bytes}B"),
        }
    }
}

impl FromYaml for Size {
    const WANTED: &'static str = "a size such as 64KiB";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        match parse_size(text) {
            Some(size) => Some(size),
            None => report.add_problem(
                node,
                at,
                format!("\"{}\" is not a size", show_value(text)),
                "Write a whole number and its unit: 512B, 64KiB or 1MiB",
            ),
        }
    }
}

fn parse_size(text: &str) -> Option<Size> {
    let (number, unit) = split_unit(text)?;
    let number = usize::try_from(number).ok()?;
    match unit {
        "B" => Some(number),
        "KiB" => number.checked_mul(1024),
        "MiB" => number.checked_mul(1024 * 1024),
        _ => None,
    }
    .map(Size)
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB)$" })
    }
}

/// A share of a whole: 0% to 100%.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u8);

impl FromYaml for Percent {
    const WANTED: &'static str = "a share such as 10%";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        match parse_percent(text) {
            Some(percent) => Some(Self(percent)),
            None => report.add_problem(
                node,
                at,
                format!("\"{}\" is not a share", show_value(text)),
                "Write a whole number from 0 to 100 and its sign: 10%",
            ),
        }
    }
}

/// Reads a share as the configuration writes it: `10%`.
pub fn parse_percent(text: &str) -> Option<u8> {
    let number = text.strip_suffix('%')?;
    let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|percent| is_plain && *percent <= 100)
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(100|[0-9]{1,2})%$" })
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        for (text, ms) in [("500ms", 500), ("90s", 90_000), ("15m", 900_000), ("12h", 43_200_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse_duration("30d"), Some(Duration::from_secs(30 * DAY)));
        for wrong in
            ["", "s", "90", "1.5h", "-1s", "+1s", "1 h", "1h30m", "1w", "4000d", "99999999999999999999s"]
        {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("1MiB", 1_048_576)] {
            assert_eq!(parse_size(text), Some(Size(bytes)), "{text}");
            assert_eq!(Size(bytes).to_string(), text);
        }
        for wrong in ["64", "64KB", "64k", "1GiB", "18446744073709551615MiB", "KiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shares_have_a_number_and_a_sign() {
        for (text, percent) in [("0%", 0), ("10%", 10), ("100%", 100)] {
            assert_eq!(parse_percent(text), Some(percent), "{text}");
        }
        for wrong in ["", "%", "10", "101%", "-1%", "+1%", "1.5%", "10 %", "300%"] {
            assert_eq!(parse_percent(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_shown_duration_reads_the_same(ms in 0_u64..1_000_000_000) {
            let whole = Duration::from_millis(ms);
            proptest::prop_assert_eq!(parse_duration(&show_duration(whole)), Some(whole));
        }

        #[test]
        fn units_never_panic(text in "\\PC{0,24}") {
            let _ = (parse_duration(&text), parse_size(&text));
        }
    }
}

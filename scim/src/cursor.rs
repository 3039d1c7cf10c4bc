//! Cursors (RFC 9865): where a page ended, as text that only this service reads.
//!
//! A cursor holds a place and what was asked, no value of anybody. It never grows old by itself, since nothing is kept for
//! it: a page begins behind the resource that the one before ended with, whatever was made or removed meanwhile.

use crate::error::{ScimError, ScimType};
use crate::schema::ResourceKind;

/// The place behind a resource of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCursor {
    /// The sum of what was asked: a cursor continues the search that it came from and no other.
    pub(crate) search: u64,
    /// The kind of the resource.
    pub kind: ResourceKind,
    /// The place of the resource in the order of creation, as the store counts.
    pub after: i64,
    /// The version it had, where the order goes by a value: with another version it may have another place. Else 0.
    pub version: i64,
}

impl PageCursor {
    /// Writes it down, in characters that need no encoding in a URL (RFC 9865 §2).
    pub fn to_text(self) -> String {
        let kind = match self.kind {
            ResourceKind::User => 'u',
            ResourceKind::Group => 'g',
        };
        format!("{kind}{:x}.{:x}-{:016x}", self.after, self.version, self.search)
    }

    /// Reads a cursor of a search.
    pub(crate) fn parse(text: &str, search: u64) -> Result<Self, ScimError> {
        let refused = |why: &str| ScimError::of_type(ScimType::InvalidCursor, format!("cursor: {why}"));
        let malformed = || refused("it is none of this service; begin again without one");
        let (kind, rest) = match text.split_at_checked(1) {
            Some(("u", rest)) => (ResourceKind::User, rest),
            Some(("g", rest)) => (ResourceKind::Group, rest),
            _ => return Err(malformed()),
        };
        let (place, sum) = rest.split_once('-').ok_or_else(malformed)?;
        let (after, version) = place.split_once('.').ok_or_else(malformed)?;
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| is_hex(text));
        let counted = |text| number(text).and_then(|number| i64::try_from(number).ok()).ok_or_else(malformed);
        let (after, version) = (counted(after)?, counted(version)?);
        match number(sum).filter(|_| sum.len() == 16) {
            Some(sum) if sum == search => Ok(Self { search, kind, after, version }),
            Some(_) => {
                Err(refused("it belongs to another search; repeat the filter and the order it came with"))
            }
            None => Err(malformed()),
        }
    }
}

/// Sums up what is asked (FNV-1a): the same parts, the same number, today and after an upgrade.
pub(crate) fn sum_parts(parts: &[&str]) -> u64 {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_for_this_search_is_read() {
        for (kind, after) in [(ResourceKind::User, 0), (ResourceKind::Group, i64::MAX)] {
            let cursor = PageCursor { search: 7, kind, after, version: after / 2 };
            let text = cursor.to_text();
            assert!(
                text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
                "{text}"
            );
            assert_eq!(PageCursor::parse(&text, 7), Ok(cursor));
            let other = PageCursor::parse(&text, 8).expect_err("another search");
            assert_eq!(other.scim_type(), Some(ScimType::InvalidCursor));
        }
        for wrong in [
            "",
            "u",
            "u-",
            "u1-0000000000000007",
            "u1.1",
            "u1.1-7",
            "x1.1-0000000000000007",
            "u-1.1-0000000000000007",
            "u1.1-000000000000000G",
            "uffffffffffffffff.1-0000000000000007",
            "u1.ffffffffffffffff-0000000000000007",
            "u+1.1-0000000000000007",
            "u1.1-0000000000000007x",
            "\u{e9}1.1-0",
        ] {
            assert!(PageCursor::parse(wrong, 7).is_err(), "{wrong}");
        }
    }
}

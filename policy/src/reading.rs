//! The one reading of a path: what the rules compare, where every backend would read the same.
//!
//! A path that could be read in two ways has none, and is refused before any rule is asked. It is no list of bad
//! spellings: whatever has a reading says the same to a backend that decodes it, decodes it twice, merges slashes,
//! resolves dots, takes `\` for `/` or cuts at `;`; a property holds that (`routes.rs`). What is encoded for good reason
//! (a blank, a letter beyond ASCII) is compared decoded, so a rule is written as people read it.

use std::borrow::Cow;

/// The path with what is encoded in it decoded; `None` where it could be read in two ways (400):
///
/// - `%` that is not followed by two hex digits;
/// - an encoded slash, backslash, percent sign or `;`, an encoded control character;
/// - an encoded letter, digit, `-`, `.`, `_` or `~`, which nobody has to encode (RFC 3986 §2.3);
/// - `\` or `;` as they are, an empty segment before the end, a segment `.` or `..`;
/// - bytes that spell a character of UTF-8 longer than it is, and what a lossy reading has left of bytes (U+FFFD).
pub(crate) fn reading(path: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = path.as_bytes();
    let is_plain = !bytes.iter().any(|byte| *byte == b'%' || !byte.is_ascii());
    let decoded = if is_plain { Cow::Borrowed(bytes) } else { Cow::Owned(decode(path)?) };
    if bytes.iter().any(|byte| matches!(byte, b'\\' | b';')) || has_odd_segment(bytes) {
        return None;
    }
    Some(decoded)
}

fn decode(path: &str) -> Option<Vec<u8>> {
    let mut bytes = path.bytes();
    let mut decoded = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit =
            |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let meant = digit(bytes.next())? << 4 | digit(bytes.next())?;
        if meant.is_ascii_alphanumeric() || meant.is_ascii_control() || b"-._~/\\%;".contains(&meant) {
            return None;
        }
        decoded.push(meant);
    }
    (!is_overlong(&decoded) && !path.contains(char::REPLACEMENT_CHARACTER)).then_some(decoded)
}

/// Whether a lenient reader of UTF-8 could take some of these bytes for ASCII, or for anything shorter: `C0 AF` for a
/// slash is the oldest of them.
fn is_overlong(bytes: &[u8]) -> bool {
    let begins = |byte: u8, next: Option<&u8>| match (byte, next) {
        (0xC0 | 0xC1, _) => true,
        (0xE0, Some(next)) => (0x80..0xA0).contains(next),
        (0xF0, Some(next)) => (0x80..0x90).contains(next),
        (0xF8.., Some(next)) => (0x80..0xC0).contains(next), // five bytes and more are no UTF-8 at all
        _ => false,
    };
    bytes.iter().enumerate().any(|(at, byte)| begins(*byte, bytes.get(at + 1)))
}

/// An empty segment before the end, or one of dots.
fn has_odd_segment(path: &[u8]) -> bool {
    let mut segments = path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        if matches!(segment, b"." | b"..") || (segment.is_empty() && segments.peek().is_some()) {
            return true;
        }
    }
    false
}

/// What a backend sees that decodes a path and then reads it as a URL again: what stands before a `?` or `#`.
pub(crate) fn as_url(reading: &[u8]) -> &[u8] {
    reading.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<String> {
        reading(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn what_must_be_encoded_is_read_decoded() {
        for (path, reads) in [
            ("/", "/"),
            ("/a/", "/a/"),
            ("/a%20b/C%23/What%3F", "/a b/C#/What?"),
            ("/r%C3%A4ume", "/räume"),
            ("/räume", "/räume"),
            ("/%E2%82%AC/%F0%9F%98%80", "/€/😀"),
            ("/...", "/..."),
            ("/a.b/.c", "/a.b/.c"),
            ("/a%2Bb%40c%3A%28%29%22%7B", "/a+b@c:()\"{"),
        ] {
            assert_eq!(read(path).as_deref(), Some(reads), "{path}");
        }
        assert_eq!(
            reading("/caf%E9").as_deref(),
            Some(&b"/caf\xE9"[..]),
            "bytes that are not UTF-8 are bytes"
        );
    }

    #[test]
    fn what_reads_in_two_ways_has_no_reading() {
        for path in [
            "/%61dmin",
            "/%41",
            "/%30",
            "/%2D",
            "/%2e%2e/",
            "/%5F",
            "/%7E",
            "/%2f",
            "/%5C",
            "/%25",
            "/%2561dmin",
            "/%3B",
            "/%00",
            "/%0A",
            "/%1f",
            "/%7F",
            "/%",
            "/%6",
            "/%zz",
            "/%u0061",
            "/a%2",
            "/\\",
            "/a;b",
            "//",
            "/a//b",
            "/./a",
            "/a/..",
            "/a/.",
            "/..",
            "/%C0%AF",
            "/%C1%A1dmin",
            "/%E0%80%AF",
            "/%F0%80%80%AF",
            "/%F8%80%80%80%AF",
            "/\u{FFFD}",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn a_reader_of_urls_stops_at_its_signs() {
        assert_eq!(as_url(b"/wiki?x#y"), b"/wiki");
        assert_eq!(as_url(b"/wiki"), b"/wiki");
    }
}

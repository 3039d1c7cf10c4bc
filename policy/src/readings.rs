//! The readings of a path: every path that an application could take it for.
//!
//! An application may decode a path, decode it twice, take `\` for `/`, cut segments at `;`, merge slashes, resolve dot
//! segments, read it as a URL, in any order, or do none of it. What it does is not known here, so a request is decided
//! under all of them (`routes.rs`), and what is forwarded is the path as it was sent. The rule protected: a path that
//! leads an application to a page falls under the rule of that page, however it is spelt. A property holds that against
//! readers written another way (`tests/fuzz/src/readings.rs`).

use std::borrow::Cow;

/// More readings than this are refused: no honest path has so many.
const MOST: usize = 64;
/// More bytes in all readings are refused, for the time it takes to find and look up each.
const MOST_BYTES: usize = 256 * 1024;

/// A path that nobody should have to read: a broken `%`, a control character, a character of UTF-8 spelt longer than
/// it is, more than 64 readings, or more than 256 KiB of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnreadablePath;

/// Every reading of a path.
#[derive(Debug)]
pub(crate) struct Readings<'a> {
    /// The path as sent. What a path cannot hold as it is (a blank, a letter beyond ASCII) is decoded, since rules are
    /// written as people read them.
    pub(crate) as_sent: Cow<'a, [u8]>,
    /// The others, each once.
    pub(crate) others: Vec<Vec<u8>>,
}

impl<'a> Readings<'a> {
    /// Reads a path; a plain one is its only reading.
    pub(crate) fn of_path(path: &'a str) -> Result<Self, UnreadablePath> {
        if is_plain(path.as_bytes()) {
            return Ok(Self { as_sent: Cow::Borrowed(path.as_bytes()), others: Vec::new() });
        }
        let as_sent = as_sent(path)?;
        let mut found = FoundReadings { bytes: as_sent.len(), readings: vec![as_sent] };
        let mut fresh = 0; // those before it were turned every way
        for decoded in 0..=2 {
            found.add_rewrites(fresh)?;
            let end = found.readings.len();
            if decoded < 2 {
                for at in fresh..end {
                    found.add_decoded(at)?;
                }
            }
            fresh = end;
        }
        let mut found = found.readings.into_iter();
        Ok(Self { as_sent: Cow::Owned(found.next().unwrap_or_default()), others: found.collect() })
    }

    /// All of them, the path as sent first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&*self.as_sent).chain(self.others.iter().map(Vec::as_slice))
    }
}

/// The readings found so far.
struct FoundReadings {
    readings: Vec<Vec<u8>>,
    bytes: usize,
}

impl FoundReadings {
    fn add_reading(&mut self, reading: Vec<u8>) -> Result<(), UnreadablePath> {
        if self.readings.contains(&reading) {
            return Ok(());
        }
        self.bytes += reading.len();
        self.readings.push(reading);
        if self.readings.len() > MOST || self.bytes > MOST_BYTES { Err(UnreadablePath) } else { Ok(()) }
    }

    /// Adds whatever the readings from `fresh` on become without decoding, in every order.
    fn add_rewrites(&mut self, fresh: usize) -> Result<(), UnreadablePath> {
        let mut at = fresh;
        while at < self.readings.len() {
            for turn in REWRITES {
                if let Some(turned) = turn(&self.readings[at]) {
                    self.add_reading(turned)?;
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// Adds what one reading says decoded: as a whole, and segment by segment.
    fn add_decoded(&mut self, at: usize) -> Result<(), UnreadablePath> {
        if !self.readings[at].contains(&b'%') {
            return Ok(());
        }
        let whole = decode_escapes(&self.readings[at], |_| true);
        if whole.iter().any(u8::is_ascii_control) || is_overlong(&whole) {
            return Err(UnreadablePath);
        }
        let has_more_slashes =
            |&slash: &u8| count_byte(&whole, slash) > count_byte(&self.readings[at], slash);
        if ![b'/', b'\\'].iter().any(has_more_slashes) {
            return self.add_reading(whole);
        }
        // Routers that split a path first and decode each segment then take an encoded slash for a character.
        let by_segment = decode_escapes(&self.readings[at], |meant| !matches!(meant, b'/' | b'\\'));
        self.add_reading(whole)?;
        self.add_reading(by_segment)
    }
}

fn count_byte(bytes: &[u8], wanted: u8) -> usize {
    bytes.iter().filter(|byte| **byte == wanted).count()
}

/// One step; `None` where it changes nothing.
type PathRewrite = fn(&[u8]) -> Option<Vec<u8>>;

/// The rewrites that an application may apply to a path, in any order.
const REWRITES: [PathRewrite; 6] =
    [turn_backslashes, without_parameters, merge_slashes, resolve_dots, without_authority, before_its_query];

/// With `\` as `/`.
fn turn_backslashes(path: &[u8]) -> Option<Vec<u8>> {
    let slashed = || path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
    path.contains(&b'\\').then(slashed)
}

/// With each segment cut at its first `;`.
fn without_parameters(path: &[u8]) -> Option<Vec<u8>> {
    path.contains(&b';').then(|| {
        let mut cuts = false;
        let mut kept = path.to_vec();
        kept.retain(|byte| {
            cuts = *byte != b'/' && (cuts || *byte == b';');
            !cuts
        });
        kept
    })
}

/// With repeated slashes merged.
fn merge_slashes(path: &[u8]) -> Option<Vec<u8>> {
    path.windows(2).any(|two| two == b"//").then(|| {
        let mut merged = path.to_vec();
        merged.dedup_by(|byte, before| (*byte, *before) == (b'/', b'/'));
        merged
    })
}

/// With dot segments resolved (RFC 3986 §5.2.4).
fn resolve_dots(path: &[u8]) -> Option<Vec<u8>> {
    let segments = || path.strip_prefix(b"/").unwrap_or(path).split(|byte| *byte == b'/');
    if !segments().any(|segment| matches!(segment, b"." | b"..")) {
        return None;
    }
    let (mut kept, mut ends_open) = (Vec::new(), false);
    for segment in segments() {
        ends_open = matches!(segment, b"." | b"..");
        match segment {
            b"." => {}
            b".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    if ends_open {
        kept.push(b"");
    }
    Some([b"/", &kept.join(&b'/')[..]].concat())
}

/// Leaves what stands behind a host, where a path that begins with two slashes is read as one (RFC 3986 §4.2).
fn without_authority(path: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(b"//")?;
    let host = rest.iter().position(|byte| *byte != b'/')?;
    let end = rest[host..].iter().position(|byte| *byte == b'/');
    Some(end.map_or_else(|| b"/".to_vec(), |end| rest[host + end..].to_vec()))
}

/// Leaves what stands before a `?` or `#`, where a decoded path is read as a URL again.
fn before_its_query(path: &[u8]) -> Option<Vec<u8>> {
    path.iter().position(|byte| matches!(byte, b'?' | b'#')).map(|end| path[..end].to_vec())
}

/// The path as sent, with what it cannot hold as it is decoded (RFC 3986 §3.3).
fn as_sent(path: &str) -> Result<Vec<u8>, UnreadablePath> {
    let bytes = path.as_bytes();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        rest = &rest[at + 1..];
        read_escape(rest).ok_or(UnreadablePath)?;
    }
    // U+FFFD is what a lossy reader has left of bytes that it could not read.
    if bytes.iter().any(u8::is_ascii_control) || path.contains(char::REPLACEMENT_CHARACTER) {
        return Err(UnreadablePath);
    }
    let as_sent = decode_escapes(bytes, |meant| !meant.is_ascii() || b" \"<>^`{|}".contains(&meant));
    if is_overlong(&as_sent) { Err(UnreadablePath) } else { Ok(as_sent) }
}

/// Decodes what `takes` says; what is no escape stays as it is.
fn decode_escapes(path: &[u8], takes: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, behind)) = rest.split_first() {
        let meant = if *byte == b'%' { read_escape(behind).filter(|meant| takes(*meant)) } else { None };
        decoded.push(meant.unwrap_or(*byte));
        rest = if meant.is_some() { &behind[2..] } else { behind };
    }
    decoded
}

/// The byte that the two digits behind a `%` mean.
fn read_escape(behind: &[u8]) -> Option<u8> {
    let digit =
        |at: usize| char::from(*behind.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(0)? << 4 | digit(1)?)
}

/// Tells whether a lenient reader of UTF-8 could take some of these bytes for ASCII, or for anything shorter: `C0 AF`
/// for a slash is the oldest of them.
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

/// Tells whether a path has one reading only: nothing encoded or beyond ASCII, no `\`, `;`, `//` or dot segment.
fn is_plain(path: &[u8]) -> bool {
    let is_odd = |rest: &[u8]| {
        matches!(rest, [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
    };
    let mut rest = path;
    while let Some(at) = rest.iter().position(|byte| !is_unsuspicious(*byte)) {
        let (byte, behind) = (rest[at], &rest[at + 1..]);
        if byte != b'/' || is_odd(behind) {
            return false;
        }
        rest = behind;
    }
    true
}

/// Tells whether a byte means itself wherever it stands in a path. A table: every byte of every request is asked.
fn is_unsuspicious(byte: u8) -> bool {
    static UNSUSPICIOUS: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = b' ';
        while byte < 0x7f {
            table[byte as usize] = !matches!(byte, b'/' | b'%' | b'\\' | b';' | b'?' | b'#');
            byte += 1;
        }
        table
    };
    UNSUSPICIOUS[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn read(path: &str) -> Option<Vec<String>> {
        let readings = Readings::of_path(path).ok()?;
        Some(readings.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect())
    }

    #[test]
    fn a_plain_path_is_its_only_reading() {
        for path in ["/", "/a/", "/a.b/.c", "/...", "/a/..b/.c./d..", "/a+b@c:()!$&'*,=~-_"] {
            assert!(matches!(Readings::of_path(path).unwrap().as_sent, Cow::Borrowed(_)), "{path}");
            assert_eq!(read(path).unwrap(), [path]);
        }
    }

    #[test]
    fn what_must_be_encoded_is_read_decoded() {
        for (path, reads) in [
            ("/a%20b", "/a b"),
            ("/r%C3%A4ume", "/räume"),
            ("/räume", "/räume"),
            ("/%E2%82%AC/%F0%9F%98%80", "/€/😀"),
            ("/%22%7B%7c%7D", "/\"{|}"),
        ] {
            assert_eq!(read(path).unwrap(), [reads], "{path}");
        }
        assert_eq!(
            *Readings::of_path("/caf%E9").unwrap().as_sent,
            *b"/caf\xE9",
            "bytes that are not UTF-8 are bytes"
        );
    }

    #[test]
    fn every_other_reading_is_there() {
        for (path, others) in [
            ("/%61dmin", &["/admin"][..]),
            ("/a%2Fb", &["/a/b"]),
            ("/%61%2Fb", &["/a/b", "/a%2Fb"]),
            ("/%2561", &["/%61", "/a"]),
            ("/100%25", &["/100%"]),
            ("/%2561%25", &["/%61%", "/a%"]),
            ("/a;x=1/b", &["/a/b"]),
            ("/a%3Bx", &["/a;x", "/a"]),
            ("/a\\b", &["/a/b"]),
            ("/a//b", &["/a/b"]),
            ("/a/../b", &["/b"]),
            ("/a/./b", &["/a/b"]),
            ("/a/..", &["/"]),
            ("/a/b/.", &["/a/b/"]),
            ("/../a", &["/a"]),
            ("/a%3Fb", &["/a?b", "/a"]),
            ("/a%23b", &["/a#b", "/a"]),
            ("//a/b", &["/a/b", "/b"]),
            ("///a/b", &["/a/b", "/b"]),
            ("//a", &["/a", "/"]),
            ("/a/..;/b", &["/a/../b", "/b"]),
            ("/x/%2e%2e/a", &["/x/../a", "/a"]),
            ("/%2E%2E%5Ca", &["/..\\a", "/..%5Ca", "/../a", "/a"]),
        ] {
            let found = read(path).unwrap_or_else(|| panic!("{path} is read"));
            let found: BTreeSet<&str> = found[1..].iter().map(String::as_str).collect();
            assert_eq!(found, others.iter().copied().collect(), "{path}");
        }
        // Both ways to resolve what is no directory of its own.
        let both = read("/a//../b").unwrap();
        assert!(both.contains(&"/a/b".into()) && both.contains(&"/b".into()), "{both:?}");
    }

    #[test]
    fn what_nobody_should_have_to_read_is_refused() {
        for path in [
            "/%00",
            "/%0A",
            "/%1f",
            "/%7F",
            "/%",
            "/%6",
            "/%zz",
            "/%u0061",
            "/a%2",
            "/%C0%AF",
            "/%C1%A1dmin",
            "/%E0%80%AF",
            "/%F0%80%80%AF",
            "/%F8%80%80%80%AF",
            "/\u{FFFD}",
            "/%2500",
            "/%25C0%25AF",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn at_most_256_kib_of_readings() {
        let of = |length: usize| {
            read(&format!("/{}%2f..%2561\\b;c//d", "a".repeat(length))).map(|found| found.len())
        };
        assert_eq!(of(4000), of(1));
        assert!(of(1).unwrap() * 16_000 > MOST_BYTES);
        assert_eq!(of(16_000), None);
        let long = format!("/{}%2F%25;b", "a".repeat(16_000));
        assert!(read(&long).is_some(), "a long path of a few readings is read");
    }

    #[test]
    fn at_most_64_readings() {
        assert_eq!(read("//a;b\\c/../%2F/%252F;/.//%5c%3F/..//d"), None);
        let honest = [
            "/api/projects/group%2Fproject/issues",
            "/proxy/https%3A%2F%2Fhost%2Fa%3Fb%3Dc%26d%3D%2525%23e",
            "/shop/cart;jsessionid=0123/../item;v=1.1",
            "/files/100%25%20of%20it;x//y",
            "//web/2020/https://example.com/a;b",
        ];
        for path in honest {
            let found = read(path).unwrap_or_else(|| panic!("{path} is read"));
            assert!(found.len() <= 32, "{path}: {}", found.len());
        }
    }

    proptest::proptest! {
        /// A path that is called plain is one that nothing turns into another.
        #[test]
        fn a_plain_path_stays_as_it_is(path in "/[a./%;\\\\ü?#2e-]{0,8}") {
            if is_plain(path.as_bytes()) {
                proptest::prop_assert!(REWRITES.iter().all(|turn| turn(path.as_bytes()).is_none()));
                proptest::prop_assert_eq!(as_sent(&path).unwrap(), path.as_bytes());
            }
        }
    }
}

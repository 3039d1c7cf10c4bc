//! The id of a request, for whoever follows it through several programs: `X-Request-Id` and `traceparent`
//! (W3C Trace Context), taken from trusted proxies or made here.
//!
//! Ids are no secrets, only unlikely to be equal; they come from a fast generator of each thread, not from the
//! system's.

use std::cell::Cell;
use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_keys::Random;

use crate::told::Told;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The ids that a request is followed by.
#[derive(Clone, Debug)]
pub struct Trace {
    parent: Parent,
    /// The id that a trusted proxy gave the request.
    request: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
enum Parent {
    /// Made here: both fields as lines, of which the ids are pieces.
    Made([u8; LINES.len()]),
    Said([u8; 32], HeaderValue),
}

/// The two fields as they are written where both ids are made here. The first is a piece of the second.
const LINES: [u8; 118] = *b"x-request-id: 00000000000000000000000000000000\r\n\
    traceparent: 00-00000000000000000000000000000000-0000000000000000-00\r\n";
/// The pieces of [`LINES`]: the id of the request; the second field's value, in it that id again, and the id of the span.
const REQUEST: Range<usize> = 14..46;
const PARENT: Range<usize> = 61..116;
const ID: Range<usize> = 64..96;
const SPAN: Range<usize> = 97..113;

impl Trace {
    /// Takes what a trusted proxy said, or makes what is missing.
    pub fn from_headers(headers: &HeaderMap, from_trusted_proxy: bool) -> Self {
        if !from_trusted_proxy {
            return Self { parent: draw_parent(), request: None };
        }
        let parent = headers.get(TRACEPARENT).and_then(|parent| {
            let id = trace_id(parent.as_bytes())?;
            Some(Parent::Said(id, parent.clone()))
        });
        let request = headers.get(X_REQUEST_ID).filter(|value| is_plain(value.as_bytes()));
        Self { parent: parent.unwrap_or_else(draw_parent), request: request.cloned() }
    }

    /// The trace id: 32 hex digits.
    pub fn id(&self) -> &str {
        let id = match &self.parent {
            Parent::Made(lines) => &lines[REQUEST],
            Parent::Said(id, _) => id,
        };
        std::str::from_utf8(id).unwrap_or_default()
    }

    /// Says `X-Request-Id` and `traceparent`. Made here, the first is a piece of the second.
    pub(crate) fn tell(&self, told: &mut Told) {
        let (id, parent) = match (&self.parent, &self.request) {
            (Parent::Made(lines), None) => return told.add_lines(lines),
            (Parent::Made(lines), Some(request)) => (request.as_bytes(), &lines[PARENT]),
            (Parent::Said(id, parent), None) => (&id[..], parent.as_bytes()),
            (Parent::Said(_, parent), Some(request)) => (request.as_bytes(), parent.as_bytes()),
        };
        for part in [&b"x-request-id: "[..], id, b"\r\ntraceparent: ", parent, b"\r\n"] {
            told.add_lines(part);
        }
    }
}

fn draw_parent() -> Parent {
    let mut lines = LINES;
    write_hex(&mut lines[REQUEST.start..REQUEST.start + 16], draw_number());
    write_hex(&mut lines[REQUEST.start + 16..REQUEST.end], draw_number());
    lines.copy_within(REQUEST, ID.start);
    write_hex(&mut lines[SPAN], draw_number());
    Parent::Made(lines)
}

/// The trace id of a `traceparent`: version, 16 bytes that are not all zero, 8 bytes that are not all zero, flags.
fn trace_id(parent: &[u8]) -> Option<[u8; 32]> {
    let hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &[u8]| hex(part) && part.iter().any(|byte| *byte != b'0');
    let (version, rest) = (parent.get(..2)?, parent.get(2..55)?);
    let (id, span, flags) = (&rest[1..33], &rest[34..50], &rest[51..53]);
    let dashes = [rest[0], rest[33], rest[50]] == *b"---";
    // A later version may add fields; this one has none.
    let length = if version == b"00" { parent.len() == 55 } else { parent.len() == 55 || parent[55] == b'-' };
    (dashes && hex(version) && version != b"ff" && some(id) && some(span) && hex(flags) && length)
        .then(|| id.try_into().ok())?
}

fn is_plain(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= 128 && text.iter().all(u8::is_ascii_graphic)
}

fn write_hex(out: &mut [u8], number: u64) {
    let (high, low) = out.split_at_mut(8);
    high.copy_from_slice(&hex_digits((number >> 32) as u32));
    low.copy_from_slice(&hex_digits(number as u32));
}

/// The eight digits of a number, all made at once: a byte for each nibble, and what a digit or a letter lacks is added.
fn hex_digits(number: u32) -> [u8; 8] {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    let mut nibbles = u64::from(number);
    nibbles = (nibbles | (nibbles << 16)) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | (nibbles << 8)) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | (nibbles << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((nibbles + EACH * 6) >> 4) & EACH;
    (nibbles + EACH * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// The next number of this thread's generator (splitmix64). Never zero, which Trace Context forbids.
fn draw_number() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(u64::from_be_bytes(Random::from_system().draw_bytes()));
    }
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).max(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn trace(fields: &[(HeaderName, &'static str)], trusted: bool) -> Trace {
        let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        Trace::from_headers(&fields.collect(), trusted)
    }

    #[test]
    fn digits_are_those_of_the_number() {
        let numbers = [0, 1, 9, 10, 15, 16, 0x9a09_a9f0, 0x0123_4567, 0x89ab_cdef, u32::MAX];
        for number in numbers.into_iter().chain((0..1000).map(|_| draw_number() as u32)) {
            assert_eq!(hex_digits(number), *format!("{number:08x}").as_bytes(), "{number}");
        }
        let mut digits = [0; 16];
        write_hex(&mut digits, 0x0123_4567_89ab_cdef);
        assert_eq!(&digits, b"0123456789abcdef");
    }

    fn told(trace: &Trace) -> (HeaderValue, HeaderValue) {
        let mut told = Told::default();
        trace.tell(&mut told);
        let fields = told.fields();
        assert_eq!(fields.len(), 2);
        (fields[X_REQUEST_ID].clone(), fields[TRACEPARENT].clone())
    }

    #[test]
    fn a_trusted_proxy_is_followed_and_nobody_else() {
        let said = [(TRACEPARENT, PARENT), (X_REQUEST_ID, "abc-1")];
        let followed = trace(&said, true);
        assert_eq!(followed.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let (request, parent) = told(&followed);
        assert_eq!((request, parent), (HeaderValue::from_static("abc-1"), HeaderValue::from_static(PARENT)));
        let made = trace(&said, false);
        assert_ne!(made.id(), followed.id());
        let (request, parent) = told(&made);
        assert_eq!(request, made.id());
        assert_eq!(trace_id(parent.as_bytes()).unwrap(), made.id().as_bytes());
        assert_ne!(trace(&[], true).id(), trace(&[], true).id());
        let unnamed = trace(&said[..1], true);
        assert_eq!(told(&unnamed).0, unnamed.id());
    }

    #[test]
    fn malformed_ids_are_replaced() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(wrong.as_bytes()), None, "{wrong}");
        }
        assert!(trace_id(b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
        let blank = trace(&[(X_REQUEST_ID, "two words")], true);
        assert_eq!(told(&blank).0, blank.id());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(0u8..=255, 0..70)) {
            let _ = trace_id(&bytes);
        }
    }
}

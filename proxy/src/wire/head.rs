//! The head of a request, line by line: the request line, the fields, and what a whole head must have said.

use memchr::memchr;

use super::{Bounds, HeadSeen, Malformed};

/// The head whose lines are being read.
#[derive(Debug, Default)]
pub(super) struct HeadBegun {
    pub(super) seen: HeadSeen,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    old: bool,
    pub(super) upgrade: bool,
    host: Option<Box<[u8]>>,
    authority: Option<Box<[u8]>>,
}

impl HeadBegun {
    /// Reads the request line (RFC 9112 §3).
    pub(super) fn request_line(&mut self, line: &[u8], bounds: &Bounds) -> Result<(), Malformed> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Malformed::RequestLine);
        };
        if method.is_empty() || !method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-') {
            return Err(Malformed::Method);
        }
        if target.len() > bounds.target {
            return Err(Malformed::TargetTooLong);
        }
        self.seen.target = target.len();
        self.authority = self::parse_target(method, target)?;
        match version {
            b"HTTP/1.1" => {}
            b"HTTP/1.0" => self.old = true,
            _ => return Err(Malformed::Version),
        }
        Ok(())
    }

    /// Takes note of a field that frames the request, names its host or asks for another protocol.
    pub(super) fn read_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let is_second = self.host.replace(value.into()).is_some();
                return if is_second || !is_host(value) { Err(Malformed::Host) } else { Ok(()) };
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let is_second = self.length.replace(parse_length(value)?).is_some();
                return match is_second {
                    true => Err(Malformed::Length),
                    false => self.is_framed_one_way(),
                };
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || self.old || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Malformed::Coding);
                }
                self.chunked = true;
                return self.is_framed_one_way();
            }
            _ => {}
        }
        Ok(())
    }

    fn is_framed_one_way(&self) -> Result<(), Malformed> {
        if self.chunked && self.length.is_some() { Err(Malformed::LengthAndCoding) } else { Ok(()) }
    }

    /// Says what a head lacks at its end.
    pub(super) fn is_whole(&self) -> Result<(), Malformed> {
        match (&self.host, &self.authority) {
            (None, _) if !self.old => Err(Malformed::Host),
            (None, Some(_)) => Err(Malformed::OtherHost),
            (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
                Err(Malformed::OtherHost)
            }
            _ => Ok(()),
        }
    }
}

/// Name and value of a field's line, the value without blanks around it (RFC 9112 §5).
pub(super) fn parse_field(line: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let colon = memchr(b':', line).ok_or(Malformed::FieldName)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_in_class(*byte, NAME)) {
        return Err(Malformed::FieldName); // a blank before the colon and a folded line among them
    }
    if !is_value(value) {
        return Err(Malformed::FieldValue);
    }
    Ok((name, value.trim_ascii()))
}

/// Name, value and length of the field that these bytes begin with, where its line is there whole and nothing is wrong with
/// it: the common case, in one pass. Whatever else it may be is [`parse_field`]'s to say, of the line alone.
pub(super) fn parse_whole_field(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let (name, rest) = bytes.split_at(name_length(bytes));
    let rest = rest.strip_prefix(b":").filter(|_| !name.is_empty())?;
    let (value, end) = rest.split_at(value_length(rest));
    end.starts_with(b"\r\n").then(|| (name, value.trim_ascii(), name.len() + 1 + value.len() + 2))
}

/// Reads a plain decimal number (RFC 9110 §8.6). A list of equal ones is none.
fn parse_length(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Malformed::Length);
    }
    Ok(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// Looks at a target (RFC 9112 §3.2): a path, or one with the host before it, which is what it answers.
pub(super) fn parse_target(method: &[u8], target: &[u8]) -> Result<Option<Box<[u8]>>, Malformed> {
    let (path, authority) = match target {
        [b'/', ..] => (target, None),
        b"*" if method == b"OPTIONS" => return Ok(None),
        // CONNECT names a host and a port; it is refused as a method, wherever it goes.
        _ if method == b"CONNECT" && is_host(target) => return Ok(None),
        _ => {
            let rest = [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
                let (start, rest) = target.split_at_checked(scheme.len())?;
                start.eq_ignore_ascii_case(scheme).then_some(rest)
            });
            let rest = rest.ok_or(Malformed::Target)?;
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            if !is_host(authority) {
                return Err(Malformed::Target);
            }
            (path, Some(authority.into()))
        }
    };
    let (path, query) = path.split_at(memchr(b'?', path).unwrap_or(path.len()));
    let fits = path.iter().all(|byte| is_in_class(*byte, PATH))
        && query.iter().all(|byte| is_in_class(*byte, QUERY));
    if fits { Ok(authority) } else { Err(Malformed::Target) }
}

/// Tells whether this is a host with or without a port, written in one way: no user, no list, no escapes.
fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value {
        [b'[', ..] => match memchr(b']', value) {
            Some(end) => value.split_at(end + 1),
            None => return false,
        },
        _ => value.split_at(memchr(b':', value).unwrap_or(value.len())),
    };
    let in_brackets = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    let host_fits = match in_brackets {
        Some(address) => {
            !address.is_empty() && address.iter().all(|b| b.is_ascii_hexdigit() || b".:".contains(b))
        }
        None => {
            !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte))
        }
    };
    let port_fits = match port {
        [] => true,
        [b':', digits @ ..] => (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_fits && port_fits
}

const NAME: u8 = 1;
const VALUE: u8 = 2;
const PATH: u8 = 4;
const QUERY: u8 = 8;

/// The places in which each byte may stand.
static CLASSES: [u8; 256] = build_classes();

/// Tells whether a value has visible characters, blanks, tabs and bytes beyond ASCII alone (RFC 9110 §5.5).
fn is_value(value: &[u8]) -> bool {
    value_length(value) == value.len()
}

/// Eight times the byte 1, and eight times the highest bit of a byte.
const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);

/// Counts the bytes at the beginning that a value may have. Most bytes of a head are values, so eight are looked at
/// together.
fn value_length(bytes: &[u8]) -> usize {
    length_of_class(bytes, VALUE, |word| {
        let low = word & !HIGH; // no sum of two bytes reaches the next one
        let control = !(low + ONES * (0x80 - 0x20));
        let delete = low + ONES;
        (control | delete) & !word & HIGH
    })
}

/// Counts the bytes at the beginning that a name may have. Most are letters and dashes.
fn name_length(bytes: &[u8]) -> usize {
    length_of_class(bytes, NAME, |word| {
        let low = (word | (ONES * 0x20)) & !HIGH;
        let letter = (low + ONES * (0x80 - 0x61)) & !(low + ONES * (0x80 - 0x7b));
        let dash = !(((word & !HIGH) ^ (ONES * 0x2d)) + ONES * 0x7f);
        !((letter | dash) & !word) & HIGH
    })
}

/// Counts the bytes at the beginning that are of a class. `doubtful` marks, of eight bytes, those that it does not know to be
/// of the class by their highest bit: each of them is looked up.
fn length_of_class(bytes: &[u8], class: u8, doubtful: impl Fn(u64) -> u64) -> usize {
    let (pieces, rest) = bytes.as_chunks::<8>();
    for (at, piece) in pieces.iter().enumerate() {
        let mut doubts = doubtful(u64::from_le_bytes(*piece));
        while doubts != 0 {
            let place = (doubts.trailing_zeros() / 8) as usize;
            if !is_in_class(piece[place], class) {
                return at * 8 + place;
            }
            doubts &= doubts - 1;
        }
    }
    let outside = rest.iter().position(|byte| !is_in_class(*byte, class));
    bytes.len() - rest.len() + outside.unwrap_or(rest.len())
}

fn is_in_class(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

const fn build_classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let mut class = 0;
        // RFC 9110 §5.6.2
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            class |= NAME;
        }
        // RFC 9110 §5.5: visible, blank, tab, and what is beyond ASCII
        if byte == b'\t' || byte == b' ' || (byte > b' ' && byte != 0x7f) {
            class |= VALUE;
        }
        // RFC 3986 §3.3, and what browsers and command lines send as it is; the URI type can carry it all.
        if matches!(byte, b'!' | b'"' | b'$'..=b';' | b'=' | b'@'..=b'_' | b'a'..=b'~') {
            class |= PATH;
        }
        // RFC 3986 §3.4, and what browsers and command lines send as it is.
        if matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'~') {
            class |= QUERY;
        }
        classes[at] = class;
        at += 1;
    }
    classes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_byte_is_seen_wherever_it_stands() {
        for byte in 0..=255_u8 {
            for at in 0..24 {
                let mut value = *b"a visible value of 24 b.";
                value[at] = byte;
                assert_eq!(is_value(&value), is_in_class(byte, VALUE), "{byte:#x} at {at}");
                let mut name = *b"x-A-name-of-24-letters-a";
                name[at] = byte;
                let end = if is_in_class(byte, NAME) { 24 } else { at };
                assert_eq!(name_length(&name), end, "{byte:#x} at {at}");
            }
        }
    }

    proptest! {
        /// The quick road takes what the line alone is read as, and nothing else.
        #[test]
        fn a_whole_field_is_read_as_its_line(
            bytes in prop::collection::vec(prop::sample::select(&b"aZ-: \t\r\n\0\x1f\x7f\xff\"_;x"[..]), 0..40),
            begins_well: bool,
            ends_well: bool,
        ) {
            let (start, end) = (if begins_well { &b"x-a:"[..] } else { b"" }, if ends_well { &b"\r\n"[..] } else { b"" });
            let bytes = [start, &bytes, end].concat();
            let line = memchr(b'\n', &bytes).map(|end| &bytes[..end]);
            let alone = line.and_then(|line| line.strip_suffix(b"\r")).and_then(|line| parse_field(line).ok());
            let whole = parse_whole_field(&bytes);
            prop_assert_eq!(whole.map(|(name, value, _)| (name, value)), alone);
            prop_assert!(whole.is_none_or(|(_, _, length)| length == line.unwrap_or_default().len() + 1));
        }

        /// Looked at together, bytes are judged as each of them is.
        #[test]
        fn together_is_as_each(value in prop::collection::vec(prop_oneof![any::<u8>(), 0x20_u8..0x7f, Just(0x7f), 0_u8..0x21], 0..40)) {
            prop_assert_eq!(is_value(&value), value.iter().all(|byte| is_in_class(*byte, VALUE)));
            let outside = value.iter().position(|byte| !is_in_class(*byte, NAME));
            prop_assert_eq!(name_length(&value), outside.unwrap_or(value.len()));
        }
    }
}

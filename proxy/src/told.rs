//! Told: the fields in which Portcullis itself speaks to an application, as they are written: who asks, and the way the
//! request came.
//!
//! They are lines and no entries of a map. Most of them are the same for every request of a person on a socket, so they
//! are prepared there, and a request copies text; putting eleven fields into a map, and taking them out again, costs as
//! much as all rooms up to the decision. Nothing of a client stands in them but what a trusted proxy said of its address.
//! `upstream/heard.rs` sets them behind the request line, and the names that are written here are stripped from whatever a
//! client sent (`strip.rs`).

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_policy::HeaderCase;

/// The fields that are ours to say, in lines that end with CR LF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told(Vec<u8>);

/// The bytes of an ordinary person's, on an ordinary way.
const USUAL: usize = 768;

impl Told {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(USUAL))
    }

    /// Adds lines that were prepared.
    pub(crate) fn add_lines(&mut self, lines: &[u8]) {
        self.0.extend_from_slice(lines);
    }

    /// Adds what was told elsewhere.
    pub(crate) fn add_told(&mut self, other: &Self) {
        self.add_lines(&other.0);
    }

    /// Adds one field.
    pub(crate) fn add_field(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.0.extend_from_slice(name.as_str().as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value.as_bytes());
        self.0.extend_from_slice(b"\r\n");
    }

    /// The lines as an application reads names.
    pub(crate) fn write_lines(&self, case: HeaderCase, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&self.0);
        if case == HeaderCase::Title {
            title_names(&mut out[from..]);
        }
    }

    /// The fields one by one, as a server behind us will find them.
    pub fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for line in self.0.split(|byte| *byte == b'\n') {
            let mut parts = line.splitn(2, |byte| *byte == b':');
            let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
            let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
            if let Some((name, value)) = name.zip(value) {
                fields.append(name, value);
            }
        }
        fields
    }
}

/// Writes the first letter of each word of the names large, as the library does with its own.
fn title_names(lines: &mut [u8]) {
    let (mut is_name, mut begins) = (true, true);
    for byte in lines {
        match *byte {
            b'\n' => (is_name, begins) = (true, true),
            b':' => is_name = false,
            _ if is_name => {
                if begins {
                    byte.make_ascii_uppercase();
                }
                begins = *byte == b'-';
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    fn told(fields: &HeaderMap) -> Told {
        let mut told = Told::new();
        fields.iter().for_each(|(name, value)| told.add_field(name, value));
        told
    }

    #[test]
    fn what_is_told_is_read_as_it_was_said() {
        let said = test::fields(&[("x-forwarded-user", "al:ice"), ("x-forwarded-for", "10.0.0.1, 10.0.0.2")]);
        assert_eq!(told(&said).fields(), said);
        assert_eq!(Told::new().fields(), HeaderMap::new());
    }

    #[test]
    fn names_alone_change_their_case() {
        let said = test::fields(&[("x-forwarded-user", "a-b: c-d"), ("traceparent", "00-ab")]);
        let mut out = b"x".to_vec();
        told(&said).write_lines(HeaderCase::Title, &mut out);
        assert_eq!(out, b"xX-Forwarded-User: a-b: c-d\r\nTraceparent: 00-ab\r\n");
        out.clear();
        told(&said).write_lines(HeaderCase::Lower, &mut out);
        assert_eq!(out, b"x-forwarded-user: a-b: c-d\r\ntraceparent: 00-ab\r\n");
    }
}

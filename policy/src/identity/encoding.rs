//! How a person's texts become bytes of a field.
//!
//! The rule it protects: no two lists have one field, and nothing that a directory says ends a field or begins another. What
//! an encoding cannot write is not written in another way.

use crate::shown::has_hidden_end;

/// The bytes of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderEncoding {
    /// Percent-encoded UTF-8 of what is outside 0x20–0x7E, of `%`, of a list's separator, and of blanks at either end: the
    /// application can decode it.
    #[default]
    Percent,
    /// UTF-8 as it is.
    Utf8,
    /// ISO 8859-1, which servers of old take fields to be.
    Latin1,
}

impl HeaderEncoding {
    /// The word of the configuration.
    pub fn config_word(self) -> &'static str {
        match self {
            Self::Percent => "percent",
            Self::Utf8 => "utf8",
            Self::Latin1 => "latin1",
        }
    }

    /// Reads what it wrote, for people.
    pub fn read(self, written: &[u8]) -> String {
        match self {
            Self::Percent | Self::Utf8 => String::from_utf8_lossy(written).into_owned(),
            Self::Latin1 => written.iter().copied().map(char::from).collect(),
        }
    }

    /// Writes a text behind what is there; false, and nothing is written, where it cannot be: a control character, an end
    /// that an application would trim off, a separator within, or a character that the encoding does not have.
    pub(super) fn write(self, text: &str, separator: Option<char>, out: &mut Vec<u8>) -> bool {
        let is_bent =
            |text: &str| text.chars().any(|c| c.is_control() || Some(c) == separator) || has_hidden_end(text);
        match self {
            Self::Percent => {
                encode_percent(text, separator, out);
                true
            }
            _ if is_bent(text) => false,
            Self::Utf8 => {
                out.extend_from_slice(text.as_bytes());
                true
            }
            Self::Latin1 => {
                let Some(bytes) = text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>()
                else {
                    return false;
                };
                out.extend_from_slice(&bytes);
                true
            }
        }
    }

    /// Writes a list; its texts that cannot be written are left out. `None` where none is left.
    pub(super) fn write_list(self, texts: &[&str], separator: char) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for text in texts.iter().filter(|text| !text.is_empty()) {
            let before = out.len();
            if before > 0 {
                out.extend(separator.encode_utf8(&mut [0; 4]).bytes());
            }
            if !self.write(text, Some(separator), &mut out) {
                out.truncate(before);
            }
        }
        (!out.is_empty()).then_some(out)
    }
}

/// One to one, so the application can decode it.
fn encode_percent(value: &str, separator: Option<char>, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let last = value.len().wrapping_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let blank_at_an_end = byte == b' ' && (at == 0 || at == last);
        let separates = separator.is_some_and(|separator| char::from(byte) == separator);
        if (0x20..0x7f).contains(&byte) && byte != b'%' && !separates && !blank_at_an_end {
            out.push(byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn list(encoding: HeaderEncoding, texts: &[&str], separator: char) -> Option<Vec<u8>> {
        encoding.write_list(texts, separator)
    }

    fn text(encoding: HeaderEncoding, texts: &[&str], separator: char) -> Option<String> {
        list(encoding, texts, separator).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn lists_are_joined_by_a_bare_separator_and_an_empty_one_is_none() {
        use HeaderEncoding::Percent;
        assert_eq!(text(Percent, &["a", "b c"], ',').as_deref(), Some("a,b c"));
        assert_eq!(text(Percent, &["a,b", "50%"], ',').as_deref(), Some("a%2Cb,50%25"));
        assert_eq!(text(Percent, &["a,b", "c|d"], '|').as_deref(), Some("a,b|c%7Cd"));
        assert_eq!(text(Percent, &[" edge "], ',').as_deref(), Some("%20edge%20"));
        assert_eq!(text(Percent, &[], ','), None);
        assert_eq!(text(Percent, &[""], ','), None);
    }

    #[test]
    fn what_an_encoding_cannot_write_is_left_out() {
        use HeaderEncoding::{Latin1, Utf8};
        assert_eq!(text(Utf8, &["é", "a,b", "x\ny", " x", "50%"], ',').as_deref(), Some("é,50%"));
        assert_eq!(list(Latin1, &["é", "Ł", "z"], ','), Some(b"\xe9,z".to_vec()));
        assert_eq!(list(Latin1, &["Ł"], ','), None);
        // What applications trim would make one name of two: `admins` and `admins` with a blank behind it.
        for blank in [
            "\u{a0}", "\u{2003}", "\u{2028}", "\u{3000}", "\u{1680}", "\u{180e}", "\u{200b}", "\u{feff}",
            "\u{ad}", "\u{2800}", "\u{200d}",
        ] {
            for text in [format!("admins{blank}"), format!("{blank}admins"), blank.to_owned()] {
                assert_eq!(list(Utf8, &[&text], ','), None, "{text:?}");
                assert_eq!(list(Latin1, &[&text], ','), None, "{text:?}");
            }
            assert!(list(Utf8, &[&format!("a{blank}b")], ',').is_some(), "within it is a letter like others");
        }
        let mut out = b"before".to_vec();
        assert!(!Latin1.write("aŁ", None, &mut out) && out == b"before");
    }

    proptest! {
        /// Whatever a directory holds, the header is valid, decodes to the same, and no two lists share a header.
        #[test]
        fn percent_encoding_is_one_to_one(
            values in prop::collection::vec("\\PC{1,12}|[\\x00-\\x7f]{1,6}", 1..5), pipe: bool,
        ) {
            let separator = if pipe { '|' } else { ',' };
            let texts: Vec<&str> = values.iter().map(String::as_str).collect();
            let bytes = list(HeaderEncoding::Percent, &texts, separator).unwrap();
            prop_assert!(HeaderValue::from_bytes(&bytes).is_ok());
            let whole = std::str::from_utf8(&bytes).unwrap();
            let decoded: Vec<String> = whole.split(separator).map(decode).collect();
            prop_assert_eq!(decoded, values);
        }

        /// The others write what is there, or nothing; a field is always one field.
        #[test]
        fn other_encodings_are_valid_fields(values in prop::collection::vec("\\PC{1,8}|[\\x00-\\xff]{1,6}", 1..5)) {
            let texts: Vec<&str> = values.iter().map(String::as_str).collect();
            for encoding in [HeaderEncoding::Utf8, HeaderEncoding::Latin1] {
                let Some(bytes) = list(encoding, &texts, ',') else { continue };
                prop_assert!(HeaderValue::from_bytes(&bytes).is_ok(), "{:?}", bytes);
                let read = encoding.read(&bytes);
                let parts: Vec<&str> = read.split(',').collect();
                prop_assert!(parts.len() <= texts.len());
                // Each is one of those that were there, to the letter, and to an application that trims too.
                prop_assert!(parts.iter().all(|part| texts.contains(part) && part.trim() == *part), "{:?}", parts);
            }
        }
    }

    fn decode(text: &str) -> String {
        let (mut out, mut rest) = (Vec::new(), text.as_bytes());
        while let Some((byte, tail)) = rest.split_first() {
            if *byte == b'%' {
                out.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
                rest = &tail[2..];
            } else {
                out.push(*byte);
                rest = tail;
            }
        }
        String::from_utf8(out).unwrap()
    }
}

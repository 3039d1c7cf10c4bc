//! The form field of a message: base64 of UTF-8, within bounds, and nothing that controls a terminal or a line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_policy::shown;

use super::xml::XmlBounds;
use crate::{Class, LoginRefusal};

/// The most bytes of a field, white space included.
const MOST: usize = 512 * 1024;

/// Reads the text of a message from its form field (SAML Bindings §3.5.4). White space between the letters is base64's
/// own line breaks.
pub(crate) fn read_field(field: &[u8]) -> Result<String, LoginRefusal> {
    if field.len() > MOST {
        return Err(refuse_large(field.len()));
    }
    let letters: Vec<u8> = field.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let bytes = STANDARD
        .decode(letters)
        .map_err(|error| refuse_malformed("base64 in the form field SAMLResponse", &error.to_string()))?;
    if bytes.len() > XmlBounds::MESSAGE.bytes {
        return Err(refuse_large(bytes.len()));
    }
    read_utf8(bytes)
}

/// Reads the text of a message: UTF-8 without control characters.
pub(crate) fn read_utf8(bytes: Vec<u8>) -> Result<String, LoginRefusal> {
    let text =
        String::from_utf8(bytes).map_err(|_| refuse_malformed("XML in UTF-8", "bytes that are not UTF-8"))?;
    match find_control(&text) {
        Some(c) => Err(refuse_malformed("no control characters", &shown(&c.to_string()))),
        None if text.is_empty() => Err(refuse_malformed("an XML document", "nothing")),
        None => Ok(text),
    }
}

/// Finds a control character. Nearly every text is done with its bytes: a control character begins with 0xC2, if it is
/// not ASCII.
fn find_control(text: &str) -> Option<char> {
    let is_plain =
        |byte: u8| byte >= b' ' && !matches!(byte, 0x7f | 0xc2) || matches!(byte, b'\t' | b'\n' | b'\r');
    if text.bytes().all(is_plain) {
        return None;
    }
    text.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
}

fn refuse_large(bytes: usize) -> LoginRefusal {
    let most = XmlBounds::MESSAGE.bytes;
    super::xml::XmlFault::too_large(
        "a message of at most 384 KiB",
        format!("{bytes} bytes, more than {most}"),
    )
    .into()
}

fn refuse_malformed(expected: &str, got: &str) -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlMalformed,
        expected,
        got,
        "Post the identity provider's SAMLResponse unchanged to the ACS URL: something on the way cut or changed it.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_strict_base64_of_plain_text() {
        assert_eq!(read_field(b" PGE\r\n+w6\tk8L2E+\n").unwrap(), "<a>\u{e9}</a>");
        let class = |bytes: &[u8]| read_field(bytes).err().map(|refusal| refusal.class);
        for wrong in [&b""[..], b"PGE", b"PGE+=", b"PGE-", b"PGE%2B", b"<a/>", b"PGE+w6=k", b"PGF="] {
            assert_eq!(class(wrong), Some(Class::SamlMalformed), "{}", String::from_utf8_lossy(wrong));
        }
        for wrong in
            [&b"<a>\0</a>"[..], b"\xff\xfe<\0", b"<a>\x7f</a>", "<a>\u{85}</a>".as_bytes(), b"<a>\x1b</a>"]
        {
            assert_eq!(class(STANDARD.encode(wrong).as_bytes()), Some(Class::SamlMalformed));
        }
        assert_eq!(class(&vec![b' '; MOST + 1]), Some(Class::SamlTooLarge));
        assert_eq!(class(STANDARD.encode(vec![b'a'; 384 * 1024 + 1]).as_bytes()), Some(Class::SamlTooLarge));
        assert!(read_field(STANDARD.encode(vec![b'a'; 384 * 1024]).as_bytes()).is_ok());
    }
}

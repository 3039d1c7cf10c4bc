//! A response as somebody captured it: the form that a browser posted, the value of its field, or the XML inside.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_sso::LoginRefusal;

use crate::own::saml::SamlForm;

/// The most bytes of a file: more than any response or metadata that is taken.
const MOST: u64 = 16 * 1024 * 1024;

/// Reads a file, or standard input where it is `-`.
///
/// # Errors
/// The system's; `FileTooLarge` above 16 MiB.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    Ok(bytes)
}

/// Finds the form field of a response in what was captured. A form is read as the login reads it.
///
/// # Errors
/// `malformed`: a form without the field, or with two.
pub(super) fn read_field(captured: &[u8]) -> Result<Vec<u8>, LoginRefusal> {
    let text = captured.strip_prefix(b"\xef\xbb\xbf").unwrap_or(captured).trim_ascii();
    if text.starts_with(b"<") {
        return Ok(STANDARD.encode(text).into_bytes());
    }
    let starts_field = |part: &[u8]| part.starts_with(b"SAMLResponse=") || part.starts_with(b"SAMLRequest=");
    if text.split(|byte| *byte == b'&').any(starts_field) {
        return Ok(SamlForm::read_body(text, "SAMLResponse")?.message);
    }
    // No letter of base64 is a percent sign: it was copied out of a form.
    Ok(percent_encoding::percent_decode(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_copied_the_same_field_is_read() {
        let field = Some(b"PGE+w6k8L2E+".to_vec());
        for copied in [
            "<a>\u{e9}</a>",
            "PGE+w6k8L2E+",
            "  PGE+w6k8L2E+\n",
            "PGE%2Bw6k8L2E%2b",
            "SAMLResponse=PGE%2Bw6k8L2E%2B&RelayState=%2F",
            "RelayState=&SAMLResponse=PGE%2Bw6k8L2E%2B\r\n",
        ] {
            assert_eq!(read_field(copied.as_bytes()).ok(), field, "{copied}");
        }
        for wrong in ["SAMLResponse=PGE%2B&SAMLResponse=PGE%2B", "SAMLRequest=PGE%2B", "a=b&SAMLRequest="] {
            let refusal = read_field(wrong.as_bytes()).unwrap_err();
            assert_eq!(refusal.class.bare_word(), "malformed", "{wrong}");
        }
    }
}

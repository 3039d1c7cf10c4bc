//! The framing of an application's answer, which must be readable in one way.

use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};

use crate::field_set::{FieldKind, FieldSet};

/// The library reads on where two lengths agree, or a coding beside a length: somebody else might not.
pub(super) fn is_framed_one_way(headers: &HeaderMap) -> Result<(), &'static str> {
    let has = FieldSet::of_headers(headers);
    if has.has(FieldKind::TransferEncoding) {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let coding = codings.next().map_or(&b""[..], HeaderValue::as_bytes);
        if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err("has a Transfer-Encoding other than chunked");
        }
        if has.has(FieldKind::ContentLength) {
            return Err("has both Content-Length and Transfer-Encoding");
        }
    }
    if !has.has(FieldKind::ContentLength) {
        return Ok(());
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (Some(_), Some(_)) => Err("has two Content-Lengths"),
        (Some(length), None) if !length.as_bytes().iter().all(u8::is_ascii_digit) => {
            Err("has a Content-Length that is no number")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    #[test]
    fn an_answer_has_one_length_or_one_coding() {
        let framed = |fields: &[(&str, &str)]| is_framed_one_way(&test::fields(fields)).is_ok();
        let (length, coding) = ("content-length", "transfer-encoding");
        assert!(framed(&[]) && framed(&[(length, "0")]) && framed(&[(coding, "Chunked")]));
        for fields in [
            &[(length, "2"), (length, "2")][..],
            &[(length, "2, 2")],
            &[(length, "+2")],
            &[(length, "2"), (coding, "chunked")],
            &[(coding, "gzip, chunked")],
            &[(coding, "chunked, gzip")],
            &[(coding, "chunked"), (coding, "chunked")],
            &[(coding, "identity")],
        ] {
            assert!(!framed(fields), "{fields:?}");
        }
    }
}

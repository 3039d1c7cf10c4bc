//! The header of the PROXY protocol: however many bytes have come, and whatever is behind it, it is read as one thing or
//! not at all. The same function replays the corpus on the stable compiler (`proxy/tests/corpus.rs`).

use portcullis_proxy::proxy_header::parse_header;

/// A header that is whole is the same with less or more behind it, and none before its end; what is refused stays so.
pub fn bytes(data: &[u8]) {
    let whole = parse_header(data);
    let ends = whole.as_ref().and_then(|parsed| parsed.as_ref().ok()).map(|(_, length)| *length);
    assert!(ends.is_none_or(|length| (1..=data.len()).contains(&length)));
    for length in 0..=data.len() {
        let parsed = parse_header(&data[..length]);
        match (&parsed, ends) {
            (None, _) => {}
            (Some(Ok(_)), Some(end)) => assert!(length >= end && parsed == whole),
            (Some(Ok(_)), None) => panic!("a header that is none with more behind it"),
            (Some(Err(_)), _) => assert!(ends.is_none(), "refused before its end"),
        }
    }
}

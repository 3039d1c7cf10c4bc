//! The strict reader of HTTP/1.1, beside the library's parser: what the one admits, the other reads alike.

use portcullis_proxy::wire::{Bounds, HeadSeen, Malformed, WireReader};

/// What the reader makes of bytes that come in pieces of this size: how far they may be handed on, the heads, and why
/// it stopped.
fn read(data: &[u8], size: usize) -> (usize, Vec<HeadSeen>, Option<Malformed>) {
    let (mut reader, mut heads) = (WireReader::new(Bounds::default()), Vec::new());
    let (mut shown, mut looked, mut whole) = (0, 0, 0);
    while shown < data.len() {
        shown = data.len().min(shown + size);
        match reader.feed_bytes(&data[looked..shown], |head| heads.push(head)) {
            Ok(fed) => {
                whole = if fed.whole > 0 { looked + fed.whole } else { whole };
                looked += fed.read;
            }
            Err((more, why)) => {
                whole = if more > 0 { looked + more } else { whole };
                return (whole, heads, Some(why));
            }
        }
    }
    (whole, heads, None)
}

/// One packet or many: the same verdict. And the first head, if it was admitted, is the library's first head.
pub fn bytes(data: &[u8]) {
    let (whole, heads, why) = read(data, data.len().max(1));
    assert!(whole <= data.len());
    for size in [1, 7] {
        assert_eq!(read(data, size), (whole, heads.clone(), why), "in pieces of {size}");
    }
    let Some(first) = heads.first() else { return };
    let skipped = if data.starts_with(b"\r\n") { 2 } else { 0 };
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(data).expect("a head that was admitted is one for the library");
    assert_eq!(parsed, httparse::Status::Complete(skipped + first.bytes));
    assert_eq!(request.headers.len(), first.fields);
    assert_eq!(request.path.expect("a target").len(), first.target);
    let named = |name: &str| {
        request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).collect::<Vec<_>>()
    };
    let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "a body is framed one way");
    assert!(named("host").len() <= 1);
    if let [coding] = codings[..] {
        assert!(coding.value.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    }
    if let [length] = lengths[..] {
        assert!(length.value.trim_ascii().iter().all(u8::is_ascii_digit));
    }
}

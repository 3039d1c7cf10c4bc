//! Frames of HTTP/2, written by hand (RFC 9113 §4.1): what no library would send.

/// What every client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// Writes one frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A text of HPACK, not compressed (RFC 7541 §5.2).
fn text(text: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    if text.len() < 127 {
        written.push(u8::try_from(text.len()).unwrap());
    } else {
        written.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            written.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        written.push(u8::try_from(rest).unwrap());
    }
    written.extend_from_slice(text);
    written
}

/// A field that is not indexed.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name.as_bytes()), &text(value.as_bytes())].concat()
}

/// A field that later ones may name by its index, 62 where it is the last that was added.
pub fn indexed_field(name: &str, value: &str) -> Vec<u8> {
    [&[0x40][..], &text(name.as_bytes()), &text(value.as_bytes())].concat()
}

/// The block of a request's head.
pub fn block(method: &str, authority: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)];
    pseudo.iter().chain(fields).flat_map(|(name, value)| field(name, value)).collect()
}

/// The end of a stream before its time.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

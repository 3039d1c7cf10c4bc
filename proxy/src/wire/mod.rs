//! Wire: the strict reader of HTTP/1.1, in front of the library's.
//!
//! It reads what the library is about to read, and refuses what can be read two ways (RFC 9112): a head with two
//! lengths or two codings, a bare line feed, a folded line, a second `Host`. What it admits, every reader frames alike.
//! It is pure: bytes in, and how many of them may be handed on, out. It looks at framing, hosts and characters;
//! what a path means is Accept's and policy's to say.
//!
//! Here the bytes are cut into lines; `head.rs` reads those of a head, `body.rs` those of a body.

mod body;
mod head;
mod malformed;

use memchr::memchr;

use self::body::Body;
use self::head::{HeadBegun, parse_field, parse_whole_field};
pub use self::malformed::Malformed;

/// The bounds of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes, its request line and empty line included.
    pub head: usize,
    /// Bytes of its target.
    pub target: usize,
    /// Fields.
    pub fields: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { head: 64 * 1024, target: 16 * 1024, fields: 200 }
    }
}

/// The facts that were read of a head, to be compared with what the library reads of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadSeen {
    /// The length of the target, in bytes, as the request line has it.
    pub target: usize,
    /// The number of its fields.
    pub fields: usize,
    /// Its length on the wire, in bytes.
    pub bytes: usize,
}

/// The reach of the reader: how far bytes were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// So many need not be shown again.
    pub read: usize,
    /// So many may be handed on; behind them is the beginning of something that is not whole yet.
    pub whole: usize,
}

/// Reads the bytes of one client's connection, in pieces of any size.
#[derive(Debug)]
pub struct WireReader {
    bounds: Bounds,
    state: ReaderState,
    head: HeadBegun,
    /// Bytes of the head, of the line of a chunk, or of the trailers that has begun.
    size: usize,
    /// Fields among the trailers so far.
    trailers: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReaderState {
    /// Between requests; so many empty lines have been skipped.
    Start(u8),
    Fields,
    Body(Body),
    /// Behind a request for another protocol: whatever comes is not HTTP, or waits for an answer that ends it.
    Switching,
}

impl WireReader {
    /// A reader at the beginning of a connection.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, state: ReaderState::Start(0), head: HeadBegun::default(), size: 0, trailers: 0 }
    }

    /// Tells whether it stands between two requests, or in front of the first.
    pub fn is_between(&self) -> bool {
        matches!(self.state, ReaderState::Start(_))
    }

    /// Tells whether a head has begun and is not whole.
    pub fn is_in_head(&self) -> bool {
        self.state == ReaderState::Fields
    }

    /// Tells whether a body is being read whose framing can be wrong.
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, ReaderState::Body(body) if body.is_chunked())
    }

    /// Tells whether a request for another protocol was the last that was read. What follows is held until it is
    /// answered.
    pub fn is_switching(&self) -> bool {
        self.state == ReaderState::Switching
    }

    /// Reads on. `bytes` begins where the last call stopped reading; `heads` is told of each head that is whole now.
    ///
    /// # Errors
    /// [`Malformed`], and how many bytes before it may be handed on.
    pub fn feed_bytes(
        &mut self,
        bytes: &[u8],
        mut heads: impl FnMut(HeadSeen),
    ) -> Result<Fed, (usize, Malformed)> {
        let mut fed = Fed::default();
        while fed.read < bytes.len() {
            let taken = match self.state {
                ReaderState::Switching => return Ok(fed),
                ReaderState::Body(body) if body.is_data() => {
                    let (taken, left) = body.pass_over(&bytes[fed.read..]);
                    self.state = self.state_behind(left);
                    Ok(Some(taken))
                }
                ReaderState::Fields => self.take_whole_fields(&bytes[fed.read..]).and_then(|fields| {
                    fed.read += fields;
                    self.take_line(&bytes[fed.read..], &mut heads)
                }),
                _ => self.take_line(&bytes[fed.read..], &mut heads),
            };
            let Some(taken) = taken.map_err(|why| (fed.whole, why))? else { return Ok(fed) };
            fed.read += taken;
            if !matches!(self.state, ReaderState::Fields | ReaderState::Body(Body::Trailers)) {
                fed.whole = fed.read;
            }
        }
        Ok(fed)
    }

    /// Takes the fields that these bytes begin with, as many as are there whole and have nothing wrong. Says how many bytes
    /// they are.
    fn take_whole_fields(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut taken = 0;
        while let Some((name, value, length)) = parse_whole_field(&bytes[taken..]) {
            self.check_bounds(ReaderState::Fields, length)?;
            self.size += length;
            taken += length;
            self.take_field(name, value)?;
        }
        Ok(taken)
    }

    /// Takes the line that these bytes begin with. Says how many bytes it is; `None` where it is not whole.
    fn take_line(
        &mut self,
        bytes: &[u8],
        heads: &mut impl FnMut(HeadSeen),
    ) -> Result<Option<usize>, Malformed> {
        let end = memchr(b'\n', bytes);
        self.check_bounds(self.state, end.map_or(bytes.len(), |end| end + 1))?;
        let Some(end) = end else { return Ok(None) };
        self.state = self.read_line(self.state, &bytes[..end], heads)?;
        Ok(Some(end + 1))
    }

    /// Tells whether so many bytes more fit into what has begun.
    fn check_bounds(&self, state: ReaderState, more: usize) -> Result<(), Malformed> {
        match state {
            ReaderState::Body(body) => body.check_bounds(more, self.size + more, &self.bounds),
            ReaderState::Start(_) | ReaderState::Fields if self.size + more > self.bounds.head => {
                // A request line that does not end is a long target more often than anything else.
                Err(if state == ReaderState::Fields { Malformed::TooLarge } else { Malformed::TargetTooLong })
            }
            _ => Ok(()),
        }
    }

    /// Reads one line, without its line feed.
    fn read_line(
        &mut self,
        state: ReaderState,
        line: &[u8],
        heads: &mut impl FnMut(HeadSeen),
    ) -> Result<ReaderState, Malformed> {
        let size = self.size + line.len() + 1;
        let Some((b'\r', line)) = line.split_last() else {
            return Err(match state {
                ReaderState::Body(body) => body.bare_line_feed(),
                _ => Malformed::LineEnd,
            });
        };
        self.size = size;
        match state {
            ReaderState::Start(0) if line.is_empty() => {
                self.size = 0;
                Ok(ReaderState::Start(1)) // RFC 9112 §2.2: one is forgiven
            }
            ReaderState::Start(_) if line.is_empty() => Err(Malformed::EmptyLines),
            ReaderState::Start(_) => {
                self.head = HeadBegun::default();
                self.head.request_line(line, &self.bounds)?;
                Ok(ReaderState::Fields)
            }
            ReaderState::Fields if line.is_empty() => {
                self.head.is_whole()?;
                self.head.seen.bytes = std::mem::take(&mut self.size);
                heads(self.head.seen);
                Ok(self.state_behind(Body::of_head(&self.head)))
            }
            ReaderState::Fields => {
                let (name, value) = parse_field(line)?;
                self.take_field(name, value)?;
                Ok(ReaderState::Fields)
            }
            ReaderState::Body(body) => {
                let next = body.read_line(line)?;
                let is_field = body == Body::Trailers && next.is_some();
                self.trailers = if is_field { self.trailers + 1 } else { 0 };
                if self.trailers > self.bounds.fields {
                    return Err(Malformed::TooLarge);
                }
                if body != Body::Trailers || next.is_none() {
                    self.size = 0; // only trailers are bounded together
                }
                Ok(self.state_behind(next))
            }
            ReaderState::Switching => Ok(state), // no lines
        }
    }

    /// Takes note of a field of the head that has begun.
    fn take_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        self.head.seen.fields += 1;
        if self.head.seen.fields > self.bounds.fields {
            return Err(Malformed::TooLarge);
        }
        self.head.read_field(name, value)
    }

    /// Finds what comes next: the rest of a body, or what follows a whole request.
    fn state_behind(&self, body: Option<Body>) -> ReaderState {
        match body {
            Some(body) => ReaderState::Body(body),
            None if self.head.upgrade => ReaderState::Switching,
            None => ReaderState::Start(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::head::parse_target;
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "Host: wiki.test\r\n";

    /// Reads everything at once: how much may be handed on, how many heads there were, and what is wrong.
    fn read(bytes: &[u8]) -> (usize, usize, Option<Malformed>) {
        let (mut reader, mut heads) = (WireReader::new(Bounds::default()), 0);
        match reader.feed_bytes(bytes, |_| heads += 1) {
            Ok(fed) => (fed.whole, heads, None),
            Err((whole, why)) => (whole, heads, Some(why)),
        }
    }

    fn refused(head: &str) -> Option<Malformed> {
        read(head.as_bytes()).2
    }

    #[test]
    fn what_can_be_read_two_ways_is_refused_by_name() {
        use Malformed as M;
        for (head, why) in [
            (format!("GET / HTTP/1.1\n{HOST}\r\n"), M::LineEnd),
            (format!("GET / HTTP/1.1\r\n{HOST}\n"), M::LineEnd),
            (format!("GET / HTTP/1.1\r\n{HOST}A: b\n\r\n"), M::LineEnd),
            (format!("GET / HTTP/1.1\r\n{HOST}A: b\rc\r\n\r\n"), M::FieldValue),
            (format!("\r\n\r\nGET / HTTP/1.1\r\n{HOST}\r\n"), M::EmptyLines),
            (format!("GET  / HTTP/1.1\r\n{HOST}\r\n"), M::RequestLine),
            (format!("GET /\tHTTP/1.1\r\n{HOST}\r\n"), M::RequestLine),
            (format!("GET /\r\n{HOST}\r\n"), M::RequestLine),
            (format!("get / HTTP/1.1\r\n{HOST}\r\n"), M::Method),
            (format!("G=T / HTTP/1.1\r\n{HOST}\r\n"), M::Method),
            (format!("GET admin/users HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET ?x HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET /#x HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET /?x#y HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET /\x01 HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET /\u{e9} HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET /<x> HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET * HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET http://user@wiki.test/ HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET ftp://wiki.test/ HTTP/1.1\r\n{HOST}\r\n"), M::Target),
            (format!("GET http://evil.test/ HTTP/1.1\r\n{HOST}\r\n"), M::OtherHost),
            (format!("GET http://wiki.test:80/ HTTP/1.1\r\n{HOST}\r\n"), M::OtherHost),
            ("GET http://evil.test/ HTTP/1.0\r\n\r\n".into(), M::OtherHost),
            (format!("GET / HTTP/1.2\r\n{HOST}\r\n"), M::Version),
            (format!("GET / HTTP/2.0\r\n{HOST}\r\n"), M::Version),
            (format!("GET / http/1.1\r\n{HOST}\r\n"), M::Version),
            ("GET / HTTP/1.1\r\n\r\n".into(), M::Host),
            (format!("GET / HTTP/1.1\r\n{HOST}{HOST}\r\n"), M::Host),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), M::Host),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), M::Host),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), M::Host),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".into(), M::Host),
            ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".into(), M::Host),
            (format!("GET / HTTP/1.1\r\nHost : wiki.test\r\n{HOST}\r\n"), M::FieldName),
            (format!("GET / HTTP/1.1\r\n{HOST} folded: x\r\n\r\n"), M::FieldName),
            (format!("GET / HTTP/1.1\r\n{HOST}A: b\r\n\tfolded\r\n\r\n"), M::FieldName),
            (format!("GET / HTTP/1.1\r\n{HOST}no colon\r\n\r\n"), M::FieldName),
            (format!("GET / HTTP/1.1\r\n{HOST}: x\r\n\r\n"), M::FieldName),
            (format!("GET / HTTP/1.1\r\n{HOST}A: \0\r\n\r\n"), M::FieldValue),
            (format!("GET / HTTP/1.1\r\n{HOST}A: \x7f\r\n\r\n"), M::FieldValue),
        ] {
            assert_eq!(refused(&head), Some(why), "{head:?}");
        }
    }

    #[test]
    fn a_body_has_one_length_or_one_coding() {
        use Malformed as M;
        for (fields, why) in [
            ("Content-Length: 1\r\nContent-Length: 1\r\n", Some(M::Length)),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", Some(M::Length)),
            ("Content-Length: 1, 1\r\n", Some(M::Length)),
            ("Content-Length: +1\r\n", Some(M::Length)),
            ("Content-Length: 0x1\r\n", Some(M::Length)),
            ("Content-Length: 1 \r\n", None),
            ("Content-Length:\r\n", Some(M::Length)),
            ("Content-Length: 1111111111111111111\r\n", Some(M::Length)),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Some(M::LengthAndCoding)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", Some(M::LengthAndCoding)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Some(M::Coding)),
            ("Transfer-Encoding: gzip, chunked\r\n", Some(M::Coding)),
            ("Transfer-Encoding: chunked, chunked\r\n", Some(M::Coding)),
            ("Transfer-Encoding: identity\r\n", Some(M::Coding)),
            ("Transfer-Encoding: xchunked\r\n", Some(M::Coding)),
            ("Transfer-Encoding: \"chunked\"\r\n", Some(M::Coding)),
            ("Transfer-Encoding:\r\n", Some(M::Coding)),
            ("TRANSFER-ENCODING: ChUnKeD\r\n", None),
        ] {
            assert_eq!(refused(&format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n")), why, "{fields:?}");
        }
        let old = format!("POST / HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(refused(&old), Some(M::Coding));
    }

    #[test]
    fn chunks_are_plain() {
        let head = format!("POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
        for (body, why) in [
            ("5\r\nhello\r\n0\r\n\r\n", None),
            ("A\r\n0123456789\r\n0\r\nx-trailer: y\r\n\r\n", None),
            ("5;ext=1\r\nhello\r\n0\r\n\r\n", Some(Malformed::Chunk)),
            ("5 \r\nhello\r\n", Some(Malformed::Chunk)),
            ("+5\r\nhello\r\n", Some(Malformed::Chunk)),
            ("0x5\r\nhello\r\n", Some(Malformed::Chunk)),
            ("\r\nhello\r\n", Some(Malformed::Chunk)),
            ("5\nhello\r\n", Some(Malformed::Chunk)),
            ("5\r\nhello\n0\r\n", Some(Malformed::Chunk)),
            ("5\r\nhellox\r\n", Some(Malformed::Chunk)),
            ("1111111111111111\r\n", Some(Malformed::Chunk)),
            ("111111111111111111111111", Some(Malformed::Chunk)),
            ("0\r\n folded\r\n\r\n", Some(Malformed::Trailer)),
            ("0\r\nx\n\r\n", Some(Malformed::LineEnd)),
        ] {
            assert_eq!(refused(&format!("{head}{body}")), why, "{body:?}");
        }
    }

    #[test]
    fn what_browsers_and_tools_send_is_read() {
        for head in [
            format!("\r\nGET / HTTP/1.1\r\n{HOST}\r\n"),
            format!("GET /?q={{a}}|b^`[]\\ HTTP/1.1\r\n{HOST}\r\n"),
            format!("GET /a|b;c=[d]@e:f'\"{{}}^ HTTP/1.1\r\n{HOST}\r\n"),
            format!("GET http://wiki.test/x?y HTTP/1.1\r\n{HOST}\r\n"),
            format!("GET HTTP://WIKI.test HTTP/1.1\r\n{HOST}\r\n"),
            format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n"),
            format!("M-SEARCH / HTTP/1.1\r\n{HOST}\r\n"),
            "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n".into(),
            "GET / HTTP/1.1\r\nHost: a_b.test.\r\n\r\n".into(),
            "GET / HTTP/1.0\r\n\r\n".into(),
            format!("GET / HTTP/1.1\r\n{HOST}A:\r\nB: \u{e9}\t x \r\n\r\n"),
        ] {
            assert_eq!(read(head.as_bytes()), (head.len(), 1, None), "{head:?}");
        }
    }

    #[test]
    fn bounds_hold_while_bytes_arrive() {
        let bounds = Bounds { head: 100, target: 20, fields: 3 };
        let feed = |bytes: &str| {
            WireReader::new(bounds).feed_bytes(bytes.as_bytes(), |_| {}).err().map(|(_, why)| why)
        };
        assert_eq!(feed(&format!("GET /{} ", "a".repeat(96))), Some(Malformed::TargetTooLong));
        assert_eq!(feed(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(20))), Some(Malformed::TargetTooLong));
        assert_eq!(feed(&format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(90))), Some(Malformed::TooLarge));
        assert_eq!(feed("GET / HTTP/1.1\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n"), Some(Malformed::TooLarge));
        assert_eq!(feed("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\n\r\n"), None);
    }

    #[test]
    fn behind_an_upgrade_nothing_is_read() {
        let head = format!("GET / HTTP/1.1\r\n{HOST}Upgrade: websocket\r\n\r\n");
        let more = format!("{head}GET /smuggled HTTP/1.1\r\n{HOST}\r\n");
        assert_eq!(read(more.as_bytes()), (head.len(), 1, None));
    }

    #[test]
    fn the_bytes_before_what_is_wrong_may_be_handed_on() {
        let good = format!("GET / HTTP/1.1\r\n{HOST}\r\n");
        let (whole, heads, why) = read(format!("{good}{good}GET / HTTP/1.1\n").as_bytes());
        assert_eq!((whole, heads, why), (2 * good.len(), 2, Some(Malformed::LineEnd)));
        let half = format!("{good}GET / HTTP/1.1\r\nA: b\r\nC");
        let mut reader = WireReader::new(Bounds::default());
        let fed = reader.feed_bytes(half.as_bytes(), |_| {}).unwrap();
        assert_eq!((fed.whole, fed.read), (good.len(), half.len() - 1));
        assert!(reader.is_in_head());
    }

    /// Reads in pieces, as [`WireReader::feed_bytes`] is meant to be called.
    fn read_in_pieces(bytes: &[u8], cuts: &[usize]) -> (usize, usize, Option<Malformed>) {
        let (mut reader, mut heads) = (WireReader::new(Bounds::default()), 0);
        let (mut held, mut whole, mut done) = (Vec::new(), 0, 0);
        let mut at = 0;
        for cut in cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]) {
            if cut <= at {
                continue;
            }
            held.extend_from_slice(&bytes[at..cut]);
            at = cut;
            match reader.feed_bytes(&held, |_| heads += 1) {
                Ok(fed) => {
                    if fed.whole > 0 {
                        whole = done + fed.whole;
                    }
                    done += fed.read;
                    held.drain(..fed.read);
                }
                Err((more, why)) => {
                    if more > 0 {
                        whole = done + more;
                    }
                    return (whole, heads, Some(why));
                }
            }
        }
        (whole, heads, None)
    }

    proptest! {
        /// One packet or many: the same verdict.
        #[test]
        fn pieces_change_nothing(
            fields in prop::collection::vec("Host: a|A: b|Content-Length: [0-9]{1,2}|Transfer-Encoding: chunked|A : b|[ -~]{0,8}", 0..4),
            body in "[0-9a]{0,6}|(5\r\nhello\r\n)?0\r\n(a: b\r\n)?\r\n|[\r\n0-5a-c]{0,12}",
            more in "(GET / HTTP/1.1\r\nHost: a\r\n\r\n)?",
            mut cuts in prop::collection::vec(0usize..200, 0..6),
        ) {
            cuts.sort_unstable();
            let text = format!("POST /x HTTP/1.1\r\n{}\r\n{body}{more}", fields.iter().map(|f| format!("{f}\r\n")).collect::<String>());
            let (whole, heads, why) = read(text.as_bytes());
            let (whole_too, heads_too, why_too) = read_in_pieces(text.as_bytes(), &cuts);
            prop_assert_eq!((heads, why), (heads_too, why_too));
            prop_assert_eq!(whole, whole_too);
        }

        /// The URI type carries every target that is admitted: the library never refuses what was read here.
        #[test]
        fn targets_that_are_admitted_can_be_carried(path in "/[!-~]{0,12}", query in "(\\?[!-~]{0,12})?") {
            let text = format!("{path}{query}");
            if parse_target(b"GET", text.as_bytes()).is_ok() {
                prop_assert!(http::uri::PathAndQuery::try_from(text.as_str()).is_ok(), "{}", text);
            }
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (whole, _, _) = read(&bytes);
            prop_assert!(whole <= bytes.len());
        }
    }
}

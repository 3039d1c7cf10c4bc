//! The framing of a body: so many bytes, or chunks with plain sizes and the trailers behind them.

use super::head::{HeadBegun, parse_field};
use super::{Bounds, Malformed};

/// The part of a body that is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Of one with a length: so many bytes.
    Plain(u64),
    /// The line with the size of a chunk.
    ChunkSize,
    /// Of a chunk: so many bytes.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// The fields behind the last chunk.
    Trailers,
}

/// Most bytes of all trailers together: what the library takes, less the line that ends them.
const TRAILERS: usize = 16 * 1024 - 2;
/// Longest line of a chunk's size, without its end: sixteen digits are more than any length.
const CHUNK_LINE: usize = 16;

impl Body {
    /// The body that a whole head announces; `None` where there is none.
    pub(super) fn of_head(head: &HeadBegun) -> Option<Self> {
        match head {
            HeadBegun { chunked: true, .. } => Some(Self::ChunkSize),
            HeadBegun { length: Some(length @ 1..), .. } => Some(Self::Plain(*length)),
            _ => None,
        }
    }

    /// Tells whether its framing can be wrong.
    pub(super) fn is_chunked(self) -> bool {
        !matches!(self, Self::Plain(_))
    }

    /// Tells whether bytes come next, and no line.
    pub(super) fn is_data(self) -> bool {
        matches!(self, Self::Plain(_) | Self::Chunk(_))
    }

    /// Passes over data: so many of the bytes belong to it, and what comes then. `None` behind the last byte.
    pub(super) fn pass_over(self, bytes: &[u8]) -> (usize, Option<Self>) {
        match self {
            Self::Plain(left) => match split_run(bytes, left) {
                (taken, 0) => (taken, None),
                (taken, left) => (taken, Some(Self::Plain(left))),
            },
            Self::Chunk(left) => match split_run(bytes, left) {
                (taken, 0) => (taken, Some(Self::ChunkEnd)),
                (taken, left) => (taken, Some(Self::Chunk(left))),
            },
            line => (0, Some(line)),
        }
    }

    /// Tells whether a line may be so long, and all of the trailers with it.
    pub(super) fn check_bounds(self, line: usize, all: usize, bounds: &Bounds) -> Result<(), Malformed> {
        match self {
            Self::ChunkSize | Self::ChunkEnd if line > CHUNK_LINE + 2 => Err(Malformed::Chunk),
            Self::Trailers if all > TRAILERS.min(bounds.head) => Err(Malformed::TooLarge),
            _ => Ok(()),
        }
    }

    /// The fault where a line ends with a line feed alone.
    pub(super) fn bare_line_feed(self) -> Malformed {
        if self == Self::Trailers { Malformed::LineEnd } else { Malformed::Chunk }
    }

    /// Reads one line, without its end. `None` behind the last.
    pub(super) fn read_line(self, line: &[u8]) -> Result<Option<Self>, Malformed> {
        match self {
            Self::ChunkSize => Ok(Some(match chunk_size(line)? {
                0 => Self::Trailers,
                size => Self::Chunk(size),
            })),
            Self::ChunkEnd if line.is_empty() => Ok(Some(Self::ChunkSize)),
            Self::ChunkEnd => Err(Malformed::Chunk),
            Self::Trailers if line.is_empty() => Ok(None),
            Self::Trailers => parse_field(line).map(|_| Some(self)).map_err(|_| Malformed::Trailer),
            Self::Plain(_) | Self::Chunk(_) => Ok(Some(self)), // no lines
        }
    }
}

/// So many of the bytes belong to a body of which `left` are to come, and how many are left then.
fn split_run(bytes: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (taken, left - taken as u64)
}

/// RFC 9112 §7.1, without extensions and without blanks: others read those in many ways.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    if line.is_empty() || line.len() > CHUNK_LINE - 1 {
        return Err(Malformed::Chunk);
    }
    line.iter().try_fold(0u64, |size, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(Malformed::Chunk)?;
        Ok(size << 4 | u64::from(digit))
    })
}

//! Why bytes are no request.

/// The reason why bytes are no request that is read here. Its word is the reason of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// A line ends with a line feed alone, or holds a carriage return.
    LineEnd,
    /// More than one empty line before a request.
    EmptyLines,
    /// The request line is not `METHOD SP target SP HTTP/1.x`.
    RequestLine,
    /// The method is no word in capitals.
    Method,
    /// The target is no path, holds a fragment, or a character that no target may hold.
    Target,
    /// The target is longer than any that is served.
    TargetTooLong,
    /// The version is neither 1.1 nor 1.0.
    Version,
    /// A field has no name, a name with other characters than a name has, or continues on a second line.
    FieldName,
    /// A field's value has a control character.
    FieldValue,
    /// More bytes, or more fields, than a head may have.
    TooLarge,
    /// There is no `Host`, more than one, or one that is no host.
    Host,
    /// The target names another host than `Host` does.
    OtherHost,
    /// A `Content-Length` that is not one plain number, or more than one.
    Length,
    /// A `Transfer-Encoding` other than exactly `chunked`, more than one, or one of HTTP/1.0.
    Coding,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndCoding,
    /// The size of a chunk is not a plain hexadecimal number, or its end is missing.
    Chunk,
    /// A field behind the last chunk cannot be read.
    Trailer,
}

impl Malformed {
    /// Every reason, for tables.
    pub const ALL: [Malformed; 17] = [
        Self::LineEnd,
        Self::EmptyLines,
        Self::RequestLine,
        Self::Method,
        Self::Target,
        Self::TargetTooLong,
        Self::Version,
        Self::FieldName,
        Self::FieldValue,
        Self::TooLarge,
        Self::Host,
        Self::OtherHost,
        Self::Length,
        Self::Coding,
        Self::LengthAndCoding,
        Self::Chunk,
        Self::Trailer,
    ];

    /// The word of the access log.
    pub fn log_word(self) -> &'static str {
        match self {
            Self::LineEnd => "line_end",
            Self::EmptyLines => "empty_lines",
            Self::RequestLine => "request_line",
            Self::Method => "method",
            Self::Target => "target",
            Self::TargetTooLong => "target_too_long",
            Self::Version => "version",
            Self::FieldName => "field_name",
            Self::FieldValue => "field_value",
            Self::TooLarge => "head_too_large",
            Self::Host => "host",
            Self::OtherHost => "other_host",
            Self::Length => "content_length",
            Self::Coding => "transfer_encoding",
            Self::LengthAndCoding => "length_and_coding",
            Self::Chunk => "chunk",
            Self::Trailer => "trailer",
        }
    }
}

//! The path pattern of a rule: which paths it takes, and which of two that take the same is the more specific.

use crate::folded;

/// A path pattern: `*` is one segment, a final `/**` is the path before it and all below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    below: bool,
}

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// These very bytes.
    Literal(Box<[u8]>),
    /// Whatever is not empty.
    Any,
}

/// The fault of a pattern that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not an absolute path.
    #[error("a path starts with /")]
    NotAbsolute,
    /// `**` stands before the end.
    #[error("** stands at the end only")]
    InnerDoubleStar,
    /// A star beside other characters in one segment.
    #[error("* stands for a whole segment")]
    PartialStar,
    /// No plain path would ever match it: rules are written decoded, as people read a path.
    #[error("a path with an empty or dot segment, %, \\, ;, ? or # is never matched")]
    NeverMatches,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for what is not absolute, has a star inside a segment, or could never match.
    pub fn parse_path(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        if rest.contains(['%', '\\', ';', '?', '#']) {
            return Err(PatternError::NeverMatches);
        }
        let mut parts: Vec<&str> = rest.split('/').collect();
        let below = parts.last() == Some(&"**");
        if below {
            parts.pop();
        }
        let count = parts.len();
        let segments = parts.into_iter().enumerate().map(|(at, part)| match part {
            "**" => Err(PatternError::InnerDoubleStar),
            "*" => Ok(Segment::Any),
            "." | ".." => Err(PatternError::NeverMatches),
            "" if at + 1 < count || below => Err(PatternError::NeverMatches),
            part if part.contains('*') => Err(PatternError::PartialStar),
            part => Ok(Segment::Literal(part.as_bytes().into())),
        });
        Ok(Self { text: text.into(), segments: segments.collect::<Result<_, _>>()?, below })
    }

    /// The pattern of every path.
    pub(crate) fn everything() -> Self {
        Self { text: "/**".into(), segments: Vec::new(), below: true }
    }

    /// The pattern that takes the folded spellings of what this one takes. Its text stays as written.
    pub(crate) fn folded(&self) -> Self {
        let mut segments: Vec<Segment> = self.segments.clone();
        for segment in &mut segments {
            if let Segment::Literal(literal) = segment {
                *literal = folded::fold_segment(literal).into();
            }
        }
        // The end of a folded path is cut, so nothing that is cut there may be asked for.
        while !self.below
            && matches!(segments.last(), Some(Segment::Literal(last)) if last.iter().all(folded::is_an_end))
        {
            segments.pop();
        }
        Self { text: self.text.clone(), segments, below: self.below }
    }

    /// Its segments, without the final `**`.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Tells whether it takes what is below it too.
    pub(crate) fn takes_below(&self) -> bool {
        self.below
    }

    /// The pattern as written.
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// Tells whether a path falls under it, byte for byte: without its query, and decoded. A pattern without segments
    /// that takes nothing below is the folded `/`.
    pub fn matches(&self, path: &[u8]) -> bool {
        let Some(rest) = path.strip_prefix(b"/") else { return false };
        if self.segments.is_empty() {
            return self.below || rest.is_empty();
        }
        let mut parts = rest.split(|byte| *byte == b'/');
        for segment in &self.segments {
            match (segment, parts.next()) {
                (Segment::Literal(literal), Some(part)) if **literal == *part => {}
                (Segment::Any, Some(part)) if !part.is_empty() => {}
                _ => return false,
            }
        }
        self.below || parts.next().is_none()
    }

    /// Larger is more specific: exact, then the longest literal prefix, then the one that says more.
    pub(crate) fn rank(&self) -> (bool, usize, bool, usize) {
        let literals = self.segments.iter().take_while(|segment| matches!(segment, Segment::Literal(_)));
        let prefix = literals
            .map(|segment| if let Segment::Literal(text) = segment { text.len() + 1 } else { 0 })
            .sum();
        let exact = !self.below && self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)));
        (exact, prefix, !self.below, self.segments.len())
    }

    /// Tells whether some path falls under both; both have the same rank, so the same number of segments.
    pub(crate) fn overlaps(&self, other: &Pattern) -> bool {
        let meet =
            |(a, b): (&Segment, &Segment)| a == b || matches!(a, Segment::Any) || matches!(b, Segment::Any);
        self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(meet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_cannot_match_are_errors() {
        for text in ["", "a", "/a*", "/**/a", "/a//b", "/a/../b", "/a%20b", "/a;b", "//**"] {
            assert!(Pattern::parse_path(text).is_err(), "{text}");
        }
    }
}

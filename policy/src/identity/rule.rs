//! Rules: one header each, what it says and how it is written.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::encoding::HeaderEncoding;
use super::source::{HeaderSource, ToldPerson};

/// One header of whoever is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Its name.
    pub name: HeaderName,
    /// What it says.
    pub says: HeaderText,
    /// How that is written.
    pub encoding: HeaderEncoding,
    /// The sign between the values of a list.
    pub separator: char,
    /// The text where something of it is not known, or cannot be written; without one there is no header then.
    pub default: Option<String>,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderText {
    /// One thing that is known of the person.
    Source(HeaderSource),
    /// Text with such things in it; all of them have to be known.
    Template(Vec<TemplatePart>),
    /// The same for everybody: a credential for the application. It is sensitive.
    Fixed(HeaderValue),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// Text as it is.
    Literal(String),
    /// What is known of the person.
    Source(HeaderSource),
}

impl HeaderRule {
    /// The rule of one source.
    pub fn of_source(
        name: HeaderName,
        source: HeaderSource,
        encoding: HeaderEncoding,
        separator: char,
    ) -> Self {
        Self { name, says: HeaderText::Source(source), encoding, separator, default: None }
    }

    /// Tells whether the application knows the person by it.
    pub fn names_person(&self) -> bool {
        self.says == HeaderText::Source(HeaderSource::Name)
    }

    /// Its value for a person; `None` for no header.
    pub(super) fn value_for(&self, person: &ToldPerson<'_>) -> Option<HeaderValue> {
        let bytes = match &self.says {
            HeaderText::Fixed(value) => return Some(value.clone()),
            HeaderText::Source(source) => self.write_source(source, person),
            HeaderText::Template(parts) => self.write_template(parts, person),
        };
        let bytes = bytes.or_else(|| self.default.as_ref().map(|text| text.clone().into_bytes()))?;
        HeaderValue::from_maybe_shared(Bytes::from(bytes)).ok()
    }

    fn write_source(&self, source: &HeaderSource, person: &ToldPerson<'_>) -> Option<Vec<u8>> {
        let texts = person.texts(source);
        match texts[..] {
            [text] if !source.is_list() => {
                let mut out = Vec::with_capacity(text.len());
                self.encoding.write(text, None, &mut out).then_some(out)
            }
            _ => self.encoding.write_list(&texts, self.separator),
        }
    }

    fn write_template(&self, parts: &[TemplatePart], person: &ToldPerson<'_>) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for part in parts {
            match part {
                TemplatePart::Literal(text) => out.extend_from_slice(text.as_bytes()),
                TemplatePart::Source(source) => out.extend(self.write_source(source, person)?),
            }
        }
        (!out.is_empty()).then_some(out)
    }
}

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

    /// Tells whether the application may know the person by it: the name is all of it, or a part. It has no default,
    /// which would name somebody else.
    pub fn names_person(&self) -> bool {
        let is_name = |part: &TemplatePart| *part == TemplatePart::Source(HeaderSource::Name);
        match &self.says {
            HeaderText::Source(source) => *source == HeaderSource::Name,
            HeaderText::Template(parts) => parts.iter().any(is_name),
            HeaderText::Fixed(_) => false,
        }
    }

    /// Tells whether a text can stand in it.
    pub(super) fn can_write(&self, text: &str) -> bool {
        self.encoding.write(text, None, &mut Vec::with_capacity(text.len()))
    }

    /// The texts of a person that it would say and cannot write.
    pub(super) fn left_out<'p>(&self, person: &ToldPerson<'p>) -> Vec<&'p str> {
        let mut sources = Vec::new();
        match &self.says {
            HeaderText::Source(source) => sources.push(source),
            HeaderText::Template(parts) => {
                sources.extend(parts.iter().filter_map(|part| match part {
                    TemplatePart::Source(source) => Some(source),
                    TemplatePart::Literal(_) => None,
                }));
            }
            HeaderText::Fixed(_) => {}
        }
        let unwritten = |source: &&HeaderSource| {
            let separator = source.is_list().then_some(self.separator);
            let cannot = move |text: &&str| {
                !text.is_empty() && !self.encoding.write(text, separator, &mut Vec::with_capacity(text.len()))
            };
            person.texts(source).into_iter().filter(cannot).collect::<Vec<_>>()
        };
        sources.iter().flat_map(unwritten).collect()
    }

    /// The bytes that its line has for everybody.
    pub(super) fn least_size(&self) -> usize {
        let is_literal = |part: &TemplatePart| matches!(part, TemplatePart::Literal(_));
        let text = match &self.says {
            HeaderText::Fixed(value) => value.len(),
            HeaderText::Template(parts) if parts.iter().all(is_literal) => literal_size(parts),
            HeaderText::Source(_) => match &self.default {
                Some(_) => 1,
                None => return 0,
            },
            HeaderText::Template(parts) => match &self.default {
                Some(default) => literal_size(parts).min(default.len()),
                None => return 0,
            },
        };
        self.name.as_str().len() + text + 4 // ": " and the end of the line
    }

    /// Its value for a person; `None` for no header.
    pub(super) fn value_for(&self, person: &ToldPerson<'_>) -> Option<HeaderValue> {
        let bytes = match &self.says {
            HeaderText::Fixed(value) => return Some(value.clone()),
            HeaderText::Source(source) => self.write_source(source, person),
            HeaderText::Template(parts) => self.write_template(parts, person),
        };
        let default = self.default.as_ref().filter(|_| !self.names_person());
        let bytes = bytes.or_else(|| default.map(|text| text.clone().into_bytes()))?;
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

fn literal_size(parts: &[TemplatePart]) -> usize {
    let sizes = parts.iter().map(|part| match part {
        TemplatePart::Literal(text) => text.len(),
        TemplatePart::Source(_) => 0,
    });
    sizes.sum()
}

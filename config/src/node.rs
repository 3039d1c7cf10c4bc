//! YAML as a tree that knows its lines.
//!
//! Scalars are kept as they were written: what `off`, `0123` or `1e5` mean is said by the key that holds them, not by
//! YAML's own guesses. A tree may hold a secret somebody wrote inline, so it has no `Debug`, and an error of the
//! parser is told in words that quote nothing of the file.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned};

use crate::at::{At, KeyStep};

/// Configuration files are small; a larger one is a mistake.
pub(crate) const MOST_BYTES: usize = 1024 * 1024;

/// One value and the line it starts on.
#[derive(Clone)]
pub(crate) struct YamlNode {
    pub(crate) line: usize,
    pub(crate) value: YamlValue,
}

/// A value, not yet judged.
#[derive(Clone)]
pub(crate) enum YamlValue {
    /// Nothing behind the colon, or `~`.
    Nothing,
    /// A scalar as written; quotes and escapes are resolved.
    Text(String),
    List(Vec<YamlNode>),
    Map(Vec<(YamlKey, YamlNode)>),
}

/// A key and its line.
#[derive(Clone)]
pub(crate) struct YamlKey {
    pub(crate) line: usize,
    pub(crate) name: String,
}

/// The fault of a text that is no tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
    pub(crate) remedy: &'static str,
}

impl YamlNode {
    /// Reads one YAML document.
    pub(crate) fn parse_document(text: &str) -> Result<Self, YamlError> {
        let options = serde_saphyr::options! {
            with_snippet: false,
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
            merge_keys: serde_saphyr::options::MergeKeyPolicy::AsOrdinary,
            non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
            ignore_binary_tag_for_string: true,
            budget: serde_saphyr::budget! {
                max_nodes: 20_000,
                max_events: 100_000,
                max_depth: 32,
                max_documents: 2,
            },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 10_000 },
        };
        serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options)
            .map(|raw| Self::from_raw(raw, text))
            .map_err(|error| YamlError::from_error(&error, text))
    }

    fn from_raw(raw: Spanned<Raw>, source: &str) -> Self {
        let line = line_of(&raw.referenced);
        let value = match raw.value {
            Raw::Nothing => YamlValue::Nothing,
            Raw::Text(text) => YamlValue::Text(text),
            Raw::AsWritten => YamlValue::Text(written_scalar(&raw.defined, source)),
            Raw::List(items) => {
                YamlValue::List(items.into_iter().map(|item| Self::from_raw(item, source)).collect())
            }
            Raw::Map(entries) => {
                let entry = |(key, value): (Spanned<Raw>, Spanned<Raw>)| {
                    let name = match &key.value {
                        Raw::Text(text) => text.clone(),
                        _ => written_scalar(&key.defined, source),
                    };
                    let line = line_of(&key.referenced);
                    let mut value = Self::from_raw(value, source);
                    // A block below its key starts a line later; its key is where a person looks.
                    if !matches!(value.value, YamlValue::Text(_)) {
                        value.line = line;
                    }
                    (YamlKey { line, name }, value)
                };
                YamlValue::Map(entries.into_iter().map(entry).collect())
            }
        };
        Self { line, value }
    }

    /// The line of what a path leads to, or of the last part of it that is there: a missing key is reported where
    /// its block begins, a key of a long form where the short form stands.
    pub(crate) fn line_of(&self, at: &At) -> usize {
        let mut node = self;
        for step in at.steps() {
            let Some(next) = node.find_below(step) else { break };
            node = next;
        }
        node.line
    }

    /// Finds what stands at a path.
    pub(crate) fn find_node(&self, at: &At) -> Option<&YamlNode> {
        at.steps().iter().try_fold(self, Self::find_below)
    }

    fn find_below(&self, step: &KeyStep) -> Option<&YamlNode> {
        match (step, &self.value) {
            (KeyStep::Key(name), YamlValue::Map(entries)) => {
                entries.iter().find(|(key, _)| key.name == *name).map(|(_, value)| value)
            }
            (KeyStep::Index(index), YamlValue::List(items)) => items.get(*index),
            _ => None,
        }
    }
}

impl YamlValue {
    /// Names what it is, for a message that does not quote it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Text(_) => "a plain value",
            Self::List(_) => "a list",
            Self::Map(_) => "a block of keys",
        }
    }
}

impl YamlError {
    fn from_error(error: &Error, text: &str) -> Self {
        let line = error.location().map(|location| line_of(&location)).filter(|line| *line > 0);
        let what = match error.without_snippet() {
            // The parser's own sentences are constant; every other variant may quote the file.
            Error::ExternalMessage { msg, .. } => format!("not valid YAML: {msg}"),
            Error::MultipleDocuments { .. } => {
                "a second document begins here; one file is one document".into()
            }
            Error::UnknownAnchor { .. } => {
                "a value that begins with * refers to an anchor, and there is none of that name".into()
            }
            Error::Budget { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. } => {
                "larger or deeper than any configuration is".into()
            }
            _ => "not valid YAML for a configuration".into(),
        };
        let near = line.map(|line| text.lines().skip(line.saturating_sub(2)).take(2)).into_iter().flatten();
        let remedy = if near.clone().any(|line| line.contains("${")) {
            "`${…}` inside { } or [ ] must be quoted: \"${file:/path}\""
        } else if near.clone().any(|line| line.contains('\t')) {
            "Indent with blanks, not with tabs"
        } else {
            ""
        };
        Self { line, what, remedy }
    }
}

fn line_of(location: &Location) -> usize {
    usize::try_from(location.line()).unwrap_or(usize::MAX)
}

/// The bytes of a scalar as they stand in the file.
fn written_scalar(location: &Location, source: &str) -> String {
    let span = location.span();
    let (Some(start), Some(length)) = (span.byte_offset(), span.byte_len()) else { return String::new() };
    let range = usize::try_from(start).ok().zip(usize::try_from(start.saturating_add(length)).ok());
    range.and_then(|(start, end)| source.get(start..end)).unwrap_or_default().trim().to_owned()
}

/// The value as serde hands it over; scalars that YAML takes for numbers or truth values are looked up in the source.
enum Raw {
    Nothing,
    AsWritten,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::AsWritten)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::AsWritten)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::AsWritten)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::AsWritten)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::AsWritten)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::AsWritten)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.into()))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &YamlNode) -> String {
        match &node.value {
            YamlValue::Nothing => format!("{}:-", node.line),
            YamlValue::Text(text) => format!("{}:{text:?}", node.line),
            YamlValue::List(items) => {
                format!("{}:[{}]", node.line, items.iter().map(show).collect::<Vec<_>>().join(" "))
            }
            YamlValue::Map(entries) => {
                let entry =
                    |(key, value): &(YamlKey, YamlNode)| format!("{}:{}={}", key.line, key.name, show(value));
                format!("{}:{{{}}}", node.line, entries.iter().map(entry).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[test]
    fn scalars_stay_as_written_and_know_their_line() {
        let text = "# head\na: 0123 # note\nb: off\nc: 1e5\nd:\n\"e\": 'it''s'\nf: .inf\na: again\n1: x\n<<: y\n\
                    g: !!binary aGk=\nh: &k 7\ni: *k\n";
        assert_eq!(
            YamlNode::parse_document(text).map(|node| show(&node)).unwrap(),
            r#"2:{2:a=2:"0123" 3:b=3:"off" 4:c=4:"1e5" 5:d=5:- 6:e=6:"it's" 7:f=7:".inf" 8:a=8:"again" 9:1=9:"x" 10:<<=10:"y" 11:g=11:"aGk=" 12:h=12:"7" 13:i=13:"7"}"#
        );
        let text = "a:\n  - b: 1\n    c:\n      d: 2\n  - 3\n";
        assert_eq!(
            YamlNode::parse_document(text).map(|node| show(&node)).unwrap(),
            r#"1:{1:a=1:[2:{2:b=2:"1" 3:c=3:{4:d=4:"2"}} 5:"3"]}"#
        );
    }

    #[test]
    fn a_line_is_that_of_the_last_part_that_is_there() {
        let root =
            YamlNode::parse_document("a:\n  b:\n    - c: 1\n    - d: 2\nupstream: http://x\n").ok().unwrap();
        for (path, line) in [("a.b[1].d", 4), ("a.b[1].x", 4), ("a.x", 1), ("upstream.url", 5), ("x", 1)] {
            assert_eq!(root.line_of(&At::from(path)), line, "{path}");
        }
        assert!(
            root.find_node(&At::from("a.b[0].c")).is_some() && root.find_node(&At::from("a.b[2]")).is_none()
        );
    }

    #[test]
    fn what_is_no_yaml_is_said_without_quoting_it() {
        let failed =
            |text: &str| YamlNode::parse_document(text).err().map(|e| (e.line, e.what, e.remedy)).unwrap();
        let quote = "`${…}` inside { } or [ ] must be quoted: \"${file:/path}\"";
        assert_eq!(failed("a: { b: ${file:/x} }\n").2, quote);
        assert_eq!(
            failed("x: 1\na: [${env:X}]\n"),
            (Some(2), "not valid YAML: while parsing a flow sequence, expected ',' or ']'".into(), quote)
        );
        assert_eq!(failed("a: b\n\tc: d\n").2, "Indent with blanks, not with tabs");
        assert_eq!(failed("a: 1\n---\nb: 2\n").0, Some(3));
        for text in
            ["a: \"hunter2\n", "a: *hunter2\n", "a: hunter2: x\n", "a: !<hunter2 x\n", "a: @hunter2\n"]
        {
            assert!(!failed(text).1.contains("hunter2"), "{text}");
        }
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(failed(&deep).1.contains("deeper"), "{}", failed(&deep).1);
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let before = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", ")));
        }
        assert!(YamlNode::parse_document(&text).is_err());
    }
}

//! Names of headers: which may be written, and which names the preset's headers get.

use std::borrow::Cow;

use http::HeaderName;
use portcullis_policy::{HeaderEncoding, HeaderSource};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::EncodingWord;
use crate::at::{At, show_value};
use crate::node::{YamlNode, YamlValue};
use crate::read::{BlockFields, FromYaml, lengthen_block, read_text};
use crate::report::Report;

/// Fields that frame a message, belong to one connection, or carry our own cookie: nobody writes or strips them by the file. A
/// final `*` stands for any ending.
const FRAMES: [&str; 18] = [
    "host",
    "connection",
    "close",
    "keep-alive",
    "upgrade",
    "content-*",
    "transfer-encoding",
    "te",
    "trailer",
    "expect",
    "cookie",
    "set-cookie",
    "http2-settings",
    "proxy-connection",
    "sec-websocket-*",
    "x-portcullis",
    "x-portcullis-*",
    "proxy-authorization",
];

/// Fields that a client says, or that we say in another way: nobody writes them by the file.
const SAID_OTHERWISE: [&str; 28] = [
    "accept",
    "user-agent",
    "date",
    "cache-control",
    "proxy",
    "accept-encoding",
    "access-control-*",
    "x-http-method*",
    "x-method-override",
    "x-original-*",
    "x-rewrite-*",
    "x-real-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "sec-*",
    "forwarded",
    "via",
    "alt-svc",
    "origin",
    "referer",
    "range",
    "if-*",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-id",
    "traceparent",
    "tracestate",
];

/// Tells whether a name, or one with a final `*`, may mean a field of a list.
fn may_mean(list: &[&str], name: &str) -> bool {
    let parts = |text: &str| match text.strip_suffix('*') {
        Some(stem) => (WritableName::fold_text(stem), true),
        None => (WritableName::fold_text(text), false),
    };
    let (name, name_is_open) = parts(name);
    list.iter().any(|listed| {
        let (listed, is_open) = parts(listed);
        listed == name
            || (is_open && name.starts_with(&listed))
            || (name_is_open && listed.starts_with(&name))
    })
}

/// The name of a header that may be written: letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WritableName(pub HeaderName);

impl FromYaml for WritableName {
    const WANTED: &'static str = "the name of a header, such as X-Gate";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        Self::parse_name(text, node.line, at, report)
    }
}

impl WritableName {
    /// Reads a name that stands at a place.
    pub(crate) fn parse_name(name: &str, line: usize, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let lower = name.to_ascii_lowercase();
        let begins_well = name.starts_with(|first: char| first.is_ascii_alphabetic());
        let (what, remedy) = match HeaderName::from_bytes(lower.as_bytes()) {
            Ok(parsed) if name.len() <= 64 && begins_well && name.bytes().all(fits) => {
                if !may_mean(&FRAMES, &lower) && !may_mean(&SAID_OTHERWISE, &lower) {
                    return Some(Self(parsed));
                }
                let what = match Self::fold_text(&lower).starts_with("x-portcullis") {
                    true => "begins as our own headers do",
                    false => "is not for the file to say: it is the client's, or Portcullis writes it itself",
                };
                (what.to_owned(), "Choose another name".to_owned())
            }
            _ => (
                format!("\"{}\" is not the name of a header", show_value(name)),
                "Write letters, digits, - and _, a letter first, such as X-Remote-User".to_owned(),
            ),
        };
        report.problem_on(line, at, what, remedy);
        None
    }

    /// The name as servers behind us may take it: what is no letter or digit is the same there.
    pub(crate) fn folded(name: &HeaderName) -> String {
        Self::fold_text(name.as_str())
    }

    fn fold_text(name: &str) -> String {
        name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
    }
}

/// One name of `headers.strip`; a final `*` stands for any ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StripName(pub(crate) String);

impl FromYaml for StripName {
    const WANTED: &'static str = "the name of a header, such as X-Legacy-User";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        let stem = text.strip_suffix('*').unwrap_or(text);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (3..=64).contains(&stem.len()) && stem.bytes().all(fits) {
            if !may_mean(&FRAMES, text) {
                return Some(Self(text.to_ascii_lowercase()));
            }
            let what = format!("{text} would take out what a request cannot be without");
            return report.add_problem(node, at, what, "Name the headers that the application believes");
        }
        report.add_problem(
            node,
            at,
            format!("\"{}\" is not the name of a header", show_value(text)),
            "Write at least three letters, digits, - and _, and * at the end for any ending",
        )
    }
}

impl JsonSchema for StripName {
    fn schema_name() -> Cow<'static, str> {
        "StripName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^[A-Za-z0-9_-]{3,64}\*?$" })
    }
}

/// What a name is given to.
const ROLES: [(&str, HeaderSource); 6] = [
    ("user", HeaderSource::Name),
    ("email", HeaderSource::Email),
    ("groups", HeaderSource::Groups),
    ("roles", HeaderSource::Roles),
    ("name", HeaderSource::DisplayName),
    ("preferred_username", HeaderSource::PreferredUsername),
];

/// `headers.names`: other names for what a preset says.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderNames(pub(crate) Vec<RenamedHeader>);

/// What one header of the preset becomes.
#[derive(Clone, Debug)]
pub(crate) struct RenamedHeader {
    /// The key: `user`.
    pub(crate) key: &'static str,
    /// What it says.
    pub(crate) source: HeaderSource,
    /// Its new name; none for `off`.
    pub(crate) name: Option<WritableName>,
    /// How it is written, where that is said.
    pub(crate) encoding: Option<HeaderEncoding>,
}

impl FromYaml for HeaderNames {
    const WANTED: &'static str = "names of headers, such as user: X-Remote-User";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let keys = ROLES.clone().map(|(key, _)| key);
        BlockFields::open_block(node, at, report, &keys)?;
        let YamlValue::Map(entries) = &node.value else { return Some(Self::default()) };
        let mut names = Vec::new();
        let before = report.problems.len();
        for (key, value) in entries {
            let Some((key, source)) = ROLES.into_iter().find(|(known, _)| *known == key.name) else {
                continue;
            };
            names.extend(RenamedHeader::read_value(key, source, value, &at.below_key(key), report));
        }
        (report.problems.len() == before).then_some(Self(names))
    }
}

impl RenamedHeader {
    fn read_value(
        key: &'static str,
        source: HeaderSource,
        node: &YamlNode,
        at: &At,
        report: &mut Report<'_>,
    ) -> Option<Self> {
        let node = lengthen_block(node.clone(), "name");
        let fields = BlockFields::open_block(&node, at, report, &["name", "encoding"])?;
        let name: String = fields.take_field("name", None, report)?;
        // YAML 1.2 has no other word for it.
        let name = match name.as_str() {
            "off" => None,
            "no" | "No" | "NO" | "Off" | "OFF" | "none" | "false" => {
                report.problem_on(node.line, at, format!("{name} is no name of a header"), "Write off");
                return None;
            }
            name => Some(WritableName::parse_name(name, node.line, at, report)?),
        };
        let encoding = fields.take_field("encoding", None, report).unwrap_or_default();
        Some(Self { key, source, name, encoding })
    }
}

impl JsonSchema for HeaderNames {
    fn schema_name() -> Cow<'static, str> {
        "HeaderNames".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut encoding = EncodingWord::json_schema(generator);
        encoding.insert("description".to_owned(), "How it is written.".into());
        let name = serde_json::json!({
            "type": "string",
            "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$",
            "description": "The name, or off for no header.",
        });
        json_schema!({
            "type": "object",
            "propertyNames": { "enum": ROLES.map(|(key, _)| key) },
            "additionalProperties": { "anyOf": [{ "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$" }, {
                "type": "object",
                "additionalProperties": false,
                "required": ["name"],
                "properties": { "name": name, "encoding": encoding },
            }] },
        })
    }
}

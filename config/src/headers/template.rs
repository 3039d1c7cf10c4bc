//! `headers.templates`: further headers, as texts in which something known of the person stands, or a secret.

use std::borrow::Cow;

use portcullis_policy::HeaderEncoding;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{EncodingWord, WritableName};
use crate::at::{At, show_value};
use crate::node::{YamlNode, YamlValue};
use crate::read::{BlockFields, FromYaml, lengthen_block, missing_value, read_text};
use crate::report::Report;
use crate::secret::SecretText;

/// The most headers that are set by name.
const MOST: usize = 50;

/// `headers.templates`, in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeaderTemplates(pub(crate) Vec<HeaderTemplate>);

/// One header that is set by name.
#[derive(Clone, Debug)]
pub(crate) struct HeaderTemplate {
    /// The key as it is written.
    pub(crate) key: String,
    /// Its name.
    pub(crate) name: WritableName,
    /// Its text.
    pub(crate) text: TemplateText,
    /// The text where something in it is not known.
    pub(crate) default: Option<String>,
    /// How it is written, where that is said.
    pub(crate) encoding: Option<HeaderEncoding>,
}

/// The text of a template.
#[derive(Clone, Debug)]
pub(crate) struct TemplateText(pub(crate) Vec<PartText>);

/// A part of it.
#[derive(Clone, Debug)]
pub(crate) enum PartText {
    /// As it is.
    Literal(String),
    /// The name of something that is known of the person: `user.department`.
    Person(String),
    /// A secret.
    Secret(SecretText),
}

impl FromYaml for HeaderTemplates {
    const WANTED: &'static str = "names of headers, each with its text";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let entries = match &node.value {
            YamlValue::Map(entries) => entries,
            YamlValue::Nothing => return missing_value(node, at, report),
            other => {
                let what = format!("{} where names of headers belong", other.kind());
                return report.add_problem(node, at, what, "Write X-Department: ${user.department} below it");
            }
        };
        if entries.len() > MOST {
            return report.add_problem(node, at, format!("more than {MOST} headers"), "Keep those in use");
        }
        let (mut templates, before) = (Vec::new(), report.problems.len());
        for (key, value) in entries {
            let at = at.below_key(&key.name);
            let name = WritableName::parse_name(&key.name, key.line, &at, report);
            let template = HeaderTemplate::read_value(&key.name, name, value, &at, report);
            templates.extend(template);
        }
        (report.problems.len() == before).then_some(Self(templates))
    }
}

impl HeaderTemplate {
    fn read_value(
        key: &str,
        name: Option<WritableName>,
        node: &YamlNode,
        at: &At,
        report: &mut Report<'_>,
    ) -> Option<Self> {
        if matches!(node.value, YamlValue::Nothing) {
            let remedy = "Write a text, such as ${user.department}";
            return report.add_problem(node, at, "nothing stands behind the colon", remedy);
        }
        let node = lengthen_block(node.clone(), "value");
        let fields = BlockFields::open_block(&node, at, report, &["value", "default", "encoding"])?;
        let text: Option<TemplateText> = fields.take_field("value", None, report);
        let default: Option<DefaultText> = fields.take_field("default", None, report).unwrap_or_default();
        let encoding: Option<HeaderEncoding> =
            fields.take_field("encoding", None, report).unwrap_or_default();
        let default = default.map(|DefaultText(text)| text);
        if let Some(text) = &text {
            text.check_beside(default.is_some(), encoding.is_some(), &node, at, report)?;
        }
        Some(Self { key: key.to_owned(), name: name?, text: text?, default, encoding })
    }
}

impl TemplateText {
    /// Refuses what says nothing beside it: a default, or an encoding, of what is the same for everybody.
    fn check_beside(
        &self,
        has_default: bool,
        has_encoding: bool,
        node: &YamlNode,
        at: &At,
        report: &mut Report<'_>,
    ) -> Option<()> {
        let speaks_of_person = self.0.iter().any(|part| matches!(part, PartText::Person(_)));
        let (key, what, remedy) = if has_default && !speaks_of_person {
            ("default", "the text is always known", "Leave it out")
        } else if has_encoding && !speaks_of_person {
            ("encoding", "the text is written as it stands", "Leave it out")
        } else {
            return Some(());
        };
        report.add_problem(node, &at.below_key(key), what, remedy)
    }
}

/// The most bytes of a `default`.
const LONGEST_DEFAULT: usize = 1024;

const FORM: &str = "Known inside ${ }: user.ATTRIBUTE of the directory, name, email, groups, roles, subject, display_name, \
                    preferred_username; and file:, env: and run: for a secret";

impl FromYaml for TemplateText {
    const WANTED: &'static str = "a text such as ${user.department}";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = match &node.value {
            YamlValue::Text(text) => text.as_str(),
            YamlValue::Nothing => return missing_value(node, at, report),
            other => {
                let what = format!("{} where a text belongs", other.kind());
                return report.add_problem(node, at, what, "Write a text such as ${user.department}");
            }
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find("${") {
            let Some(end) = rest[begin..].find('}') else {
                return report.add_problem(node, at, "a ${ is never closed", "Close it by }");
            };
            let (literal, inner) = (&rest[..begin], &rest[begin + 2..begin + end]);
            if !literal.is_empty() {
                parts.push(PartText::Literal(literal.to_owned()));
            }
            if ["file:", "env:", "run:"].iter().any(|kind| inner.starts_with(kind)) {
                let reference = YamlNode {
                    line: node.line,
                    value: YamlValue::Text(rest[begin..=begin + end].to_owned()),
                };
                parts.push(PartText::Secret(SecretText::read(&reference, at, report)?));
            } else if inner.trim().is_empty() {
                return report.add_problem(node, at, "nothing stands inside ${ }", FORM);
            } else {
                parts.push(PartText::Person(inner.trim().to_owned()));
            }
            rest = &rest[begin + end + 1..];
        }
        if !rest.is_empty() {
            parts.push(PartText::Literal(rest.to_owned()));
        }
        let of = |wanted: fn(&PartText) -> bool| parts.iter().any(wanted);
        if of(|part| matches!(part, PartText::Person(_))) && of(|part| matches!(part, PartText::Secret(_))) {
            let what = "a secret and something of the person in one header";
            return report.add_problem(node, at, what, "Write two headers");
        }
        let literals = parts.iter().filter_map(|part| match part {
            PartText::Literal(text) => Some(text.as_str()),
            _ => None,
        });
        let is_visible = |text: &str| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !literals.clone().all(is_visible) || text != text.trim() || text.is_empty() {
            let what = "a header's own text is of visible ASCII, without blanks at its ends, and not empty";
            return report.add_problem(
                node,
                at,
                what,
                "Write other text; what is known of the person may be anything",
            );
        }
        Some(Self(parts))
    }
}

/// The text of a `default`.
struct DefaultText(String);

impl FromYaml for DefaultText {
    const WANTED: &'static str = "a text such as none";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        let is_visible = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if is_visible && !text.is_empty() && text == text.trim() && text.len() <= LONGEST_DEFAULT {
            return Some(Self(text.to_owned()));
        }
        let what = format!("\"{}\" cannot stand in a header", show_value(text));
        report.add_problem(node, at, what, "Write visible ASCII, at most 1 KiB, without blanks at the ends")
    }
}

impl JsonSchema for HeaderTemplates {
    fn schema_name() -> Cow<'static, str> {
        "HeaderTemplates".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut encoding = EncodingWord::json_schema(generator);
        encoding.insert("description".to_owned(), "How it is written.".into());
        let text = |description: &str| serde_json::json!({ "type": "string", "minLength": 1, "description": description });
        let value = text("The text, with ${user.department} and the like, or a reference to a secret.");
        let default = text("The text where something in it is not known.");
        json_schema!({
            "type": "object",
            "maxProperties": MOST,
            "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$" },
            "additionalProperties": { "anyOf": [{ "type": "string", "minLength": 1 }, {
                "type": "object",
                "additionalProperties": false,
                "required": ["value"],
                "properties": { "value": value, "default": default, "encoding": encoding },
            }] },
        })
    }
}

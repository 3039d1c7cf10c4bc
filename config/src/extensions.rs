//! `scim.extensions`: attributes of users that the standard does not have, each with its type.
//!
//! Whatever is declared is acted on; what would say nothing at its type is refused, and so is what no client could name.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::At;
use crate::extension_urn::{LONGEST_NAME, name_in_urn};
use crate::node::{YamlKey, YamlNode, YamlValue};
use crate::read::{BlockFields, FromYaml, lengthen_block, missing_value, words};
use crate::report::Report;

/// The most extensions of a directory.
const MOST_EXTENSIONS: usize = 8;
/// The most attributes of an extension, and parts of one.
const MOST_ATTRIBUTES: usize = 100;
/// The most values that are suggested for an attribute.
const MOST_CANONICAL: usize = 100;

const FORM: &str = "Write urn:ietf:params:scim:schemas:extension:NAME:2.0:User, with a name of letters, digits, - and _, \
                    at most 64, such as acme";

/// The extensions of User that a file declares, in the order in which they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScimExtensions(pub Vec<ScimExtension>);

/// One extension of User; at least one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScimExtension {
    /// `urn:ietf:params:scim:schemas:extension:acme:2.0:User`.
    pub urn: String,
    /// The name within it: `acme`.
    pub name: String,
    /// Its attributes, 1 to 100; no two names differ in case alone.
    pub attributes: Vec<DeclaredAttribute>,
}

/// One attribute of an extension, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredAttribute {
    /// Its name: a letter, then letters, digits, `-` and `_`, at most 64.
    pub name: String,
    /// The type of one value.
    pub kind: ValueType,
    /// True where it is a list.
    pub multi_valued: bool,
    /// True where text is compared byte for byte.
    pub case_exact: bool,
    /// True where whoever has anything of the extension must have it.
    pub required: bool,
    /// True where no two users of a directory may have the same value.
    pub unique: bool,
    /// True where clients only read it, and `portcullis import --map` writes it.
    pub read_only: bool,
    /// Suggested values, at most 100.
    pub canonical: Vec<String>,
    /// The parts of a complex one, 1 to 100; they have none themselves.
    pub parts: Vec<DeclaredAttribute>,
}

words! {
    /// The type of a value (RFC 7643 §2.3).
    pub enum ValueType {
        /// Text.
        String = "string",
        /// `true` or `false`.
        Boolean = "boolean",
        /// A whole number of 64 bits.
        Integer = "integer",
        /// A number, kept as a double.
        Decimal = "decimal",
        /// A moment, as RFC 3339 writes it.
        DateTime = "dateTime",
        /// A URI.
        Reference = "reference",
        /// Parts with names, listed below `attributes`.
        Complex = "complex",
    }
    refused {
        "binary" => "is nothing that a filter could find, and is not kept here",
        "text" => "is written string",
        "bool" => "is written boolean",
        "int" => "is written integer",
        "number" => "is written integer or decimal",
        "float" => "is written decimal",
        "double" => "is written decimal",
        "date" => "is written dateTime",
        "timestamp" => "is written dateTime",
        "uri" => "is written reference",
        "url" => "is written reference",
        "object" => "is written complex, with its parts below attributes",
        "array" => "is written as the type of one value, with multi_valued: true",
        "list" => "is written as the type of one value, with multi_valued: true",
    }
}

words! {
    /// Whoever writes an attribute (RFC 7643 §2.2).
    enum MutabilityWord {
        /// SCIM clients.
        ReadWrite = "readWrite",
        /// `portcullis import --map`; clients only read it.
        ReadOnly = "readOnly",
    }
    refused {
        "immutable" => "is not kept apart here: an attribute is readWrite or readOnly",
        "writeOnly" => "would be what nobody ever reads",
    }
}

impl FromYaml for ScimExtensions {
    const WANTED: &'static str = "a URN and below it attributes";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let entries = entries_of(node, at, report, "a URN")?;
        if entries.len() > MOST_EXTENSIONS {
            let what = format!("more than {MOST_EXTENSIONS} extensions");
            return report.add_problem(node, at, what, "Join some: one may have 100 attributes");
        }
        let mut found = Some(Vec::new());
        for (nth, (key, value)) in entries.iter().enumerate() {
            let at = at.below_key(&key.name);
            let is_new = check_new(&entries[..nth], key, &at, report);
            let name = read_urn(key, &at, report);
            let attributes = read_attributes(value, &at, report, Level::Attribute);
            match (is_new, name, attributes) {
                (true, Some(name), Some(attributes)) => found.iter_mut().for_each(|found: &mut Vec<_>| {
                    let (urn, name, attributes) = (key.name.clone(), name.clone(), attributes.clone());
                    found.push(ScimExtension { urn, name, attributes });
                }),
                _ => found = None,
            }
        }
        found.map(Self)
    }
}

/// Reads a URN, and gives the name within it.
fn read_urn(key: &YamlKey, at: &At, report: &mut Report<'_>) -> Option<String> {
    let (what, remedy) = match name_in_urn(&key.name) {
        Some(name) if name.eq_ignore_ascii_case("enterprise") => {
            ("this extension is the standard's own, and is there already", "Give yours another name")
        }
        Some(name) => return Some(name.to_owned()),
        None if key.name.to_ascii_lowercase().starts_with("urn:ietf:params:scim:schemas:core:") => {
            ("a schema of the standard is declared by nobody else", FORM)
        }
        None => ("not the URN of an extension of User", FORM),
    };
    report.problem_on(key.line, at, what, remedy);
    None
}

/// The entries of a block whose keys are names.
fn entries_of<'n>(
    node: &'n YamlNode,
    at: &At,
    report: &mut Report<'_>,
    wanted: &str,
) -> Option<&'n [(YamlKey, YamlNode)]> {
    match &node.value {
        YamlValue::Map(entries) => Some(entries),
        YamlValue::Nothing => {
            missing_value::<ScimExtensions>(node, at, report);
            None
        }
        other => {
            let what = format!("{} where {wanted} belongs", other.kind());
            report.add_problem(node, at, what, "Write each name on its own line, with a colon behind it")
        }
    }
}

/// Names of SCIM are the same in whatever case (RFC 7643 §2.1).
fn check_new(before: &[(YamlKey, YamlNode)], key: &YamlKey, at: &At, report: &mut Report<'_>) -> bool {
    let Some((first, _)) = before.iter().find(|(other, _)| other.name.eq_ignore_ascii_case(&key.name)) else {
        return true;
    };
    let how = if first.name == key.name { "written twice" } else { "written twice, in another case" };
    report.problem_on(key.line, at, format!("{how}, first on line {}", first.line), "Keep one");
    false
}

/// Where an attribute stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Of an extension.
    Attribute,
    /// Of a complex attribute.
    Part,
}

fn read_attributes(
    node: &YamlNode,
    at: &At,
    report: &mut Report<'_>,
    level: Level,
) -> Option<Vec<DeclaredAttribute>> {
    let entries = entries_of(node, at, report, "the name of an attribute")?;
    if entries.is_empty() {
        return report.add_problem(
            node,
            at,
            "no attribute stands below it",
            "Write one, such as costCenter: string",
        );
    }
    if entries.len() > MOST_ATTRIBUTES {
        let what = format!("more than {MOST_ATTRIBUTES} attributes");
        return report.add_problem(node, at, what, "Keep those in use");
    }
    let mut found = Some(Vec::new());
    for (nth, (key, value)) in entries.iter().enumerate() {
        let at = at.below_key(&key.name);
        let is_new = check_new(&entries[..nth], key, &at, report);
        let is_name = check_name(key, &at, report);
        let attribute = read_attribute(&key.name, value, &at, report, level);
        match attribute.filter(|_| is_new && is_name) {
            Some(attribute) => found.iter_mut().for_each(|found| found.push(attribute.clone())),
            None => found = None,
        }
    }
    found
}

/// What a filter and a path can name (RFC 7644, figure 1).
fn check_name(key: &YamlKey, at: &At, report: &mut Report<'_>) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let name = &key.name;
    let is_name = name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(fits);
    if !is_name {
        let remedy = "Use letters, digits, - and _, at most 64, beginning with a letter";
        report.problem_on(key.line, at, "not a name that an attribute may have", remedy);
    }
    is_name
}

const KEYS: [&str; 8] =
    ["type", "multi_valued", "case_exact", "required", "unique", "mutability", "canonical", "attributes"];

fn read_attribute(
    name: &str,
    node: &YamlNode,
    at: &At,
    report: &mut Report<'_>,
    level: Level,
) -> Option<DeclaredAttribute> {
    if matches!(node.value, YamlValue::Nothing) {
        return report.add_problem(
            node,
            at,
            "nothing stands behind the colon",
            "Write its type, such as string",
        );
    }
    let node = lengthen_block(node.clone(), "type");
    let before = report.problems.len();
    let fields = BlockFields::open_block(&node, at, report, &KEYS)?;
    let key_of = |name: &str| match &node.value {
        YamlValue::Map(entries) => entries.iter().find(|(key, _)| key.name == name),
        _ => None,
    };
    let kind: Option<ValueType> = fields.take_field("type", None, report);
    let mut flag = |name: &str| fields.take_field::<bool>(name, Some("false"), report).unwrap_or(false);
    let (multi_valued, case_exact) = (flag("multi_valued"), flag("case_exact"));
    let (required, unique) = (flag("required"), flag("unique"));
    let mutability = fields.take_field("mutability", Some("readWrite"), report);
    let read_only = mutability == Some(MutabilityWord::ReadOnly);
    let canonical: Vec<String> = fields.take_field("canonical", Some("[]"), report).unwrap_or_default();

    let mut refuse = |name: &str, what: &str, remedy: &str| {
        if let Some((key, _)) = key_of(name) {
            report.problem_on(key.line, &at.below_key(name), what, remedy);
        }
    };
    if level == Level::Part {
        for key in ["multi_valued", "required", "unique", "mutability", "attributes"] {
            refuse(key, "has no meaning for a part of a complex attribute", "Leave it out");
        }
        if kind == Some(ValueType::Complex) {
            refuse(
                "type",
                "a complex attribute has no complex parts (RFC 7643 §2.3.8)",
                "Write a simple type",
            );
        }
        if name.eq_ignore_ascii_case("primary") && kind.is_some_and(|kind| kind != ValueType::Boolean) {
            refuse(
                "type",
                "primary says which element of a list is preferred",
                "Write boolean, or another name",
            );
        }
    }
    if kind.is_some_and(|kind| kind != ValueType::String) {
        for key in ["case_exact", "canonical"] {
            refuse(key, "has a meaning for type: string alone", "Leave it out");
        }
    }
    if unique && level == Level::Attribute {
        let why = match kind {
            _ if multi_valued => Some("of a list nobody could say which value is taken"),
            Some(ValueType::Complex) => Some("of a complex attribute nobody could say which part is meant"),
            Some(ValueType::Boolean) => Some("of true and false two people would have all there are"),
            _ => None,
        };
        if let Some(why) = why {
            refuse("unique", why, "Leave unique out");
        }
    }
    if read_only && level == Level::Attribute {
        if required {
            let what = "no client could give what only portcullis import --map writes";
            refuse("required", what, "Leave required out");
        }
        if ["userName", "email", "externalId"].iter().any(|key| key.eq_ignore_ascii_case(name)) {
            let what = "this name is that of a column by which a sheet names people";
            refuse("mutability", what, "Give the attribute another name, such as appUserName");
        }
        if multi_valued || kind.is_some_and(|kind| kind != ValueType::String) {
            let what = "portcullis import --map writes single texts, and nobody else would write this one";
            refuse("mutability", what, "Write type: string without multi_valued, or leave mutability out");
        }
    }
    if canonical.len() > MOST_CANONICAL {
        refuse("canonical", "more than 100 values", "Keep the most important ones");
    }
    let is_complex = kind == Some(ValueType::Complex);
    let parts = match key_of("attributes").filter(|_| level == Level::Attribute) {
        Some((key, _)) if kind.is_some() && !is_complex => {
            let remedy = "Write type: complex, or leave it out";
            report.problem_on(
                key.line,
                &at.below_key("attributes"),
                "has a meaning for type: complex alone",
                remedy,
            );
            None
        }
        Some((_, parts)) => read_attributes(parts, &at.below_key("attributes"), report, Level::Part),
        None if is_complex && level == Level::Attribute => {
            let remedy = "Write attributes: { number: integer, site: string } beside it";
            report.add_problem::<()>(&node, at, "a complex attribute without attributes", remedy);
            None
        }
        None => Some(Vec::new()),
    };
    if report.problems.len() > before {
        return None;
    }
    let (kind, parts, name) = (kind?, parts.unwrap_or_default(), name.to_owned());
    Some(DeclaredAttribute {
        name,
        kind,
        multi_valued,
        case_exact,
        required,
        unique,
        read_only,
        canonical,
        parts,
    })
}

impl JsonSchema for ScimExtensions {
    fn schema_name() -> Cow<'static, str> {
        "ScimExtensions".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kind = ValueType::json_schema(generator);
        let part = json_schema!({ "anyOf": [kind.clone(), {
            "type": "object",
            "additionalProperties": false,
            "required": ["type"],
            "properties": text_properties(&kind),
        }] });
        let flag = |description: &str| serde_json::json!({ "type": "boolean", "default": false, "description": description });
        let mut properties = text_properties(&kind);
        properties["multi_valued"] = flag("True where it is a list.");
        properties["required"] = flag("Whoever has anything of this extension must have it.");
        properties["unique"] = flag("No two users of the directory may have the same value.");
        let mut mutability = MutabilityWord::json_schema(generator);
        mutability.insert("default".to_owned(), "readWrite".into());
        let text = "readOnly: portcullis import --map writes it, and clients only read it. Of single texts.";
        mutability.insert("description".to_owned(), text.into());
        properties["mutability"] = mutability.to_value();
        properties["attributes"] = serde_json::json!({
            "type": "object",
            "additionalProperties": part,
            "minProperties": 1,
            "maxProperties": MOST_ATTRIBUTES,
            "description": "The parts of a complex attribute.",
        });
        json_schema!({
            "type": "object",
            "maxProperties": MOST_EXTENSIONS,
            "propertyNames": { "pattern": "^urn:ietf:params:scim:schemas:extension:[A-Za-z0-9_-]{1,64}:2\\.0:User$" },
            "additionalProperties": {
                "type": "object",
                "minProperties": 1,
                "maxProperties": MOST_ATTRIBUTES,
                "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$" },
                "additionalProperties": { "anyOf": [kind, {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["type"],
                    "properties": properties,
                }] },
            },
        })
    }
}

/// The keys that an attribute and a part of one have.
fn text_properties(kind: &Schema) -> serde_json::Value {
    let mut kind = kind.clone();
    kind.insert("description".into(), "The type of one value.".into());
    serde_json::json!({
        "type": kind,
        "case_exact": {
            "type": "boolean",
            "default": false,
            "description": "Text is compared byte for byte.",
        },
        "canonical": {
            "type": "array",
            "items": { "type": "string" },
            "maxItems": MOST_CANONICAL,
            "default": [],
            "description": "Suggested values; others are taken too.",
        },
    })
}

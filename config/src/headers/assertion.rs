//! `headers.assertion`: the header that is signed.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::node::{YamlNode, YamlValue};
use crate::read::{BlockFields, FromYaml};
use crate::report::Report;

/// `off`, `on`, or a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AssertionBlock {
    Off,
    On {
        /// Whom it is meant for; the public address where left out.
        audience: Option<String>,
    },
}

impl FromYaml for AssertionBlock {
    const WANTED: &'static str = "on, off or a block with audience";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        match &node.value {
            YamlValue::Text(word) => match word.as_str() {
                "on" | "true" => Some(Self::On { audience: None }),
                "off" | "false" => Some(Self::Off),
                other => {
                    let what = format!("\"{}\" is not known here", show_value(other));
                    report.add_problem(node, at, what, "Write on, off, or a block with audience")
                }
            },
            _ => {
                let fields = BlockFields::open_block(node, at, report, &["audience"])?;
                let audience: Option<String> = fields.take_field("audience", None, report)?;
                let Some(audience) = audience else { return Some(Self::On { audience: None }) };
                if (1..=200).contains(&audience.len()) && audience.bytes().all(|byte| byte.is_ascii_graphic())
                {
                    return Some(Self::On { audience: Some(audience) });
                }
                let what = format!("\"{}\" is no audience", show_value(&audience));
                let remedy = "Write 1 to 200 visible characters without a blank, such as wiki or an address";
                report.add_problem(node, &at.below_key("audience"), what, remedy)
            }
        }
    }
}

impl JsonSchema for AssertionBlock {
    fn schema_name() -> Cow<'static, str> {
        "Assertion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["on", "off", true, false] }, {
            "type": "object",
            "additionalProperties": false,
            "properties": { "audience": {
                "type": "string",
                "pattern": "^[!-~]{1,200}$",
                "description": "Whom it is meant for (RFC 7519 §4.1.3); public_url where left out.",
            } },
        }] })
    }
}

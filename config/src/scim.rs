//! `scim`: the directory and the one client that feeds it.

use std::borrow::Cow;

use portcullis_policy::{GroupPatch, PublicUrl};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::node::{YamlNode, YamlValue};
use crate::read::{FromYaml, read_text, section};
use crate::report::Report;
use crate::secret::SecretText;
use crate::web::PublicUrlText;

section! {
    /// The directory and the SCIM client that feeds it.
    pub struct ScimBlock {
        /// Where the SCIM client reaches us; its base URL is this and `/scim/v2`.
        #[schemars(with = "PublicUrlText")]
        pub public_url: PublicUrl,
        /// The bearer token of the SCIM client; a list of two while it is being changed.
        pub token: ScimTokens,
        /// The identity providers that may sign the users of this directory in; all where left out.
        pub idps: Option<Vec<String>>,
        /// How groups are answered.
        pub groups: ScimGroups = "{}",
    }
}

section! {
    /// How groups are answered.
    pub struct ScimGroups {
        /// What a PATCH of a group is answered with: 204, or 200 with the group for clients that insist.
        #[schemars(with = "GroupPatchWord")]
        pub patch_answer: GroupPatch = "204",
    }
}

impl FromYaml for GroupPatch {
    const WANTED: &'static str = "204 or 200";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        match read_text(node, at, report, Self::WANTED)? {
            "204" => Some(Self::Empty),
            "200" => Some(Self::Whole),
            other => report.add_problem(
                node,
                at,
                format!("\"{}\" is no such answer", show_value(other)),
                "Write 204 or 200",
            ),
        }
    }
}

/// The schema of a [`GroupPatch`].
pub(crate) struct GroupPatchWord;

impl JsonSchema for GroupPatchWord {
    fn schema_name() -> Cow<'static, str> {
        "GroupPatch".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [204, 200] })
    }
}

/// One bearer token, or two while it is being changed.
#[derive(Clone, Debug)]
pub struct ScimTokens(Vec<SecretText>);

impl ScimTokens {
    /// Each of them: one or two.
    pub fn iter(&self) -> impl Iterator<Item = &SecretText> {
        self.0.iter()
    }
}

impl FromYaml for ScimTokens {
    const WANTED: &'static str = SecretText::WANTED;

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let YamlValue::List(items) = &node.value else {
            return Some(Self(vec![read_token(node, at, report)?]));
        };
        if !(1..=2).contains(&items.len()) {
            return report.add_problem(
                node,
                at,
                format!("a list of {} tokens", items.len()),
                "Write one, or two while it is being changed",
            );
        }
        let tokens: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(index, item)| read_token(item, &at.below_index(index), report))
            .collect();
        let tokens: Vec<SecretText> = tokens.into_iter().collect::<Option<_>>()?;
        if let [first, second] = tokens.as_slice()
            && report.environment.reads_everything()
            && first.expose() == second.expose()
        {
            return report.add_problem(
                &items[1],
                at,
                "both tokens are the same",
                "Keep one, or make the second one new",
            );
        }
        Some(Self(tokens))
    }
}

/// A secret that can stand in an `Authorization` header (RFC 6750 §2.1).
fn read_token(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<SecretText> {
    const SHORTEST: usize = 24;
    let token = SecretText::read(node, at, report)?;
    let text = token.expose();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return report.add_problem(
            node,
            at,
            "the token has a blank or a character outside ASCII, which no header can carry",
            "Make one with `openssl rand -hex 32`",
        );
    }
    if !text.is_empty() && text.len() < SHORTEST {
        let what = format!(
            "the token has fewer than {SHORTEST} characters, and whoever guesses it owns the directory"
        );
        report.add_warning(node.line, at, what, "Make one with `openssl rand -hex 32`");
    }
    Some(token)
}

impl JsonSchema for ScimTokens {
    fn schema_name() -> Cow<'static, str> {
        "Tokens".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = SecretText::json_schema(generator);
        json_schema!({
            "anyOf": [one.clone(), { "type": "array", "items": one, "minItems": 1, "maxItems": 2 }]
        })
    }
}

//! `scim`: the directory and the one client that feeds it.

use std::borrow::Cow;

use portcullis_policy::{GroupPatch, PublicUrl};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, shown};
use crate::desk::Desk;
use crate::node::{Node, Value};
use crate::read::{Read, section, text};
use crate::secret::Secret;
use crate::web::PublicUrlText;

section! {
    /// The directory and the SCIM client that feeds it.
    pub struct Scim {
        /// Where the SCIM client reaches us; its base URL is this and `/scim/v2`.
        #[schemars(with = "PublicUrlText")]
        pub public_url: PublicUrl,
        /// The bearer token of the SCIM client; a list of two while it is being changed.
        pub token: Tokens,
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

impl Read for GroupPatch {
    const WANTED: &'static str = "204 or 200";

    fn read(node: &Node, at: &At, desk: &mut Desk<'_>) -> Option<Self> {
        match text(node, at, desk, Self::WANTED)? {
            "204" => Some(Self::Empty),
            "200" => Some(Self::Whole),
            other => {
                desk.say(node, at, format!("\"{}\" is no such answer", shown(other)), "Write 204 or 200")
            }
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
pub struct Tokens(Vec<Secret>);

impl Tokens {
    /// Each of them: one or two.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        self.0.iter()
    }
}

impl Read for Tokens {
    const WANTED: &'static str = Secret::WANTED;

    fn read(node: &Node, at: &At, desk: &mut Desk<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else {
            return Some(Self(vec![token(node, at, desk)?]));
        };
        if !(1..=2).contains(&items.len()) {
            return desk.say(
                node,
                at,
                format!("a list of {} tokens", items.len()),
                "Write one, or two while it is being changed",
            );
        }
        let tokens: Vec<_> =
            items.iter().enumerate().map(|(index, item)| token(item, &at.index(index), desk)).collect();
        let tokens: Vec<Secret> = tokens.into_iter().collect::<Option<_>>()?;
        if let [first, second] = tokens.as_slice()
            && desk.environment.reads_everything()
            && first.expose() == second.expose()
        {
            return desk.say(
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
fn token(node: &Node, at: &At, desk: &mut Desk<'_>) -> Option<Secret> {
    const SHORTEST: usize = 24;
    let token = Secret::read(node, at, desk)?;
    let text = token.expose();
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return desk.say(
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
        desk.warn(node.line, at, what, "Make one with `openssl rand -hex 32`");
    }
    Some(token)
}

impl JsonSchema for Tokens {
    fn schema_name() -> Cow<'static, str> {
        "Tokens".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = Secret::json_schema(generator);
        json_schema!({
            "anyOf": [one.clone(), { "type": "array", "items": one, "minItems": 1, "maxItems": 2 }]
        })
    }
}

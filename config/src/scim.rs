//! `scim`: the directory and the clients that feed it.

use std::borrow::Cow;

use portcullis_policy::{GroupPatch, Network, PublicUrl};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::extensions::ScimExtensions;
use crate::network::NetworkText;
use crate::node::{YamlNode, YamlValue};
use crate::read::{FromYaml, read_text, section};
use crate::report::Report;
use crate::secret::SecretText;
use crate::units::Size;
use crate::web::PublicUrlText;

section! {
    /// The directory and the SCIM clients that feed it.
    pub struct ScimBlock {
        /// Where the SCIM client reaches us; its base URL is this and `/scim/v2`, or `/scim/v1` for SCIM 1.1.
        #[schemars(with = "PublicUrlText")]
        pub public_url: PublicUrl,
        /// The bearer token of the SCIM client, or a list of two while it is being changed. It counts beside the tokens
        /// that `portcullis token new` makes; without any, SCIM is answered 401.
        pub token: Option<ScimTokens>,
        /// The identity providers that may sign the users of this directory in; all where left out.
        pub idps: Option<Vec<String>>,
        /// Attributes of users beside those of the standard, each below the URN of its extension.
        pub extensions: ScimExtensions = "{}",
        /// How groups are answered.
        pub groups: ScimGroups = "{}",
        /// The networks from which the directory may be read and written; any where left out.
        pub allow: Option<ScimNetworks>,
        /// The requests that one token may send.
        pub rate: ScimRate = "{}",
        /// The limits of a Bulk, as clients are told.
        pub bulk: ScimBulk = "{}",
    }
}

section! {
    /// The limits of a Bulk (RFC 7644 §3.7.4).
    pub struct ScimBulk {
        /// The most operations of one: `maxOperations`.
        pub operations: OperationCount = "1000",
        /// The largest body: `maxPayloadSize`. Four are held at a time.
        pub body: BulkSize = "4MiB",
    }
}

/// Reads a whole number from 1: what it is wanted as, what it counts, and the most of it.
fn read_count(
    node: &YamlNode,
    at: &At,
    report: &mut Report<'_>,
    (wanted, what, most): (&str, &str, u32),
) -> Option<u32> {
    let text = read_text(node, at, report, wanted)?;
    match text.parse().ok().filter(|count| (1..=most).contains(count)) {
        Some(count) if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(count),
        _ => report.add_problem(
            node,
            at,
            format!("\"{}\" is not a number of {what}", show_value(text)),
            format!("Write a whole number from 1 to {most}"),
        ),
    }
}

/// A number of operations: 1 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationCount(pub u32);

impl FromYaml for OperationCount {
    const WANTED: &'static str = "a whole number such as 1000";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        read_count(node, at, report, (Self::WANTED, "operations", 10_000)).map(Self)
    }
}

impl JsonSchema for OperationCount {
    fn schema_name() -> Cow<'static, str> {
        "OperationCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 10_000 })
    }
}

/// The size of a Bulk: 64 KiB to 32 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkSize(pub Size);

impl FromYaml for BulkSize {
    const WANTED: &'static str = Size::WANTED;

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let size = Size::read(node, at, report)?;
        if (64 << 10..=32 << 20).contains(&size.bytes()) {
            return Some(Self(size));
        }
        let what = format!("{size} is too small for a Bulk or more than is held of one");
        report.add_problem(node, at, what, "Write a size from 64KiB to 32MiB")
    }
}

impl JsonSchema for BulkSize {
    fn schema_name() -> Cow<'static, str> {
        Size::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Size::json_schema(generator)
    }
}

section! {
    /// The requests that one token may send. What takes access away is counted apart, and ten times as many may come.
    pub struct ScimRate {
        /// Requests a second, in the long run.
        pub per_second: RequestCount = "100",
        /// Requests at once.
        pub burst: RequestCount = "1000",
    }
}

/// Networks, one at least.
#[derive(Clone, Debug)]
pub struct ScimNetworks(pub Vec<Network>);

impl FromYaml for ScimNetworks {
    const WANTED: &'static str = "a list of networks such as [192.0.2.0/24]";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let networks: Vec<Network> = FromYaml::read(node, at, report)?;
        if networks.is_empty() {
            let what = "an empty list, so nobody could write";
            return report.add_problem(node, at, what, "Write the networks, or leave the key out");
        }
        Some(Self(networks))
    }
}

impl JsonSchema for ScimNetworks {
    fn schema_name() -> Cow<'static, str> {
        "ScimNetworks".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = NetworkText::json_schema(generator);
        json_schema!({ "type": "array", "items": one, "minItems": 1 })
    }
}

/// A number of requests: 1 to 100,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestCount(pub u32);

impl FromYaml for RequestCount {
    const WANTED: &'static str = "a whole number such as 100";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        read_count(node, at, report, (Self::WANTED, "requests", 100_000)).map(Self)
    }
}

impl JsonSchema for RequestCount {
    fn schema_name() -> Cow<'static, str> {
        "RequestCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 100_000 })
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

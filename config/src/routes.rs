//! `routes`: who may ask for which paths.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;
use portcullis_policy::{Allow, OnChange, Pattern, Rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::nearest;
use crate::node::{YamlNode, YamlValue};
use crate::read::{FromYaml, read_text, section, words_of};
use crate::report::Report;

section! {
    /// One rule: which paths, perhaps which methods, and whom it lets in.
    pub(crate) struct RouteBlock {
        /// The paths: `*` is one segment, `/x/**` is `/x` and all below it. The most specific pattern decides.
        #[schemars(with = "String")]
        pub(crate) path: Pattern,
        /// The methods; all where left out. A method that the deciding rule does not name is refused.
        pub(crate) methods: Option<Methods>,
        /// Whom it lets in: `public`, `signed-in`, or a list of roles of which any will do.
        pub(crate) allow: Whom,
        /// What happens to streams of a person whose identity headers change.
        #[schemars(with = "OnChangeWord")]
        pub(crate) on_change: OnChange = "cut",
        /// The name under `upstreams` of where its requests go; where left out, to `upstream`.
        pub(crate) upstream: Option<String>,
    }
}

words_of! {
    /// The words of an [`OnChange`].
    pub(crate) struct OnChangeWord for OnChange {
        /// They are cut; the client comes back and carries true headers.
        Cut = "cut",
        /// They run on with the headers they had.
        Keep = "keep",
    }
}

impl RouteBlock {
    /// The rule policy knows.
    pub(crate) fn compile_rule(&self) -> Rule {
        Rule {
            pattern: self.path.clone(),
            methods: self.methods.as_ref().map(|methods| methods.0.clone()).unwrap_or_default(),
            allow: self.allow.0.clone(),
            on_change: self.on_change,
            upstream: self.upstream.as_deref().map(Arc::from),
        }
    }
}

impl FromYaml for Pattern {
    const WANTED: &'static str = "a path such as /admin/**";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        match Self::parse_path(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let what = format!("\"{}\" is not a pattern: {error}", show_value(text));
                report.add_problem(
                    node,
                    at,
                    what,
                    "Write /x for one path, /x/* for one segment, /x/** for all below",
                )
            }
        }
    }
}

/// The methods of a rule; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Methods(Vec<Method>);

impl FromYaml for Methods {
    const WANTED: &'static str = "a list of methods such as [GET, POST]";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let items = match &node.value {
            YamlValue::List(items) if !items.is_empty() => items,
            other => {
                let what = format!("{} where a list of methods belongs", other.kind());
                return report.add_problem(node, at, what, "Write [GET, POST], or leave the key out for all");
            }
        };
        let mut methods = Some(Vec::new());
        for (index, item) in items.iter().enumerate() {
            match read_method(item, &at.below_index(index), report) {
                Some(method) => methods.iter_mut().for_each(|all| all.push(method.clone())),
                None => methods = None,
            }
        }
        methods.map(Self)
    }
}

fn read_method(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Method> {
    let text = read_text(node, at, report, "a method such as GET")?;
    if matches!(text.to_ascii_uppercase().as_str(), "TRACE" | "TRACK" | "CONNECT") {
        return report.add_problem(
            node,
            at,
            format!("{} is refused on every path", show_value(text)),
            "Leave it out",
        );
    }
    let capital = text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if capital => Some(method),
        _ => report.add_problem(
            node,
            at,
            format!("\"{}\" is not a method", show_value(text)),
            "Methods are written in capitals: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
    }
}

impl JsonSchema for Methods {
    fn schema_name() -> Cow<'static, str> {
        "Methods".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string", "pattern": "^[A-Z-]+$" }, "minItems": 1 })
    }
}

/// The people whom a rule lets in; whether its roles are known is asked later.
#[derive(Clone, Debug)]
pub(crate) struct Whom(pub(crate) Allow);

/// The words for everybody, and for everybody with a session; no role is called so.
pub(crate) const WORDS: [&str; 2] = ["public", "signed-in"];

impl FromYaml for Whom {
    const WANTED: &'static str = "public, signed-in, or a list of roles";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let items = match &node.value {
            YamlValue::List(items) if items.is_empty() => {
                return report.add_problem(
                    node,
                    at,
                    "an empty list lets nobody in",
                    "Name a role, or leave the rule out: a path without a rule is refused",
                );
            }
            YamlValue::List(items) => items,
            _ => {
                return match read_text(node, at, report, Self::WANTED)? {
                    "public" => Some(Self(Allow::Public)),
                    "signed-in" => Some(Self(Allow::SignedIn)),
                    other => {
                        let near = nearest::find_nearest(other, WORDS);
                        let remedy = near.map_or_else(
                            || {
                                format!(
                                    "Write public, signed-in, or the role in a list: [{}]",
                                    show_value(other)
                                )
                            },
                            |near| format!("Did you mean {near}?"),
                        );
                        report.add_problem(
                            node,
                            at,
                            format!("\"{}\" is neither public nor signed-in", show_value(other)),
                            remedy,
                        )
                    }
                };
            }
        };
        let read = |(index, item): (usize, &YamlNode)| {
            let at = at.below_index(index);
            let role = String::read(item, &at, report)?;
            if WORDS.contains(&role.as_str()) {
                return report.add_problem(
                    item,
                    &at,
                    format!("{role} is no role, and stands alone"),
                    format!("Write allow: {role}, or roles only"),
                );
            }
            Some(role)
        };
        let roles: Vec<Option<String>> = items.iter().enumerate().map(read).collect();
        let roles: Vec<Arc<str>> =
            roles.into_iter().map(|role| role.map(Arc::from)).collect::<Option<_>>()?;
        Some(Self(Allow::Roles(roles.into())))
    }
}

impl JsonSchema for Whom {
    fn schema_name() -> Cow<'static, str> {
        "Whom".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "enum": WORDS },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ]
        })
    }
}

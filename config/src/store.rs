//! `store`: where what must last is kept. SQLite in this version.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::node::{YamlNode, YamlValue};
use crate::read::{FromYaml, read_text, section};
use crate::report::Report;

/// The database's name in the state folder.
pub(crate) const IN_STATE: &str = "portcullis.db";

/// The name of the operator's socket in the state folder. No other socket there has a longer one.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// The place of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreLocation {
    /// [`IN_STATE`] in the state folder.
    InState,
    /// This file.
    File(PathBuf),
}

section! {
    /// The long form.
    pub(crate) struct StoreBlock {
        /// The file of the database. It must not be on a network file system.
        pub(crate) sqlite: PathBuf,
    }
}

impl FromYaml for StoreLocation {
    const WANTED: &'static str = "sqlite";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        if let YamlValue::Map(_) = node.value {
            return StoreBlock::read(node, at, report).map(|block| Self::File(block.sqlite));
        }
        // Of an address only the scheme is repeated: what follows may hold a password.
        match read_text(node, at, report, Self::WANTED)?.split("://").next().unwrap_or_default() {
            "sqlite" => Some(Self::InState),
            word @ ("postgres" | "postgresql") => report.refuse_word(node, at, word, ""),
            other => report.add_problem(
                node,
                at,
                format!("\"{}\" is not a store", show_value(other)),
                "Write sqlite, or below it sqlite: with the path of a file",
            ),
        }
    }
}

impl JsonSchema for StoreLocation {
    fn schema_name() -> Cow<'static, str> {
        "Store".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = StoreBlock::json_schema(generator);
        json_schema!({ "anyOf": [{ "const": "sqlite" }, long] })
    }
}

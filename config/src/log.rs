//! `log`: what is written about what happens.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::At;
use crate::desk::Desk;
use crate::node::Node;
use crate::read::{Read, section, text, words};

section! {
    /// What is written about what happens.
    pub struct Log {
        /// How lines look; where left out `json`, and `text` on a terminal.
        pub format: Option<LogFormat>,
        /// From which level on lines are written.
        pub level: LogLevel = "info",
        /// How a person is named in what is written: logs, records of refusals, audit.
        pub identity: LogIdentity = "id",
        /// What is written of the client's address, there too.
        pub client: LogClient = "full",
        /// Where the access log goes: `stdout`, `off`, or a file.
        pub access: AccessLog = "stdout",
    }
}

words! {
    /// How lines look.
    pub enum LogFormat {
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Text = "text",
    }
}

words! {
    /// From which level on lines are written.
    pub enum LogLevel {
        /// Nobody is served.
        Error = "error",
        /// A person should look.
        Warn = "warn",
        /// A state changed.
        Info = "info",
        /// One request.
        Debug = "debug",
        /// One step.
        Trace = "trace",
    }
}

impl LogLevel {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

words! {
    /// How a person is named in what is written.
    pub enum LogIdentity {
        /// Only the user's id.
        Id = "id",
        /// The name too.
        Name = "name",
        /// The e-mail address too.
        Email = "email",
        /// Nothing more than the id.
        None = "none",
    }
}

words! {
    /// What is written of the client's address.
    pub enum LogClient {
        /// All of it.
        Full = "full",
        /// Its network: 24 bits of IPv4, 48 of IPv6.
        Prefix = "prefix",
        /// Nothing.
        None = "none",
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// This file.
    File(PathBuf),
}

impl Read for AccessLog {
    const WANTED: &'static str = "stdout, off or the path of a file";

    fn read(node: &Node, at: &At, desk: &mut Desk<'_>) -> Option<Self> {
        match text(node, at, desk, Self::WANTED)? {
            "stdout" => Some(Self::Stdout),
            "off" => Some(Self::Off),
            "stderr" => desk.refuse_word(node, at, "stderr", ""),
            path => Some(Self::File(desk.resolve(path))),
        }
    }
}

impl JsonSchema for AccessLog {
    fn schema_name() -> Cow<'static, str> {
        "AccessLog".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

//! `log`: what is written about what happens.

use std::borrow::Cow;

use portcullis_policy::{LogClient, LogFormat, LogIdentity, LogTarget};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::At;
use crate::node::YamlNode;
use crate::read::{FromYaml, read_text, section, words, words_of};
use crate::report::Report;

section! {
    /// What is written about what happens.
    pub struct LogBlock {
        /// How lines look; where left out `json`, and `text` on a terminal.
        #[schemars(with = "Option<LogFormatWord>")]
        pub format: Option<LogFormat>,
        /// From which level on lines are written.
        pub level: LogLevel = "info",
        /// How a person is named in what is written: logs, records of refusals, audit.
        #[schemars(with = "LogIdentityWord")]
        pub identity: LogIdentity = "id",
        /// What is written of the client's address, there too.
        #[schemars(with = "LogClientWord")]
        pub client: LogClient = "full",
        /// Where the access log goes: `stdout`, `off`, or a file.
        #[schemars(with = "LogTargetText")]
        pub access: LogTarget = "stdout",
    }
}

words_of! {
    /// The words of a [`LogFormat`].
    pub(crate) struct LogFormatWord for LogFormat {
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
    pub fn config_word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

words_of! {
    /// The words of a [`LogIdentity`].
    pub(crate) struct LogIdentityWord for LogIdentity {
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

words_of! {
    /// The words of a [`LogClient`].
    pub(crate) struct LogClientWord for LogClient {
        /// All of it.
        Full = "full",
        /// Its network: 24 bits of IPv4, 48 of IPv6.
        Prefix = "prefix",
        /// Nothing.
        None = "none",
    }
}

impl FromYaml for LogTarget {
    const WANTED: &'static str = "stdout, off or the path of a file";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        match read_text(node, at, report, Self::WANTED)? {
            "stdout" => Some(Self::Stdout),
            "off" => Some(Self::Off),
            "stderr" => report.refuse_word(node, at, "stderr", ""),
            path => Some(Self::File(report.resolve_path(path))),
        }
    }
}

/// The schema of a [`LogTarget`].
pub(crate) struct LogTargetText;

impl JsonSchema for LogTargetText {
    fn schema_name() -> Cow<'static, str> {
        "LogTarget".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

//! `headers`: how the application is told who is there.

use std::borrow::Cow;

use portcullis_policy::UserFrom;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::At;
use crate::node::YamlNode;
use crate::read::{FromYaml, read_text, section, unknown_word, words};
use crate::report::Report;

section! {
    /// How the application is told who is there.
    pub(crate) struct Headers {
        /// Which headers are written.
        pub(crate) preset: HeaderPreset = "x-forwarded",
        /// Where the user header's value comes from; it never falls back. `userName` where left out, without a
        /// directory `email`.
        #[schemars(with = "Option<UserWord>")]
        pub(crate) user: Option<UserFrom>,
    }
}

words! {
    /// Which headers are written.
    pub(crate) enum HeaderPreset {
        /// `X-Forwarded-User`, `-Email`, `-Groups`, `-Roles`, `-Preferred-Username`.
        XForwarded = "x-forwarded",
    }
    refused {
        "oauth2-proxy" => "", "authelia" => "", "remote-user" => "", "grafana" => "", "gitea" => "",
        "jenkins" => "", "nexus" => "", "sonarqube" => "",
    }
}

const SOURCES: [UserFrom; 5] =
    [UserFrom::UserName, UserFrom::Id, UserFrom::ExternalId, UserFrom::Subject, UserFrom::Email];

impl FromYaml for UserFrom {
    const WANTED: &'static str = "userName, id, externalId, subject or email";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        let known = SOURCES.map(Self::config_word);
        let found = SOURCES.into_iter().find(|source| source.config_word() == text);
        found.or_else(|| unknown_word(node, at, report, text, &known))
    }
}

/// The schema of [`UserFrom`].
struct UserWord;

impl JsonSchema for UserWord {
    fn schema_name() -> Cow<'static, str> {
        "UserFrom".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": SOURCES.map(UserFrom::config_word) })
    }
}

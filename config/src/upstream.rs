//! `upstream`: where the application is.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;
use http::uri::PathAndQuery;
use portcullis_policy::{HeaderCase, HostSent, is_loopback_name};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::node::YamlNode;
use crate::read::{FromYaml, read_text, section, words_of};
use crate::report::Report;
use crate::units::Period;
use crate::web::UpstreamUrl;

section! {
    /// Where the application is. A plain address is short for a block with `url`.
    pub struct UpstreamBlock [short = url] {
        /// The address of the application: http, a host, a port.
        pub url: UpstreamUrl,
        /// How long a connection to the application may take to be made.
        #[schemars(with = "Period")]
        pub connect_timeout: Duration = "5s",
        /// How long the application may think before the first byte of its answer. Not asked of upgraded exchanges
        /// and event streams.
        #[schemars(with = "Period")]
        pub first_byte_timeout: Duration = "300s",
        /// The application's own health check; its status is shown under `/app` of the health listener.
        pub health: Option<HealthPath>,
        /// The `Host` the application is told: `public` (that of `public_url`), `upstream` (that of `url`), or a name.
        #[schemars(with = "HostSentText")]
        pub host: HostSent = "public",
        /// In which case the application is told the names of header fields.
        #[schemars(with = "HeaderCaseWord")]
        pub header_case: HeaderCase = "lower",
    }
}

words_of! {
    /// The words of a [`HeaderCase`]: case means nothing in HTTP (RFC 9110 §5.1), but some applications never heard of
    /// that.
    pub(crate) struct HeaderCaseWord for HeaderCase {
        /// `x-forwarded-user`.
        Lower = "lower",
        /// `X-Forwarded-User`.
        Title = "title",
    }
    refused { "keep" => "the case that a client chose would be the case of our own fields too. Write title" }
}

/// The path of the application's own health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthPath(PathAndQuery);

impl HealthPath {
    /// The path, perhaps with a query.
    pub fn path(&self) -> &PathAndQuery {
        &self.0
    }
}

impl FromYaml for HealthPath {
    const WANTED: &'static str = "a path such as /healthz";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        match text.parse() {
            Ok(path) if text.starts_with('/') && !text.contains('#') => Some(Self(path)),
            _ => {
                let what = format!("\"{}\" is not a path", show_value(text));
                report.add_problem(node, at, what, format!("Write {}", Self::WANTED))
            }
        }
    }
}

impl JsonSchema for HealthPath {
    fn schema_name() -> Cow<'static, str> {
        "HealthPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^/" })
    }
}

impl FromYaml for HostSent {
    const WANTED: &'static str = "public, upstream or a host name";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        match text {
            "public" => return Some(Self::Public),
            "upstream" => return Some(Self::Upstream),
            _ => {}
        }
        // A bare word is more likely a mistake than a name.
        let (name, _) = text.split_once(':').unwrap_or((text, ""));
        let plausible = name.contains('.') || is_loopback_name(name);
        let is_one = plausible && !text.contains('@') && text.parse::<http::uri::Authority>().is_ok();
        match HeaderValue::try_from(text.to_ascii_lowercase()) {
            Ok(name) if is_one => Some(Self::Named(name)),
            _ => report.add_problem(
                node,
                at,
                format!("\"{}\" is not a host name", show_value(text)),
                "Write public, upstream, or a name with a dot",
            ),
        }
    }
}

/// The schema of a [`HostSent`].
pub(crate) struct HostSentText;

impl JsonSchema for HostSentText {
    fn schema_name() -> Cow<'static, str> {
        "HostSent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

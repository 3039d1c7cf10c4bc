//! `upstream`: where the application is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::uri::PathAndQuery;
use portcullis_policy::{HeaderCase, HostSent, UpstreamPath, is_loopback_name};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::headers::WritableName;
use crate::idps::is_name;
use crate::node::{YamlNode, YamlValue};
use crate::read::{FromYaml, missing_value, read_text, section, words_of};
use crate::report::Report;
use crate::secret::SecretText;
use crate::units::Period;
use crate::web::{UpstreamUrl, is_plain_path};

section! {
    /// Where the application is. A plain address is short for a block with `url`.
    pub struct UpstreamBlock [short = url] {
        /// The address of the application: http, https or h2c, a host, a port, perhaps a path that stands before every path; or
        /// unix: and the path of a socket.
        pub url: UpstreamUrl,
        /// The authorities that the application's certificate must be of, PEM; those of the system where left out.
        pub ca_file: Option<PathBuf>,
        /// The name that its certificate must be for; the host of `url` where left out.
        #[schemars(with = "Option<String>")]
        pub server_name: Option<ServerNameText>,
        /// A certificate that the application knows us by, PEM, with its `key`.
        pub certificate: Option<PathBuf>,
        /// The private key of `certificate`, PEM.
        pub key: Option<PathBuf>,
        /// What is taken from the front of every path before it goes up, such as /wiki. What is not below it is answered
        /// 404.
        #[schemars(with = "Option<String>")]
        pub strip_prefix: Option<StripPrefix>,
        /// A header with a secret, on every request to the application: by it the application knows that a request came
        /// through here.
        pub secret_header: Option<SecretHeader>,
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

/// `upstreams`: further applications, in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub struct Upstreams(pub Vec<(String, UpstreamBlock)>);

/// The most of them.
const MOST: usize = 50;

impl FromYaml for Upstreams {
    const WANTED: &'static str = "a name and below it an address: reports: http://127.0.0.1:3001";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let entries = match &node.value {
            YamlValue::Map(entries) => entries,
            YamlValue::Nothing => return missing_value(node, at, report),
            other => {
                let what = format!("{} where names belong", other.kind());
                return report.add_problem(node, at, what, "Write reports: http://127.0.0.1:3001 below it");
            }
        };
        if entries.len() > MOST {
            return report.add_problem(node, at, format!("more than {MOST} upstreams"), "Keep those in use");
        }
        let before = report.problems.len();
        let mut found = Vec::new();
        for (nth, (key, value)) in entries.iter().enumerate() {
            let at = at.below_key(&key.name);
            if let Some((first, _)) = entries[..nth].iter().find(|(other, _)| other.name == key.name) {
                let what = format!("written twice, first on line {}", first.line);
                report.problem_on(key.line, &at, what, "Keep one");
                continue;
            }
            if !is_name(&key.name) {
                let remedy = "Use lower-case letters, digits and -, at most 40, beginning with a letter";
                report.problem_on(key.line, &at, "not a name", remedy);
            }
            let block = UpstreamBlock::read(value, &at, report);
            if block.as_ref().is_some_and(|block| block.health.is_some()) {
                let what = "one health check is shown, that of upstream";
                report.problem_on(key.line, &at.below_key("health"), what, "Leave it out");
            }
            found.extend(block.map(|block| (key.name.clone(), block)));
        }
        (report.problems.len() == before).then_some(Self(found))
    }
}

impl JsonSchema for Upstreams {
    fn schema_name() -> Cow<'static, str> {
        "Upstreams".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = <BTreeMap<String, UpstreamBlock>>::json_schema(generator);
        schema.insert("maxProperties".into(), MOST.into());
        schema
    }
}

section! {
    /// A header with a secret, which the application knows its gate by.
    pub struct SecretHeader {
        /// Its name; taken from whatever a client sends.
        #[schemars(with = "String")]
        pub name: WritableName,
        /// Its value.
        pub value: SecretText,
    }
}

/// A path that is taken from the front of others: without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StripPrefix(pub String);

impl FromYaml for StripPrefix {
    const WANTED: &'static str = "a path such as /wiki";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        let path = text.trim_end_matches('/');
        if !path.is_empty() && is_plain_path(path) {
            return Some(Self(path.to_owned()));
        }
        let what = format!("\"{}\" is no path that one could be below", show_value(text));
        report.add_problem(node, at, what, "Write segments of letters, digits, - _ and ., such as /wiki")
    }
}

impl UpstreamBlock {
    /// The path by which the application knows what is asked for.
    pub fn path(&self) -> UpstreamPath {
        let strip = self.strip_prefix.as_ref().map(|StripPrefix(path)| path.clone()).unwrap_or_default();
        UpstreamPath { strip, base: self.url.base().to_owned() }
    }
}

/// A name, or an address, that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerNameText(pub String);

impl FromYaml for ServerNameText {
    const WANTED: &'static str = "the name of a server such as app.internal";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        let is_one = rustls::pki_types::ServerName::try_from(text.trim_matches(['[', ']'])).is_ok();
        if is_one {
            return Some(Self(text.to_owned()));
        }
        let what = format!("\"{}\" is no name that a certificate could be for", show_value(text));
        report.add_problem(node, at, what, "Write a name such as app.internal, or leave it out")
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

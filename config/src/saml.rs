//! `idps.*.saml`: an identity provider that speaks SAML 2.0.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::HostPort;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use url::Url;

use crate::at::{At, show_value};
use crate::node::YamlNode;
use crate::node::YamlValue;
use crate::read::{FromYaml, missing_value, read_text, section, words};
use crate::report::Report;
use crate::source::error_text;
use crate::units::Period;

section! {
    /// A SAML 2.0 identity provider and how it is asked.
    pub struct SamlBlock {
        /// Its metadata: an https address, a file, or the document itself.
        pub metadata: MetadataText,
        /// Its entity ID, exactly; needed where the metadata describes several.
        pub issuer: Option<EntityId>,
        /// A file with the certificate that has signed the metadata itself, PEM. Metadata without its signature is refused
        /// then.
        pub metadata_certificate: Option<PinnedCertificates>,
        /// Our own entity ID; the address of our metadata where left out.
        pub entity_id: Option<EntityId>,
        /// What becomes of a signing key that its metadata did not have before.
        pub keys: NewKeys = "trust",
        /// What becomes of a response that nobody here asked for.
        pub idp_initiated: IdpInitiated = "off",
        /// The format of the NameID that is asked for; `none` asks for none.
        pub name_id: NameIdWord = "none",
        /// Have people sign in there again though they are signed in.
        pub force_authn: bool = "false",
        /// The authentication contexts of which one is asked for and must be stated. AD FS and Entra often state others.
        pub authn_context: Vec<String> = "[]",
        /// How requests are sent, where it takes both.
        pub binding: BindingWord = "redirect",
        /// An attribute that names a person for good, where the NameID does not.
        pub subject: Option<String>,
        /// Which attributes hold what; those of the preset where left out.
        pub attributes: AttributesBlock = "{}",
        /// Believe the e-mail address: SAML never says that one was verified. Needs `domains`.
        pub trust_email: bool = "false",
        /// Take signatures with SHA-1, which is broken: only until the identity provider is mended.
        pub allow_sha1: bool = "false",
        /// Take AES-CBC in a response that is not signed itself.
        pub allow_cbc: bool = "false",
        /// How far its clock may be off, 5m at most.
        #[schemars(with = "Period")]
        pub skew: Duration = "3m",
    }
}

section! {
    /// The names of attributes.
    pub struct AttributesBlock {
        /// The attribute that holds the e-mail address.
        pub email: Option<String>,
        /// The attribute that holds the groups.
        pub groups: Option<String>,
        /// The attribute that holds the name to show.
        pub name: Option<String>,
        /// The attribute that holds the name people sign in under.
        pub user_name: Option<String>,
    }
}

words! {
    /// What becomes of a response that nobody here asked for.
    pub enum IdpInitiated {
        /// It is not even read.
        Off = "off",
        /// It is thrown away, and a login of our own begins: nobody can be signed in by another's response.
        Restart = "restart",
        /// It is taken, once, by the checks of every other; beside a live session of somebody else a page asks first. Whoever
        /// has a response of their own can sign a browser in as themselves that nobody is signed in at.
        Accept = "accept",
    }
}

words! {
    /// What becomes of a signing key that the metadata of an identity provider did not have before.
    pub enum NewKeys {
        /// It is believed: whoever publishes the metadata is.
        Trust = "trust",
        /// It waits until an operator approves it. The keys of the first metadata are believed.
        Approve = "approve",
    }
}

words! {
    /// How a request for a login is sent.
    pub enum BindingWord {
        /// In the address that the browser is sent to.
        Redirect = "redirect",
        /// In a form that the browser posts.
        Post = "post",
    }
}

words! {
    /// The format of a NameID.
    pub enum NameIdWord {
        /// None is asked for.
        None = "none",
        /// The same for good, and for us alone.
        Persistent = "persistent",
        /// An e-mail address, which may be another person's some day.
        EmailAddress = "emailAddress",
        /// Whatever was agreed.
        Unspecified = "unspecified",
        /// Another one each time: only with `subject`.
        Transient = "transient",
    }
}

impl NameIdWord {
    /// The URI of the format, where one is asked for.
    pub fn uri(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Persistent => Some("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
            Self::EmailAddress => Some("urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"),
            Self::Unspecified => Some("urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"),
            Self::Transient => Some("urn:oasis:names:tc:SAML:2.0:nameid-format:transient"),
        }
    }
}

/// The source of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataText {
    /// An https address, fetched again and again; plain http only on this machine.
    Address(String),
    /// The document: written here, or in a file.
    Document(Arc<str>),
}

/// Longer documents are refused.
const MOST_BYTES: u64 = 10 * 1024 * 1024;

impl FromYaml for MetadataText {
    const WANTED: &'static str = "an https address, a file, or the document itself";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = match &node.value {
            YamlValue::Text(text) => text.trim(),
            YamlValue::Nothing => return missing_value(node, at, report),
            other => {
                let what = format!("{} where {} belongs", other.kind(), Self::WANTED);
                return report.add_problem(node, at, what, "");
            }
        };
        if text.starts_with('<') {
            return Some(Self::Document(text.into()));
        }
        let text = read_text(node, at, report, Self::WANTED)?;
        if let Ok(url) = Url::parse(text)
            && url.has_host()
        {
            let is_local = url.scheme() == "http" && url.host_str().is_some_and(is_this_machine);
            if url.scheme() != "https" && !is_local {
                let what = format!("\"{}\" is no https address", show_value(text));
                return report.add_problem(
                    node,
                    at,
                    what,
                    "Write https://, or download the metadata into a file",
                );
            }
            if !url.username().is_empty() || url.password().is_some() {
                let remedy = "Write the address without them, or download the metadata into a file";
                return report.add_problem(node, at, "an address with a name or password inside", remedy);
            }
            return Some(Self::Address(text.to_owned()));
        }
        let path = report.resolve_path(text);
        report.watch_file(&path);
        match read_whole(&path) {
            Ok(text) => Some(Self::Document(text.into())),
            Err(what) => {
                let what = format!("{} {what}", show_value(text));
                report.add_problem(node, at, what, "Write the path of the metadata, or its https address")
            }
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    HostPort::new(host, None).is_ok_and(|host| host.is_loopback())
}

fn read_whole(path: &Path) -> Result<String, String> {
    let unread = |error: std::io::Error| format!("cannot be read: {}", error_text(&error));
    let found = std::fs::metadata(path).map_err(unread)?;
    // A pipe or a device could block the start for good.
    if !found.is_file() {
        return Err("is not a plain file".into());
    }
    if found.len() > MOST_BYTES {
        return Err("is larger than 10 MiB".into());
    }
    let bytes = std::fs::read(path).map_err(unread)?;
    String::from_utf8(bytes).map_err(|_| "is not text in UTF-8".to_owned())
}

impl JsonSchema for MetadataText {
    fn schema_name() -> Cow<'static, str> {
        "MetadataText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

/// An entity ID: a URI, compared byte for byte (SAML Core §8.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityId(String);

impl EntityId {
    /// The text, as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromYaml for EntityId {
    const WANTED: &'static str = "an entity ID such as https://idp.example.com/metadata";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        if text.len() > 1024 || text.contains(char::is_whitespace) {
            let what = format!("\"{}\" is no entity ID", show_value(text));
            return report.add_problem(node, at, what, "Copy it as it stands, without blanks");
        }
        Some(Self(text.to_owned()))
    }
}

impl JsonSchema for EntityId {
    fn schema_name() -> Cow<'static, str> {
        "EntityId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 1024 })
    }
}

/// Certificates out of a file in PEM, each in DER; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedCertificates(Vec<Vec<u8>>);

impl PinnedCertificates {
    /// Each in DER.
    pub fn ders(&self) -> &[Vec<u8>] {
        &self.0
    }
}

impl FromYaml for PinnedCertificates {
    const WANTED: &'static str = "a file with a certificate in PEM";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let path = PathBuf::read(node, at, report)?;
        report.watch_file(&path);
        let text = match read_whole(&path) {
            Ok(text) => text,
            Err(what) => {
                return report.add_problem(node, at, format!("the file {what}"), "Name a certificate in PEM");
            }
        };
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match read {
            Ok(found) if !found.is_empty() => Some(Self(found.iter().map(|der| der.to_vec()).collect())),
            _ => report.add_problem(node, at, "the file holds no certificate", "Name a certificate in PEM"),
        }
    }
}

impl JsonSchema for PinnedCertificates {
    fn schema_name() -> Cow<'static, str> {
        "PinnedCertificates".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

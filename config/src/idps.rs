//! `idps`: who says who somebody is. One or several, each with the e-mail domains it speaks for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_policy::{ClientAuth, LinkTo, fold};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::node::{YamlNode, YamlValue};
use crate::read::{FromYaml, missing_value, read_text, section, words, words_of};
use crate::report::Report;
use crate::saml::{AttributesBlock, SamlBlock};
use crate::secret::SecretText;
use crate::units::Period;
use crate::web::Issuer;

/// One identity provider.
#[derive(Clone, Debug)]
pub struct IdpEntry {
    /// Its name: lower-case letters, digits and `-`, at most 40. It stands in the callback's address.
    pub name: String,
    /// The product it is.
    pub preset: Preset,
    /// The one attribute by which a first login finds its user in the directory; that of the preset where none is
    /// written.
    pub link: LinkBlock,
    /// The e-mail domains it may speak for: people with such an address are sent to it.
    pub domains: Domains,
    /// The name of the provider whose people this one signs in from now on.
    pub replaces: Option<String>,
    /// The protocol it speaks.
    pub protocol: IdpProtocol,
}

/// The protocol of an identity provider.
#[derive(Clone, Debug)]
pub enum IdpProtocol {
    /// OpenID Connect.
    Oidc(Oidc),
    /// SAML 2.0.
    Saml(SamlEntry),
}

/// A SAML 2.0 identity provider, with the attributes of its preset where none are written.
#[derive(Clone, Debug)]
pub struct SamlEntry {
    /// Everything that is written.
    pub block: SamlBlock,
    /// The attributes that hold the e-mail address, the first one first.
    pub email: Vec<String>,
    /// The same for the groups.
    pub groups: Vec<String>,
    /// The same for the name to show.
    pub name: Vec<String>,
    /// The same for the name people sign in under.
    pub user_name: Vec<String>,
}

impl SamlEntry {
    fn of_preset(block: SamlBlock, preset: Preset) -> Self {
        let known = preset.saml_attributes();
        let names = |written: &Option<String>, known: &[&str]| match written {
            Some(name) => vec![name.clone()],
            None => known.iter().map(|name| (*name).to_owned()).collect(),
        };
        let AttributesBlock { email, groups, name, user_name } = &block.attributes;
        Self {
            email: names(email, known.email),
            groups: names(groups, known.groups),
            name: names(name, known.name),
            user_name: names(user_name, known.user_name),
            block,
        }
    }
}

section! {
    /// One identity provider.
    pub(crate) struct IdpBlock {
        /// Which product it is; it says what `link` is where that is left out.
        pub(crate) preset: Preset = "generic",
        /// How a first login finds its user in the directory. There is no fallback.
        pub(crate) link: Option<LinkBlock>,
        /// The e-mail domains this provider may speak for; `any` for all.
        pub(crate) domains: Domains = "any",
        /// The name of the provider whose people this one signs in from now on: whoever was linked through that one is
        /// linked anew at the next login, by `link`.
        pub(crate) replaces: Option<String>,
        /// OpenID Connect; this or `saml`.
        pub(crate) oidc: Option<Oidc>,
        /// SAML 2.0; this or `oidc`.
        pub(crate) saml: Option<SamlBlock>,
    }
}

section! {
    /// How a first login finds its user: a claim of the login equals an attribute of the directory.
    #[derive(PartialEq, Eq)]
    pub struct LinkBlock {
        /// The claim of the ID token: `sub`, `oid`, `preferred_username`, `email` …; with SAML the attribute, or `NameID`.
        pub claim: String,
        /// The attribute of the user it must equal.
        #[schemars(with = "LinkToWord")]
        pub to: LinkTo,
    }
}

section! {
    /// An OpenID provider and our registration there.
    pub struct Oidc {
        /// The issuer, byte for byte as its discovery document says it.
        pub issuer: Issuer,
        /// The client id of our registration.
        pub client_id: String,
        /// The client secret of our registration.
        pub client_secret: SecretText,
        /// How the client secret is sent: in the `Authorization` header, or in the body.
        #[schemars(with = "ClientAuthWord")]
        pub client_auth: ClientAuth = "basic",
        /// The scopes that are asked for; `openid` is always among them.
        pub scopes: Vec<String> = "[openid, profile, email]",
        /// Which claims hold what; they are looked for in the ID token, else in userinfo.
        pub claims: ClaimsBlock = "{}",
        /// Believe the e-mail address although the provider does not say that it is verified. Needs `domains`.
        pub trust_email: bool = "false",
        /// How far the provider's clock may be off.
        #[schemars(with = "Period")]
        pub skew: Duration = "60s",
    }
}

section! {
    /// The names of claims.
    pub struct ClaimsBlock {
        /// The claim that holds the e-mail address.
        pub email: String = "email",
        /// The claim that holds the groups.
        pub groups: String = "groups",
        /// The claim that holds the name to show.
        pub name: String = "name",
    }
}

words! {
    /// Which product a provider is.
    pub enum Preset {
        /// Any OpenID provider: `sub` is linked to `externalId`.
        Generic = "generic",
        /// Okta: `sub` is linked to `externalId`.
        Okta = "okta",
        /// Microsoft Entra: `oid` is linked to `externalId`; map `objectId` to `externalId` there.
        Entra = "entra",
        /// Google: `sub` is linked to `externalId`.
        Google = "google",
        /// Microsoft AD FS: `objectGUID` is linked to `externalId`.
        Adfs = "adfs",
        /// Auth0.
        Auth0 = "auth0",
        /// Apereo CAS.
        Cas = "cas",
        /// ClassLink.
        Classlink = "classlink",
        /// Cloudflare Access.
        Cloudflare = "cloudflare",
        /// CyberArk Identity.
        Cyberark = "cyberark",
        /// Duo.
        Duo = "duo",
        /// JumpCloud.
        Jumpcloud = "jumpcloud",
        /// Keycloak.
        Keycloak = "keycloak",
        /// LastPass.
        Lastpass = "lastpass",
        /// miniOrange.
        Miniorange = "miniorange",
        /// NetIQ Access Manager.
        Netiq = "netiq",
        /// OneLogin.
        Onelogin = "onelogin",
        /// Oracle Identity.
        Oracle = "oracle",
        /// PingOne and PingFederate.
        Ping = "ping",
        /// Rippling.
        Rippling = "rippling",
        /// Salesforce.
        Salesforce = "salesforce",
        /// Shibboleth.
        Shibboleth = "shibboleth",
        /// SimpleSAMLphp.
        Simplesamlphp = "simplesamlphp",
        /// VMware Workspace ONE.
        Vmware = "vmware",
    }
}

impl Preset {
    /// The link where the configuration does not say one: the provider's immutable id.
    pub(crate) fn link_block(self, is_saml: bool) -> LinkBlock {
        let claim = match self {
            _ if is_saml => self.saml_attributes().id,
            Self::Entra => "oid",
            _ => "sub",
        };
        LinkBlock { claim: claim.into(), to: LinkTo::ExternalId }
    }
}

words_of! {
    /// The words of a [`LinkTo`]; an e-mail address is none of them.
    pub(crate) struct LinkToWord for LinkTo {
        /// The immutable id the identity provider gave the user.
        ExternalId = "externalId",
        /// The user's name.
        UserName = "userName",
    }
}

words_of! {
    /// The words of a [`ClientAuth`].
    pub(crate) struct ClientAuthWord for ClientAuth {
        /// `client_secret_basic`.
        Basic = "basic",
        /// `client_secret_post`.
        Post = "post",
    }
    refused { "private_key_jwt" => "", "none" => "", "tls" => "" }
}

/// The e-mail domains a provider may speak for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domains {
    /// All of them.
    Any,
    /// These, in A-form and lower case; never empty.
    Only(Vec<String>),
}

impl FromYaml for Domains {
    const WANTED: &'static str = "a list of e-mail domains, or any";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let items = match &node.value {
            YamlValue::List(items) if items.is_empty() => {
                return report.add_problem(
                    node,
                    at,
                    "an empty list lets nobody in",
                    "Name a domain, or leave the key out",
                );
            }
            YamlValue::List(items) => items,
            YamlValue::Text(word) if word == "any" => return Some(Self::Any),
            YamlValue::Nothing => return missing_value(node, at, report),
            other => {
                let kind = other.kind();
                return report.add_problem(
                    node,
                    at,
                    format!("{kind} where {} belongs", Self::WANTED),
                    "Write [example.com]",
                );
            }
        };
        let mut domains = Some(Vec::new());
        for (index, item) in items.iter().enumerate() {
            let at = at.below_index(index);
            let Some(written) = read_text(item, &at, report, "a domain such as example.com") else {
                domains = None;
                continue;
            };
            match fold::domain_key(written).filter(|domain| domain.contains('.')) {
                Some(domain) => domains.iter_mut().for_each(|all| all.push(domain.clone())),
                None => {
                    let remedy = "Write what follows the @ of an address, such as example.com";
                    domains = report.add_problem(
                        item,
                        &at,
                        format!("\"{}\" is not a domain", show_value(written)),
                        remedy,
                    );
                }
            }
        }
        domains.map(Self::Only)
    }
}

impl JsonSchema for Domains {
    fn schema_name() -> Cow<'static, str> {
        "Domains".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "const": "any" },
                { "type": "array", "items": { "type": "string", "format": "idn-hostname" }, "minItems": 1 },
            ]
        })
    }
}

/// The providers by name, in the order in which they are written; at least one.
#[derive(Clone, Debug)]
pub(crate) struct Idps(pub(crate) Vec<NamedIdp>);

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct NamedIdp {
    pub(crate) name: String,
    pub(crate) idp: IdpBlock,
}

/// The most providers of one configuration.
const MOST: usize = 50;

impl FromYaml for Idps {
    const WANTED: &'static str = "a name and below it the provider: okta: { oidc: … }";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let entries = match &node.value {
            YamlValue::Map(entries) if !entries.is_empty() => entries,
            YamlValue::Map(_) | YamlValue::Nothing => return missing_value(node, at, report),
            other => {
                return report.add_problem(
                    node,
                    at,
                    format!("{} where a name belongs", other.kind()),
                    "Write okta:",
                );
            }
        };
        if entries.len() > MOST {
            return report.add_problem(
                node,
                at,
                format!("more than {MOST} identity providers"),
                "Keep those in use",
            );
        }
        let mut found = Some(Vec::new());
        for (nth, (key, value)) in entries.iter().enumerate() {
            let at = at.below_key(&key.name);
            if let Some((first, _)) = entries[..nth].iter().find(|(other, _)| other.name == key.name) {
                report.problem_on(
                    key.line,
                    &at,
                    format!("written twice, first on line {}", first.line),
                    "Keep one",
                );
                continue;
            }
            if !is_name(&key.name) {
                report.problem_on(
                    key.line,
                    &at,
                    "not a name that can stand in an address",
                    "Use lower-case letters, digits and -, at most 40, beginning with a letter",
                );
            }
            match IdpBlock::read(value, &at, report) {
                Some(idp) => found.iter_mut().for_each(|found| {
                    found.push(NamedIdp { name: key.name.clone(), idp: idp.clone() });
                }),
                None => found = None,
            }
        }
        found.map(Self)
    }
}

/// The name stands in the callback's address, where a dot will part an organization from a provider.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 40 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits)
}

impl JsonSchema for Idps {
    fn schema_name() -> Cow<'static, str> {
        "Idps".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = <BTreeMap<String, IdpBlock>>::json_schema(generator);
        schema.insert("minProperties".into(), 1.into());
        schema.insert("maxProperties".into(), MOST.into());
        schema
    }
}

impl NamedIdp {
    /// `None` where it has no protocol, which was noted.
    pub(crate) fn into_entry(self) -> Option<IdpEntry> {
        let Self { name, idp } = self;
        let link = idp.link.unwrap_or_else(|| idp.preset.link_block(idp.saml.is_some()));
        let protocol = match (idp.oidc, idp.saml) {
            (Some(oidc), None) => IdpProtocol::Oidc(oidc),
            (None, Some(saml)) => IdpProtocol::Saml(SamlEntry::of_preset(saml, idp.preset)),
            _ => return None,
        };
        Some(IdpEntry {
            name,
            preset: idp.preset,
            link,
            domains: idp.domains,
            replaces: idp.replaces,
            protocol,
        })
    }
}

//! What one OpenID provider needs to know to be used: the program makes it from the configuration.

use portcullis_keys::Secret;
use portcullis_policy::{AllowedHost, ClientAuth};

/// One OpenID provider, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSettings {
    /// Its name in the configuration.
    pub name: String,
    /// The issuer, exactly as the provider writes it.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our secret there; `None` for a client that has PKCE only.
    pub client_secret: Option<Secret>,
    /// The way in which the secret is sent.
    pub client_auth: ClientAuth,
    /// The address that the browser comes back to; registered at the provider, one for each provider (a defence
    /// against mix-up).
    pub redirect_uri: String,
    /// The scopes that are asked for; `openid` is added where it is missing.
    pub scopes: Vec<String>,
    /// The names under which things are found in the ID token or in userinfo.
    pub claims: ClaimNames,
    /// The claims that a login uses: nothing else is read, and userinfo is asked for nothing else.
    pub uses: Uses,
    /// True where an address will be believed that the provider does not call verified: then userinfo is not asked
    /// whether it is. Nothing else hangs on it here.
    pub trust_email: bool,
    /// The error that is allowed to the provider's clock, in milliseconds.
    pub skew_ms: i64,
    /// The claim that names a person there for good.
    pub subject: SubjectClaim,
    /// Hosts that may be connected to though they are not public or speak no https.
    pub allow: Vec<AllowedHost>,
    /// True where our own public URL is on this machine: only then may the provider be, over plain http.
    pub loopback: bool,
}

impl OidcSettings {
    /// A provider with the defaults of the configuration.
    pub fn new(name: &str, issuer: &str, client_id: &str, redirect_uri: &str) -> Self {
        Self {
            name: name.into(),
            issuer: issuer.into(),
            client_id: client_id.into(),
            client_secret: None,
            client_auth: ClientAuth::Basic,
            redirect_uri: redirect_uri.into(),
            scopes: ["openid", "profile", "email"].map(Into::into).into(),
            claims: ClaimNames::default(),
            uses: Uses::Person { email: true, groups: true },
            trust_email: false,
            skew_ms: 60_000,
            subject: SubjectClaim::Sub,
            allow: Vec::new(),
            loopback: false,
        }
    }
}

/// The claims that a login uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uses {
    /// A directory says who people are: only the claim that a subject nobody knows yet is matched by.
    Link {
        /// The claim, by its name or its JSON Pointer.
        claim: String,
    },
    /// There is no directory: the claims are all that is known of a person. What must be known refuses the login where
    /// it cannot be had; address, groups, name and user name are otherwise taken where they are said.
    Person {
        /// True where the address must be known.
        email: bool,
        /// True where the groups must be known.
        groups: bool,
    },
}

/// Names of claims. One that starts with `/` is a JSON Pointer (RFC 6901): `/realm_access/roles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// The e-mail address.
    pub email: String,
    /// The groups: a list of texts, or one text.
    pub groups: String,
    /// The name for people.
    pub name: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { email: "email".into(), groups: "groups".into(), name: "name".into() }
    }
}

/// The claim that names a person at a provider for good: never an address, never a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectClaim {
    /// `sub`, as the standard means it.
    Sub,
    /// Entra ID: `oid`, the same in every app of the tenant; `tid` must be the tenant of the issuer.
    Entra,
    /// Google: `sub` with `hd`, the Workspace domain, which must be one of these. A consumer account has no `hd` and
    /// is refused.
    Google {
        /// Workspace domains.
        domains: Vec<String>,
    },
}

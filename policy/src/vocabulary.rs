//! The vocabulary that the configuration and another part share: what an operator may choose between, as the part that
//! acts on it knows it. `config` reads into these types and every part takes them as they are, so that no choice has two
//! types and a function between them (decision 0013). Each is handed on by the crate that acts on it.

use std::path::PathBuf;

use http::HeaderValue;

/// The name that logs have for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogIdentity {
    /// The id of the SCIM User, or the account's number.
    #[default]
    Id,
    /// The name the application is given.
    Name,
    /// The e-mail address.
    Email,
    /// None.
    None,
}

/// The part of a client's address that logs have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogClient {
    /// All of it.
    #[default]
    Full,
    /// The network: 24 bits of IPv4, 48 of IPv6.
    Prefix,
    /// None of it.
    None,
}

/// The look of a log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `name=value` words, for people.
    Text,
}

/// The end that the access log goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// The case in which an application is told the names of header fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderCase {
    /// `x-forwarded-user`.
    #[default]
    Lower,
    /// `X-Forwarded-User`.
    Title,
}

/// The `Host` that an application is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostSent {
    /// The public one.
    Public,
    /// Its own.
    Upstream,
    /// This one: a name, perhaps with a port.
    Named(HeaderValue),
}

/// The way in which a client proves itself at the token endpoint (OIDC Core §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_basic`: the header `Authorization`.
    Basic,
    /// `client_secret_post`: fields of the form.
    Post,
}

/// The attribute of a User that a claim of a first login must equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkTo {
    /// `externalId`, byte for byte.
    ExternalId,
    /// `userName`, folded by [`fold::same_key`](crate::fold::same_key).
    UserName,
    /// The value of any e-mail address of the User, folded by [`fold::same_key`](crate::fold::same_key).
    Email,
}

impl LinkTo {
    /// The word of the configuration.
    pub fn config_word(self) -> &'static str {
        match self {
            Self::ExternalId => "externalId",
            Self::UserName => "userName",
            Self::Email => "emails",
        }
    }
}

/// The answer to a group's PATCH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupPatch {
    /// 204 without a body.
    #[default]
    Empty,
    /// 200 with the group, for clients that insist.
    Whole,
}

/// The attributes of a User that an application can be told, by their canonical names: those of the core schema (RFC 7643
/// §4.1), then those of the enterprise extension (§4.3) without its URN. Of a list it is each element's `value`. The
/// ids are told by sources of their own.
pub const USER_ATTRIBUTES: [&[&str]; 2] = [
    &[
        "userName",
        "name.formatted",
        "name.familyName",
        "name.givenName",
        "name.middleName",
        "name.honorificPrefix",
        "name.honorificSuffix",
        "displayName",
        "nickName",
        "profileUrl",
        "title",
        "userType",
        "preferredLanguage",
        "locale",
        "timezone",
        "emails",
        "phoneNumbers",
        "ims",
        "photos",
        "entitlements",
        "roles",
    ],
    &["employeeNumber", "costCenter", "organization", "division", "department", "manager.value"],
];

/// Those of [`USER_ATTRIBUTES`] that have many values.
pub const USER_LISTS: [&str; 6] = ["emails", "phoneNumbers", "ims", "photos", "entitlements", "roles"];

/// The URN of the enterprise extension of User (RFC 7643 §4.3).
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

//! What is known of a product: under which names it states things about people.

use crate::idps::Preset;

/// The names of SAML attributes, each with those that are looked for, the first one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttributePreset {
    /// The attribute that a person is matched by where the configuration says nothing: the product's immutable id.
    pub(crate) id: &'static str,
    pub(crate) email: &'static [&'static str],
    pub(crate) name: &'static [&'static str],
    pub(crate) user_name: &'static [&'static str],
    pub(crate) groups: &'static [&'static str],
}

/// The names of vendors' guides.
const PLAIN: AttributePreset = AttributePreset {
    id: "id",
    email: &["email", "mail", "Email", "emailAddress", MAIL_OID, MAIL_CLAIM],
    name: &["displayName", "name", "cn", DISPLAY_OID, NAME_CLAIM],
    user_name: &["username", "userName", "login", "uid", UID_OID],
    groups: &["groups", "Groups", "memberOf", "group"],
};

const MAIL_OID: &str = "urn:oid:0.9.2342.19200300.100.1.3";
const UID_OID: &str = "urn:oid:0.9.2342.19200300.100.1.1";
const DISPLAY_OID: &str = "urn:oid:2.16.840.1.113730.3.1.241";
const MAIL_CLAIM: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress";
const NAME_CLAIM: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name";
const UPN_CLAIM: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn";
const MEMBER_OID: &str = "urn:oid:1.3.6.1.4.1.5923.1.5.1.1";

impl Preset {
    /// The names under which the product states attributes in SAML. They are those of its documentation; an administrator
    /// may have chosen others, which `saml.attributes` says then.
    pub(crate) fn saml_attributes(self) -> AttributePreset {
        match self {
            Self::Entra => AttributePreset {
                id: "http://schemas.microsoft.com/identity/claims/objectidentifier",
                email: &[MAIL_CLAIM],
                name: &["http://schemas.microsoft.com/identity/claims/displayname"],
                user_name: &[NAME_CLAIM],
                groups: &["http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"],
            },
            Self::Adfs => AttributePreset {
                id: "objectGUID",
                email: &[MAIL_CLAIM],
                name: &["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/displayname", NAME_CLAIM],
                user_name: &[UPN_CLAIM],
                groups: &["http://schemas.xmlsoap.org/claims/Group"],
            },
            Self::Auth0 => AttributePreset {
                id: "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier",
                email: &[MAIL_CLAIM],
                name: &[NAME_CLAIM],
                user_name: &["http://schemas.auth0.com/nickname"],
                groups: &["http://schemas.auth0.com/groups", "groups"],
            },
            Self::Onelogin => AttributePreset {
                id: "PersonImmutableID",
                email: &["User.email"],
                user_name: &["User.Username", "username"],
                groups: &["memberOf", "groups"],
                ..PLAIN
            },
            Self::Ping => AttributePreset { id: "NameID", groups: &["groups", "memberOf"], ..PLAIN },
            Self::Jumpcloud => AttributePreset { groups: &["memberOf", "groups"], ..PLAIN },
            Self::Duo => AttributePreset {
                email: &["Email", "email"],
                name: &["DisplayName"],
                user_name: &["Username"],
                groups: &["Groups", "groups"],
                ..PLAIN
            },
            Self::Cyberark => AttributePreset {
                email: &["Email", "email"],
                user_name: &["LoginName"],
                groups: &["Groups", "groups"],
                ..PLAIN
            },
            Self::Keycloak => AttributePreset {
                email: &["urn:oid:1.2.840.113549.1.9.1", "email"],
                user_name: &["username"],
                groups: &["groups", "member", "Role"],
                ..PLAIN
            },
            Self::Shibboleth => AttributePreset {
                id: "urn:oasis:names:tc:SAML:attribute:subject-id",
                email: &[MAIL_OID],
                name: &[DISPLAY_OID],
                user_name: &["urn:oid:1.3.6.1.4.1.5923.1.1.1.6", UID_OID],
                groups: &[MEMBER_OID],
            },
            Self::Oracle => AttributePreset { id: "userid", email: &["mail", "email"], ..PLAIN },
            Self::Vmware => AttributePreset { groups: &["groupNames", "groups"], ..PLAIN },
            Self::Miniorange => AttributePreset { groups: &["groupName", "groups"], ..PLAIN },
            Self::Netiq => AttributePreset {
                id: "/UserAttribute[@ldap:targetAttribute=\"workforceID\"]",
                groups: &["groupMembership", "groups"],
                ..PLAIN
            },
            Self::Simplesamlphp => AttributePreset {
                id: "uid",
                groups: &["memberOf", "groups", "eduPersonAffiliation"],
                ..PLAIN
            },
            Self::Classlink => AttributePreset {
                id: "ID",
                email: &["Email"],
                user_name: &["Login id"],
                groups: &["Role", "groups"],
                ..PLAIN
            },
            Self::Salesforce => AttributePreset { id: "userId", ..PLAIN },
            Self::Generic
            | Self::Okta
            | Self::Google
            | Self::Rippling
            | Self::Cloudflare
            | Self::Lastpass
            | Self::Cas => PLAIN,
        }
    }
}

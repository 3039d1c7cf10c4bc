//! A verified statement of an identity provider about a person. It is made by a login that passed every check, and by
//! nothing else: who holds one may believe it.

use std::fmt;

use portcullis_keys::Secret;
use portcullis_policy::{Attributes, Timestamp};
#[cfg(feature = "saml")]
use serde::{Deserialize, Serialize};

#[cfg(feature = "saml")]
use crate::saml::NameId;

/// The statement of an identity provider about a person: verified, not yet judged.
#[derive(Clone)]
pub struct Assertion {
    pub(crate) idp: String,
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) is_durable: bool,
    pub(crate) link: Option<LinkValue>,
    pub(crate) email: Option<String>,
    pub(crate) email_verified: bool,
    pub(crate) attributes: Attributes,
    pub(crate) unverified_user_name: Option<String>,
    pub(crate) names_said: Vec<String>,
    pub(crate) groups: Option<Vec<String>>,
    pub(crate) session_end: Option<Timestamp>,
    pub(crate) idp_session: IdpSession,
    pub(crate) replay: Option<Replay>,
    pub(crate) logout: LogoutHint,
}

impl Assertion {
    /// The name of the identity provider in our configuration.
    pub fn idp(&self) -> &str {
        &self.idp
    }

    /// The issuer, as configured and as the ID token says it, byte for byte.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Gives the person's name at the provider: with the issuer, the durable key of a link. `sub`; Entra: `oid`;
    /// Google: `sub@hd`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Tells whether the subject is this person for good: one that may be another's some day is linked to nobody, and
    /// matched anew at each login.
    pub fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// Gives the value that somebody nobody knows yet is matched by; `None` where the identity provider did not say
    /// it, or where there is no directory to match them in.
    pub fn link(&self) -> Option<&LinkValue> {
        self.link.as_ref()
    }

    /// The e-mail address, believed by nobody unless [`Self::email_verified`].
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// Tells whether the identity provider says it verified that very address.
    pub fn email_verified(&self) -> bool {
        self.email_verified
    }

    /// Everything else that is stated. A preferred user name may change and be reused; it is never an address that is
    /// not believed.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// A `preferred_username` that is an address nobody vouches for: for who trusts the identity provider in that.
    pub fn unverified_user_name(&self) -> Option<&str> {
        self.unverified_user_name.as_deref()
    }

    /// The address and the user name as they were said, believed or not: enough to keep somebody out, never to let
    /// somebody in.
    pub fn names_said(&self) -> &[String] {
        &self.names_said
    }

    /// The groups; `None` where nothing was said about groups, which is not the same as none.
    pub fn groups(&self) -> Option<&[String]> {
        self.groups.as_deref()
    }

    /// Gives the latest end of the session, where the identity provider says one (`session_expiry` of the ID token).
    pub fn session_end(&self) -> Option<Timestamp> {
        self.session_end
    }

    /// The names by which the identity provider itself may end the session.
    pub fn idp_session(&self) -> &IdpSession {
        &self.idp_session
    }

    /// The statement's own number, which counts once; `None` where its login already does.
    pub fn replay(&self) -> Option<&Replay> {
        self.replay.as_ref()
    }

    /// What the identity provider wants to hear again at the logout.
    pub fn logout_hint(&self) -> &LogoutHint {
        &self.logout
    }
}

/// The value by which a subject nobody knows yet is matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkValue {
    /// The claim's name.
    pub claim: String,
    /// The claim's value.
    pub value: String,
    /// True where it is an address that nobody vouches for: whoever can write it into a form of the provider has it.
    pub is_unverified_address: bool,
}

/// The number of a statement that whoever has it could bring again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The number, with whose it is.
    pub id: String,
    /// The time from which it is refused for its age.
    pub until: Timestamp,
}

/// The names of a session at the identity provider, by which it ends ours: never shown, only compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdpSession {
    /// The person there: `sub` of the ID token, whatever [`Assertion::subject`] is made of; the whole NameID.
    pub subject: String,
    /// The session there, where it is said: `sid` (OIDC Back-Channel Logout 1.0 §2.1), SessionIndex (SAML
    /// Core §2.7.2).
    pub session: Option<String>,
}

/// What the identity provider wants to hear again at the logout. It is kept sealed, with the session.
#[derive(Clone)]
pub enum LogoutHint {
    /// OpenID Connect: the ID token.
    Oidc {
        /// The ID token, as it came.
        id_token: Secret,
    },
    /// SAML: the person as they were named, and the session.
    #[cfg(feature = "saml")]
    Saml {
        /// The NameID, as it came.
        name_id: NameId,
        /// The session there.
        session_index: Option<String>,
    },
}

/// A hint for the logout at the provider is at most this long, in bytes.
pub(crate) const HINT: usize = 4 * 1024;

impl LogoutHint {
    /// Writes it down, to be sealed; empty where it is too long to be ever sent: the logout there does without.
    pub fn to_text(&self) -> Secret {
        match self {
            Self::Oidc { id_token } if id_token.expose().len() <= HINT => {
                Secret::new(format!("oidc {}", id_token.expose()))
            }
            Self::Oidc { .. } => Secret::new(""),
            #[cfg(feature = "saml")]
            Self::Saml { name_id, session_index } => {
                let kept = KeptName {
                    value: name_id.value.clone(),
                    format: name_id.format.clone(),
                    name_qualifier: name_id.name_qualifier.clone(),
                    sp_name_qualifier: name_id.sp_name_qualifier.clone(),
                    session_index: session_index.clone(),
                };
                Secret::new(
                    serde_json::to_string(&kept)
                        .map_or_else(|_| String::new(), |text| format!("saml {text}")),
                )
            }
        }
    }

    /// Reads what [`Self::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        match text.split_once(' ')? {
            ("oidc", id_token) => Some(Self::Oidc { id_token: Secret::new(id_token) }),
            #[cfg(feature = "saml")]
            ("saml", text) => {
                let kept: KeptName = serde_json::from_str(text).ok()?;
                let KeptName { value, format, name_qualifier, sp_name_qualifier, session_index } = kept;
                let name_id = NameId { value, format, name_qualifier, sp_name_qualifier };
                Some(Self::Saml { name_id, session_index })
            }
            _ => None,
        }
    }
}

/// A name and a session of SAML, as they are kept.
#[cfg(feature = "saml")]
#[derive(Serialize, Deserialize)]
struct KeptName {
    value: String,
    format: Option<String>,
    name_qualifier: Option<String>,
    sp_name_qualifier: Option<String>,
    session_index: Option<String>,
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Assertion(idp {}, subject {})", self.idp, self.subject)
    }
}

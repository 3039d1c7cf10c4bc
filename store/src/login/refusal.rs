//! Why a verified person is not let in: one variant for each reason, with what an operator does about it.

use portcullis_policy::{DirectoryId, HeaderFault, shown};

/// The text that stands where somebody would be named whom `log.identity: none` leaves unnamed.
const UNNAMED: &str = "(not kept: log.identity)";

/// A refusal of a login whose answer was verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionRefusal {
    /// The login flow was used before: a reload, or a copy of the answer.
    #[error("this login was completed before")]
    FlowSpent,
    /// The IdP's statement was brought before, in this login or another.
    #[error("the assertion was brought before")]
    Replayed,
    /// Sessions of this scope were ended, or the configuration changed, while the login was under way.
    #[error("every session of {scope} was ended while this login was under way")]
    Overtaken {
        /// The deployment, the organization or the IdP.
        scope: &'static str,
    },
    /// The IdP did not send the claim that people are matched by.
    #[error("the IdP sent no {claim}, which is compared with {to}")]
    MissingClaim {
        /// The claim.
        claim: String,
        /// The attribute.
        to: &'static str,
    },
    /// The claim is an address that the IdP does not call verified: anybody may have typed it in.
    #[error(
        "{claim} is an e-mail address that the IdP does not call verified, and nobody is matched by such a one"
    )]
    UnverifiedEmail {
        /// The claim.
        claim: String,
    },
    /// Nobody has the value, and nobody is there at all.
    #[error("no user has {to} {}: the directory is empty", shown(value))]
    DirectoryEmpty {
        /// The attribute.
        to: &'static str,
        /// The claim's value.
        value: String,
    },
    /// Nobody has the value.
    #[error("no user has {to} {}{}", shown(value), hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
    NoMatch {
        /// The attribute.
        to: &'static str,
        /// The claim's value.
        value: String,
        /// The look of the values, where that tells what is wrong.
        hint: Option<Hint>,
    },
    /// More than one user has the value.
    #[error("{count} users have {to} {}", shown(value))]
    TwoMatches {
        /// The attribute.
        to: &'static str,
        /// The claim's value.
        value: String,
        /// The number of people.
        count: usize,
    },
    /// Another subject is linked to the user.
    #[error("the user with this {to} is linked to another subject")]
    LinkedToAnother {
        /// The attribute.
        to: &'static str,
    },
    /// The user is of a directory that does not name the IdP.
    #[error("the user is of directory {}, which does not name the IdP {idp}", directory.0)]
    OtherDirectory {
        /// The directory.
        directory: DirectoryId,
        /// The IdP.
        idp: String,
    },
    /// An address is of a domain that the IdP does not list.
    #[error(
        "{attribute} is {}, which is not among the domains of the IdP {idp}",
        domain.as_ref().map_or_else(|| "of no domain".to_owned(), |domain| format!("of {}", shown(domain)))
    )]
    Domain {
        /// The attribute with the address.
        attribute: &'static str,
        /// Its domain, if it has one.
        domain: Option<String>,
        /// The IdP.
        idp: String,
    },
    /// The directory says that the user is not active.
    #[error("the user is not active in the directory")]
    Inactive,
    /// An operator has disabled the user.
    #[error("an operator has disabled the user")]
    Disabled,
    /// The person was removed, and nobody has brought them back.
    #[error("the user was removed from the directory")]
    Removed,
    /// The user header would have no value.
    #[error("{}", HeaderFault::NoName { wanted })]
    NoName {
        /// The value of `headers.user`.
        wanted: &'static str,
    },
    /// The headers could not be written, or not all of them.
    #[error("{0}")]
    Headers(HeaderFault),
}

impl AdmissionRefusal {
    /// Every word of [`Self::log_word`].
    pub const WORDS: [&str; 16] = [
        "flow_spent",
        "saml_replay",
        "overtaken",
        "missing_claim",
        "unverified_email",
        "directory_empty",
        "no_match",
        "two_matches",
        "linked_to_another",
        "other_directory",
        "domain",
        "inactive",
        "disabled",
        "removed",
        "no_name",
        "headers",
    ];

    /// One word for metrics, the log and the audit.
    pub fn log_word(&self) -> &'static str {
        match self {
            Self::FlowSpent => "flow_spent",
            Self::Replayed => "saml_replay",
            Self::Overtaken { .. } => "overtaken",
            Self::MissingClaim { .. } => "missing_claim",
            Self::UnverifiedEmail { .. } => "unverified_email",
            Self::DirectoryEmpty { .. } => "directory_empty",
            Self::NoMatch { .. } => "no_match",
            Self::TwoMatches { .. } => "two_matches",
            Self::LinkedToAnother { .. } => "linked_to_another",
            Self::OtherDirectory { .. } => "other_directory",
            Self::Domain { .. } => "domain",
            Self::Inactive => "inactive",
            Self::Disabled => "disabled",
            Self::Removed => "removed",
            Self::NoName { .. } => "no_name",
            Self::Headers(_) => "headers",
        }
    }

    /// The same, without what the IdP calls the person.
    #[must_use]
    pub fn unnamed(mut self) -> Self {
        if let Self::DirectoryEmpty { value, .. }
        | Self::NoMatch { value, .. }
        | Self::TwoMatches { value, .. } = &mut self
        {
            *value = UNNAMED.to_owned();
        }
        self
    }

    /// Gives the advice for the operator.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::FlowSpent => "Start at the application's own address.",
            Self::Replayed => {
                "Start at the application's own address. If nobody reloaded a page, somebody has a copy of the IdP's answer."
            }
            Self::Overtaken { .. } => {
                "Nothing to set: the person starts again at the application's own address."
            }
            Self::MissingClaim { .. } => {
                "Have the IdP send the claim, or set link: {claim: …, to: …} of this IdP."
            }
            Self::UnverifiedEmail { .. } => {
                "Have the IdP verify addresses and send email_verified, match by its immutable id instead (link: {claim: sub, to: externalId}), or, where the IdP lets nobody choose an address, set trust_email: true and domains: of this IdP."
            }
            Self::DirectoryEmpty { .. } => "Run a full sync at the IdP.",
            Self::NoMatch { hint: Some(_), .. } => {
                "Map the IdP's immutable id to externalId at the IdP, or set link: {claim: …, to: userName} of this IdP."
            }
            Self::NoMatch { hint: None, .. } => {
                "Assign the person to the application at the IdP, or compare another claim: link: {claim: …, to: …}."
            }
            Self::TwoMatches { .. } => "Make the values unique at the IdP.",
            Self::LinkedToAnother { .. } => {
                "If this IdP took the place of another, name that one under replaces: of this IdP, or run portcullis user relink. Else, if it is the same person, remove the user at the IdP and provision it again; if not, the IdP gives one value to two people."
            }
            Self::OtherDirectory { .. } => {
                "Name the IdP under idps: of that directory, if it may sign its users in."
            }
            Self::Domain { .. } => "Add the domain to domains: of this IdP, if it may sign these people in.",
            Self::Inactive => "Activate the user at the IdP.",
            Self::Disabled => "Enable the user: portcullis user enable.",
            Self::Removed => {
                "Provision the user again at the IdP; where people are invited, add them again: portcullis user add."
            }
            Self::NoName { wanted: "email" } => {
                "Have the IdP verify addresses, set trust_email: true of this IdP, or set headers.user: subject."
            }
            Self::NoName { wanted } => HeaderFault::NoName { wanted }.remedy(),
            Self::Headers(fault) => fault.remedy(),
        }
    }
}

/// The look of an attribute's values, when they do not look like the claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The number of values that look alike.
    pub alike: usize,
    /// Of how many looked at.
    pub of: usize,
    /// The look of those values.
    pub looks_like: &'static str,
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} look like {}", self.alike, self.of, self.looks_like)
    }
}

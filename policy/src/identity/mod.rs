//! The identity headers: their names, where the values come from, how values are encoded.
//!
//! The rule it protects: headers are true (promise 2). A person of whom the user header cannot be said is nobody to the
//! application, so there is no principal of them; what else is not known is no header.

mod encoding;
mod groups;
mod preset;
mod rule;
mod signed;
mod source;

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use self::source::ToldPerson;
use crate::{Attributes, Facts, Roles};

pub use encoding::HeaderEncoding;
pub use groups::ToldGroups;
pub use preset::{HeaderPreset, IDENTITY_HEADERS, PresetHeader};
pub use rule::{HeaderRule, HeaderText, TemplatePart};
pub use signed::{SIGNED_HEADER, SignedClaims, SignedHeader};
pub use source::HeaderSource;

/// The source of the user header's value. It never falls back to another source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserFrom {
    /// `userName` of the SCIM User: the default with a directory.
    UserName,
    /// What the login calls `preferred_username`; `userName` of the directory. People may have chosen it themselves.
    PreferredUsername,
    /// `id` of the SCIM User.
    Id,
    /// `externalId` of the SCIM User.
    ExternalId,
    /// The subject at the IdP.
    Subject,
    /// A verified e-mail address: the default without a directory.
    Email,
}

impl UserFrom {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::UserName, Self::PreferredUsername, Self::Id, Self::ExternalId, Self::Subject, Self::Email];

    /// The word of the configuration.
    pub fn config_word(self) -> &'static str {
        match self {
            Self::UserName => "userName",
            Self::PreferredUsername => "preferred_username",
            Self::Id => "id",
            Self::ExternalId => "externalId",
            Self::Subject => "subject",
            Self::Email => "email",
        }
    }

    /// The value for a person.
    ///
    /// # Errors
    /// [`HeaderFault::NoName`] where it is not known or empty.
    pub fn name_of(self, facts: &Facts) -> Result<Arc<str>, HeaderFault> {
        let value = match self {
            Self::UserName => facts.user_name.clone(),
            Self::PreferredUsername => {
                facts.attributes.all_texts(Attributes::PREFERRED_USERNAME).first().cloned()
            }
            Self::Id => facts.id.clone(),
            Self::ExternalId => facts.external_id.clone(),
            Self::Subject => facts.subject.clone(),
            Self::Email => facts.email.clone(),
        };
        let missing = HeaderFault::NoName { wanted: self.config_word() };
        value.filter(|value| !value.is_empty()).ok_or(missing)
    }
}

/// Reasons why nothing can be said of a person to the application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// The user header has no value: `headers.user` asks for something that is not known of this person.
    #[error("headers.user is {wanted}, which is not known of this person")]
    NoName {
        /// The word that `headers.user` says.
        wanted: &'static str,
    },
    /// The user header cannot be written in its encoding.
    #[error("{header} cannot say this person's name in the encoding {encoding}")]
    NotWritable {
        /// The header.
        header: HeaderName,
        /// The word of the encoding.
        encoding: &'static str,
    },
    /// The application would take the name for another one: the product of `headers.preset` changes names.
    #[error("{header} says a name of this person that {product} takes for another one")]
    Bent {
        /// The header.
        header: HeaderName,
        /// The product.
        product: &'static str,
    },
    /// No header that names the person can be written, since something else in it is not known.
    #[error("{header} names the person, and something else in it is not known or cannot be written")]
    Unsaid {
        /// The header.
        header: HeaderName,
    },
    /// All headers together are larger than `headers.budget`.
    #[error(
        "the headers of this person have {bytes} bytes, and headers.budget is {budget}; most are of {largest}"
    )]
    OverBudget {
        /// The size of all of them.
        bytes: usize,
        /// The most that is allowed.
        budget: usize,
        /// The largest one.
        largest: HeaderName,
    },
}

impl HeaderFault {
    /// Gives the advice for the operator.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoName { wanted: "subject" } => "It is known from the first login on.",
            Self::NoName { .. } => {
                "Fill the attribute where the person is managed, or name another one: headers.user."
            }
            Self::NotWritable { .. } => {
                "Change the name where the person is managed (a letter and its accent as one character, no blank at an end), or tell the application another: headers.user: id, or a name of their own. Where it decodes percent-encoding: encoding: percent."
            }
            Self::Bent { .. } => {
                "Tell the application what cannot be mistaken: headers.user: id, or a name of their own (docs/configuration.md)."
            }
            Self::Unsaid { .. } => {
                "Give the user header a line of its own: headers.names: { user: X-Remote-User }."
            }
            Self::OverBudget { .. } => {
                "Tell the application of less: of fewer groups by headers.groups.only, or without that header; or raise headers.budget, if the application takes as much."
            }
        }
    }
}

/// The most bytes of all identity headers of a person, where nobody says otherwise: what applications commonly take is 8 to
/// 64 KiB.
pub const HEADER_BUDGET: usize = 16 * 1024;

/// The identity headers as they are written for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The product that the headers are for.
    pub preset: HeaderPreset,
    /// The source of the user header's value.
    pub user: UserFrom,
    /// The headers, in the order in which they are written; no name twice.
    pub rules: Arc<[HeaderRule]>,
    /// The groups that are told.
    pub groups: ToldGroups,
    /// The most bytes of all headers of a person.
    pub budget: usize,
    /// The header that is signed, where there is one.
    pub signed: Option<SignedHeader>,
}

impl IdentityHeaders {
    /// How the values of a header are written.
    pub fn encoding_of(&self, name: &HeaderName) -> HeaderEncoding {
        let rule = self.rules.iter().find(|rule| rule.name == *name);
        rule.map(|rule| rule.encoding).unwrap_or_default()
    }

    /// Those of the preset `x-forwarded`.
    pub fn x_forwarded(user: UserFrom) -> Self {
        let rules = HeaderPreset::XForwarded.headers().iter().map(|PresetHeader { name, source }| {
            let name = HeaderName::from_static(name);
            HeaderRule::of_source(name, source.clone(), HeaderEncoding::Percent, ',')
        });
        Self {
            preset: HeaderPreset::XForwarded,
            user,
            rules: rules.collect(),
            groups: ToldGroups::default(),
            budget: HEADER_BUDGET,
            signed: None,
        }
    }

    /// The names of the headers that go up, each of which is taken from clients.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.rules.iter().map(|rule| &rule.name)
    }

    /// The bytes that everybody's headers have at least: what is the same for all, and defaults where they are shorter.
    pub fn least_size(&self) -> usize {
        self.rules.iter().map(HeaderRule::least_size).sum()
    }

    /// What headers would say of a person and cannot write: left out of a list, or the reason why there is no header, or the
    /// default.
    pub fn left_out(&self, name: &str, facts: &Facts, roles: &Roles) -> Vec<(HeaderName, String)> {
        let person = self.told_person(name, facts, roles);
        let of_rule = |rule: &HeaderRule| {
            let texts = rule.left_out(&person).into_iter();
            texts.map(|text| (rule.name.clone(), text.to_owned())).collect::<Vec<_>>()
        };
        self.rules.iter().flat_map(of_rule).collect()
    }

    fn told_person<'p>(&self, name: &'p str, facts: &'p Facts, roles: &'p Roles) -> ToldPerson<'p> {
        let groups = facts.groups.iter().map(|group| &**group);
        let groups = groups.filter(|group| self.groups.include(group)).collect();
        ToldPerson { name, facts, roles, groups }
    }

    /// The headers of a person. An empty list and an unknown value are no header at all.
    pub(crate) fn prepare(
        &self,
        name: &str,
        facts: &Facts,
        roles: &Roles,
    ) -> Result<PreparedHeaders, HeaderFault> {
        let person = self.told_person(name, facts, roles);
        let (mut lines, mut fields) = (Vec::new(), Vec::new());
        let mut largest: Option<(usize, &HeaderName)> = None;
        let (mut is_named, mut unsaid) = (false, None);
        for rule in self.rules.iter() {
            let names_person = rule.names_person();
            if names_person && !rule.can_write(name) {
                let (header, encoding) = (rule.name.clone(), rule.encoding.config_word());
                return Err(HeaderFault::NotWritable { header, encoding });
            }
            let Some(value) = rule.value_for(&person) else {
                unsaid = unsaid.or(names_person.then_some(&rule.name));
                continue;
            };
            is_named |= names_person;
            if (names_person || self.preset.names_by(&rule.name))
                && !self.preset.keeps_name(&rule.encoding.read(value.as_bytes()))
            {
                return Err(HeaderFault::Bent { header: rule.name.clone(), product: self.preset.product() });
            }
            let before = lines.len();
            for part in [rule.name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
            let size = lines.len() - before;
            if largest.is_none_or(|(most, _)| size > most) {
                largest = Some((size, &rule.name));
            }
            fields.push((rule.name.clone(), value));
        }
        if let (false, Some(header)) = (is_named, unsaid) {
            return Err(HeaderFault::Unsaid { header: header.clone() });
        }
        let tells_email = self.rules.iter().any(|rule| rule.says == HeaderText::Source(HeaderSource::Email));
        let claims = self.signed.as_ref().map(|signed| signed.claims_of(&person, tells_email));
        let signed = claims.as_ref().map_or(0, SignedClaims::line_size);
        let bytes = lines.len() + signed;
        if bytes > self.budget {
            let largest = match largest {
                Some((size, largest)) if size > signed => largest.clone(),
                _ => HeaderName::from_static(SIGNED_HEADER),
            };
            return Err(HeaderFault::OverBudget { bytes, budget: self.budget, largest });
        }
        Ok(PreparedHeaders { fields: fields.into(), lines: lines.into(), claims })
    }
}

/// The identity headers of one person, ready to be written.
#[derive(Clone)]
pub(crate) struct PreparedHeaders {
    pub(crate) fields: Arc<[(HeaderName, HeaderValue)]>,
    /// The same as lines of HTTP/1.1.
    pub(crate) lines: Arc<[u8]>,
    /// The claims of the header that is signed.
    pub(crate) claims: Option<SignedClaims>,
}

impl fmt::Debug for PreparedHeaders {
    /// Without the lines, in which a credential may stand.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.fields.iter().map(|(name, value)| (name, value))).finish()
    }
}

#[cfg(test)]
mod tests;

//! Sources: what a header may say of a person.

use std::sync::Arc;

use crate::{Attributes, Facts, Roles};

/// One thing that is known of a person. The lists have many texts, the others one, where they are known at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSource {
    /// The value of the user header, which `headers.user` chooses.
    Name,
    /// An address that may be believed.
    Email,
    /// The groups, as far as `headers.groups` tells of them.
    Groups,
    /// The roles.
    Roles,
    /// A name for people.
    DisplayName,
    /// `preferred_username`, and `userName` of the directory.
    PreferredUsername,
    /// `userName` of the directory.
    UserName,
    /// `id` of the directory.
    Id,
    /// `externalId` of the directory.
    ExternalId,
    /// The subject at the IdP.
    Subject,
    /// An attribute of the directory.
    Attribute {
        /// Its canonical name.
        name: Arc<str>,
        /// True where it can have many values: one value is written as a list of one then.
        is_list: bool,
    },
}

impl HeaderSource {
    /// Tells whether it is a list by nature.
    pub fn is_list(&self) -> bool {
        matches!(self, Self::Groups | Self::Roles | Self::Attribute { is_list: true, .. })
    }
}

/// A person, as headers speak of them.
pub(super) struct ToldPerson<'p> {
    pub(super) name: &'p str,
    pub(super) facts: &'p Facts,
    pub(super) roles: &'p Roles,
    /// The groups that are told.
    pub(super) groups: Vec<&'p str>,
}

impl<'p> ToldPerson<'p> {
    /// The texts of a source; none where it is not known.
    pub(super) fn texts(&self, source: &HeaderSource) -> Vec<&'p str> {
        let one = |text: Option<&'p str>| text.filter(|text| !text.is_empty()).into_iter().collect();
        let of_arc = |text: &'p Option<Arc<str>>| one(text.as_deref());
        let facts = self.facts;
        match source {
            HeaderSource::Name => vec![self.name],
            HeaderSource::Email => of_arc(&facts.email),
            HeaderSource::Groups => self.groups.clone(),
            HeaderSource::Roles => self.roles.names().iter().map(|role| &**role).collect(),
            HeaderSource::DisplayName => one(facts.attributes.first_text(Attributes::NAME)),
            HeaderSource::PreferredUsername => {
                one(facts.attributes.first_text(Attributes::PREFERRED_USERNAME))
            }
            HeaderSource::UserName => of_arc(&facts.user_name),
            HeaderSource::Id => of_arc(&facts.id),
            HeaderSource::ExternalId => of_arc(&facts.external_id),
            HeaderSource::Subject => of_arc(&facts.subject),
            HeaderSource::Attribute { name, .. } => {
                facts.attributes.all_texts(name).iter().map(|text| &**text).collect()
            }
        }
    }
}

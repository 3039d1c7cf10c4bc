//! The attributes of people that the file may name: in headers, and in bindings.

use portcullis_policy::{ENTERPRISE_USER, HeaderSource, USER_ATTRIBUTES, USER_LISTS};

use crate::at::show_value;
use crate::document::{ProvisioningWord, RootBlock};
use crate::extensions::{DeclaredAttribute, ScimExtensions, ValueType};
use crate::nearest;

/// The attributes that have a source of their own.
pub(super) const IDS: [(&str, HeaderSource); 3] = [
    ("id", HeaderSource::Id),
    ("userName", HeaderSource::UserName),
    ("externalId", HeaderSource::ExternalId),
];

/// What `${…}` may name.
pub(crate) struct KnownAttributes {
    pub(crate) has_directory: bool,
    /// True where people come by hand and by files, which write few attributes.
    by_hand: bool,
    /// The names by which an attribute may be meant.
    names: Vec<(String, KnownAttribute)>,
}

/// The attributes that `user add` and files of people write.
const BY_HAND: [&str; 5] = ["displayName", "emails", "name.formatted", "name.givenName", "name.familyName"];

/// An attribute, as headers tell it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KnownAttribute {
    /// Its canonical name.
    pub(crate) whole: String,
    pub(super) is_list: bool,
    /// True where case counts.
    pub(crate) is_exact: bool,
}

impl KnownAttributes {
    pub(crate) fn of_document(document: &RootBlock) -> Self {
        let declared = document.scim.as_ref().map(|scim| &scim.extensions);
        Self::new(document.provisioning, declared)
    }

    pub(crate) fn new(provisioning: ProvisioningWord, declared: Option<&ScimExtensions>) -> Self {
        let mut names = Vec::new();
        let [core, enterprise] = USER_ATTRIBUTES;
        names.extend(core.iter().map(|name| {
            let is_list = USER_LISTS.contains(name);
            ((*name).to_owned(), KnownAttribute { whole: (*name).to_owned(), is_list, is_exact: false })
        }));
        let mut add = |urn: &str, name: &str, is_list: bool, is_exact: bool| {
            let known = KnownAttribute { whole: format!("{urn}:{name}"), is_list, is_exact };
            names.push((name.to_owned(), known.clone()));
            names.push((known.whole.clone(), known));
        };
        enterprise.iter().for_each(|name| add(ENTERPRISE_USER, name, false, false));
        for extension in declared.into_iter().flat_map(|declared| &declared.0) {
            for attribute in &extension.attributes {
                // A reference is compared byte for byte (RFC 7643 §2.3.7).
                let is_exact = attribute.case_exact || attribute.kind == ValueType::Reference;
                told_names(attribute)
                    .iter()
                    .for_each(|name| add(&extension.urn, name, attribute.multi_valued, is_exact));
            }
        }
        let has_directory = provisioning != ProvisioningWord::None;
        Self { has_directory, by_hand: provisioning == ProvisioningWord::Invited, names }
    }

    pub(super) fn all_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.iter().map(|(known, _)| known.as_str()).chain(IDS.iter().map(|(known, _)| *known))
    }

    /// The whole names of the attributes that may be meant.
    pub(super) fn whole_names(&self, asked: &str) -> impl Iterator<Item = &str> {
        let mut found: Vec<&str> = self
            .names
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(asked))
            .map(|(_, known)| known.whole.as_str())
            .collect();
        found.dedup();
        found.into_iter()
    }

    /// Finds an attribute by which a role may be given: one that somebody writes, and so can take away.
    ///
    /// # Errors
    /// As [`find_attribute`](Self::find_attribute).
    pub(crate) fn find_bindable(&self, asked: &str) -> Result<&KnownAttribute, (String, String)> {
        let found = self.find_attribute(asked)?;
        if self.by_hand && !BY_HAND.contains(&found.whole.as_str()) {
            let what = format!(
                "with provisioning: invited nothing writes {}, so what is left of a directory would give the role for good",
                show_value(asked)
            );
            return Err((what, "Bind by group".to_owned()));
        }
        Ok(found)
    }

    /// Finds an attribute that is meant by a name; what is wrong, and what to do, where there is not exactly one.
    pub(crate) fn find_attribute(&self, asked: &str) -> Result<&KnownAttribute, (String, String)> {
        let shown = show_value(asked);
        if IDS.iter().any(|(known, _)| known.eq_ignore_ascii_case(asked)) {
            return Err((
                format!("{shown} is one person's alone"),
                "Bind by group, or by an attribute that several have".to_owned(),
            ));
        }
        let mut found: Vec<&KnownAttribute> = self
            .names
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(asked))
            .map(|(_, known)| known)
            .collect();
        found.dedup();
        match found[..] {
            [one] => Ok(one),
            [] => Err((
                format!("there is no attribute \"{shown}\" of people"),
                match asked {
                    "groups" => "Bind by group".to_owned(),
                    "email" => "Write emails: any address of theirs".to_owned(),
                    _ => nearest::suggest_word(asked, self.names.iter().map(|(known, _)| known.as_str())),
                },
            )),
            [one, other, ..] => Err((
                format!("\"{shown}\" is an attribute of two schemas"),
                format!("Write {} or {}", one.whole, other.whole),
            )),
        }
    }
}

/// The names by which a declared attribute is told: itself, or its parts.
fn told_names(attribute: &DeclaredAttribute) -> Vec<String> {
    match (attribute.kind, attribute.multi_valued) {
        (ValueType::Complex, false) => {
            attribute.parts.iter().map(|part| format!("{}.{}", attribute.name, part.name)).collect()
        }
        (ValueType::Complex, true) => {
            let has_value = attribute.parts.iter().any(|part| part.name.eq_ignore_ascii_case("value"));
            has_value.then(|| attribute.name.clone()).into_iter().collect()
        }
        _ => vec![attribute.name.clone()],
    }
}

//! The columns of a roster, by the names that stand in its first line.

use std::collections::HashSet;

/// A column that a roster may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// The name that a login is compared with; every row has one.
    UserName,
    /// The identity provider's own id of the person.
    ExternalId,
    /// An address.
    Email,
    /// The first name.
    GivenName,
    /// The last name.
    FamilyName,
    /// A name for people.
    DisplayName,
    /// The names of the groups the person is in, separated by `|`.
    Groups,
    /// True where the person may sign in.
    Active,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::UserName,
        Self::ExternalId,
        Self::Email,
        Self::GivenName,
        Self::FamilyName,
        Self::DisplayName,
        Self::Groups,
        Self::Active,
    ];

    /// The name in the first line of a file. Case does not matter there.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserName => "userName",
            Self::ExternalId => "externalId",
            Self::Email => "email",
            Self::GivenName => "givenName",
            Self::FamilyName => "familyName",
            Self::DisplayName => "displayName",
            Self::Groups => "groups",
            Self::Active => "active",
        }
    }

    /// The column of that name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name().eq_ignore_ascii_case(name))
    }

    /// The column that a name which is none may mean: one or two letters, or signs, away.
    pub(crate) fn nearest(name: &str) -> Option<Self> {
        let bare = |text: &str| -> String {
            text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
        };
        let wanted = bare(name);
        if wanted.is_empty() || wanted.len() > 64 {
            return None;
        }
        let distance = |column: &Self| strsim::damerau_levenshtein(&bare(column.name()), &wanted);
        Self::ALL.into_iter().min_by_key(distance).filter(|column| distance(column) <= 2)
    }
}

/// The columns that a file has; a column that is not there leaves what is stored alone.
pub(crate) type Columns = HashSet<Column>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_answered_with_the_column_that_was_meant() {
        for (slip, meant) in [("user_name", "userName"), ("E-Mail", "email"), ("actve", "active")] {
            assert_eq!(Column::nearest(slip).map(Column::name), Some(meant), "{slip}");
        }
        for other in ["department", "", "né", "manager"] {
            assert_eq!(Column::nearest(other), None, "{other}");
        }
    }
}

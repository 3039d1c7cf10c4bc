//! From groups to roles: bindings by exact group name, and which role loses to which.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Attributes, Facts, fold};

/// Resolved roles in the order the bindings file lists them. Cloning shares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(Arc<[Arc<str>]>);

impl Default for Roles {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Roles {
    /// Tells whether any of `wanted` is among these. An empty list wants something nobody has.
    pub fn any_of(&self, wanted: &[Arc<str>]) -> bool {
        wanted.iter().any(|role| self.0.contains(role))
    }

    /// The names, in the order of the bindings file.
    pub fn names(&self) -> &[Arc<str>] {
        &self.0
    }
}

/// A group by its exact display name, folded by [`fold::same_key`], gives a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBinding {
    /// The group's `displayName`.
    pub group: String,
    /// The role it gives.
    pub role: String,
}

/// A value of an attribute in the directory gives a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeBinding {
    /// The attribute's canonical name, as [`Attributes`] have it.
    pub attribute: String,
    /// The same as the bindings file writes it, for people.
    pub written: String,
    /// The whole value; of a list any one.
    pub equals: String,
    /// True where case counts (`caseExact`, RFC 7643 §2.2); else it is compared as groups are.
    pub is_exact: bool,
    /// The role it gives.
    pub role: String,
}

/// The bindings of one organization. The default knows no roles.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    roles: Vec<Arc<str>>,
    conflicts: Vec<Vec<usize>>,
    /// By the group's folded name.
    groups: HashMap<String, BoundRoles>,
    attributes: Vec<BoundAttribute>,
}

/// The role that a value of an attribute gives.
#[derive(Clone, Debug)]
struct BoundAttribute {
    binding: AttributeBinding,
    /// The value as it is compared.
    wanted: String,
    role: usize,
}

impl BoundAttribute {
    fn is_met(&self, attributes: &Attributes) -> bool {
        let AttributeBinding { attribute, is_exact, .. } = &self.binding;
        attributes.all_texts(attribute).iter().any(|text| match is_exact {
            true => **text == *self.wanted,
            false => fold::same_key(text) == self.wanted,
        })
    }

    /// Its words for people: `department "finance"`.
    fn words(&self) -> String {
        let AttributeBinding { written, equals, .. } = &self.binding;
        format!("{written} {equals:?}")
    }
}

/// The roles that a group gives.
#[derive(Clone, Debug, Default)]
struct BoundRoles {
    /// The group as the bindings file spells it first.
    group: String,
    roles: Vec<usize>,
}

/// A role that was given and lost against a stricter one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutrankedRole {
    /// The role that is not granted.
    pub role: Arc<str>,
    /// The role that won.
    pub to: Arc<str>,
}

/// The roles of a person, and what the conflicts took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The roles that are granted.
    pub roles: Roles,
    /// The roles that a conflict line took, for the audit and for `explain`.
    pub lost: Vec<OutrankedRole>,
}

/// The fault of bindings that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingError {
    /// A binding or a conflict names a role that `roles` does not list.
    #[error("\"{0}\" is not among the roles of this file")]
    UnknownRole(String),
    /// A role is listed twice.
    #[error("the role \"{0}\" is listed twice")]
    RoleTwice(String),
    /// A role that cannot stand in a list header.
    #[error("the role \"{0}\" has a comma, a blank at an end, or a character outside printable ASCII")]
    RoleName(String),
}

impl Bindings {
    /// Joins roles, conflict lines (strictest first) and bindings.
    ///
    /// # Errors
    /// The first [`BindingError`] met: a role that is unknown, listed twice, or cannot stand in a header.
    pub fn new(
        roles: &[String],
        conflicts: &[Vec<String>],
        groups: &[GroupBinding],
    ) -> Result<Self, BindingError> {
        let mut made = Self::default();
        for role in roles {
            if role.is_empty()
                || role.trim() != role
                || !role.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b',')
            {
                return Err(BindingError::RoleName(role.clone()));
            }
            if made.roles.iter().any(|known| **known == **role) {
                return Err(BindingError::RoleTwice(role.clone()));
            }
            made.roles.push(role.as_str().into());
        }
        for line in conflicts {
            let line = line.iter().map(|role| made.role_index(role)).collect::<Result<_, _>>()?;
            made.conflicts.push(line);
        }
        for binding in groups {
            let role = made.role_index(&binding.role)?;
            let new = || BoundRoles { group: binding.group.clone(), roles: Vec::new() };
            made.groups.entry(fold::same_key(&binding.group)).or_insert_with(new).roles.push(role);
        }
        Ok(made)
    }

    /// Adds what attributes of the directory give.
    ///
    /// # Errors
    /// [`BindingError::UnknownRole`].
    pub fn with_attributes(mut self, attributes: &[AttributeBinding]) -> Result<Self, BindingError> {
        for binding in attributes {
            let role = self.role_index(&binding.role)?;
            let wanted = match binding.is_exact {
                true => binding.equals.clone(),
                false => fold::same_key(&binding.equals),
            };
            self.attributes.push(BoundAttribute { binding: binding.clone(), wanted, role });
        }
        Ok(self)
    }

    /// Tells whether any role is defined.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty()
    }

    /// The roles, in the order of the file.
    pub fn known_roles(&self) -> &[Arc<str>] {
        &self.roles
    }

    /// Resolves the roles of a person. What a login states gives none: attributes count where a directory has them.
    pub fn resolve(&self, facts: &Facts) -> Resolution {
        let attributes = facts.id.is_some().then_some(&facts.attributes);
        self.resolve_stated(facts.groups.iter().map(|group| &**group), attributes)
    }

    /// The same of groups, and of the attributes that a directory has. Roles add up; of each conflict line the leftmost, the
    /// strictest, wins. Lines are applied one after another, and a role that has lost wins over nobody.
    pub fn resolve_stated<'a>(
        &self,
        groups: impl IntoIterator<Item = &'a str>,
        attributes: Option<&Attributes>,
    ) -> Resolution {
        let mut has = vec![false; self.roles.len()];
        for bound in attributes.into_iter().flat_map(|stated| self.bound_by(stated)) {
            has[bound.role] = true;
        }
        for group in groups {
            for role in self.groups.get(&fold::same_key(group)).into_iter().flat_map(|bound| &bound.roles) {
                has[*role] = true;
            }
        }
        let mut lost = Vec::new();
        for line in &self.conflicts {
            let mut winner: Option<usize> = None;
            for role in line.iter().copied().filter(|role| has[*role]).collect::<Vec<_>>() {
                match winner {
                    None => winner = Some(role),
                    Some(to) if to != role => {
                        has[role] = false;
                        lost.push(OutrankedRole {
                            role: self.roles[role].clone(),
                            to: self.roles[to].clone(),
                        });
                    }
                    Some(_) => {}
                }
            }
        }
        let roles: Vec<_> =
            self.roles.iter().zip(&has).filter(|(_, has)| **has).map(|(role, _)| role.clone()).collect();
        Resolution { roles: Roles(roles.into()), lost }
    }

    fn bound_by<'a>(&'a self, attributes: &'a Attributes) -> impl Iterator<Item = &'a BoundAttribute> {
        self.attributes.iter().filter(|bound| bound.is_met(attributes))
    }

    /// What gives a role, in words: groups as the bindings file spells them, sorted, then attributes.
    pub fn what_gives(&self, role: &str) -> Vec<String> {
        let gives = |bound: &&BoundRoles| bound.roles.iter().any(|given| *self.roles[*given] == *role);
        let mut groups: Vec<String> =
            self.groups.values().filter(gives).map(|bound| format!("the group {}", bound.group)).collect();
        groups.sort_unstable();
        let attributes = self.attributes.iter().filter(|bound| *self.roles[bound.role] == *role);
        groups.extend(attributes.map(BoundAttribute::words));
        groups
    }

    /// What of these attributes gives a role, in words, with the role; before any conflict line.
    pub fn given_by_attributes<'a>(
        &'a self,
        attributes: &'a Attributes,
    ) -> impl Iterator<Item = (String, &'a Arc<str>)> {
        self.bound_by(attributes).map(|bound| (bound.words(), &self.roles[bound.role]))
    }

    /// The roles that a group gives by itself, before any conflict line.
    pub fn given_by(&self, group: &str) -> impl Iterator<Item = &Arc<str>> {
        let bound = self.groups.get(&fold::same_key(group));
        bound.into_iter().flat_map(|bound| &bound.roles).map(|role| &self.roles[*role])
    }

    fn role_index(&self, role: &str) -> Result<usize, BindingError> {
        self.roles
            .iter()
            .position(|known| **known == *role)
            .ok_or_else(|| BindingError::UnknownRole(role.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).into()).collect()
    }

    fn bindings() -> Bindings {
        let bind = |group: &str, role: &str| GroupBinding { group: group.into(), role: role.into() };
        Bindings::new(
            &strings(&["member", "admin", "billing"]),
            &[strings(&["member", "admin"])],
            &[bind("Engineering", "member"), bind("Owners", "admin"), bind("Owners", "billing")],
        )
        .unwrap()
    }

    fn names(resolution: &Resolution) -> Vec<&str> {
        resolution.roles.names().iter().map(|role| &**role).collect()
    }

    #[test]
    fn roles_add_up_and_the_leftmost_of_a_conflict_wins() {
        let both = bindings().resolve_stated(["owners", "ENGINEERING"], None);
        assert_eq!(names(&both), ["member", "billing"]);
        assert_eq!(both.lost, [OutrankedRole { role: "admin".into(), to: "member".into() }]);
        assert_eq!(names(&bindings().resolve_stated(["Owners"], None)), ["admin", "billing"]);
        assert!(bindings().resolve_stated(["owner", "Engineering "], None).roles.names().is_empty());
    }

    #[test]
    fn it_is_told_which_group_gives_what() {
        let bindings = bindings();
        assert_eq!(bindings.what_gives("admin"), ["the group Owners"]);
        assert_eq!(bindings.what_gives("nothing"), [""; 0]);
        assert_eq!(bindings.given_by("OWNERS").map(|role| &**role).collect::<Vec<_>>(), ["admin", "billing"]);
        assert_eq!(bindings.given_by("Sales").count(), 0);
    }

    #[test]
    fn no_roles_wanted_is_nobodys() {
        assert!(!bindings().resolve_stated(["Owners"], None).roles.any_of(&[]));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let refused =
            |roles: &[&str], conflicts: &[Vec<String>]| Bindings::new(&strings(roles), conflicts, &[]).err();
        assert_eq!(refused(&["a", "a"], &[]), Some(BindingError::RoleTwice("a".into())));
        assert_eq!(refused(&["a,b"], &[]), Some(BindingError::RoleName("a,b".into())));
        assert_eq!(refused(&["a"], &[strings(&["a", "b"])]), Some(BindingError::UnknownRole("b".into())));
    }

    #[test]
    fn attributes_of_a_directory_give_roles_and_those_of_a_login_give_none() {
        let bind = |attribute: &str, equals: &str, is_exact, role: &str| AttributeBinding {
            attribute: attribute.into(),
            written: attribute.into(),
            equals: equals.into(),
            is_exact,
            role: role.into(),
        };
        let attributes = [
            bind("department", "Finance", false, "billing"),
            bind("badges", "Gold", true, "admin"),
            bind("title", "Lead", false, "admin"),
        ];
        let bindings = bindings().with_attributes(&attributes).unwrap();
        let roles = |stated: &[(&str, &[&str])], groups: &[&str]| {
            let stated =
                stated.iter().fold(Attributes::default(), |all, (name, texts)| all.with_texts(name, *texts));
            let resolution = bindings.resolve_stated(groups.iter().copied(), Some(&stated));
            names(&resolution).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(roles(&[("department", &["FINANCE"])], &[]), ["billing"]);
        assert!(roles(&[("department", &["Finance "])], &[]).is_empty());
        assert!(roles(&[("Department", &["Finance"])], &[]).is_empty(), "names are canonical here");
        assert_eq!(roles(&[("badges", &["Silver", "Gold"])], &[]), ["admin"]);
        assert!(roles(&[("badges", &["gold"])], &[]).is_empty());
        assert_eq!(roles(&[("title", &["lead"])], &["Engineering"]), ["member"], "conflicts come behind");
        assert_eq!(bindings.what_gives("admin"), ["the group Owners", "badges \"Gold\"", "title \"Lead\""]);
        assert!(bindings.resolve_stated([], None).roles.names().is_empty());
        let unknown = super::Bindings::default().with_attributes(&attributes[..1]);
        assert_eq!(unknown.unwrap_err(), BindingError::UnknownRole("billing".into()));

        let facts = |id: Option<&str>| Facts {
            account: crate::AccountId(1),
            org: crate::OrgId::ONLY,
            stable_id: "x".into(),
            user_name: None,
            id: id.map(Into::into),
            external_id: None,
            subject: None,
            email: None,
            attributes: Attributes::default().with_texts("department", ["finance"]),
            groups: Arc::new([]),
        };
        assert_eq!(names(&bindings.resolve(&facts(Some("u-1")))), ["billing"]);
        assert!(bindings.resolve(&facts(None)).roles.names().is_empty(), "a login said it");
    }
}

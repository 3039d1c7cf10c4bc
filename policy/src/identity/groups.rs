//! The groups that an application is told: all, or those that `headers.groups.only` names.

use crate::fold::same_key;

/// Names of groups, and patterns with `*` for any text; compared as SCIM compares names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldGroups(Option<Vec<String>>);

impl ToldGroups {
    /// Only those that one of these fits.
    pub fn only(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(Some(patterns.into_iter().map(|pattern| same_key(pattern.as_ref())).collect()))
    }

    /// Tells whether a group is told.
    pub fn include(&self, group: &str) -> bool {
        let Some(patterns) = &self.0 else { return true };
        let group = same_key(group);
        patterns.iter().any(|pattern| fits(pattern, &group))
    }
}

/// Tells whether a name fits a pattern. Greedy from the left with one way back, so the time is bounded by the product of
/// both lengths.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name, is_fit) in [
            ("staff", "Staff", true),
            ("staff", "staffs", false),
            ("*", "", true),
            ("*", "anything", true),
            ("app-*", "App-owners", true),
            ("app-*", "an app-owners", false),
            ("*-owners", "app-owners", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("**", "x", true),
        ] {
            assert_eq!(ToldGroups::only([pattern]).include(name), is_fit, "{pattern} {name}");
        }
        assert!(ToldGroups::default().include("any") && !ToldGroups::only(["a"; 0]).include("any"));
    }
}

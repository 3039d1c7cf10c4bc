//! The names of 1.1: its URNs, `managerId`, and what they are in 2.0.

use std::borrow::Cow;

use crate::schema::{ENTERPRISE_USER, GROUP, ResourceKind, USER};

/// The core schema of 1.1: users, groups and everything the service says of itself.
pub(super) const CORE_ONE: &str = "urn:scim:schemas:core:1.0";
/// The enterprise extension of 1.1.
pub(super) const ENTERPRISE_ONE: &str = "urn:scim:schemas:extension:enterprise:1.0";

/// The name that 1.1 has for the id of a manager, which 2.0 calls `value`.
pub(super) const MANAGER_ID: &str = "managerId";

/// The URN of 2.0 that a URN of 1.1 means for a kind of resource; any other stays.
pub(super) fn to_urn(kind: ResourceKind, urn: &str) -> &str {
    if urn.eq_ignore_ascii_case(CORE_ONE) {
        kind.urn()
    } else if urn.eq_ignore_ascii_case(ENTERPRISE_ONE) {
        ENTERPRISE_USER
    } else {
        urn
    }
}

/// The URN of 1.1 that is told where 2.0 has this one; what a configuration declares stays.
pub(super) fn from_urn(urn: &str) -> &str {
    match urn {
        USER | GROUP => CORE_ONE,
        ENTERPRISE_USER => ENTERPRISE_ONE,
        other => other,
    }
}

/// Turns the name of an attribute into the one that 2.0 has: with or without a URN in front, with or without a part
/// behind. A name that 1.1 writes no differently stays.
pub(super) fn to_name(name: &str) -> Cow<'_, str> {
    let name = match (below_urn(CORE_ONE, name), below_urn(ENTERPRISE_ONE, name)) {
        (Some(bare), _) if !bare.is_empty() => Cow::Borrowed(bare),
        (_, Some("")) => Cow::Borrowed(ENTERPRISE_USER),
        (_, Some(bare)) => Cow::Owned(format!("{ENTERPRISE_USER}:{bare}")),
        _ => Cow::Borrowed(name),
    };
    match name.rsplit_once('.') {
        Some((whole, part)) if part.eq_ignore_ascii_case(MANAGER_ID) && is_manager(whole) => {
            Cow::Owned(format!("{whole}.value"))
        }
        _ => name,
    }
}

/// Tells whether a name of 2.0 means the manager of the enterprise extension.
fn is_manager(name: &str) -> bool {
    let bare = match name.get(..ENTERPRISE_USER.len()) {
        Some(urn) if urn.eq_ignore_ascii_case(ENTERPRISE_USER) => &name[urn.len()..],
        _ => name,
    };
    bare.strip_prefix(':').unwrap_or(bare).eq_ignore_ascii_case("manager")
}

/// Gives what follows a URN of 1.1, a colon or, as some write it, a dot; empty where the name is the URN itself.
fn below_urn<'a>(urn: &str, name: &'a str) -> Option<&'a str> {
    if !name.get(..urn.len())?.eq_ignore_ascii_case(urn) {
        return None;
    }
    let rest = &name[urn.len()..];
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix([':', '.']).filter(|rest| !rest.is_empty()) }
}

/// Turns every name within a filter; what stands in quotes is a value and stays.
pub(super) fn to_filter(filter: &str) -> String {
    let mut turned = String::with_capacity(filter.len());
    let mut rest = filter;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => quoted_length(rest),
            _ if is_border(first) => first.len_utf8(),
            _ => rest.find(is_border).unwrap_or(rest.len()),
        };
        let (token, behind) = rest.split_at(length);
        if first == '"' || is_border(first) {
            turned.push_str(token);
        } else {
            turned.push_str(&to_name(token));
        }
        rest = behind;
    }
    turned
}

fn is_border(found: char) -> bool {
    found.is_whitespace() || matches!(found, '(' | ')' | '[' | ']' | '"')
}

/// The length of a quoted value that a text begins with; of one that never ends, all of it.
fn quoted_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_1_1_become_those_of_2_0() {
        let manager = format!("{ENTERPRISE_USER}:manager.value");
        let department = format!("{ENTERPRISE_USER}:department");
        for (written, due) in [
            ("userName", "userName"),
            ("urn:scim:schemas:core:1.0:userName", "userName"),
            ("URN:SCIM:schemas:core:1.0:name.givenName", "name.givenName"),
            ("urn:scim:schemas:core:1.0", "urn:scim:schemas:core:1.0"),
            ("urn:scim:schemas:core:1.0user", "urn:scim:schemas:core:1.0user"),
            (ENTERPRISE_ONE, ENTERPRISE_USER),
            ("urn:scim:schemas:extension:enterprise:1.0:department", &department),
            ("urn:scim:schemas:extension:enterprise:1.0.department", &department),
            ("urn:scim:schemas:extension:enterprise:1.0:manager.managerId", &manager),
            ("manager.MANAGERID", "manager.value"),
            ("members.managerId", "members.managerId"),
            (&department, &department),
            ("", ""),
        ] {
            assert_eq!(to_name(written), due, "{written}");
        }
    }

    #[test]
    fn values_within_a_filter_stay() {
        for (written, due) in [
            ("userName eq \"a\"", "userName eq \"a\""),
            (
                "(urn:scim:schemas:core:1.0:userName eq \"urn:scim:schemas:core:1.0:x\") and title pr",
                "(userName eq \"urn:scim:schemas:core:1.0:x\") and title pr",
            ),
            (
                "title eq \"a\\\"manager.managerId\" or manager.managerId pr",
                "title eq \"a\\\"manager.managerId\" or manager.value pr",
            ),
            ("emails[urn:scim:schemas:core:1.0:type eq \"é", "emails[type eq \"é"),
        ] {
            assert_eq!(to_filter(written), due);
        }
    }
}

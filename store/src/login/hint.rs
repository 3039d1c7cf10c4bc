//! What is wrong when nobody matches: most often the IdP maps another attribute than the claim it sends.

use portcullis_policy::{LinkTo, fold};
use portcullis_scim::Resource;

use super::refusal::Hint;

/// The look of a value, beside the person who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Uuid,
    Email,
    /// The name in front of the `@`.
    Nickname,
    Number,
    Other,
}

impl Shape {
    const ALL: [Shape; 4] = [Shape::Uuid, Shape::Email, Shape::Nickname, Shape::Number];

    fn name(self) -> &'static str {
        match self {
            Shape::Uuid => "object ids (UUIDs)",
            Shape::Email => "e-mail addresses or principal names",
            Shape::Nickname => "mailNickname",
            Shape::Number => "numbers",
            Shape::Other => "something else",
        }
    }

    /// `names`: the addresses and the name of whoever has the value.
    fn of_value(value: &str, names: &[&str]) -> Self {
        let is_local_part = |name: &&str| {
            name.split_once('@').is_some_and(|(local, _)| fold::same_key(local) == fold::same_key(value))
        };
        if uuid::Uuid::try_parse(value).is_ok() {
            Shape::Uuid
        } else if value.contains('@') {
            Shape::Email
        } else if names.iter().any(is_local_part) {
            Shape::Nickname
        } else if value.bytes().all(|byte| byte.is_ascii_digit()) {
            Shape::Number
        } else {
            Shape::Other
        }
    }
}

/// Compares the shape of what was looked for with the shapes of what is there. No hint where most look alike anyway,
/// or have no common shape.
pub(super) fn likeness_hint(users: &[Resource], to: LinkTo, wanted: &str) -> Option<Hint> {
    let shapes: Vec<Shape> = users
        .iter()
        .filter_map(|user| {
            let (name, email) = (user.user_name().unwrap_or_default(), user.email().unwrap_or_default());
            let value = match to {
                LinkTo::ExternalId => user.external_id(),
                LinkTo::UserName => user.user_name(),
                LinkTo::Email => user.email(),
            };
            value.map(|value| Shape::of_value(value, &[name, email]))
        })
        .collect();
    let wanted = Shape::of_value(wanted, &[]);
    let count = |shape: Shape| shapes.iter().filter(|found| **found == shape).count();
    let common = Shape::ALL.into_iter().max_by_key(|shape| count(*shape))?;
    let alike = count(common);
    (common != wanted && alike * 2 > shapes.len()).then(|| Hint {
        alike,
        of: shapes.len(),
        looks_like: common.name(),
    })
}

#[cfg(test)]
mod tests {
    use portcullis_scim::ResourceKind;

    use super::*;

    fn users(external_id: impl Fn(usize) -> String) -> Vec<Resource> {
        let user = |n: usize| {
            let tree =
                serde_json::json!({ "userName": format!("user{n}@corp.test"), "externalId": external_id(n) });
            Resource::from_json(ResourceKind::User, &tree.to_string()).unwrap()
        };
        (0..40).map(user).collect()
    }

    const OBJECT_ID: &str = "2f1c7d1e-0b5a-4b8e-9a44-0f6f0a3c1d22";

    #[test]
    fn entra_without_the_object_id_is_told_what_it_maps() {
        let users = users(|n| if n < 37 { format!("user{n}") } else { format!("E-{n}") });
        let hint = likeness_hint(&users, LinkTo::ExternalId, OBJECT_ID).unwrap();
        assert_eq!(hint.to_string(), "37 of 40 look like mailNickname");
    }

    #[test]
    fn values_of_the_same_shape_or_of_none_give_no_hint() {
        let ids = users(|n| format!("2f1c7d1e-0b5a-4b8e-9a44-0f6f0a3c1d{n:02}"));
        assert_eq!(likeness_hint(&ids, LinkTo::ExternalId, OBJECT_ID), None);
        let mixed = users(|n| format!("E-{n}"));
        assert_eq!(likeness_hint(&mixed, LinkTo::ExternalId, OBJECT_ID), None);
        assert_eq!(likeness_hint(&[], LinkTo::ExternalId, OBJECT_ID), None);
    }

    #[test]
    fn short_names_compared_with_principal_names_are_told() {
        let hint = likeness_hint(&users(|n| n.to_string()), LinkTo::UserName, "user1").unwrap();
        assert_eq!(hint.to_string(), "40 of 40 look like e-mail addresses or principal names");
    }
}

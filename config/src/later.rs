//! The keys of the whole design that this version does not act on, by name. They are refused, never accepted: a key
//! that is read and does nothing is worse than one that is not there.

use crate::at::{At, KeyStep};

/// The text about each.
pub(crate) const NOT_YET: &str = "not in this version";

/// The places where they stand (`*` is any name, `[]` any index) and what to do instead; empty where there is only
/// leaving out.
const KEYS: &[(&str, &str)] = &[
    ("app.clear_site_data", ""),
    ("app.logout_paths", ""),
    ("app.session_cookies", ""),
    ("apps", "One file fronts one app: write its public_url and upstream at the top"),
    ("audit", ""),
    ("console", ""),
    ("directories", "One directory is written as scim:"),
    ("organizations", "One organization is written by its idps: and scim: at the top"),
    ("retention", ""),
    ("roles_from", ""),
    ("webhooks", ""),
    ("http_client.proxy", ""),
    ("idps.*.emergency", ""),
    ("listen.admin", ""),
    ("listen.health.tls", ""),
    ("routes[].as", ""),
    ("routes[].cache", ""),
    ("routes[].cors", ""),
    ("routes[].csrf", ""),
    ("routes[].host", ""),
    ("routes[].identity", ""),
    ("routes[].origin", ""),
    ("scim.on_proxy", ""),
    ("session.bind", ""),
    ("store.lease", ""),
    ("store.postgres", "Write store: sqlite"),
    // of the bindings file
    ("default_role", ""),
    ("bindings[].claim", "Bind by group"),
    ("bindings[].contains", "Bind by group"),
    ("bindings[].group_id", "Bind by group, its displayName"),
    ("bindings[].group_matches", "Bind by group, its whole displayName"),
    ("bindings[].user", "Bind by group"),
];

/// Says what to do about a key of a later version; `None` for a key that is none.
pub(crate) fn remedy_for_key(at: &At) -> Option<&'static str> {
    KEYS.iter().find(|(pattern, _)| matches_path(pattern, at)).map(|(_, remedy)| match *remedy {
        "" => "Leave it out",
        remedy => remedy,
    })
}

fn matches_path(pattern: &str, at: &At) -> bool {
    let mut steps = at.steps().iter();
    for part in pattern.split('.') {
        let (name, in_list) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        let Some(KeyStep::Key(key)) = steps.next() else { return false };
        if name != "*" && name != key {
            return false;
        }
        if in_list && !matches!(steps.next(), Some(KeyStep::Index(_))) {
            return false;
        }
    }
    steps.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_under_any_name_and_index() {
        for path in ["webhooks", "idps.okta.emergency", "routes[7].origin", "store.lease"] {
            assert!(remedy_for_key(&At::from(path)).is_some(), "{path}");
        }
        for path in ["webhook", "idps.saml", "routes.upstream", "routes[7]", "idps.okta.oidc", "a.webhooks"] {
            assert!(remedy_for_key(&At::from(path)).is_none(), "{path}");
        }
    }

    #[test]
    fn no_key_is_both_known_and_refused() {
        let known: Vec<String> = crate::schema::list_keys()
            .into_iter()
            .chain(crate::schema::bindings_keys())
            .map(|key| key.path)
            .collect();
        for (pattern, _) in KEYS {
            assert!(!known.iter().any(|path| path == pattern), "{pattern}");
            let block = pattern.rsplit_once('.').map_or("", |(block, _)| block);
            let inside = |path: &String| path.starts_with(&format!("{block}."));
            assert!(block.is_empty() || known.iter().any(inside), "{pattern}: no block {block}");
        }
    }
}

//! The table of header fields that a client may never send on: they speak of identity, or of the way a request came.
//!
//! Names are compared after every byte that is no letter or digit became `-`, lower case, because servers behind us
//! do the same in their own ways (CGI turns `X_Auth_User` and `X-Auth-User` into one variable). The rule protected:
//! headers are true, on every path (promise 2). The names of all presets are policy's (`IDENTITY_HEADERS`).

use http::HeaderMap;
use http::header::HeaderName;
use portcullis_policy::IDENTITY_HEADERS;

use crate::field_set::{FieldKind, FieldSet, may_be_listed};

/// Stripped whoever sends it. A final `*` stands for any ending.
const ALWAYS: [&str; 26] = [
    // What applications, and proxies of other products, take identity from.
    "x-user",
    "x-user-id",
    "x-user-name",
    "x-user-email",
    "x-user-groups",
    "x-user-roles",
    "x-email",
    "x-authentik-*",
    "x-goog-iap-*",
    "x-goog-authenticated-user-*",
    "x-amzn-oidc-*",
    "cf-access-jwt-assertion",
    "cf-access-authenticated-user-*",
    "x-remote-*",
    "x-auth-*",
    "x-authenticated-*",
    "x-webauth-*",
    "x-forwarded-client-cert",
    "x-forwarded-access-token",
    "x-client-cert*",
    "x-ssl-*",
    "ssl-client-*",
    "proxy",
    "x-portcullis-*",
    // Another path than the one that was decided, which some applications go by. A proxy before us passes on what its
    // client says of it as a rule.
    "x-original-*",
    "x-rewrite-*",
];

/// Stripped from peers outside `trusted_proxies`.
const OF_THE_WAY: [&str; 10] = [
    "x-forwarded-*",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "tracestate",
];

/// The fields that [`crate::rooms::forward`] writes itself, and whose old values it has read by then.
const OURS: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "traceparent"];

/// The table, with what the configuration adds to it.
#[derive(Clone, Debug, Default)]
pub struct Strip {
    more: Vec<String>,
}

impl Strip {
    /// Adds the names of `headers.strip`; a final `*` stands for any ending.
    pub fn new(more: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let fold = |name: &str| {
            let (stem, star) = name.strip_suffix('*').map_or((name, ""), |stem| (stem, "*"));
            let folded: String = stem.bytes().map(|byte| char::from(fold_byte(byte))).collect();
            folded + star
        };
        Self { more: more.into_iter().map(|name| fold(name.as_ref())).collect() }
    }

    /// Takes out what a client may not say; says how many names that were. `has`: the fields there are.
    pub(crate) fn clean_headers(
        &self,
        headers: &mut HeaderMap,
        has: FieldSet,
        from_trusted_proxy: bool,
    ) -> usize {
        if !has.has(FieldKind::MayBeListed) && self.more.is_empty() {
            return 0;
        }
        let doomed: Vec<HeaderName> = headers
            .keys()
            .filter(|name| self.takes_field(name.as_str(), from_trusted_proxy))
            .cloned()
            .collect();
        for name in &doomed {
            headers.remove(name);
        }
        doomed.len()
    }

    /// Tells whether a name speaks of identity, whoever sends it.
    pub(crate) fn is_listed(&self, name: &str) -> bool {
        self.takes_field(name, true)
    }

    /// Tells whether a stranger may not say it.
    pub(crate) fn is_barred_to_strangers(&self, name: &str) -> bool {
        self.takes_field(name, false)
    }

    /// Tells whether a name, in whatever spelling, is one of these. A final `*` stands for any ending.
    pub(crate) fn has_match(patterns: &[&str], name: &str) -> bool {
        patterns.iter().any(|pattern| matches_name(pattern, name))
    }

    /// Tells whether the table takes this name, which is lower case.
    fn takes_field(&self, name: &str, from_trusted_proxy: bool) -> bool {
        if self.more.iter().any(|pattern| matches_name(pattern, name)) {
            return true;
        }
        if !may_be_listed(name) {
            return false;
        }
        let any = |patterns: &[&str]| Self::has_match(patterns, name);
        any(&IDENTITY_HEADERS)
            || any(&ALWAYS)
            || any(&OURS)
            // A trusted proxy writes the usual spelling. Another one is its client's, passed on unread.
            || (any(&OF_THE_WAY) && (!from_trusted_proxy || !is_usual(name)))
    }
}

fn is_usual(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn matches_name(pattern: &str, name: &str) -> bool {
    let (stem, open) = pattern.strip_suffix('*').map_or((pattern, false), |stem| (stem, true));
    (name.len() == stem.len() || (open && name.len() > stem.len()))
        && stem.bytes().zip(name.bytes()).all(|(wanted, byte)| wanted == fold_byte(byte))
}

fn fold_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn left(strip: &Strip, names: &[&str], trusted: bool) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("x"));
        }
        let has = FieldSet::of_headers(&headers);
        strip.clean_headers(&mut headers, has, trusted);
        headers.keys().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn identity_never_passes_in_any_spelling() {
        for name in [
            "X-Forwarded-User",
            "X_Forwarded_User",
            "x.forwarded.email",
            "X-Forwarded_Groups",
            "x~forwarded~roles",
            "X-FORWARDED-PREFERRED-USERNAME",
            "Remote-User",
            "REMOTE_USER",
            "X-Remote-Group",
            "X_Auth_Request_Email",
            "X-Authenticated-User",
            "X-WEBAUTH-USER",
            "X-Forwarded-Client-Cert",
            "X-Client-Cert",
            "X-Client-Certificate-Subject",
            "X-SSL-Client-S-DN",
            "SSL_CLIENT_S_DN",
            "Proxy",
            "X-Portcullis-Anything",
            "X_Request_Id",
            "X-authentik-username",
            "X_Authentik_Groups",
            "Cf-Access-Jwt-Assertion",
            "CF_ACCESS_AUTHENTICATED_USER_EMAIL",
            "X-Goog-IAP-JWT-Assertion",
            "X-Goog-Authenticated-User-Email",
            "x-amzn-oidc-data",
            "X-Amzn.Oidc_Identity",
            "X-User",
            "X_User",
            "X-User-Id",
            "X-User-Name",
            "X-USER-EMAIL",
            "x-user_groups",
            "X.User.Roles",
            "X-Email",
        ] {
            for trusted in [false, true] {
                assert!(left(&Strip::default(), &[name], trusted).is_empty(), "{name} trusted={trusted}");
            }
        }
    }

    #[test]
    fn another_path_than_the_one_that_is_asked_for_passes_from_nobody() {
        for name in ["x-original-url", "x-rewrite-url", "X-Original-URI", "x_rewrite_url", "x-original-"] {
            for trusted in [false, true] {
                assert!(left(&Strip::default(), &[name], trusted).is_empty(), "{name} trusted={trusted}");
            }
        }
    }

    #[test]
    fn what_speaks_of_the_way_passes_only_from_a_trusted_proxy_and_well_spelt() {
        for name in [
            "X-Forwarded-Port",
            "Forwarded",
            "X-Real-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "True-Client-IP",
            "Client-IP",
            "CF-Connecting-IP",
            "Fastly-Client-IP",
            "X-Forwarded-Prefix",
        ] {
            assert!(left(&Strip::default(), &[name], false).is_empty(), "{name}");
            assert_eq!(left(&Strip::default(), &[name], true).len(), 1, "{name}");
        }
        for name in ["X_Forwarded_Port", "X-Real_IP", "X_Client_Ip"] {
            assert!(left(&Strip::default(), &[name], true).is_empty(), "{name}");
        }
    }

    #[test]
    fn all_else_passes() {
        let names = [
            "accept",
            "authorization",
            // names that clients own, and what a proxy in front says of itself
            "x-user-agent",
            "x-grpc-web",
            "x-user-token",
            "x-users",
            "x-email-id",
            "x-goog-api-client",
            "x-goog-upload-protocol",
            "x-amzn-trace-id",
            "x-amz-date",
            "cf-ray",
            "cf-access-client-id",
            "cookie",
            "forwarded-by-nobody",
            "proxy-connection",
            "remote-users",
            "referer",
            "sec-fetch-mode",
            "te",
            "traceparents",
            "x-authority",
            "x-csrf-token",
            "x-requested-with",
            "xforwardeduser",
        ];
        assert_eq!(left(&Strip::default(), &names, false).len(), names.len());
    }

    #[test]
    fn the_quick_look_passes_nothing_that_is_listed() {
        for listed in IDENTITY_HEADERS.iter().chain(&ALWAYS).chain(&OF_THE_WAY).chain(&OURS) {
            assert!(may_be_listed(listed), "{listed}");
            let name = HeaderName::from_bytes(listed.replace('*', "a").as_bytes()).unwrap();
            let alone = HeaderMap::from_iter([(name, HeaderValue::from_static("x"))]);
            assert!(FieldSet::of_headers(&alone).has(FieldKind::MayBeListed), "{listed}");
        }
    }

    #[test]
    fn the_configuration_adds_names() {
        let strip = Strip::new(["X-Legacy_User", "acme-*"]);
        assert!(left(&strip, &["x_legacy-user", "Acme.Id", "acme_role"], true).is_empty());
        assert_eq!(left(&strip, &["x-legacy-users", "acmeid"], true).len(), 2);
    }

    proptest! {
        /// However the separators and the case of a listed name are bent, it does not pass; and cleaning twice
        /// changes nothing.
        #[test]
        fn bent_spellings_never_pass(
            at in 0..IDENTITY_HEADERS.len() + ALWAYS.len(), bend in prop::collection::vec(0..6usize, 40), end in "[a-z]{1,5}",
        ) {
            let listed = IDENTITY_HEADERS.iter().chain(&ALWAYS).nth(at).unwrap();
            let whole = listed.replace('*', &end);
            let bent: String = whole.chars().zip(&bend).map(|(c, bend)| match c {
                '-' => ['-', '_', '.', '~', '!', '+'][*bend],
                c if *bend > 2 => c.to_ascii_uppercase(),
                c => c,
            }).collect();
            for trusted in [false, true] {
                prop_assert!(left(&Strip::default(), &[&bent], trusted).is_empty(), "{}", bent);
            }
        }

        #[test]
        fn cleaning_twice_changes_nothing(names in prop::collection::vec("[a-zA-Z!#$%&'*+.^_`|~-]{1,20}", 0..12), trusted: bool) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let once = left(&Strip::default(), &names, trusted);
            let again: Vec<&str> = once.iter().map(String::as_str).collect();
            prop_assert_eq!(left(&Strip::default(), &again, trusted), once.clone());
        }
    }
}

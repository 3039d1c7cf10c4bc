//! The claims of a verified ID token, completed from userinfo, and how a person is read from them.
//!
//! What the ID token says comes first; userinfo only fills gaps. An address counts as verified only where the same
//! document says so of the very same address. Only what a login uses is read, each by a reader of its own: a claim of
//! an odd type that nobody uses is no reason to refuse, and an odd `email_verified` is not "verified".

use portcullis_policy::{Attributes, fold};
use serde_json::{Map, Value};

use super::settings::{ClaimNames, OidcSettings, SubjectClaim, Uses};
use crate::{Class, LinkValue, LoginRefusal};

/// Claims that may be believed.
#[derive(Clone)]
pub(super) struct Claims {
    token: Map<String, Value>,
    userinfo: Map<String, Value>,
}

/// The claims that a login uses.
#[derive(Debug, Default)]
pub(super) struct PersonClaims {
    pub(super) subject: String,
    pub(super) link: Option<LinkValue>,
    pub(super) email: Option<String>,
    pub(super) email_verified: bool,
    pub(super) attributes: Attributes,
    pub(super) unverified_user_name: Option<String>,
    pub(super) names_said: Vec<String>,
    pub(super) groups: Option<Vec<String>>,
}

/// The need for userinfo that the ID token leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// Nothing: nobody is asked.
    Nothing,
    /// Claims that are taken where they are said: a trouble is no reason to refuse.
    Wanted,
    /// Claims that this login cannot do without.
    Needed,
}

impl Claims {
    /// The claims of an ID token that has been verified.
    pub(super) fn of_token(token: Map<String, Value>) -> Self {
        Self { token, userinfo: Map::new() }
    }

    /// Adds what userinfo says. Its `sub` must be that of the ID token, or it speaks of somebody else (OIDC Core
    /// §5.3.2).
    pub(super) fn add_userinfo(&mut self, userinfo: Map<String, Value>) -> Result<(), LoginRefusal> {
        let sub = |map: &Map<String, Value>| map.get("sub").and_then(Value::as_str).map(str::to_owned);
        let (expected, got) = (sub(&self.token), sub(&userinfo));
        if expected.is_none() || expected != got {
            return Err(LoginRefusal::new(
                Class::OidcIdTokenClaims,
                format_args!("userinfo of sub {}", expected.unwrap_or_default()),
                got.as_deref().unwrap_or("no sub"),
                "The identity provider's userinfo endpoint answered for somebody else. Nothing to set here.",
            ));
        }
        self.userinfo = userinfo;
        Ok(())
    }

    /// Tells what a login uses and the ID token does not say.
    pub(super) fn missing_claims(&self, settings: &OidcSettings) -> Lack {
        let ClaimNames { email, groups, name } = &settings.claims;
        // The ID token leaves open whether the address is verified: userinfo may know.
        let is_open =
            |is_unverified: bool| is_unverified && !settings.trust_email && !self.says_whether_verified();
        match &settings.uses {
            Uses::Link { claim } => match self.claim_text(claim) {
                None => Lack::Needed,
                Some(value) if is_open(self.is_unverified(claim, value, settings)) => Lack::Needed,
                Some(_) => Lack::Nothing,
            },
            Uses::Person { email: needs_email, groups: needs_groups } => {
                let no_email = match self.claim_text(email) {
                    None => true,
                    Some(value) => is_open(self.is_unverified(email, value, settings)),
                };
                let no_groups = self.find_claim(groups).is_none();
                if no_email && *needs_email || no_groups && *needs_groups {
                    Lack::Needed
                } else if no_email
                    || no_groups
                    || [name, "preferred_username"].map(|claim| self.find_claim(claim)).contains(&None)
                {
                    Lack::Wanted
                } else {
                    Lack::Nothing
                }
            }
        }
    }

    pub(super) fn claim_text(&self, name: &str) -> Option<&str> {
        self.find_claim(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A claim that only the signed token may make.
    pub(super) fn of_the_token(&self, name: &str) -> Option<&Value> {
        self.token.get(name)
    }

    fn find_claim(&self, name: &str) -> Option<&Value> {
        [&self.token, &self.userinfo].into_iter().find_map(|map| find_claim(map, name))
    }

    /// Reads what the login uses, and nothing else.
    ///
    /// # Errors
    /// `id_token_claims` where what names the person for good is missing, or groups that are used cannot be read.
    pub(super) fn read_person(&self, settings: &OidcSettings) -> Result<PersonClaims, LoginRefusal> {
        let subject = self.read_subject(settings)?;
        let ClaimNames { email, groups, name } = &settings.claims;
        if let Uses::Link { claim } = &settings.uses {
            let link = self.claim_text(claim).map(|value| LinkValue {
                claim: claim.clone(),
                value: value.to_owned(),
                is_unverified_address: self.is_unverified(claim, value, settings),
            });
            return Ok(PersonClaims { subject, link, ..PersonClaims::default() });
        }
        let (email, user_name) = (self.claim_text(email), self.claim_text("preferred_username"));
        let is_unverified = |value: &&str| self.is_unverified("preferred_username", value, settings);
        Ok(PersonClaims {
            subject,
            link: None,
            email: email.map(str::to_owned),
            email_verified: email.is_some_and(|email| self.vouches_for(email)),
            attributes: Attributes::default()
                .with_texts(Attributes::NAME, self.claim_text(name))
                .with_texts(Attributes::PREFERRED_USERNAME, user_name.filter(|name| !is_unverified(name))),
            unverified_user_name: user_name.filter(is_unverified).map(str::to_owned),
            names_said: [email, user_name].into_iter().flatten().map(str::to_owned).collect(),
            groups: self.read_groups(groups)?,
        })
    }

    /// Tells whether a value is an address that nobody calls verified, whoever is trusted in that: what the claim of
    /// addresses holds, what equals it (a user name that is the address somebody typed in), and what looks like one
    /// where no address is said at all.
    ///
    /// A provider's durable id is no address for its looks alone. At Entra ID only an administrator gives user names, in
    /// domains that the tenant has proven, so there they stand for themselves.
    fn is_unverified(&self, claim: &str, value: &str, settings: &OidcSettings) -> bool {
        if self.vouches_for(value) {
            return false;
        }
        let addresses = [settings.claims.email.as_str(), "email"];
        if addresses.contains(&claim) {
            return true;
        }
        if settings.subject == SubjectClaim::Entra && matches!(claim, "preferred_username" | "upn") {
            return false;
        }
        let said: Vec<&str> = [&self.token, &self.userinfo]
            .into_iter()
            .flat_map(|map| addresses.iter().filter_map(|name| find_claim(map, name)?.as_str()))
            .collect();
        if said.iter().any(|address| fold::same_key(address) == fold::same_key(value)) {
            return true;
        }
        said.is_empty() && claim != "sub" && fold::email_domain(value).is_some()
    }

    /// Gives the subject: what names a person at this kind of provider for good.
    pub(super) fn read_subject(&self, settings: &OidcSettings) -> Result<String, LoginRefusal> {
        let sub = self.require_claim("sub", "Every ID token has it. Nothing to set here.")?;
        match &settings.subject {
            SubjectClaim::Sub => Ok(sub.into()),
            SubjectClaim::Entra => {
                let tenant = self.require_claim("tid", "Use an issuer of Entra ID that ends in /v2.0.")?;
                let oid =
                    self.require_claim("oid", "Add the scope profile: Entra ID sends oid only with it.")?;
                if !settings.issuer.split('/').any(|part| part == tenant) {
                    return Err(refuse_claims(
                        format_args!("a tid that is the tenant of {}", settings.issuer),
                        tenant,
                        "Use the tenant's own issuer: https://login.microsoftonline.com/<tenant id>/v2.0.",
                    ));
                }
                Ok(oid.into())
            }
            SubjectClaim::Google { domains } => {
                let domain = self.require_claim("hd", "Only accounts of a Google Workspace may sign in.")?;
                if !domains.iter().any(|known| known.eq_ignore_ascii_case(domain)) {
                    return Err(refuse_claims(
                        format_args!("hd among domains ({})", domains.join(", ")),
                        domain,
                        "If people of this Workspace may sign in, add it to the domains of the identity provider.",
                    ));
                }
                Ok(format!("{sub}@{}", domain.to_ascii_lowercase()))
            }
        }
    }

    /// A claim that names a person or where the person belongs: never from userinfo, which is not signed.
    fn require_claim(&self, name: &'static str, remedy: &'static str) -> Result<&str, LoginRefusal> {
        let text = self.token.get(name).and_then(Value::as_str).unwrap_or_default();
        if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            let got = if text.is_empty() { "none" } else { "one that cannot be used" };
            return Err(refuse_claims(format_args!("a {name} of 1 to 255 characters"), got, remedy));
        }
        Ok(text)
    }

    /// Tells whether a document calls this very address verified.
    fn vouches_for(&self, address: &str) -> bool {
        [&self.token, &self.userinfo].into_iter().any(|map| {
            let is_verified = match map.get("email_verified") {
                Some(Value::Bool(verified)) => *verified,
                // Some providers write it as text.
                Some(Value::String(text)) => text == "true",
                _ => false,
            };
            let of = map.get("email").and_then(Value::as_str);
            is_verified && of.is_some_and(|of| fold::same_key(of) == fold::same_key(address))
        })
    }

    fn says_whether_verified(&self) -> bool {
        self.token.get("email_verified").is_some_and(|said| !said.is_null())
    }

    fn read_groups(&self, name: &str) -> Result<Option<Vec<String>>, LoginRefusal> {
        let unreadable = || {
            refuse_claims(
                format_args!("{name} as a list of texts"),
                "something else",
                "Have the identity provider send group names or ids, or name another claim in claims.groups.",
            )
        };
        match self.find_claim(name) {
            Some(Value::Array(groups)) => {
                let text = |group: &Value| group.as_str().map(str::to_owned).ok_or_else(unreadable);
                Ok(Some(groups.iter().map(text).collect::<Result<_, _>>()?))
            }
            Some(Value::String(group)) => Ok(Some(vec![group.clone()])),
            Some(_) => Err(unreadable()),
            // Entra: more than 200 groups are replaced by a hint where to ask. Taking that for none would be wrong
            // both ways.
            None if self.too_many(name) => Err(refuse_claims(
                format_args!("{name} in the ID token"),
                "a note that there are too many",
                "In Entra ID, emit only groups assigned to the application, or let the directory send groups by SCIM.",
            )),
            None => Ok(None),
        }
    }

    fn too_many(&self, name: &str) -> bool {
        let named = self.token.get("_claim_names").is_some_and(|names| names.get(name).is_some());
        named || self.token.get("hasgroups") == Some(&Value::Bool(true))
    }
}

fn refuse_claims(expected: impl std::fmt::Display, got: &str, remedy: &'static str) -> LoginRefusal {
    LoginRefusal::new(Class::OidcIdTokenClaims, expected, got, remedy)
}

/// A claim by its name, else, for a name that starts with `/`, by its JSON Pointer. Null is no claim.
fn find_claim<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let by_pointer = || {
        let (first, rest) = name.strip_prefix('/')?.split_once('/').unwrap_or((name.strip_prefix('/')?, ""));
        let value = map.get(&first.replace("~1", "/").replace("~0", "~"))?;
        if rest.is_empty() { Some(value) } else { value.pointer(&format!("/{rest}")) }
    };
    map.get(name).or_else(by_pointer).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn settings() -> OidcSettings {
        OidcSettings::new(
            "okta",
            "https://login.microsoftonline.com/tenant-1/v2.0",
            "client",
            "https://a.test/cb",
        )
    }

    fn person(token: Value, settings: &OidcSettings) -> Result<PersonClaims, LoginRefusal> {
        Claims::of_token(map(token)).read_person(settings)
    }

    #[test]
    fn the_id_token_comes_first_and_userinfo_fills_gaps() {
        let mut claims = Claims::of_token(map(json!({"sub": "1", "name": "A", "email": null})));
        claims.add_userinfo(map(json!({"sub": "1", "name": "B", "email": "b@x.test"}))).unwrap();
        assert_eq!((claims.claim_text("name"), claims.claim_text("email")), (Some("A"), Some("b@x.test")));
    }

    #[test]
    fn userinfo_of_somebody_else_is_refused() {
        for userinfo in [json!({"sub": "2"}), json!({}), json!({"sub": 1}), json!({"sub": null})] {
            let mut claims = Claims::of_token(map(json!({"sub": "1"})));
            assert_eq!(claims.add_userinfo(map(userinfo)).unwrap_err().class, Class::OidcIdTokenClaims);
        }
    }

    #[test]
    fn an_address_is_verified_where_the_same_document_says_so_of_it() {
        for (token, userinfo, verified) in [
            (json!({"sub": "1", "email": "a@x", "email_verified": true}), json!({"sub": "1"}), true),
            (json!({"sub": "1", "email": "a@x", "email_verified": "true"}), json!({"sub": "1"}), true),
            (json!({"sub": "1", "email": "a@x", "email_verified": "yes"}), json!({"sub": "1"}), false),
            (
                json!({"sub": "1", "email": "a@x"}),
                json!({"sub": "1", "email": "b@x", "email_verified": true}),
                false,
            ),
            (json!({"sub": "1", "email": "a@x"}), json!({"sub": "1", "email_verified": true}), false),
            (
                json!({"sub": "1", "email": "a@x"}),
                json!({"sub": "1", "email": "a@x", "email_verified": true}),
                true,
            ),
            (json!({"sub": "1", "email_verified": true}), json!({"sub": "1", "email": "a@x"}), false),
        ] {
            let mut claims = Claims::of_token(map(token.clone()));
            claims.add_userinfo(map(userinfo)).unwrap();
            assert_eq!(claims.read_person(&settings()).unwrap().email_verified, verified, "{token}");
        }
        // Another claim than `email` is vouched for only where it holds the same address.
        let mut other = settings();
        other.claims.email = "upn".into();
        let token = json!({"sub": "1", "upn": "c@x", "email": "a@x", "email_verified": true});
        assert!(!person(token, &other).unwrap().email_verified);
    }

    #[test]
    fn a_user_name_of_entra_stands_for_itself_and_its_address_does_not() {
        let token = json!({
            "sub": "1", "oid": "o", "tid": "tenant-1", "email": "a@corp.test", "preferred_username": "A@corp.test",
        });
        let is_unverified = |subject: SubjectClaim, claim: &str| {
            let settings = OidcSettings { subject, uses: Uses::Link { claim: claim.into() }, ..settings() };
            person(token.clone(), &settings).unwrap().link.unwrap().is_unverified_address
        };
        assert!(!is_unverified(SubjectClaim::Entra, "preferred_username"));
        assert!(is_unverified(SubjectClaim::Entra, "email"));
        assert!(is_unverified(SubjectClaim::Sub, "preferred_username"));
    }

    #[test]
    fn groups_are_texts_or_nothing_was_said() {
        let groups =
            |value: Value| person(json!({"sub": "1", "groups": value}), &settings()).map(|p| p.groups);
        assert_eq!(groups(json!(["a", "b"])), Ok(Some(vec!["a".into(), "b".into()])));
        assert_eq!(groups(json!([])), Ok(Some(vec![])));
        assert_eq!(groups(json!("a,b")), Ok(Some(vec!["a,b".into()])));
        assert_eq!(groups(json!(null)), Ok(None));
        for wrong in [json!([1]), json!({"a": 1}), json!(true), json!([["a"]])] {
            assert_eq!(groups(wrong).unwrap_err().class, Class::OidcIdTokenClaims);
        }
    }

    #[test]
    fn too_many_groups_are_never_taken_for_none() {
        for token in
            [json!({"sub": "1", "_claim_names": {"groups": "src1"}}), json!({"sub": "1", "hasgroups": true})]
        {
            assert_eq!(person(token, &settings()).err().unwrap().class, Class::OidcIdTokenClaims);
        }
    }

    #[test]
    fn claims_are_found_by_name_or_by_pointer() {
        let claims = Claims::of_token(map(json!({
            "/odd": "by name", "a.b": "dotted", "realm_access": {"roles": ["x"], "a/b": "escaped"}, "e": "",
        })));
        assert_eq!(claims.claim_text("/odd"), Some("by name"));
        assert_eq!(claims.claim_text("a.b"), Some("dotted"));
        assert_eq!(claims.claim_text("/realm_access/a~1b"), Some("escaped"));
        assert_eq!(claims.find_claim("/realm_access/roles"), Some(&json!(["x"])));
        assert_eq!(
            (claims.claim_text("/realm_access"), claims.claim_text("e"), claims.claim_text("")),
            (None, None, None)
        );
        assert_eq!((claims.claim_text("/"), claims.claim_text("/none/here")), (None, None));
    }

    #[test]
    fn each_provider_has_its_own_durable_subject() {
        let plain = settings();
        let entra = OidcSettings { subject: SubjectClaim::Entra, ..settings() };
        let google = OidcSettings {
            subject: SubjectClaim::Google { domains: vec!["Corp.test".into()] },
            ..settings()
        };
        for (settings, token, subject) in [
            (&plain, json!({"sub": "1"}), Some("1")),
            (&plain, json!({"sub": ""}), None),
            (&plain, json!({"sub": "a\nb"}), None),
            (&plain, json!({"sub": "x".repeat(256)}), None),
            (&entra, json!({"sub": "1", "oid": "o", "tid": "tenant-1"}), Some("o")),
            (&entra, json!({"sub": "1", "oid": "o", "tid": "tenant-2"}), None),
            (&entra, json!({"sub": "1", "oid": "o", "tid": "tenant"}), None),
            (&entra, json!({"sub": "1", "tid": "tenant-1"}), None),
            (&entra, json!({"sub": "1", "oid": "o"}), None),
            (&google, json!({"sub": "1", "hd": "corp.test"}), Some("1@corp.test")),
            (&google, json!({"sub": "1", "hd": "other.test"}), None),
            (&google, json!({"sub": "1"}), None),
        ] {
            let found = person(token.clone(), settings).map(|person| person.subject);
            assert_eq!(found.as_deref().ok(), subject, "{token}");
        }
    }
}

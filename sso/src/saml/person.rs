//! A person, out of a verified response: who it is for good, and what else the identity provider states.
//!
//! Only a persistent NameID, or the attribute that the configuration names, is a person for good (SAML Core §8.3.7). Any
//! other name may be another person's some day: whoever comes with it is matched anew each time.

use portcullis_policy::Attributes;

use super::settings::SamlSettings;
use super::{NameId, SamlAttribute, VerifiedResponse};
use crate::assertion::{IdpSession, LogoutHint, Replay};
use crate::{Assertion, Class, LinkValue, LoginRefusal};

const PERSISTENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";
/// The word that stands for the NameID where an attribute's name belongs.
const NAME_ID: &str = "NameID";
/// Entra writes this in place of the groups of somebody who has more than 150.
const OVERAGE: &str = "http://schemas.microsoft.com/claims/groups.link";

/// The names of the attributes that a verified response says things of a person in, out of those that are looked for;
/// `NameID` stands for the name itself. `None` where none of them came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeSources {
    /// The source of the e-mail address.
    pub email: Option<String>,
    /// The source of the name for people.
    pub name: Option<String>,
    /// The source of the name a person signs in under.
    pub user_name: Option<String>,
    /// The source of the groups.
    pub groups: Option<String>,
}

/// Finds the attributes that [`read_person`] reads.
pub(super) fn find_sources(settings: &SamlSettings, verified: &VerifiedResponse) -> AttributeSources {
    let said = PersonAttributes(&verified.attributes);
    let first = |names: &[String]| said.first_stated(names).map(|(name, _)| name.to_owned());
    let name_id = || email_of_name(&verified.name_id).map(|_| NAME_ID.to_owned());
    AttributeSources {
        email: first(&settings.names.email).or_else(name_id),
        name: first(&settings.names.name),
        user_name: first(&settings.names.user_name),
        groups: said.stated_list(&settings.names.groups).map(|(name, _)| name.to_owned()),
    }
}

/// Makes the assertion of a verified response.
pub(super) fn read_person(
    settings: &SamlSettings,
    entity_id: &str,
    verified: VerifiedResponse,
) -> Result<Assertion, LoginRefusal> {
    let said = PersonAttributes(&verified.attributes);
    if said.values(OVERAGE).is_some() {
        let remedy = "In Entra, under Group claims, choose the groups assigned to the application: more than 150 groups \
                      do not fit into an assertion.";
        return Err(LoginRefusal::new(Class::SamlSubject, "the groups", "a link to them", remedy));
    }
    let (subject, is_durable) = read_subject(settings, entity_id, &verified.name_id, &said)?;
    let email = said.first_of(&settings.names.email).or_else(|| email_of_name(&verified.name_id));
    let user_name = said.first_of(&settings.names.user_name);
    let attributes = Attributes::default()
        .with_texts(Attributes::NAME, said.first_of(&settings.names.name))
        .with_texts(Attributes::PREFERRED_USERNAME, user_name.filter(|name| !looks_like_address(name)));
    let link = settings.link.as_ref().and_then(|claim| {
        let value = match claim.as_str() {
            NAME_ID => verified.name_id.value.clone(),
            claim => said.only_value(claim)?,
        };
        // Nothing in SAML says that an address was verified.
        let is_unverified_address = looks_like_address(&value);
        Some(LinkValue { claim: claim.clone(), value, is_unverified_address })
    });
    let is_address = |name: &&str| looks_like_address(name);
    Ok(Assertion {
        idp: settings.name.clone(),
        issuer: entity_id.to_owned(),
        subject,
        is_durable,
        link,
        email: email.map(str::to_owned),
        email_verified: false,
        attributes,
        unverified_user_name: user_name.filter(is_address).map(str::to_owned),
        names_said: [email, user_name, Some(&*verified.name_id.value)]
            .into_iter()
            .flatten()
            .map(str::to_owned)
            .collect(),
        groups: said.all_of(&settings.names.groups),
        session_end: verified.session_end,
        idp_session: IdpSession {
            subject: verified.name_id.canonical_text(entity_id, &settings.sp_entity_id),
            session: verified.session_index.clone(),
        },
        replay: Some(Replay {
            id: format!("{entity_id} {}", verified.assertion_id),
            until: verified.replay_until,
        }),
        logout: LogoutHint::Saml { name_id: verified.name_id, session_index: verified.session_index },
    })
}

/// The person's name for good, and whether it is one.
fn read_subject(
    settings: &SamlSettings,
    entity_id: &str,
    name_id: &NameId,
    said: &PersonAttributes<'_>,
) -> Result<(String, bool), LoginRefusal> {
    if let Some(attribute) = &settings.subject {
        let subject = said.only_value(attribute).ok_or_else(|| {
            LoginRefusal::new(
                Class::SamlSubject,
                format_args!("the attribute {attribute} once: saml.subject"),
                said.names(),
                "Have the identity provider send it with each assertion, or name another one in saml.subject.",
            )
        })?;
        return Ok((subject, true));
    }
    check_name(settings, name_id)?;
    let name = lasting_name(entity_id, name_id);
    match name_id.format.as_deref() {
        Some(PERSISTENT) => Ok((name, true)),
        Some(TRANSIENT) => Err(LoginRefusal::new(
            Class::SamlSubject,
            "a NameID that is the same tomorrow",
            "a transient one",
            "Choose the NameID format persistent at the identity provider, or name an attribute that never changes in \
             saml.subject.",
        )),
        _ => Ok((name, false)),
    }
}

/// The name of a person, in which neither entity ID stands: a change of ours, or of the identity provider's, makes nobody
/// somebody else. Nor does its format: whoever is barred under a name is barred under it in every format. A NameQualifier
/// that says what its absence says (SAML Core §8.3.7) is no part of it; any other is.
fn lasting_name(entity_id: &str, name_id: &NameId) -> String {
    let qualifier = name_id.name_qualifier.as_deref().filter(|text| !text.is_empty() && *text != entity_id);
    match qualifier {
        None if !name_id.value.starts_with('[') => name_id.value.clone(),
        qualifier => serde_json::json!([qualifier, name_id.value]).to_string(),
    }
}

/// Checks that a name is one for us, and of the format that was asked for.
fn check_name(settings: &SamlSettings, name_id: &NameId) -> Result<(), LoginRefusal> {
    if let Some(other) =
        name_id.sp_name_qualifier.as_deref().filter(|sp| !sp.is_empty() && *sp != settings.sp_entity_id)
    {
        let remedy = "The NameID was made for another service provider. Look at its SPNameQualifier at the identity provider.";
        let expected = format!("a NameID for {}", settings.sp_entity_id);
        return Err(LoginRefusal::new(Class::SamlSubject, expected, other, remedy));
    }
    match (settings.name_id_policy.as_deref(), name_id.format.as_deref()) {
        (Some(asked), said) if !asked.ends_with(":unspecified") && said != Some(asked) => {
            let remedy = "Have the identity provider send the NameID format that saml.name_id names, or write none there.";
            Err(LoginRefusal::new(
                Class::SamlSubject,
                asked,
                said.unwrap_or("a NameID without a format"),
                remedy,
            ))
        }
        _ => Ok(()),
    }
}

/// An address that the NameID itself is.
fn email_of_name(name_id: &NameId) -> Option<&str> {
    let is_email = name_id.format.as_deref().is_some_and(|format| format.ends_with(":emailAddress"));
    is_email.then_some(&*name_id.value)
}

fn looks_like_address(text: &str) -> bool {
    text.contains('@')
}

/// The attributes of an assertion; those of one name are one.
struct PersonAttributes<'a>(&'a [SamlAttribute]);

impl<'a> PersonAttributes<'a> {
    /// All values of an attribute; `None` where it is not stated.
    fn values(&self, name: &str) -> Option<Vec<&'a str>> {
        let mut found = self.0.iter().filter(|attribute| attribute.name == name).peekable();
        found.peek()?;
        Some(found.flat_map(|attribute| &attribute.values).map(String::as_str).collect())
    }

    /// The value of an attribute that has one and no other.
    fn only_value(&self, name: &str) -> Option<String> {
        match self.values(name)?.as_slice() {
            [only] if !only.is_empty() => Some((*only).to_owned()),
            _ => None,
        }
    }

    /// The first value of the first of these attributes that has one.
    fn first_of(&self, names: &[String]) -> Option<&'a str> {
        self.first_stated(names).map(|(_, value)| value)
    }

    /// The same with the attribute's name.
    fn first_stated<'n>(&self, names: &'n [String]) -> Option<(&'n str, &'a str)> {
        names.iter().find_map(|name| Some((&**name, self.values(name)?.into_iter().find(|v| !v.is_empty())?)))
    }

    /// All values of the first of these attributes that is stated.
    fn all_of(&self, names: &[String]) -> Option<Vec<String>> {
        let (_, values) = self.stated_list(names)?;
        Some(values.into_iter().filter(|value| !value.is_empty()).map(str::to_owned).collect())
    }

    /// The first of these attributes that is stated: its name, and all values.
    fn stated_list<'n>(&self, names: &'n [String]) -> Option<(&'n str, Vec<&'a str>)> {
        names.iter().find_map(|name| Some((&**name, self.values(name)?)))
    }

    /// The names that were stated, for the operator.
    fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|attribute| attribute.name.as_str()).collect();
        if names.is_empty() {
            "no attributes".to_owned()
        } else {
            format!("the attributes {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_keys::Random;
    use portcullis_policy::Timestamp;

    use super::super::SpKey;
    use super::super::settings::{AttributeNames, MetadataSource, SpKeys};
    use super::*;

    fn settings(sp_entity_id: &str) -> SamlSettings {
        let made = SpKey::generate("sp.test", Timestamp(0), &mut Random::from_seed(1)).unwrap();
        SamlSettings {
            name: "corp".into(),
            metadata: MetadataSource::Document("".into()),
            entity_id: None,
            pinned: Vec::new(),
            sp_entity_id: sp_entity_id.into(),
            acs_url: "https://sp.test/acs".into(),
            slo_url: "https://sp.test/slo".into(),
            keys: Arc::new(SpKeys::read_pairs(&[(made.pkcs8_pem, made.certificate_pem)]).unwrap()),
            name_id_policy: None,
            force_authn: false,
            authn_context: Vec::new(),
            posts_requests: false,
            approves_keys: false,
            accepts_unsolicited: false,
            allow_sha1: false,
            allow_cbc: false,
            subject: None,
            names: AttributeNames::default(),
            link: None,
            skew_ms: 180_000,
            loopback: false,
        }
    }

    fn name(format: Option<&str>, idp: Option<&str>, sp: Option<&str>) -> NameId {
        NameId {
            value: "mira@corp.test".into(),
            format: format.map(str::to_owned),
            name_qualifier: idp.map(str::to_owned),
            sp_name_qualifier: sp.map(str::to_owned),
        }
    }

    #[test]
    fn a_lasting_name_holds_no_entity_id_that_may_change_and_no_format() {
        let email = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
        for (idp, sp) in [("https://idp.test", "https://sp.test"), ("https://idp2.test", "https://sp2.test")]
        {
            for qualified in [
                name(Some(PERSISTENT), None, None),
                name(Some(PERSISTENT), Some(idp), Some(sp)),
                name(Some(email), None, Some("")),
                name(None, Some(idp), None),
            ] {
                assert_eq!(lasting_name(idp, &qualified), "mira@corp.test");
            }
            // One that is qualified otherwise is another person's, and no value looks like one.
            let others = lasting_name(idp, &name(Some(PERSISTENT), Some("https://other.test"), None));
            assert_eq!(others, r#"["https://other.test","mira@corp.test"]"#);
            let odd = NameId { value: others.clone(), ..name(Some(PERSISTENT), None, None) };
            assert_ne!(lasting_name(idp, &odd), others);
        }
    }

    #[test]
    fn a_name_for_another_service_provider_or_of_another_format_is_none() {
        let email = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress";
        let mut settings = settings("https://sp.test");
        assert!(check_name(&settings, &name(Some(email), None, None)).is_ok());
        assert!(check_name(&settings, &name(Some(PERSISTENT), None, Some("https://sp2.test"))).is_err());
        settings.name_id_policy = Some(PERSISTENT.to_owned());
        assert!(check_name(&settings, &name(Some(PERSISTENT), None, Some("https://sp.test"))).is_ok());
        for format in [Some(email), None] {
            let refusal = check_name(&settings, &name(format, None, None)).unwrap_err();
            assert_eq!(refusal.class, Class::SamlSubject);
        }
    }
}

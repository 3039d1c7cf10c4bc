//! The checks of the assertion as a whole: its parts, its times, its audience (SAML Core §2.3, §2.5).

use super::{find_only, read_text};
use crate::saml::SamlExpectations;
use crate::saml::instant::{check_begun, check_not_over, read_instant_of, show_instant};
use crate::saml::shape::{describe_element, refuse_shape};
use crate::saml::xml::{XmlElement, namespace};
use crate::{Class, LoginRefusal};

/// Checks that an assertion has each of its parts once, those that may come more often aside, and no other.
pub(super) fn check_parts(assertion: &XmlElement) -> Result<(), LoginRefusal> {
    for once in ["Issuer", "Subject", "Conditions", "Advice"] {
        find_only(assertion, namespace::ASSERTION, once)?;
    }
    let foreign = assertion.elements().find(|part| {
        let is_known = match &*part.namespace {
            namespace::ASSERTION => matches!(
                &*part.local,
                "Issuer"
                    | "Subject"
                    | "Conditions"
                    | "Advice"
                    | "Statement"
                    | "AuthnStatement"
                    | "AuthzDecisionStatement"
                    | "AttributeStatement"
            ),
            namespace::SIGNATURE => part.local == "Signature",
            _ => false,
        };
        !is_known
    });
    match foreign {
        Some(part) => Err(refuse_shape("the parts of an assertion", describe_element(part))),
        None if assertion.has_own_text() => Err(refuse_shape("elements only in an assertion", "text")),
        None => Ok(()),
    }
}

fn find_conditions(assertion: &XmlElement) -> Result<&XmlElement, LoginRefusal> {
    find_only(assertion, namespace::ASSERTION, "Conditions")?
        .ok_or_else(|| refuse_audience("a restriction to our entity ID", "no conditions at all"))
}

/// Checks the times between which the assertion holds; and that no condition is there that we do not know, as SAML
/// Core §2.5.1.1 says.
pub(super) fn check_times(
    assertion: &XmlElement,
    expected: &SamlExpectations<'_>,
) -> Result<String, LoginRefusal> {
    let conditions = find_conditions(assertion)?;
    let begin = read_instant_of(conditions, "NotBefore")?;
    let end = read_instant_of(conditions, "NotOnOrAfter")?;
    if let Some(begin) = begin {
        check_begun("NotBefore of Conditions", begin, expected.now, expected.skew_ms)?;
    }
    if let Some(end) = end {
        check_not_over("NotOnOrAfter of Conditions", end, expected.now, expected.skew_ms)?;
    }
    let unknown = conditions.elements().find(|condition| {
        *condition.namespace != *namespace::ASSERTION
            || !matches!(&*condition.local, "AudienceRestriction" | "OneTimeUse" | "ProxyRestriction")
    });
    match unknown {
        Some(condition) => Err(refuse_shape("conditions that are known", describe_element(condition))),
        None => {
            Ok(end.map_or_else(|| "without an end".to_owned(), |end| format!("until {}", show_instant(end))))
        }
    }
}

/// Checks that every restriction of the audience names us.
pub(super) fn check_audiences<'a>(
    assertion: &XmlElement,
    expected: &SamlExpectations<'a>,
) -> Result<&'a str, LoginRefusal> {
    let mut restrictions =
        find_conditions(assertion)?.elements_named(namespace::ASSERTION, "AudienceRestriction").peekable();
    if restrictions.peek().is_none() {
        return Err(refuse_audience(expected.sp_entity_id, "no restriction of the audience"));
    }
    for restriction in restrictions {
        let audiences: Result<Vec<_>, _> =
            restriction.elements_named(namespace::ASSERTION, "Audience").map(read_text).collect();
        let audiences = audiences?;
        if !audiences.contains(&expected.sp_entity_id) {
            return Err(refuse_audience(expected.sp_entity_id, &audiences.join(", ")));
        }
    }
    Ok(expected.sp_entity_id)
}

fn refuse_audience(expected: &str, got: &str) -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlAudience,
        expected,
        got,
        "Audience mismatch: paste the entity ID that `portcullis urls` prints (`saml.entity_id` in our configuration), \
         exactly, as the audience of the identity provider's application (\"Audience URI\", \"Identifier\", \"SP Entity \
         ID\").",
    )
}

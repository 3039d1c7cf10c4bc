//! The checks of the response around the assertion, and of what both of them say.

use super::{Evidence, MOST_AGE_MS, find_only, read_text};
use crate::saml::SamlExpectations;
use crate::saml::instant::{check_begun, check_not_over, read_instant_of};
use crate::saml::shape::refuse_shape;
use crate::saml::xml::{XmlElement, namespace};
use crate::{Class, LoginRefusal};

pub(in crate::saml) const ENTITY: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity";

pub(super) fn check_versions(evidence: &Evidence<'_>) -> Result<&'static str, LoginRefusal> {
    for element in [evidence.response, evidence.assertion] {
        let version = element.attribute("Version").unwrap_or("none");
        if version != "2.0" {
            return Err(LoginRefusal::new(
                Class::SamlVersion,
                "2.0",
                format!("{version} of the {}", element.local),
                "Make the identity provider's application one of SAML 2.0, not of SAML 1.1 or WS-Federation.",
            ));
        }
    }
    Ok("2.0")
}

/// Checks that both issuers are the identity provider. That of a response which is not signed may be absent.
pub(super) fn check_issuers<'a>(
    evidence: &Evidence<'_>,
    expected: &SamlExpectations<'a>,
) -> Result<&'a str, LoginRefusal> {
    check_issuer(evidence.response, evidence.is_response_signed, expected)?;
    check_issuer(evidence.assertion, true, expected)?;
    Ok(expected.idp_entity_id)
}

fn check_issuer(
    element: &XmlElement,
    is_required: bool,
    expected: &SamlExpectations<'_>,
) -> Result<(), LoginRefusal> {
    let found = find_only(element, namespace::ASSERTION, "Issuer")?;
    let issuer = found.map(read_text).transpose()?;
    let is_entity = found.and_then(|issuer| issuer.attribute("Format")).is_none_or(|format| format == ENTITY);
    if issuer == Some(expected.idp_entity_id) && is_entity || issuer.is_none() && !is_required {
        return Ok(());
    }
    let got = match issuer {
        Some(issuer) if is_entity => format!("{issuer} of the {}", element.local),
        Some(_) => format!("an issuer of another format in the {}", element.local),
        None => format!("none in the {}", element.local),
    };
    Err(LoginRefusal::new(
        Class::SamlIssuer,
        expected.idp_entity_id,
        got,
        "The response is of another identity provider, or its entity ID has changed: compare `entity_id` of the identity \
         provider in our configuration (or its metadata) with \"Issuer\" or \"Entity ID\" on its application's screen.",
    ))
}

/// Checks where the response was sent to. A signed one says it.
pub(super) fn check_destination<'a>(
    evidence: &Evidence<'a>,
    expected: &SamlExpectations<'_>,
) -> Result<&'a str, LoginRefusal> {
    let destination = evidence.response.attribute("Destination");
    match destination {
        Some(destination) if destination == expected.acs_url => Ok(destination),
        None if !evidence.is_response_signed => Ok("none, and the response is not signed"),
        _ => Err(LoginRefusal::new(
            Class::SamlDestination,
            expected.acs_url,
            destination.unwrap_or("none"),
            "Paste the ACS URL that `portcullis urls` prints, exactly, as the destination of the identity provider's \
             application (\"ACS URL\", \"Reply URL\", \"Destination URL\").",
        )),
    }
}

/// Checks when response and assertion were issued.
pub(super) fn check_issue_instants(
    evidence: &Evidence<'_>,
    expected: &SamlExpectations<'_>,
) -> Result<String, LoginRefusal> {
    let mut issued = String::new();
    for element in [evidence.response, evidence.assertion] {
        let instant = read_instant_of(element, "IssueInstant")?
            .ok_or_else(|| refuse_shape(&format!("IssueInstant of the {}", element.local), "none"))?;
        let what = format!("IssueInstant of the {}", element.local);
        check_begun(&what, instant, expected.now, expected.skew_ms)?;
        // No skew on top of ten minutes, which is twice the most of it.
        let end = instant.plus_ms(MOST_AGE_MS + 1);
        check_not_over(&format!("{what}, with ten minutes,"), end, expected.now, 0)?;
        issued = crate::saml::instant::show_instant(instant);
    }
    Ok(issued)
}

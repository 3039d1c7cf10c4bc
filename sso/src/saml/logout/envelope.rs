//! The parts that a logout request and its answer have in common: from whom, to whom, and when (SAML Core §3.2).

use portcullis_policy::Timestamp;

use super::LogoutExpectations;
use crate::saml::instant::{read_instant_of, show_instant};
use crate::saml::profile::{ENTITY, MOST_AGE_MS, find_only, read_text};
use crate::saml::shape::{check_places, describe_element, is_decisive, refuse_shape};
use crate::saml::xml::{XmlElement, namespace};
use crate::{Class, LoginRefusal};

/// Checks the envelope of a message and gives its ID.
pub(super) fn check_envelope<'a>(
    root: &'a XmlElement,
    expected: &LogoutExpectations<'_>,
) -> Result<&'a str, LoginRefusal> {
    check_places(root, &[root])?;
    check_parts(root)?;
    check_version(root)?;
    check_issuer(root, expected)?;
    check_destination(root, expected)?;
    check_times(root, expected)?;
    root.attribute("ID").ok_or_else(|| refuse_shape("an ID", "none"))
}

/// Gives the time from which no copy of a message would be taken any more.
pub(super) fn read_replay_end(
    root: &XmlElement,
    expected: &LogoutExpectations<'_>,
) -> Result<Timestamp, LoginRefusal> {
    let by_age = read_issue_instant(root)?.plus_ms(MOST_AGE_MS + 1);
    let by_end = read_instant_of(root, "NotOnOrAfter")?.map(|end| end.plus_ms(expected.skew_ms));
    Ok(by_end.map_or(by_age, |end| end.min(by_age)))
}

/// Checks that every part is one that a logout message has.
fn check_parts(root: &XmlElement) -> Result<(), LoginRefusal> {
    if root.has_own_text() {
        return Err(refuse_shape("elements only in a logout message", "text"));
    }
    let is_request = root.local == "LogoutRequest";
    let stranger = root.elements().find(|part| match &*part.namespace {
        namespace::ASSERTION => {
            !matches!((&*part.local, is_request), ("Issuer", _) | ("NameID" | "EncryptedID", true))
        }
        namespace::PROTOCOL => !matches!(
            (&*part.local, is_request),
            ("Extensions", _) | ("SessionIndex", true) | ("Status", false)
        ),
        // The signature itself is no part of what was signed.
        _ => true,
    });
    if let Some(stranger) = stranger {
        return Err(refuse_shape("the parts of a logout message", describe_element(stranger)));
    }
    let extensions = find_only(root, namespace::PROTOCOL, "Extensions")?;
    let inside = extensions.into_iter().flat_map(|extensions| extensions.descendants().skip(1));
    match inside.into_iter().find(|element| is_decisive(&element.namespace)) {
        Some(element) => Err(refuse_shape("nothing of SAML in Extensions", describe_element(element))),
        None => Ok(()),
    }
}

fn check_version(root: &XmlElement) -> Result<(), LoginRefusal> {
    match root.attribute("Version") {
        Some("2.0") => Ok(()),
        other => Err(LoginRefusal::new(
            Class::SamlVersion,
            "2.0",
            other.unwrap_or("none"),
            "Make the identity provider's application one of SAML 2.0.",
        )),
    }
}

fn check_issuer(root: &XmlElement, expected: &LogoutExpectations<'_>) -> Result<(), LoginRefusal> {
    let element = find_only(root, namespace::ASSERTION, "Issuer")?;
    let is_entity =
        element.and_then(|issuer| issuer.attribute("Format")).is_none_or(|format| format == ENTITY);
    let issuer = element.map(read_text).transpose()?;
    if issuer == Some(expected.idp_entity_id) && is_entity {
        return Ok(());
    }
    Err(LoginRefusal::new(
        Class::SamlIssuer,
        expected.idp_entity_id,
        if is_entity { issuer.unwrap_or("none") } else { "an issuer of another format" },
        "The message is of another identity provider, or its entity ID has changed: compare `entity_id` of the identity \
         provider in our configuration (or its metadata) with \"Issuer\" or \"Entity ID\" on its application's screen.",
    ))
}

/// Checks where the message was sent to, which a signed one says (SAML Bindings §3.4.5.2, §3.5.5.2).
fn check_destination(root: &XmlElement, expected: &LogoutExpectations<'_>) -> Result<(), LoginRefusal> {
    match root.attribute("Destination") {
        Some(destination) if destination == expected.slo_url => Ok(()),
        other => Err(LoginRefusal::new(
            Class::SamlDestination,
            expected.slo_url,
            other.unwrap_or("none"),
            "Paste the single logout URL that `portcullis urls` prints, exactly, into the identity provider's application \
             (\"Single Logout URL\", \"Logout URL\").",
        )),
    }
}

fn check_times(root: &XmlElement, expected: &LogoutExpectations<'_>) -> Result<(), LoginRefusal> {
    let now = expected.now;
    let issued = read_issue_instant(root)?;
    if issued > now.plus_ms(expected.skew_ms) {
        return Err(refuse_time(Class::SamlNotYetValid, "an IssueInstant that is past", issued, expected));
    }
    // No skew on top of ten minutes, which is twice the most of it.
    if now > issued.plus_ms(MOST_AGE_MS) {
        return Err(refuse_time(
            Class::SamlExpired,
            "an IssueInstant of the last ten minutes",
            issued,
            expected,
        ));
    }
    match read_instant_of(root, "NotOnOrAfter")? {
        Some(end) if now.plus_ms(-expected.skew_ms) >= end => {
            Err(refuse_time(Class::SamlExpired, "a NotOnOrAfter that is to come", end, expected))
        }
        _ => Ok(()),
    }
}

fn read_issue_instant(root: &XmlElement) -> Result<Timestamp, LoginRefusal> {
    read_instant_of(root, "IssueInstant")?.ok_or_else(|| refuse_shape("an IssueInstant", "none"))
}

fn refuse_time(
    class: Class,
    rule: &str,
    moment: Timestamp,
    expected: &LogoutExpectations<'_>,
) -> LoginRefusal {
    let off = moment.since_ms(expected.now) / 1000;
    LoginRefusal::new(
        class,
        format!(
            "{rule}, at {} ({} s of skew are allowed)",
            show_instant(expected.now),
            expected.skew_ms / 1000
        ),
        format!("{}, {} s {}", show_instant(moment), off.abs(), if off < 0 { "ago" } else { "ahead" }),
        "The clocks differ, or the message was kept: run NTP at the identity provider and here. `skew` of the identity \
         provider in our configuration is what we allow, 3 minutes and 5 at most.",
    )
}

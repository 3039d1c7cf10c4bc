//! The profile: is a verified assertion meant for us, of now, and about somebody (SAML Profiles §4.1.4)?
//!
//! Every check is made, in the order below, though one before it has failed; the first fault is the refusal.

mod assertion;
mod response;
mod statements;
mod subject;

pub(super) use self::response::ENTITY;
pub(super) use self::subject::read_name;

use std::fmt;

use portcullis_policy::Timestamp;

use super::SamlExpectations;
use super::check::CheckList;
use super::instant::read_instant_of;
use super::shape::refuse_shape;
use super::xml::XmlElement;
use crate::LoginRefusal;

/// The time that a message may have been on its way, in milliseconds.
pub(crate) const MOST_AGE_MS: i64 = 10 * 60 * 1000;

/// A response that passed every check.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedResponse {
    /// The ID of the assertion: with the issuer, what must not come twice until `replay_until`.
    pub assertion_id: String,
    /// The issuer, as it was expected.
    pub issuer: String,
    /// The person's name at the identity provider.
    pub name_id: NameId,
    /// The identity provider's own session.
    pub session_index: Option<String>,
    /// The attributes in the order in which they were stated; those of one name are one.
    pub attributes: Vec<SamlAttribute>,
    /// The latest end of the session, where the identity provider says one.
    pub session_end: Option<Timestamp>,
    /// The time from which no copy of the assertion would be taken any more.
    pub replay_until: Timestamp,
    /// The authentication context that was stated.
    pub authn_context: Option<String>,
    /// The request that was answered.
    pub in_response_to: Option<String>,
    /// True where the whole response is signed, false where the assertion alone is.
    pub signed_response: bool,
}

impl fmt::Debug for VerifiedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedResponse(issuer {}, assertion {})", self.issuer, self.assertion_id)
    }
}

/// A name of a person at an identity provider (SAML Core §2.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameId {
    /// The name itself, not blank and without control characters.
    pub value: String,
    /// The URI of its kind.
    pub format: Option<String>,
    /// The domain that the name belongs to.
    pub name_qualifier: Option<String>,
    /// The service provider that the name was made for.
    pub sp_name_qualifier: Option<String>,
}

/// An attribute of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamlAttribute {
    /// The name.
    pub name: String,
    /// The name for people.
    pub friendly_name: Option<String>,
    /// The values, without control characters.
    pub values: Vec<String>,
}

/// The response and its assertion, as they are believed.
pub(super) struct Evidence<'a> {
    /// The response: signed where `is_response_signed` says so, else only what came.
    pub(super) response: &'a XmlElement,
    /// The assertion: signed, and opened.
    pub(super) assertion: &'a XmlElement,
    pub(super) is_response_signed: bool,
}

/// Judges a verified response.
pub(super) fn judge_response(
    evidence: &Evidence<'_>,
    expected: &SamlExpectations<'_>,
    mut checks: CheckList<'_>,
) -> Result<VerifiedResponse, LoginRefusal> {
    let Evidence { response, assertion, .. } = *evidence;
    checks.note("version", response::check_versions(evidence));
    checks.note("issuer", response::check_issuers(evidence, expected));
    checks.note("status", super::status::check_status(response).map(|()| "Success"));
    checks.note("destination", response::check_destination(evidence, expected));
    checks.note("issue instant", response::check_issue_instants(evidence, expected));
    checks.note("parts of the assertion", assertion::check_parts(assertion).map(|()| "each once"));
    let name_id = checks.note("NameID", subject::read_name_id(assertion));
    let confirmed = subject::judge_confirmations(evidence, expected, &mut checks);
    checks.note("conditions", assertion::check_times(assertion, expected));
    checks.note("audience", assertion::check_audiences(assertion, expected));
    let authn = checks.note("AuthnStatement", statements::read_authn(assertion, expected));
    let attributes = checks.note("attributes", statements::read_attributes(assertion).map(StatedAttributes));
    checks.finish()?;
    let incomplete = || refuse_shape("a complete assertion", "less");
    let (Some(name_id), Some(until), Some(authn), Some(StatedAttributes(attributes))) =
        (name_id, confirmed, authn, attributes)
    else {
        return Err(incomplete());
    };
    let issued = read_instant_of(assertion, "IssueInstant")?.ok_or_else(incomplete)?;
    Ok(VerifiedResponse {
        assertion_id: assertion.attribute("ID").ok_or_else(incomplete)?.to_owned(),
        issuer: expected.idp_entity_id.to_owned(),
        name_id,
        session_index: authn.session_index,
        attributes,
        session_end: authn.session_end,
        // Whichever end comes first makes every copy too old.
        replay_until: until.plus_ms(expected.skew_ms).min(issued.plus_ms(MOST_AGE_MS + 1)),
        authn_context: authn.context,
        in_response_to: expected.in_response_to.map(str::to_owned),
        signed_response: evidence.is_response_signed,
    })
}

/// The attributes, as a check shows them: by their names, which is what an operator maps.
struct StatedAttributes(Vec<SamlAttribute>);

impl fmt::Display for StatedAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|attribute| attribute.name.as_str()).collect();
        f.write_str(&names.join(", "))
    }
}

impl fmt::Display for NameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.value, self.format.as_deref().unwrap_or("no format"))
    }
}

/// The one element of a name directly below, or none.
pub(super) fn find_only<'a>(
    element: &'a XmlElement,
    namespace: &str,
    local: &str,
) -> Result<Option<&'a XmlElement>, LoginRefusal> {
    let mut found = element.elements().filter(|child| child.is(namespace, local));
    match (found.next(), found.next()) {
        (_, Some(_)) => Err(refuse_shape(&format!("one {local} in {}", element.local), "two")),
        (found, None) => Ok(found),
    }
}

/// The text of an element that holds nothing else, byte for byte.
pub(super) fn read_text(element: &XmlElement) -> Result<&str, LoginRefusal> {
    element.text().ok_or_else(|| refuse_shape(&format!("text only in {}", element.local), "elements"))
}

/// Tells whether a text holds what no line and no header may.
pub(super) fn holds_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

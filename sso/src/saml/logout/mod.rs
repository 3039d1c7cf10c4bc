//! Single logout (SAML Core §3.7, Profiles §4.4): what an identity provider asks and answers, and what we do.
//!
//! Only a signed message is read, and it is judged as a response is: from whom, to whom, of now, and about whom. It
//! remembers nothing: whether a request was brought before is its caller's to know, until
//! [`LogoutRequest::replay_until`].

mod envelope;
mod own;

use std::fmt;

use portcullis_policy::Timestamp;

pub use self::own::{LogoutOutcome, OwnLogoutRequest, OwnLogoutResponse};

use self::envelope::{check_envelope, read_replay_end};
use super::decrypt::{DecryptionKey, open_part};
use super::inbound::SignedMessage;
use super::parameter::SamlParameter;
use super::profile::{NameId, find_only, holds_control, read_name};
use super::shape::refuse_shape;
use super::status::check_status;
use super::xml::{XmlElement, namespace};
use crate::{Class, LoginRefusal};

/// The most sessions that one request names.
const MOST_SESSIONS: usize = 256;
/// The most bytes of the name of a session.
const MOST_INDEX: usize = 1024;

/// The values that a logout message must have to count here.
#[derive(Clone, Copy, Debug)]
pub struct LogoutExpectations<'a> {
    /// The entity ID of the identity provider.
    pub idp_entity_id: &'a str,
    /// The address of our single logout, as our metadata has it.
    pub slo_url: &'a str,
    /// Our own keys to decrypt a name with.
    pub decryption_keys: &'a [DecryptionKey],
    /// The difference between the clocks that is put up with, in milliseconds.
    pub skew_ms: i64,
    /// The time.
    pub now: Timestamp,
}

/// A request to end somebody's sessions that passed every check.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogoutRequest {
    /// Its ID: the answer names it, and it must not come twice until `replay_until`.
    pub id: String,
    /// The identity provider, as it was expected.
    pub issuer: String,
    /// The person.
    pub name_id: NameId,
    /// The sessions at the identity provider that end; none means all of the person's.
    pub session_indexes: Vec<String>,
    /// The time from which no copy of it would be taken any more.
    pub replay_until: Timestamp,
}

impl fmt::Debug for LogoutRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogoutRequest(issuer {}, id {})", self.issuer, self.id)
    }
}

/// The answer to a request of ours: the identity provider has ended its session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogoutResponse {
    /// Its ID.
    pub id: String,
    /// The request of ours that it answers.
    pub in_response_to: String,
    /// True where the identity provider could not reach everybody else.
    pub is_partial: bool,
}

/// Judges a request to end sessions.
///
/// # Errors
/// `structure`, `version`, `issuer`, `destination`, `expired`, `not_yet_valid`, `subject`, `decrypt`.
pub fn read_logout_request(
    message: &SignedMessage,
    expected: &LogoutExpectations<'_>,
) -> Result<LogoutRequest, LoginRefusal> {
    let root = expect_root(message, SamlParameter::Request, "LogoutRequest")?;
    let id = check_envelope(root, expected)?;
    Ok(LogoutRequest {
        id: id.to_owned(),
        issuer: expected.idp_entity_id.to_owned(),
        name_id: read_person(root, expected)?,
        session_indexes: read_session_indexes(root)?,
        replay_until: read_replay_end(root, expected)?,
    })
}

/// Judges an answer to the one request of ours that is pending; `None` where there is none.
///
/// # Errors
/// As [`read_logout_request`], and `in_response_to`, `status`.
pub fn read_logout_response(
    message: &SignedMessage,
    pending: Option<&str>,
    expected: &LogoutExpectations<'_>,
) -> Result<LogoutResponse, LoginRefusal> {
    let root = expect_root(message, SamlParameter::Response, "LogoutResponse")?;
    let id = check_envelope(root, expected)?;
    let answered = root.attribute("InResponseTo");
    let in_response_to = answered.filter(|answered| pending == Some(*answered)).ok_or_else(|| {
        LoginRefusal::new(
            Class::SamlInResponseTo,
            pending.unwrap_or("no answer: this browser asked for no logout"),
            answered.unwrap_or("none"),
            "The answer came too late, twice, or in another browser. The session here is over in any case.",
        )
    })?;
    find_only(root, namespace::PROTOCOL, "Status")?;
    check_status(root).map_err(|refusal| LoginRefusal { remedy: NOT_ENDED, ..refusal })?;
    Ok(LogoutResponse {
        id: id.to_owned(),
        in_response_to: in_response_to.to_owned(),
        is_partial: root.descendants().any(is_partial_code),
    })
}

const NOT_ENDED: &str = "The session here is over; the identity provider could not end its own and says why. Look into \
     its log: most often the NameID or the SessionIndex is none that it knows any more.";

fn is_partial_code(element: &XmlElement) -> bool {
    element.is(namespace::PROTOCOL, "StatusCode")
        && element.attribute("Value") == Some("urn:oasis:names:tc:SAML:2.0:status:PartialLogout")
}

/// The root of a message of the kind that is expected.
fn expect_root<'a>(
    message: &'a SignedMessage,
    parameter: SamlParameter,
    local: &'static str,
) -> Result<&'a XmlElement, LoginRefusal> {
    let root = &message.root;
    if message.parameter() == parameter && root.is(namespace::PROTOCOL, local) {
        return Ok(root);
    }
    Err(refuse_shape(
        &format!("a {local} in {}", parameter.name()),
        format!("{} in {}", root.local, message.parameter().name()),
    ))
}

/// Reads the person that a request is about, plain or encrypted to us.
fn read_person(root: &XmlElement, expected: &LogoutExpectations<'_>) -> Result<NameId, LoginRefusal> {
    let plain = find_only(root, namespace::ASSERTION, "NameID")?;
    let encrypted = find_only(root, namespace::ASSERTION, "EncryptedID")?;
    match (plain, encrypted) {
        (Some(name), None) => read_name(name),
        (None, Some(encrypted)) => read_name(&open_part(encrypted, "NameID", expected.decryption_keys)?),
        (Some(_), Some(_)) => Err(refuse_shape("a NameID or an EncryptedID", "both")),
        (None, None) => Err(LoginRefusal::new(
            Class::SamlSubject,
            "a NameID",
            "a LogoutRequest about nobody",
            "Let the identity provider send in its LogoutRequest the NameID that it sends at a login.",
        )),
    }
}

fn read_session_indexes(root: &XmlElement) -> Result<Vec<String>, LoginRefusal> {
    let mut indexes = Vec::new();
    for element in root.elements_named(namespace::PROTOCOL, "SessionIndex") {
        let index = element
            .text()
            .filter(|index| !index.trim().is_empty() && index.len() <= MOST_INDEX && !holds_control(index));
        let index =
            index.ok_or_else(|| refuse_shape("a text in SessionIndex, of at most 1024 bytes", "none"))?;
        if indexes.len() == MOST_SESSIONS {
            return Err(refuse_shape("at most 256 sessions in a LogoutRequest", "more"));
        }
        indexes.push(index.to_owned());
    }
    Ok(indexes)
}

//! SAML 2.0: verifies what an identity provider sends through the browser.
//!
//! [`verify_response`] is the order of the steps. The field is bounded text (`field.rs`) and plain XML (`xml.rs`); the
//! message has the one shape of a response (`shape.rs`) and its signatures the one shape of a signature
//! (`signature.rs`); each is verified twice, in Rust (`second.rs`) and by libxmlsec1 (`engine.rs`), and what both
//! digested is read again (`verify.rs`); what is encrypted is opened and goes the same way (`decrypt.rs`); the profile
//! then says whether it is for us, of now, and about whom (`profile/`). The rule it protects: nothing is read but what
//! was signed. It remembers nothing: whether an assertion was brought before is its caller's to know, until
//! [`VerifiedResponse::replay_until`].
//!
//! Beside it stand the metadata of an identity provider (`metadata/`) and ours (`sp_metadata.rs`), the messages that we
//! send (`authn_request.rs`, `logout/own.rs`, signed by `outbound.rs`), and single logout (`logout/`), whose messages come
//! in a query (`redirect.rs`) or in a form (`inbound.rs`).
//!
//! The engine's types are those of one thread, and a signature takes a CPU a fraction of a millisecond: call it from a
//! thread that may block.

mod authn_request;
mod builder;
mod canonical;
mod check;
mod cipher;
mod decrypt;
mod engine;
mod engine_guard;
mod field;
#[cfg(test)]
mod forge;
mod idp;
mod idp_key;
mod inbound;
mod instant;
mod key_book;
mod logout;
mod metadata;
mod name_key;
mod outbound;
mod parameter;
mod person;
mod profile;
mod reader;
mod redirect;
mod second;
mod settings;
mod shape;
mod signature;
mod sp_key;
mod sp_metadata;
mod status;
mod tag;
mod verify;
#[cfg(test)]
mod verify_tests;
mod xml;

use portcullis_policy::Timestamp;

pub use authn_request::AuthnRequest;
pub use check::SamlCheck;
pub use decrypt::DecryptionKey;
pub use idp::{Examination, Keep, LogoutArrival, LogoutMessage, Renewal, SamlIdp, SamlInquiry};
pub use idp_key::{IdpKey, KeyStanding};
pub use inbound::{PostMessage, SignedMessage};
pub use key_book::{BookListing, BookedKey, BookedState, KeyBook, PinnedKey};
pub use logout::{
    LogoutExpectations, LogoutOutcome, LogoutRequest, LogoutResponse, OwnLogoutRequest, OwnLogoutResponse,
    read_logout_request, read_logout_response,
};
pub use metadata::{IdpMetadata, MetadataRules, SamlBinding, SamlEndpoint};
pub use outbound::{OutboundMessage, draw_message_id};
pub use parameter::SamlParameter;
pub use person::AttributeSources;
pub use profile::{NameId, SamlAttribute, VerifiedResponse};
pub use redirect::RedirectMessage;
pub use settings::{AttributeNames, MetadataSource, SamlSettings, SpKeys};
pub use sp_key::{SpCertificate, SpKey, SpKeyError, SpSigner};
pub use sp_metadata::{SpDescription, write_sp_metadata};

use self::check::CheckList;
use self::profile::{Evidence, judge_response};
use self::verify::{Trust, read_signatures, verify_document};
use self::xml::{XmlBounds, XmlElement, namespace};
use crate::LoginRefusal;

/// The values that a response must have to be a login here.
#[derive(Clone, Copy, Debug)]
pub struct SamlExpectations<'a> {
    /// The entity ID of the identity provider.
    pub idp_entity_id: &'a str,
    /// Our own entity ID, the audience.
    pub sp_entity_id: &'a str,
    /// The address that responses are posted to: recipient and destination.
    pub acs_url: &'a str,
    /// The keys that the identity provider may have signed with.
    pub keys: &'a [IdpKey],
    /// Our own keys to decrypt with, the present one first.
    pub decryption_keys: &'a [DecryptionKey],
    /// The difference between the clocks that is put up with, in milliseconds.
    pub skew_ms: i64,
    /// Takes RSA-SHA1 and SHA-1 digests.
    pub allow_sha1: bool,
    /// Takes AES-CBC though no signature protects the ciphertext.
    pub allow_cbc: bool,
    /// The ID of the one request that this browser's login has made; `None` where it made none.
    pub in_response_to: Option<&'a str>,
    /// Takes a response that nobody asked for, where `in_response_to` is `None`.
    pub allow_unsolicited: bool,
    /// The authentication contexts of which one must be stated; empty for any.
    pub authn_context: &'a [String],
    /// The time.
    pub now: Timestamp,
    /// Asks libxmlsec1 about signatures that our own verification refuses: only for a captured response that somebody
    /// looks into, as it lets documents that nobody known has signed into the library.
    pub ask_engine_always: bool,
}

/// A response that is plain and rightly built; nothing in it is believed yet.
#[derive(Clone, Debug)]
pub struct ReceivedResponse {
    text: String,
    root: XmlElement,
}

impl ReceivedResponse {
    /// The issuer that the response names, unverified.
    pub fn unverified_issuer(&self) -> Option<&str> {
        let inner = self.root.first_named(namespace::ASSERTION, "Assertion");
        let mut owners = std::iter::once(&self.root).chain(inner);
        owners.find_map(|owner| owner.first_named(namespace::ASSERTION, "Issuer")?.text())
    }

    /// The request that the response says it answers, unverified.
    pub fn unverified_in_response_to(&self) -> Option<&str> {
        self.root.attribute("InResponseTo")
    }

    /// The time at which the response says it was made, unverified.
    pub fn unverified_issue_instant(&self) -> Option<Timestamp> {
        instant::read_instant(self.root.attribute("IssueInstant")?)
    }
}

/// Reads a response from its form field and checks how it is built, without a key.
///
/// # Errors
/// `too_large`, `malformed`, `forbidden_xml`, `structure`, `signature_policy`; `status` where there is no assertion
/// because the identity provider let nobody in.
pub fn read_response(field: &[u8]) -> Result<ReceivedResponse, LoginRefusal> {
    let text = field::read_field(field)?;
    let root = XmlElement::read_document(&text, &XmlBounds::MESSAGE)?;
    shape::check_response(&root)?;
    read_signatures(&find_owners(&root))?;
    Ok(ReceivedResponse { text, root })
}

/// Verifies a response from its form field: signed by the identity provider, for us, of now, and about somebody.
///
/// `checks` gets every check that was made, in its order.
///
/// # Errors
/// The first check that failed, by its class.
pub fn verify_response(
    field: &[u8],
    expected: &SamlExpectations<'_>,
    checks: &mut Vec<SamlCheck>,
) -> Result<VerifiedResponse, LoginRefusal> {
    let mut checks = CheckList::new(checks);
    let received =
        checks.require("message", read_response(field), |_| "plain and rightly built".to_owned())?;
    let ReceivedResponse { text, root } = &received;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let trust = Trust {
        keys: expected.keys,
        allow_sha1: expected.allow_sha1,
        ask_engine_always: expected.ask_engine_always,
    };
    let owners = find_owners(root);
    let has_signature = !read_signatures(&owners)?.is_empty();
    let is_encrypted = owners.len() == 1;
    // An assertion that is encrypted may be signed inside alone.
    let signed = if has_signature || !is_encrypted {
        let outcome = verify_document(text, &owners, &trust);
        Some(
            checks
                .require("signature", outcome, |signed| format!("the {} is signed", signed.root.local))?
                .root,
        )
    } else {
        None
    };
    let is_response_signed = signed.as_ref().is_some_and(|root| root.is(namespace::PROTOCOL, "Response"));
    let (response, mut assertion) = match &signed {
        Some(response) if is_response_signed && !is_encrypted => {
            let assertion = response.first_named(namespace::ASSERTION, "Assertion");
            (response, assertion.ok_or_else(|| shape::refuse_shape("a signed assertion", "none"))?.clone())
        }
        Some(assertion) if !is_response_signed => (root, assertion.clone()),
        _ => {
            let response = signed.as_ref().unwrap_or(root);
            let outcome = decrypt::open_assertion(response, is_response_signed, expected, &trust);
            (response, checks.require("decryption", outcome, |_| "opened".to_owned())?)
        }
    };
    if decrypt::has_encrypted_parts(&assertion) {
        let outcome = decrypt::open_parts(&mut assertion, expected);
        checks.require("decryption of parts", outcome, |()| "opened".to_owned())?;
    }
    judge_response(&Evidence { response, assertion: &assertion, is_response_signed }, expected, checks)
}

/// The elements of a response that may hold a signature, the outermost first.
fn find_owners(root: &XmlElement) -> Vec<&XmlElement> {
    std::iter::once(root).chain(root.first_named(namespace::ASSERTION, "Assertion")).collect()
}

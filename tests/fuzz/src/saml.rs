//! What the fuzzers of a SAML login hold to be true of whatever is posted, and of whatever an identity provider signs.
//! The same functions replay the corpora on the stable compiler (`sso/tests/saml/fuzzed_inputs.rs`).

use std::sync::LazyLock;

use openssl::base64::encode_block;
use openssl::pkey::PKey;
use openssl::x509::X509;
use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use portcullis_sso::{
    DecryptionKey, IdpKey, LoginRefusal, SamlCheck, SamlExpectations, VerifiedResponse, verify_response,
};
use samael::crypto::{Crypto, CryptoProvider as _};

const ENTITY_ID: &str = "https://idp.example.test/saml/metadata";
const ACS: &str = "https://app.example.test/.portcullis/saml/idp/acs";
const REQUEST: &str = "_3f2a9c4e5b6d7081928374655647382f";
/// Noon of 15 June 2026, as the cases of `tests/vectors/saml` have it.
const NOW: Timestamp = Timestamp(1_781_524_800_000);

static KEY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let pem = include_bytes!("../../vectors/saml/keys/idp-rsa2048.key.pem");
    let key = PKey::private_key_from_pem(pem).and_then(|key| key.private_key_to_der());
    key.expect("a key")
});
static IDP_KEYS: LazyLock<[IdpKey; 1]> = LazyLock::new(|| {
    let pem = include_bytes!("../../vectors/saml/keys/idp-rsa2048.cert.pem");
    let certificate =
        X509::from_pem(pem).and_then(|certificate| certificate.to_der()).expect("a certificate");
    [IdpKey::from_certificate(&certificate).expect("a key")]
});
/// A key that signed none of the inputs.
static OTHER_KEYS: LazyLock<[IdpKey; 1]> = LazyLock::new(|| {
    let pem = include_bytes!("../../vectors/saml/keys/federation-rsa2048.cert.pem");
    let certificate =
        X509::from_pem(pem).and_then(|certificate| certificate.to_der()).expect("a certificate");
    [IdpKey::from_certificate(&certificate).expect("a key")]
});
static DECRYPTION_KEYS: LazyLock<[DecryptionKey; 1]> = LazyLock::new(|| {
    let pem = include_str!("../../vectors/saml/keys/sp-current.key.pem");
    [DecryptionKey::from_pem(&Secret::new(pem)).expect("a key")]
});

/// A message as it is posted, without its base64. Nobody here has the key, so nobody comes in.
pub fn response(data: &[u8]) {
    let outcome = verify(data, &*OTHER_KEYS, &mut Vec::new());
    presentable(&outcome.expect_err("a response that nobody signed"));
}

/// The field as it is posted.
pub fn field(data: &[u8]) {
    let outcome = verify_response(data, &expected(&*OTHER_KEYS), &mut Vec::new());
    presentable(&outcome.expect_err("a response that nobody signed"));
}

/// The content of an assertion, which the identity provider then signs by libxmlsec1: what it signs, both verifications
/// read alike. True where somebody came in.
pub fn profile(data: &[u8]) -> bool {
    let Ok(content) = std::str::from_utf8(data) else { return false };
    // Only what is plain enough to be posted is signed: no library reads anything else.
    if portcullis_sso::read_response(encode_block(write(content, "AAAA").as_bytes()).as_bytes()).is_err() {
        return false;
    }
    let signed = Crypto::sign_xml(write(content, ""), &KEY).expect("a document that is well-formed");
    let mut checks = Vec::new();
    let outcome = verify(signed.as_bytes(), &*IDP_KEYS, &mut checks);
    let is_verified = checks.iter().any(|check: &SamlCheck| check.name == "signature" && check.is_passed());
    let is_refused_before = checks.first().is_some_and(|check| !check.is_passed());
    assert!(is_verified || is_refused_before, "{checks:?}\n{signed}");
    outcome.as_ref().map_or_else(presentable, believable);
    outcome.is_ok()
}

fn verify(
    xml: &[u8],
    keys: &[IdpKey],
    checks: &mut Vec<SamlCheck>,
) -> Result<VerifiedResponse, LoginRefusal> {
    verify_response(encode_block(xml).as_bytes(), &expected(keys), checks)
}

fn expected(keys: &[IdpKey]) -> SamlExpectations<'_> {
    SamlExpectations {
        idp_entity_id: ENTITY_ID,
        sp_entity_id: "https://app.example.test/.portcullis/saml/idp/metadata",
        acs_url: ACS,
        keys,
        decryption_keys: &*DECRYPTION_KEYS,
        skew_ms: 180_000,
        allow_sha1: true,
        allow_cbc: true,
        in_response_to: Some(REQUEST),
        allow_unsolicited: false,
        authn_context: &[],
        now: NOW,
        ask_engine_always: false,
    }
}

fn write(content: &str, value: &str) -> String {
    const C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
    const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
    format!(
        r##"<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_r" InResponseTo="{REQUEST}" Version="2.0" IssueInstant="2026-06-15T11:59:58Z" Destination="{ACS}"><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status><saml:Assertion ID="_a" IssueInstant="2026-06-15T11:59:58Z" Version="2.0"><saml:Issuer>{ENTITY_ID}</saml:Issuer><ds:Signature xmlns:ds="{DSIG}"><ds:SignedInfo><ds:CanonicalizationMethod Algorithm="{C14N}"/><ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"/><ds:Reference URI="#_a"><ds:Transforms><ds:Transform Algorithm="{DSIG}enveloped-signature"/><ds:Transform Algorithm="{C14N}"/></ds:Transforms><ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><ds:DigestValue>{value}</ds:DigestValue></ds:Reference></ds:SignedInfo><ds:SignatureValue>{value}</ds:SignatureValue></ds:Signature>{content}</saml:Assertion></samlp:Response>"##
    )
}

/// What holds of everybody who comes in.
fn believable(verified: &VerifiedResponse) {
    assert_eq!((&*verified.issuer, &*verified.assertion_id), (ENTITY_ID, "_a"));
    assert!(!verified.name_id.value.trim().is_empty() && !verified.name_id.value.contains(char::is_control));
    assert!(verified.replay_until > NOW);
    for attribute in &verified.attributes {
        assert!(!attribute.name.contains(char::is_control) && !attribute.values.is_empty());
        assert!(!attribute.values.iter().any(|value| value.contains(char::is_control)));
    }
}

/// What holds of everything an operator reads.
fn presentable(refusal: &LoginRefusal) {
    let text = refusal.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(refusal.expected.chars().count() <= 201 && refusal.got.chars().count() <= 201, "{text}");
    assert!(!refusal.remedy.is_empty());
}

//! What the fuzzers of metadata and of logout messages hold to be true of whatever comes. The same functions replay the
//! corpora on the stable compiler (`sso/tests/saml/fuzzed_inputs.rs`).

use std::io::Write as _;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use openssl::base64::encode_block;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::X509;
use portcullis_policy::Timestamp;
use portcullis_sso::{
    Class, IdpKey, IdpMetadata, LoginRefusal, LogoutExpectations, MetadataRules, PostMessage,
    RedirectMessage, SamlEndpoint, SamlParameter, SignedMessage, read_logout_request, read_logout_response,
};

const ENTITY_ID: &str = "https://idp.example.test/saml/metadata";
const REQUEST: &str = "_5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d";
/// Noon of 15 June 2026, as the cases of `tests/vectors/saml` have it.
const NOW: Timestamp = Timestamp(1_781_524_800_000);

static KEY: LazyLock<PKey<Private>> = LazyLock::new(|| {
    PKey::private_key_from_pem(include_bytes!("../../vectors/saml/keys/idp-rsa2048.key.pem")).expect("a key")
});
static IDP_KEYS: LazyLock<[IdpKey; 1]> =
    LazyLock::new(|| [read_key(include_bytes!("../../vectors/saml/keys/idp-rsa2048.cert.pem"))]);
/// A key that signed none of the inputs.
static OTHER_KEYS: LazyLock<[IdpKey; 1]> =
    LazyLock::new(|| [read_key(include_bytes!("../../vectors/saml/keys/sp-foreign.cert.pem"))]);

fn read_key(pem: &[u8]) -> IdpKey {
    let certificate =
        X509::from_pem(pem).and_then(|certificate| certificate.to_der()).expect("a certificate");
    IdpKey::from_certificate(&certificate).expect("a key")
}

/// A metadata document. True where it is read. With a pinned certificate that signed none of the inputs nothing is.
pub fn metadata(data: &[u8]) -> bool {
    let rules = MetadataRules { entity_id: None, pinned: &[], allow_loopback: false, now: NOW };
    let outcome = IdpMetadata::read_document(data, &rules);
    match &outcome {
        Ok(idp) => usable(idp, data),
        Err(refusal) => {
            assert_eq!(refusal.class, Class::SamlMetadata, "{refusal}");
            presentable(refusal);
        }
    }
    let pinned = MetadataRules { pinned: &*OTHER_KEYS, ..rules };
    presentable(&IdpMetadata::read_document(data, &pinned).expect_err("a document that nobody signed"));
    outcome.is_ok()
}

/// What holds of every identity provider that is read.
fn usable(idp: &IdpMetadata, data: &[u8]) {
    assert!(!idp.entity_id.is_empty() && !idp.sso.is_empty() && !idp.signing.is_empty());
    assert!(idp.valid_until.is_none_or(|until| until > NOW));
    let addresses = idp
        .sso
        .iter()
        .chain(&idp.slo)
        .flat_map(|endpoint: &SamlEndpoint| [endpoint.location.as_str(), endpoint.response_location()]);
    for address in addresses {
        assert!(address.to_ascii_lowercase().starts_with("https:") && !address.contains(char::is_whitespace));
    }
    // Named as what is wanted it is the same one.
    let named =
        MetadataRules { entity_id: Some(&idp.entity_id), pinned: &[], allow_loopback: false, now: NOW };
    if let Ok(again) = IdpMetadata::read_document(data, &named) {
        assert_eq!(&again, idp);
    }
}

/// The query of the logout address. Nobody here has the key, so it says nothing.
pub fn query(data: &[u8]) {
    let Ok(query) = std::str::from_utf8(data) else { return };
    let outcome = RedirectMessage::read_query(query).and_then(|message| message.verify(&*OTHER_KEYS));
    presentable(&outcome.expect_err("a query that nobody signed"));
}

/// A logout message that the identity provider did sign, by its query; the same text posted without a signature. True
/// where it counts.
pub fn logout(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let parameter =
        if text.contains("LogoutResponse") { SamlParameter::Response } else { SamlParameter::Request };
    let posted = PostMessage::read_field(parameter, encode_block(data).as_bytes())
        .and_then(|message| message.verify(&*OTHER_KEYS));
    presentable(&posted.expect_err("a message that nobody signed"));
    let query = sign_query(parameter, data);
    let message = match RedirectMessage::read_query(&query) {
        Ok(message) => message.verify(&*IDP_KEYS).expect("what was signed"),
        Err(refusal) => {
            presentable(&refusal);
            return false;
        }
    };
    judge(&message)
}

fn judge(message: &SignedMessage) -> bool {
    let expected = LogoutExpectations {
        idp_entity_id: ENTITY_ID,
        slo_url: "https://app.example.test/.portcullis/saml/idp/slo",
        decryption_keys: &[],
        skew_ms: 180_000,
        now: NOW,
    };
    let request = read_logout_request(message, &expected);
    let response = read_logout_response(message, Some(REQUEST), &expected);
    assert!(request.is_err() || response.is_err(), "one message is not both");
    for refusal in [request.as_ref().err(), response.as_ref().err()].into_iter().flatten() {
        presentable(refusal);
    }
    if let Ok(request) = &request {
        assert!(!request.id.is_empty() && request.issuer == ENTITY_ID && request.replay_until > NOW);
        assert!(
            !request.name_id.value.trim().is_empty() && !request.name_id.value.contains(char::is_control)
        );
        assert!(request.session_indexes.iter().all(|index| !index.trim().is_empty()));
    }
    if let Ok(response) = &response {
        assert_eq!(response.in_response_to, REQUEST);
    }
    request.is_ok() || response.is_ok()
}

/// Writes the query of a message and signs it.
fn sign_query(parameter: SamlParameter, data: &[u8]) -> String {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder.write_all(data).and_then(|()| encoder.finish()).expect("a write to memory");
    let mut query = format!(
        "{}={}&SigAlg=http%3A%2F%2Fwww.w3.org%2F2001%2F04%2Fxmldsig-more%23rsa-sha256",
        parameter.name(),
        encode(&compressed)
    );
    let mut signer = Signer::new(MessageDigest::sha256(), &KEY).expect("a signer");
    let signature = signer.sign_oneshot_to_vec(query.as_bytes()).expect("a signature");
    query.push_str("&Signature=");
    query.push_str(&encode(&signature));
    query
}

fn encode(bytes: &[u8]) -> String {
    let letters = encode_block(bytes);
    letters.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D").replace('\n', "")
}

/// What holds of everything an operator reads.
fn presentable(refusal: &LoginRefusal) {
    let text = refusal.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(refusal.expected.chars().count() <= 201 && refusal.got.chars().count() <= 201, "{text}");
    assert!(!refusal.remedy.is_empty());
}

//! The messages that we send: whoever reads them as a standard reader does finds what was meant, signed by us.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_keys::{Random, Secret};
use portcullis_policy::Timestamp;
use portcullis_sso::{
    AuthnRequest, Class, IdpKey, LoginRefusal, LogoutExpectations, LogoutOutcome, NameId, OutboundMessage,
    OwnLogoutRequest, OwnLogoutResponse, PostMessage, RedirectMessage, SamlParameter, SignedMessage,
    SpDescription, SpKey, SpKeyError, SpSigner, draw_message_id, read_logout_request, read_logout_response,
    write_sp_metadata,
};

use crate::vectors::{ACS, IDP, NOW, SLO, SP, idp_key, read_pem, signer};

const SSO: &str = "https://idp.example.test/sso";
const RSA: &str = "sp-current";
/// Not of ours in the corpus, but of the kind that ours may be.
const EC: &str = "idp-p256";

fn public_key(name: &str) -> IdpKey {
    idp_key(&format!("keys/{name}.cert.pem"))
}

fn request(destination: &str) -> OutboundMessage {
    let contexts = ["urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport".to_owned()];
    AuthnRequest {
        id: "_0123456789abcdef0123456789abcdef",
        destination,
        issuer: SP,
        acs_url: ACS,
        force_authn: true,
        name_id_policy: Some("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"),
        requested_authn_context: &contexts,
        issue_instant: NOW,
    }
    .write_message()
}

fn verify_url(url: &str, key: &IdpKey) -> Result<SignedMessage, LoginRefusal> {
    let query = url.split_once('?').unwrap().1;
    RedirectMessage::read_query(query)?.verify(std::slice::from_ref(key))
}

fn verify_form(
    message: &OutboundMessage,
    signer: &SpSigner,
    key: &IdpKey,
) -> Result<SignedMessage, LoginRefusal> {
    let form = message.to_post_form(None, signer);
    let (name, field) = &form.fields[0];
    let parameter = if *name == "SAMLRequest" { SamlParameter::Request } else { SamlParameter::Response };
    PostMessage::read_field(parameter, field.as_bytes())?.verify(std::slice::from_ref(key))
}

fn inflate(url: &str) -> String {
    let value = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("SAMLRequest=")).unwrap();
    let value = value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    let mut text = String::new();
    let bytes = STANDARD.decode(value).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::DeflateDecoder::new(&*bytes), &mut text).unwrap();
    text
}

#[test]
fn an_authn_request_says_what_was_meant() {
    let url = request(SSO).to_redirect_url(Some("flow"), &signer(RSA));
    assert_eq!(
        inflate(&url),
        "<samlp:AuthnRequest xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" \
         AssertionConsumerServiceURL=\"https://app.example.test/.portcullis/saml/idp/acs\" \
         Destination=\"https://idp.example.test/sso\" ForceAuthn=\"true\" ID=\"_0123456789abcdef0123456789abcdef\" \
         IssueInstant=\"2026-05-28T20:26:40Z\" ProtocolBinding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST\" \
         Version=\"2.0\"><saml:Issuer xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
         https://app.example.test/.portcullis/saml/idp/metadata</saml:Issuer><samlp:NameIDPolicy AllowCreate=\"true\" \
         Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\"></samlp:NameIDPolicy>\
         <samlp:RequestedAuthnContext Comparison=\"exact\"><saml:AuthnContextClassRef \
         xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
         urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef>\
         </samlp:RequestedAuthnContext></samlp:AuthnRequest>"
    );
    let bare = AuthnRequest {
        id: "_1",
        destination: SSO,
        issuer: SP,
        acs_url: ACS,
        force_authn: false,
        name_id_policy: Some("urn:oasis:names:tc:SAML:2.0:nameid-format:transient"),
        requested_authn_context: &[],
        issue_instant: NOW,
    };
    let text = inflate(&bare.write_message().to_redirect_url(None, &signer(RSA)));
    assert!(!text.contains("ForceAuthn") && !text.contains("RequestedAuthnContext"), "{text}");
    assert!(!text.contains("AllowCreate"), "a name for one session is not created");
    let text = inflate(
        &AuthnRequest { name_id_policy: None, ..bare }.write_message().to_redirect_url(None, &signer(RSA)),
    );
    assert!(!text.contains("NameIDPolicy"));
}

#[test]
fn a_redirect_is_signed_over_its_own_octets_behind_what_the_address_has() {
    for name in [RSA, EC] {
        let signer = signer(name);
        for (address, front) in [
            (SSO, "https://idp.example.test/sso?SAMLRequest="),
            ("https://idp.example.test/sso?idpid=C01", "https://idp.example.test/sso?idpid=C01&SAMLRequest="),
            (
                "https://idp.example.test/sso?a=%20&b=+&",
                "https://idp.example.test/sso?a=%20&b=+&SAMLRequest=",
            ),
            ("https://idp.example.test/sso?", "https://idp.example.test/sso?SAMLRequest="),
        ] {
            let url = request(address).to_redirect_url(Some("a b&c=\u{fc}/+"), &signer);
            assert!(url.starts_with(front), "{url}");
            assert!(url.contains("&RelayState=a%20b%26c%3D%C3%BC%2F%2B&SigAlg=http%3A%2F%2F"), "{url}");
            let message = verify_url(&url, &public_key(name)).unwrap();
            assert_eq!(message.relay_state(), Some("a b&c=\u{fc}/+"));
            let other = verify_url(&url, &public_key("sp-next")).unwrap_err();
            assert_eq!(other.class, Class::SamlSignatureInvalid);
            let changed = url.replace("RelayState=a%20b", "RelayState=a%20c");
            assert_eq!(
                verify_url(&changed, &public_key(name)).unwrap_err().class,
                Class::SamlSignatureInvalid
            );
        }
        assert!(!request(SSO).to_redirect_url(None, &signer).contains("RelayState"));
    }
}

#[test]
fn a_form_holds_the_message_with_its_signature() {
    for name in [RSA, EC] {
        let message = request("https://idp.example.test/sso?idpid=C01&x=\"");
        let form = message.to_post_form(Some("flow\""), &signer(name));
        assert_eq!(form.action, "https://idp.example.test/sso?idpid=C01&x=\"");
        assert_eq!(form.fields[1], ("RelayState", "flow\"".to_owned()));
        let text = String::from_utf8(STANDARD.decode(&form.fields[0].1).unwrap()).unwrap();
        assert!(text.contains("</saml:Issuer><ds:Signature xmlns:ds="), "the order of the schema: {text}");
        verify_form(&message, &signer(name), &public_key(name)).unwrap();
        let other = verify_form(&message, &signer(name), &public_key("sp-next")).unwrap_err();
        assert_eq!(other.class, Class::SamlSignatureInvalid);
        let changed = STANDARD.encode(text.replace("ForceAuthn=\"true\"", "ForceAuthn=\"false\""));
        let changed = PostMessage::read_field(SamlParameter::Request, changed.as_bytes()).unwrap();
        assert_eq!(changed.verify(&[public_key(name)]).unwrap_err().class, Class::SamlSignatureInvalid);
    }
}

fn name_id() -> NameId {
    NameId {
        value: "mira & <co>".to_owned(),
        format: Some("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent".to_owned()),
        name_qualifier: Some(IDP.to_owned()),
        sp_name_qualifier: None,
    }
}

fn expectations(now: Timestamp) -> LogoutExpectations<'static> {
    LogoutExpectations { idp_entity_id: SP, slo_url: SLO, decryption_keys: &[], skew_ms: 180_000, now }
}

/// Our own messages, read as if the identity provider had sent them: they are built alike.
#[test]
fn a_logout_that_we_write_is_one_that_we_read() {
    let sessions = ["s1".to_owned(), "s<2>".to_owned()];
    let name_id = name_id();
    let request = OwnLogoutRequest {
        id: "_1",
        destination: SLO,
        issuer: SP,
        issue_instant: NOW,
        not_on_or_after: NOW.plus_ms(300_000),
        name_id: &name_id,
        session_indexes: &sessions,
    };
    let response = |outcome| OwnLogoutResponse {
        id: "_2",
        destination: SLO,
        issuer: SP,
        issue_instant: NOW,
        in_response_to: "_1",
        outcome,
    };
    let both = |message: OutboundMessage| {
        [
            verify_form(&message, &signer(RSA), &public_key(RSA)).unwrap(),
            verify_url(&message.to_redirect_url(None, &signer(EC)), &public_key(EC)).unwrap(),
        ]
    };
    for message in both(request.write_message()) {
        let read = read_logout_request(&message, &expectations(NOW)).unwrap();
        assert_eq!(
            (read.id.as_str(), &read.name_id, &*read.session_indexes),
            ("_1", &name_id, &sessions[..])
        );
        assert_eq!(read.replay_until, NOW.plus_ms(480_000));
        let class = |now| read_logout_request(&message, &expectations(now)).map_err(|refusal| refusal.class);
        assert!(class(NOW.plus_ms(479_000)).is_ok() && class(NOW.plus_ms(-180_000)).is_ok());
        assert_eq!(class(NOW.plus_ms(480_000)), Err(Class::SamlExpired));
        assert_eq!(class(NOW.plus_ms(-181_000)), Err(Class::SamlNotYetValid));
        let as_response = read_logout_response(&message, Some("_1"), &expectations(NOW));
        assert_eq!(as_response.unwrap_err().class, Class::SamlStructure);
    }
    for message in both(response(LogoutOutcome::Success).write_message()) {
        let read = |pending| read_logout_response(&message, pending, &expectations(NOW));
        assert!(read(Some("_1")).is_ok_and(|read| read.in_response_to == "_1" && !read.is_partial));
        assert_eq!(read(Some("_3")).unwrap_err().class, Class::SamlInResponseTo);
        assert_eq!(read(None).unwrap_err().class, Class::SamlInResponseTo);
        assert_eq!(
            read_logout_request(&message, &expectations(NOW)).unwrap_err().class,
            Class::SamlStructure
        );
    }
    for message in both(response(LogoutOutcome::Failed).write_message()) {
        let refusal = read_logout_response(&message, Some("_1"), &expectations(NOW)).unwrap_err();
        assert_eq!((refusal.class, &*refusal.got), (Class::SamlStatus, "Responder"));
    }
}

#[test]
fn our_metadata_is_in_the_order_of_its_schema() {
    let (current, next) = (signer(RSA), signer("sp-next"));
    let certificates = [current.certificate().clone(), next.certificate().clone()];
    let text = write_sp_metadata(&SpDescription {
        entity_id: "https://app.test/?a=1&b=\"<2>",
        acs_url: ACS,
        slo_url: Some(SLO),
        signing: &certificates,
        encryption: &certificates[..1],
        name_id_formats: &["urn:oasis:names:tc:SAML:2.0:nameid-format:persistent".to_owned()],
    });
    assert!(text.contains("entityID=\"https://app.test/?a=1&amp;b=&quot;&lt;2>\""), "{text}");
    let names: Vec<_> =
        text.split("<md:").skip(1).map(|rest| rest.split([' ', '>']).next().unwrap()).collect();
    let methods = ["EncryptionMethod"; 4];
    let expected: Vec<_> =
        ["EntityDescriptor", "SPSSODescriptor", "KeyDescriptor", "KeyDescriptor", "KeyDescriptor"]
            .into_iter()
            .chain(methods)
            .chain(["SingleLogoutService", "SingleLogoutService", "NameIDFormat", "AssertionConsumerService"])
            .collect();
    assert_eq!(names, expected);
    assert!(text.contains("AuthnRequestsSigned=\"true\" WantAssertionsSigned=\"true\""));
    assert_eq!(text.matches(&*STANDARD.encode(certificates[0].der())).count(), 2);
    assert_eq!(text.matches(&*STANDARD.encode(certificates[1].der())).count(), 1);
    let without = write_sp_metadata(&SpDescription {
        entity_id: SP,
        acs_url: ACS,
        slo_url: None,
        signing: &certificates,
        encryption: &[],
        name_id_formats: &[],
    });
    assert!(!without.contains("SingleLogoutService") && !without.contains("encryption"));
}

#[test]
fn a_pair_that_is_made_is_one_that_signs() {
    let made = SpKey::generate("app.example.test", NOW, &mut Random::from_seed(1)).unwrap();
    let signer = SpSigner::read_pem(&made.pkcs8_pem, &made.certificate_pem).unwrap();
    let key = IdpKey::from_certificate(signer.certificate().der()).unwrap();
    assert_eq!(key.not_after(), Timestamp((NOW.seconds() + 3650 * 86_400) * 1000));
    verify_form(&request(SSO), &signer, &key).unwrap();
    verify_url(&request(SSO).to_redirect_url(None, &signer), &key).unwrap();
    assert!(!format!("{made:?}{signer:?}").contains("PRIVATE"));

    let other = read_pem("keys/sp-current.cert.pem");
    let error = |key: &Secret, certificate: &str| SpSigner::read_pem(key, certificate).unwrap_err();
    assert_eq!(error(&made.pkcs8_pem, &other), SpKeyError::OtherKey);
    assert_eq!(error(&made.pkcs8_pem, "x"), SpKeyError::Certificate);
    assert_eq!(error(&made.pkcs8_pem, &format!("{0}{0}", made.certificate_pem)), SpKeyError::Certificate);
    assert!(matches!(error(&Secret::new("x"), &made.certificate_pem), SpKeyError::Key(_)));
    let long = SpKey::generate(&"\u{fc}".repeat(100), NOW, &mut Random::from_seed(1)).unwrap();
    assert!(SpSigner::read_pem(&long.pkcs8_pem, &long.certificate_pem).is_ok());
}

#[test]
fn ids_are_names_of_128_bits() {
    let mut random = Random::from_seed(1);
    let (first, second) = (draw_message_id(&mut random), draw_message_id(&mut random));
    assert!(first.len() == 33 && first.starts_with('_') && first != second);
    assert!(first[1..].bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
}

/// A verified message once more, with another query around it.
fn read_pairs(query: &str) -> HashMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever a name or a RelayState holds, it arrives as it is, and nothing beside it.
    #[test]
    fn values_cannot_become_structure(value in "[\\PC\"'<>&;=%+#]{1,40}", relay_state in "[\\PC\"'<>&;=%+# ]{0,40}") {
        // The ends of lines and paragraphs of Unicode are no part of a name.
        let value = value.replace(['\u{2028}', '\u{2029}'], "");
        let name_id = NameId { value: format!("x{value}"), ..name_id() };
        let message = OwnLogoutRequest {
            id: "_1",
            destination: SLO,
            issuer: SP,
            issue_instant: NOW,
            not_on_or_after: NOW.plus_ms(300_000),
            name_id: &name_id,
            session_indexes: &[format!("x{value}")],
        }
        .write_message();
        let url = message.to_redirect_url(Some(&relay_state), &signer(EC));
        let pairs = read_pairs(url.split_once('?').unwrap().1);
        proptest::prop_assert_eq!(pairs.len(), 4);
        proptest::prop_assert_eq!(&pairs["RelayState"], &relay_state);
        let read = verify_url(&url, &public_key(EC)).and_then(|message| read_logout_request(&message, &expectations(NOW)));
        let form = verify_form(&message, &signer(EC), &public_key(EC))
            .and_then(|message| read_logout_request(&message, &expectations(NOW)));
        for read in [read, form] {
            let read = read.unwrap();
            proptest::prop_assert_eq!(&read.name_id, &name_id);
            proptest::prop_assert_eq!(&read.session_indexes, &[format!("x{value}")]);
        }
    }

    /// Whatever one changes in a query that was signed, it is refused or means the same.
    #[test]
    fn no_change_of_a_query_is_taken(at in 0_usize..2000, cut in 0_usize..4, put in "[A-Za-z0-9%+&=_-]{0,6}") {
        let url = request(SSO).to_redirect_url(Some("flow"), &signer(EC));
        let query = url.split_once('?').unwrap().1;
        let at = at % query.len();
        let mut changed = query.to_owned();
        changed.replace_range(at..(at + cut).min(query.len()), &put);
        let outcome = RedirectMessage::read_query(&changed).and_then(|message| message.verify(&[public_key(EC)]));
        if let Ok(message) = outcome {
            let (before, after) = (read_pairs(query), read_pairs(&changed));
            for name in ["SAMLRequest", "RelayState", "SigAlg"] {
                proptest::prop_assert_eq!(before.get(name), after.get(name));
            }
            proptest::prop_assert_eq!(message.relay_state(), Some("flow"));
        }
    }
}

//! Metadata of identity providers: what is read of it, and which sentence an operator reads where it is not.

use portcullis_policy::Timestamp;
use portcullis_sso::{Class, IdpMetadata, LoginRefusal, MetadataRules, SamlBinding, SamlEndpoint};

use crate::vectors::{IDP, NOW, certificate_text, folder, idp_key};

const OPEN: &str =
    "xmlns:md='urn:oasis:names:tc:SAML:2.0:metadata' xmlns:ds='http://www.w3.org/2000/09/xmldsig#'";
const REDIRECT: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
const POST: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";

const RULES: MetadataRules<'_> =
    MetadataRules { entity_id: None, pinned: &[], allow_loopback: false, now: NOW };

fn key(usage: &str, certificate: &str) -> String {
    format!(
        "<md:KeyDescriptor{usage}><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate>\
         </ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
    )
}

fn signing(name: &str) -> String {
    key(" use='signing'", &certificate_text(&format!("keys/{name}.cert.pem")))
}

fn service(kind: &str, binding: &str, location: &str) -> String {
    format!("<md:{kind} Binding='{binding}' Location='{location}'/>")
}

fn sso() -> String {
    service("SingleSignOnService", REDIRECT, "https://idp.example.test/sso?idpid=1&amp;x=2")
}

fn entity(id: &str, attributes: &str, role: &str) -> String {
    format!(
        "<md:EntityDescriptor {OPEN} entityID='{id}' {attributes}><md:IDPSSODescriptor \
         protocolSupportEnumeration='urn:oasis:names:tc:SAML:1.1:protocol urn:oasis:names:tc:SAML:2.0:protocol'>{role}\
         </md:IDPSSODescriptor></md:EntityDescriptor>"
    )
}

fn usual() -> String {
    entity(IDP, "", &(signing("idp-rsa2048") + &sso()))
}

fn read(text: &str) -> Result<IdpMetadata, LoginRefusal> {
    IdpMetadata::read_document(text.as_bytes(), &RULES)
}

fn assert_refused(text: &str, word: &str) {
    let refusal = read(text).expect_err(word);
    assert_eq!(refusal.class, Class::SamlMetadata, "{refusal}");
    assert!(refusal.to_string().contains(word), "{word}: {refusal}");
}

#[test]
fn one_identity_provider_is_read() {
    let role = key("", &certificate_text("keys/idp-rsa2048.cert.pem"))
        + &signing("idp-p384")
        + &signing("idp-rsa2048")
        + &key(" use='encryption'", &certificate_text("keys/idp-rsa2048-encryption.cert.pem"))
        + "<md:SingleLogoutService Binding='urn:oasis:names:tc:SAML:2.0:bindings:SOAP' Location='https://idp.example.test/soap'/>"
        + &format!(
            "<md:SingleLogoutService Binding='{POST}' Location='https://idp.example.test/slo' \
             ResponseLocation='https://idp.example.test/slo/done'/>"
        )
        + "<md:NameIDFormat> urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\n</md:NameIDFormat>"
        + &sso()
        + &service("SingleSignOnService", POST, "https://idp.example.test/sso/post");
    let text = format!(
        "\u{feff}<?xml version='1.0' encoding='utf-8'?>\n<!-- by hand -->{}",
        entity(IDP, "validUntil='2030-01-01T00:00:00Z' cacheDuration='PT6H'", &role)
            .replace("<md:IDPSSODescriptor", "<md:IDPSSODescriptor WantAuthnRequestsSigned='true'")
    );
    let idp = read(&text).unwrap();
    assert_eq!(idp.entity_id, IDP);
    assert_eq!(idp.signing, [idp_key("keys/idp-rsa2048.cert.pem"), idp_key("keys/idp-p384.cert.pem")]);
    assert_eq!(idp.sso.len(), 2);
    assert_eq!(idp.sso[0].location, "https://idp.example.test/sso?idpid=1&x=2");
    let post = SamlEndpoint::find_binding(&idp.sso, SamlBinding::Post).unwrap();
    assert_eq!(post.location, "https://idp.example.test/sso/post");
    assert_eq!(idp.slo.len(), 1, "SOAP is not spoken");
    assert_eq!(idp.slo[0].response_location(), "https://idp.example.test/slo/done");
    assert!(idp.want_authn_requests_signed);
    assert_eq!(idp.name_id_formats, ["urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"]);
    assert_eq!(idp.valid_until, Some(Timestamp(1_893_456_000_000)));
    assert_eq!(idp.cache_ms, Some(6 * 60 * 60 * 1000));
    assert_eq!(idp.warnings, Vec::<String>::new());
}

#[test]
fn ours_is_found_among_several() {
    let other = entity("https://other.test", "", &(signing("other-idp-rsa2048") + &sso()));
    let application = format!(
        "<md:EntityDescriptor {OPEN} entityID='https://sp.test'><md:SPSSODescriptor/></md:EntityDescriptor>"
    );
    let nest = |inner: &str| {
        format!(
            "<md:EntitiesDescriptor {OPEN} validUntil='2029-01-01T00:00:00Z' cacheDuration='P1D'>{inner}</md:EntitiesDescriptor>"
        )
    };
    let several = nest(&format!("<md:Extensions/>{application}{}{}", nest(&other), usual()));
    let found =
        |entity_id| IdpMetadata::read_document(several.as_bytes(), &MetadataRules { entity_id, ..RULES });

    let ours = found(Some(IDP)).unwrap();
    assert_eq!((ours.entity_id.as_str(), &*ours.signing), (IDP, &[idp_key("keys/idp-rsa2048.cert.pem")][..]));
    assert_eq!(ours.valid_until, Some(Timestamp(1_861_920_000_000)), "of what is around it");
    assert_eq!(ours.cache_ms, Some(24 * 60 * 60 * 1000));
    assert_eq!(
        found(Some("https://other.test")).unwrap().signing,
        [idp_key("keys/other-idp-rsa2048.cert.pem")]
    );
    let refusal = found(None).unwrap_err().to_string();
    assert!(
        refusal.contains("2 of them: https://other.test, https://idp.example.test/saml/metadata"),
        "{refusal}"
    );
    let refusal = found(Some("https://idp.example.test/saml/metadata/")).unwrap_err().to_string();
    assert!(refusal.contains("got https://sp.test, https://other.test, https://idp"), "{refusal}");
    assert!(found(Some("https://sp.test")).is_err_and(|refusal| refusal.got.contains("SPSSODescriptor")));

    assert_eq!(
        read(&nest(&(usual() + &application))).unwrap().entity_id,
        IDP,
        "the only one that is an identity provider"
    );
    assert_refused(&nest(""), "no entity at all");
    let twice = nest(&(usual() + &usual()));
    let outcome =
        IdpMetadata::read_document(twice.as_bytes(), &MetadataRules { entity_id: Some(IDP), ..RULES });
    assert!(outcome.unwrap_err().got.contains("more than once"));
    let hidden = format!(
        "<md:EntitiesDescriptor {OPEN}><md:Extensions>{}</md:Extensions></md:EntitiesDescriptor>",
        usual()
    );
    assert_refused(&hidden, "no entity at all");
}

#[test]
fn what_is_no_metadata_is_named_in_plain_words() {
    for (text, word) in [
        ("", "an empty document"),
        (" \r\n", "an empty document"),
        ("\u{feff}", "an empty document"),
        ("<!DOCTYPE html><html><body>Sign in<br></body></html>", "an HTML page"),
        ("<html><head></head></html>", "an HTML page"),
        ("\n<!-- x -->\n<HTML><BODY><P>Sign in</HTML>", "an HTML page"),
        ("{\"issuer\": \"https://op.test\"}", "not XML"),
        ("-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----", "not XML"),
        ("<md:EntityDescriptor", "not XML"),
        ("<!DOCTYPE a><a/>", "DOCTYPE"),
        ("<a/>", "a of no namespace"),
        ("<EntityDescriptor entityID='x'/>", "EntityDescriptor of no namespace"),
        (
            "<samlp:Response xmlns:samlp='urn:oasis:names:tc:SAML:2.0:protocol'/>",
            "Response of urn:oasis:names:tc:SAML:2.0:protocol",
        ),
    ] {
        assert_refused(text, word);
    }
    let wrong = |bytes: &[u8]| IdpMetadata::read_document(bytes, &RULES).unwrap_err().got;
    assert_eq!(wrong(b"\xff\xfe<\0a\0"), "UTF-16");
    assert_eq!(wrong(b"PK\x03\x04\xff"), "bytes that are no UTF-8");
    assert!(wrong(&vec![b' '; 10 * 1024 * 1024 + 1]).contains("bytes"));
}

#[test]
fn what_an_identity_provider_lacks_is_named() {
    let good = usual();
    assert!(read(&good).is_ok());
    let without_protocol = good.replace(" urn:oasis:names:tc:SAML:2.0:protocol", "");
    for (text, word) in [
        (good.replace("IDPSSODescriptor", "SPSSODescriptor"), "with SPSSODescriptor"),
        (without_protocol, "speaks SAML 2.0"),
        (good.replace(&format!("entityID='{IDP}'"), ""), "no entityID"),
        (entity(IDP, "", &sso()), "a signing key"),
        (
            entity(
                IDP,
                "",
                &(key(" use='encryption'", &certificate_text("keys/idp-rsa2048.cert.pem")) + &sso()),
            ),
            "a signing key",
        ),
        (
            entity(IDP, "", &(key(" use='sign'", &certificate_text("keys/idp-rsa2048.cert.pem")) + &sso())),
            "a signing key",
        ),
        (entity(IDP, "", &(signing("idp-rsa1024") + &sso())), "an RSA key of 1024 bits"),
        (entity(IDP, "", &(key("", "AAAA") + &sso())), "a signing key"),
        (entity(IDP, "", &(key("", "*") + &sso())), "no base64"),
        (entity(IDP, "", &signing("idp-rsa2048")), "no SingleSignOnService"),
        (
            entity(
                IDP,
                "",
                &(signing("idp-rsa2048") + &service("SingleSignOnService", REDIRECT, "http://idp.test/")),
            ),
            "is not https",
        ),
        (
            entity(
                IDP,
                "",
                &(signing("idp-rsa2048") + &service("SingleSignOnService", "urn:x", "https://idp.test/")),
            ),
            "urn:x",
        ),
        (
            entity(IDP, "validUntil='2026-01-01T00:00:00Z'", &(signing("idp-rsa2048") + &sso())),
            "validUntil is over",
        ),
        (
            good.replace("<md:IDPSSODescriptor", "<md:IDPSSODescriptor validUntil='2026-01-01T00:00:00Z'"),
            "is over",
        ),
        (entity(IDP, "validUntil='tomorrow'", &(signing("idp-rsa2048") + &sso())), "tomorrow"),
        (entity(IDP, "cacheDuration='1h'", &(signing("idp-rsa2048") + &sso())), "1h"),
    ] {
        assert_refused(&text, if word == "no entityID" { "an entityID" } else { word });
    }
    let role = &good[good.find("<md:IDP").unwrap()..good.find("</md:Entity").unwrap()];
    assert_refused(&good.replace(role, &role.repeat(2)), "one IDPSSODescriptor");
}

#[test]
fn a_key_that_cannot_be_used_is_left_out_with_a_warning() {
    let two = format!(
        "{}</ds:X509Certificate><ds:X509Certificate>{}",
        certificate_text("keys/idp-p256.cert.pem"),
        certificate_text("keys/federation-rsa2048.cert.pem")
    );
    let role = signing("idp-rsa1024") + &key("", &two) + &signing("idp-rsa2048") + &key("", "") + &sso();
    let role = role + &service("SingleLogoutService", POST, "http://idp.test/slo");
    let idp = read(&entity(IDP, "", &role)).unwrap();
    assert_eq!(idp.signing, [idp_key("keys/idp-p256.cert.pem"), idp_key("keys/idp-rsa2048.cert.pem")]);
    assert_eq!(idp.warnings.len(), 4, "{:?}", idp.warnings);
    assert!(idp.warnings[0].contains("is not https"));
    assert!(idp.warnings[1].contains("several certificates"));
    assert!(idp.warnings[2].contains("1024 bits"));
    assert!(idp.warnings[3].contains("other bytes"));
}

#[test]
fn a_certificate_past_its_end_is_taken_and_warned_of() {
    let idp = read(&entity(IDP, "", &(signing("idp-rsa2048-expired") + &sso()))).unwrap();
    assert_eq!(idp.signing.len(), 1);
    assert!(idp.warnings[0].contains("is over since"), "{:?}", idp.warnings);
}

#[test]
fn addresses_of_this_machine_are_taken_where_they_are_allowed() {
    let text = usual().replace("https://idp.example.test/sso", "http://localhost:9703/sso");
    assert_refused(&text, "is not https");
    let rules = MetadataRules { allow_loopback: true, ..RULES };
    let idp = IdpMetadata::read_document(text.as_bytes(), &rules).unwrap();
    assert_eq!(idp.sso[0].location, "http://localhost:9703/sso?idpid=1&x=2");
}

/// A comment is not in what a signature digests, so it could come and go.
#[test]
fn metadata_that_a_pinned_key_signed_holds_no_comment() {
    let text = std::fs::read_to_string(folder().join("metadata/signed-pinned.xml")).unwrap();
    let pinned = [idp_key("keys/federation-rsa2048.cert.pem")];
    let rules = MetadataRules { pinned: &pinned, now: Timestamp(1_781_524_800_000), ..RULES };
    let read = |text: &str, rules| IdpMetadata::read_document(text.as_bytes(), rules);
    assert_eq!(read(&text, &rules).unwrap().entity_id, IDP);
    let place = text.find("<md:IDPSSODescriptor").unwrap();
    let changed = format!("{}<!-- x -->{}", &text[..place], &text[place..]);
    assert!(read(&changed, &rules).unwrap_err().to_string().contains("comment"));
    assert!(read(&changed, &MetadataRules { pinned: &[], ..rules }).is_ok());
}

proptest::proptest! {
    /// Whatever is changed in a document, what is read has a key and an address of https, or is refused.
    #[test]
    fn no_change_makes_metadata_that_cannot_be_used(at in 0_usize..3000, cut in 0_usize..40, put in "[<>/='\" a-zA-Z0-9:&;]{0,8}") {
        let mut text = usual();
        let at = at % text.len();
        text.replace_range(at..(at + cut).min(text.len()), &put);
        match read(&text) {
            Ok(idp) => {
                proptest::prop_assert!(!idp.signing.is_empty() && !idp.sso.is_empty() && !idp.entity_id.is_empty());
                let is_https = |endpoint: &SamlEndpoint| endpoint.location.to_ascii_lowercase().starts_with("https:");
                proptest::prop_assert!(idp.sso.iter().all(is_https));
            }
            Err(refusal) => proptest::prop_assert!(!refusal.to_string().contains(char::is_control)),
        }
    }
}

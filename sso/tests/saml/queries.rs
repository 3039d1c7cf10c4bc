//! The query of the logout address: whatever two readers could read in two ways is refused, though it is rightly signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use portcullis_sso::{Class, LogoutOutcome, OwnLogoutResponse, RedirectMessage};

use crate::vectors::{NOW, SLO, SP, idp_key, signer};

fn signed_query() -> String {
    let response = OwnLogoutResponse {
        id: "_2",
        destination: SLO,
        issuer: SP,
        issue_instant: NOW,
        in_response_to: "_1",
        outcome: LogoutOutcome::Success,
    };
    let url = response.write_message().to_redirect_url(Some("state"), &signer("idp-p256"));
    url.split_once('?').unwrap().1.to_owned()
}

fn outcome(query: &str) -> Result<(), Class> {
    let keys = [idp_key("keys/idp-p256.cert.pem")];
    let outcome = RedirectMessage::read_query(query).and_then(|message| message.verify(&keys));
    outcome.map(|_| ()).map_err(|refusal| refusal.class)
}

#[test]
fn a_parameter_stands_once_and_under_its_plain_name() {
    let query = signed_query();
    assert_eq!(outcome(&query), Ok(()));
    assert_eq!(outcome(&format!("{query}&lang=de&samlresponse=x")), Ok(()), "others' parameters say nothing");
    for more in [
        "SAMLResponse=x",
        "SAMLRequest=x",
        "RelayState=state",
        "Relay%53tate=other",
        "%53AMLResponse=x",
        "SAMLRespons%65",
        "Sig%41lg=x",
        "Signature=x",
        "SAMLEncoding=urn%3Ax",
    ] {
        assert_eq!(outcome(&format!("{query}&{more}")), Err(Class::SamlStructure), "{more}");
        assert_eq!(outcome(&format!("{more}&{query}")), Err(Class::SamlStructure), "{more}");
    }
    for (plain, encoded) in [
        ("RelayState=", "Relay%53tate="),
        ("&Signature=", "&S%69gnature="),
        ("SAMLResponse=", "%53AMLResponse="),
    ] {
        assert_eq!(outcome(&query.replace(plain, encoded)), Err(Class::SamlStructure), "{encoded}");
    }
    let deflate = "SAMLEncoding=urn%3Aoasis%3Anames%3Atc%3ASAML%3A2.0%3Abindings%3AURL-Encoding%3ADEFLATE";
    assert_eq!(outcome(&format!("{query}&{deflate}")), Ok(()));
}

#[test]
fn a_plus_sign_is_no_letter_of_base64() {
    // To one reader it is a blank, which base64 is read over, to the next it is a letter.
    assert_eq!(outcome(&format!("{}++++", signed_query())), Err(Class::SamlMalformed));
    assert_eq!(outcome(&format!("{}%2", signed_query())), Err(Class::SamlMalformed));
}

#[test]
fn what_is_inflated_is_bounded() {
    let query = |length: usize| {
        let text = format!("<a>{}</a>", " ".repeat(length - 7));
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
        let letters = STANDARD.encode(encoder.finish().unwrap());
        let letters = letters.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        signed_query()
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some(("SAMLResponse", _)) => format!("SAMLResponse={letters}"),
                _ => pair.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("&")
    };
    assert_eq!(outcome(&query(64 * 1024)), Err(Class::SamlSignatureInvalid), "it is read");
    assert_eq!(outcome(&query(64 * 1024 + 1)), Err(Class::SamlTooLarge));
    assert_eq!(outcome(&query(50_000_000)), Err(Class::SamlTooLarge));
    assert_eq!(outcome(&format!("{}&x={}", signed_query(), "y".repeat(64 * 1024))), Err(Class::SamlTooLarge));
}

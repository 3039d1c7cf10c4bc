//! Our messages before libraries that others wrote, and theirs before us: `tests/rigs/saml/peers.py`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis_policy::Timestamp;
use portcullis_sso::{
    AuthnRequest, IdpMetadata, LogoutExpectations, LogoutOutcome, MetadataRules, NameId, OutboundMessage,
    OwnLogoutRequest, OwnLogoutResponse, PostMessage, RedirectMessage, SamlBinding, SamlEndpoint,
    SamlParameter, SpDescription, read_logout_request, read_logout_response, write_sp_metadata,
};
use serde_json::{Value, json};

use crate::vectors::{ACS, IDP, SLO, SP, certificate_text, folder, read_pem, signer};

const IDP_SSO: &str = "https://idp.example.test/saml/sso";
const IDP_SLO: &str = "https://idp.example.test/saml/slo";
const FORMAT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
/// Without a blank: a library that encodes the query again writes it as a plus sign.
const RELAY_STATE: &str = "flow-1/+&=";

fn rigs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/rigs")
}

/// The interpreter with the libraries. Where they are not installed, one loud line says so.
fn find_python() -> Option<PathBuf> {
    let cache = rigs().join(".cache");
    if cache.join("saml.ready").exists() {
        return Some(cache.join("saml/bin/python"));
    }
    let test = "peers::libraries_of_others_take_our_messages_and_we_theirs";
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: saml is not installed (tests/rigs/install saml)");
    if let Some(list) = std::env::var_os("PORTCULLIS_SKIPPED") {
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        writeln!(list, "{test}: saml").unwrap();
    }
    None
}

fn name_id() -> NameId {
    NameId {
        value: "mira & <co>".to_owned(),
        format: Some(FORMAT.to_owned()),
        name_qualifier: Some(IDP.to_owned()),
        sp_name_qualifier: Some(SP.to_owned()),
    }
}

fn rows_of(kind: &str, said: &Value, message: &OutboundMessage) -> [Value; 2] {
    let signer = signer("sp-current");
    let url = message.to_redirect_url(Some(RELAY_STATE), &signer);
    let fields: serde_json::Map<_, _> = message
        .to_post_form(Some(RELAY_STATE), &signer)
        .fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    [("redirect", json!(url), Value::Null), ("post", Value::Null, fields.into())].map(
        |(binding, url, fields)| {
            let mut row = said.clone();
            row["name"] = format!("{kind} by {binding}").into();
            row["kind"] = kind.into();
            row["binding"] = binding.into();
            row["relay_state"] = RELAY_STATE.into();
            row["url"] = url;
            row["fields"] = fields;
            row
        },
    )
}

fn write_ours(now: Timestamp) -> (Value, String) {
    let contexts = ["urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport".to_owned()];
    let authn_request = AuthnRequest {
        id: "_a1",
        destination: IDP_SSO,
        issuer: SP,
        acs_url: ACS,
        force_authn: true,
        name_id_policy: Some(FORMAT),
        requested_authn_context: &contexts,
        issue_instant: now,
    };
    let name_id = name_id();
    let sessions = ["s1".to_owned(), "s<2>".to_owned()];
    let logout_request = OwnLogoutRequest {
        id: "_l1",
        destination: IDP_SLO,
        issuer: SP,
        issue_instant: now,
        not_on_or_after: now.plus_ms(300_000),
        name_id: &name_id,
        session_indexes: &sessions,
    };
    let logout_response = OwnLogoutResponse {
        id: "_l2",
        destination: IDP_SLO,
        issuer: SP,
        issue_instant: now,
        in_response_to: "_theirs",
        outcome: LogoutOutcome::Success,
    };
    let messages: Vec<Value> = [
        rows_of("AuthnRequest", &json!({ "id": "_a1" }), &authn_request.write_message()),
        rows_of(
            "LogoutRequest",
            &json!({ "id": "_l1", "name_id": name_id.value, "sessions": sessions }),
            &logout_request.write_message(),
        ),
        rows_of("LogoutResponse", &json!({ "in_response_to": "_theirs" }), &logout_response.write_message()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let (current, next) = (signer("sp-current"), signer("sp-next"));
    let certificates = [current.certificate().clone(), next.certificate().clone()];
    let metadata = write_sp_metadata(&SpDescription {
        entity_id: SP,
        acs_url: ACS,
        slo_url: Some(SLO),
        signing: &certificates,
        encryption: &certificates,
        name_id_formats: &[FORMAT.to_owned()],
    });
    let texts = ["keys/sp-current.cert.pem", "keys/sp-next.cert.pem"].map(certificate_text);
    let ours = json!({
        "idp": {
            "entity_id": IDP, "sso": IDP_SSO, "slo": IDP_SLO,
            "key_file": folder().join("keys/idp-rsa2048.key.pem"),
            "certificate_file": folder().join("keys/idp-rsa2048.cert.pem"),
        },
        "sp": {
            "entity_id": SP, "acs": ACS, "slo": SLO, "signing": texts, "encryption": texts,
            "certificate_pem": read_pem("keys/sp-current.cert.pem"),
        },
        "name_id": { "format": FORMAT, "value": name_id.value },
        "messages": messages,
    });
    (ours, metadata)
}

fn assert_theirs_are_read(theirs: &Value, now: Timestamp) {
    let rules = MetadataRules { entity_id: Some(IDP), pinned: &[], allow_loopback: false, now };
    let idp = IdpMetadata::read_document(theirs["metadata"].as_str().unwrap().as_bytes(), &rules).unwrap();
    assert_eq!(SamlEndpoint::find_binding(&idp.sso, SamlBinding::Redirect).unwrap().location, IDP_SSO);
    assert_eq!(SamlEndpoint::find_binding(&idp.slo, SamlBinding::Post).unwrap().location, IDP_SLO);
    assert!(idp.want_authn_requests_signed);
    let expected =
        LogoutExpectations { idp_entity_id: IDP, slo_url: SLO, decryption_keys: &[], skew_ms: 180_000, now };
    let messages = theirs["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 4);
    for row in messages {
        let is_request = row["kind"] == "LogoutRequest";
        let parameter = if is_request { SamlParameter::Request } else { SamlParameter::Response };
        let message = match row["url"].as_str() {
            Some(url) => {
                RedirectMessage::read_query(url.split_once('?').unwrap().1).unwrap().verify(&idp.signing)
            }
            None => PostMessage::read_field(parameter, row["field"].as_str().unwrap().as_bytes())
                .unwrap()
                .verify(&idp.signing),
        };
        let message = message.unwrap();
        assert_eq!(message.parameter(), parameter);
        if row["binding"] == "redirect" {
            assert_eq!(message.relay_state(), row["relay_state"].as_str());
        }
        if is_request {
            let request = read_logout_request(&message, &expected).unwrap();
            assert_eq!(request.name_id.canonical_text(IDP, SP), name_id().canonical_text(IDP, SP));
            assert_eq!(request.session_indexes, ["s1", "s2"]);
        } else {
            let response = read_logout_response(&message, Some("_l1"), &expected).unwrap();
            assert_eq!(response.in_response_to, "_l1");
        }
    }
}

#[test]
fn libraries_of_others_take_our_messages_and_we_theirs() {
    let Some(python) = find_python() else { return };
    let now = Timestamp::now();
    let here = tempfile::tempdir().unwrap();
    let (ours, metadata) = write_ours(now);
    std::fs::write(here.path().join("ours.json"), ours.to_string()).unwrap();
    std::fs::write(here.path().join("sp_metadata.xml"), metadata).unwrap();
    let output = Command::new(python).arg(rigs().join("saml/peers.py")).arg(here.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.ends_with("all: judged\n"), "{said}");
    let theirs = std::fs::read(here.path().join("theirs.json")).unwrap();
    assert_theirs_are_read(&serde_json::from_slice(&theirs).unwrap(), now);
    println!("{said}");
}

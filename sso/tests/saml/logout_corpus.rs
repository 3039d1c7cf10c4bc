//! Every message of `tests/vectors/saml/logout.json`: the right person and sessions, or a refusal of the right class.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use portcullis_sso::{
    Class, DecryptionKey, IdpKey, LoginRefusal, LogoutExpectations, LogoutRequest, LogoutResponse,
    PostMessage, RedirectMessage, SamlParameter, SignedMessage, read_logout_request, read_logout_response,
};
use serde_json::Value;

use crate::vectors::{SLO, folder, read_json};

enum Read {
    Request(LogoutRequest),
    Response(LogoutResponse),
}

struct Corpus {
    idps: Value,
    decryption_keys: Vec<DecryptionKey>,
    /// The IDs that came before, as the owner of the state keeps them.
    brought: HashSet<String>,
}

impl Corpus {
    fn open() -> Self {
        let key = |pem: &Value| DecryptionKey::from_pem(&Secret::new(pem.as_str().unwrap())).unwrap();
        let sp = read_json("sp.json");
        let decryption_keys = sp["decryption_keys"].as_array().unwrap().iter().map(key).collect();
        Self { idps: read_json("idps.json"), decryption_keys, brought: HashSet::new() }
    }

    fn read(&self, case: &Value) -> Result<(Read, Option<String>), LoginRefusal> {
        let idp = &self.idps[case["idp"].as_str().unwrap()];
        let der = |pem: &Value| {
            let lines = pem.as_str().unwrap().lines();
            STANDARD.decode(lines.filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap()
        };
        let certificates = idp["certificates"].as_array().unwrap().iter();
        let keys: Vec<_> = certificates.map(|pem| IdpKey::from_certificate(&der(pem)).unwrap()).collect();
        let expected = LogoutExpectations {
            idp_entity_id: idp["entity_id"].as_str().unwrap(),
            slo_url: SLO,
            decryption_keys: &self.decryption_keys,
            skew_ms: 180_000,
            now: Timestamp(case["now"].as_i64().unwrap()),
        };
        let is_request = case["kind"] == "request";
        let message = verify(case, is_request, &keys)?;
        let relay_state = message.relay_state().or(case["relay_state"].as_str()).map(str::to_owned);
        let read = if is_request {
            Read::Request(read_logout_request(&message, &expected)?)
        } else {
            Read::Response(read_logout_response(&message, case["request_id"].as_str(), &expected)?)
        };
        Ok((read, relay_state))
    }
}

fn verify(case: &Value, is_request: bool, keys: &[IdpKey]) -> Result<SignedMessage, LoginRefusal> {
    if case["binding"] == "redirect" {
        return RedirectMessage::read_query(case["query"].as_str().unwrap())?.verify(keys);
    }
    let bytes = std::fs::read(folder().join(case["file"].as_str().unwrap())).unwrap();
    let parameter = if is_request { SamlParameter::Request } else { SamlParameter::Response };
    PostMessage::read_field(parameter, STANDARD.encode(bytes).as_bytes())?.verify(keys)
}

fn assert_is(read: &Read, expect: &Value, name: &str) {
    match read {
        Read::Request(request) => {
            assert_eq!(Some(&*request.id), expect["id"].as_str(), "{name}");
            assert_eq!(Some(&*request.name_id.value), expect["name_id"].as_str(), "{name}");
            assert_eq!(request.name_id.format.as_deref(), expect["name_id_format"].as_str(), "{name}");
            assert_eq!(
                request.name_id.name_qualifier.as_deref(),
                expect["name_qualifier"].as_str(),
                "{name}"
            );
            assert_eq!(
                request.name_id.sp_name_qualifier.as_deref(),
                expect["sp_name_qualifier"].as_str(),
                "{name}"
            );
            assert_eq!(Value::from(request.session_indexes.clone()), expect["session_indexes"], "{name}");
        }
        Read::Response(response) => {
            assert_eq!(Some(&*response.in_response_to), expect["in_response_to"].as_str(), "{name}");
        }
    }
}

#[test]
fn each_message_has_the_outcome_that_it_was_made_for() {
    let mut corpus = Corpus::open();
    let (mut taken, mut refused) = (0, 0);
    for case in read_json("logout.json").as_array().unwrap() {
        let (name, expect) = (case["name"].as_str().unwrap(), &case["expect"]);
        match corpus.read(case) {
            Ok((Read::Request(request), _)) if corpus.brought.contains(&request.id) => {
                assert_eq!(expect["class"], Class::SamlReplay.bare_word(), "{name}");
                assert!(request.replay_until > Timestamp(case["now"].as_i64().unwrap()), "{name}");
                refused += 1;
            }
            Ok((read, relay_state)) => {
                assert_eq!(expect["accepted"], true, "{name} is taken");
                assert_is(&read, expect, name);
                assert_eq!(relay_state.as_deref(), expect["relay_state"].as_str(), "{name}");
                if let Read::Request(request) = read {
                    corpus.brought.insert(request.id);
                }
                taken += 1;
            }
            Err(refusal) => {
                assert_eq!(expect["accepted"], false, "{name}: {refusal}");
                let one = [expect["class"].clone()];
                let classes = expect["classes"].as_array().map_or(&one[..], Vec::as_slice);
                assert!(classes.contains(&refusal.class.bare_word().into()), "{name}: {refusal}");
                refused += 1;
            }
        }
    }
    assert!(taken >= 20 && refused >= 80, "{taken} taken, {refused} refused");
}

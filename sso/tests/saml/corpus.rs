//! Every case of `tests/vectors/saml`: the right identity comes out, or a refusal of the right class.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use portcullis_sso::{
    DecryptionKey, IdpKey, LoginRefusal, SamlExpectations, VerifiedResponse, verify_response,
};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/saml")
}

fn read_json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

fn read_pem(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(lines).unwrap()
}

struct CorpusIdp {
    entity_id: String,
    keys: Vec<IdpKey>,
    settings: Value,
}

struct Corpus {
    cases: Vec<Value>,
    idps: HashMap<String, CorpusIdp>,
    sp: Value,
    decryption_keys: Vec<DecryptionKey>,
}

impl Corpus {
    fn read() -> Self {
        let sp = read_json("sp.json");
        let key =
            |pem: &Value| DecryptionKey::from_pem(&Secret::new(pem.as_str().unwrap().to_owned())).unwrap();
        let decryption_keys = sp["decryption_keys"].as_array().unwrap().iter().map(key).collect();
        let idps = read_json("idps.json").as_object().unwrap().clone();
        let idps = idps.into_iter().map(|(name, settings)| {
            let certificates = settings["certificates"].as_array().unwrap();
            let keys = certificates
                .iter()
                .filter_map(|pem| IdpKey::from_certificate(&read_pem(pem.as_str().unwrap())).ok())
                .collect();
            let entity_id = settings["entity_id"].as_str().unwrap().to_owned();
            (name, CorpusIdp { entity_id, keys, settings })
        });
        Self {
            cases: read_json("cases.json").as_array().unwrap().clone(),
            idps: idps.collect(),
            sp,
            decryption_keys,
        }
    }

    fn verify(&self, case: &Value, field: &[u8]) -> Result<VerifiedResponse, LoginRefusal> {
        let idp = &self.idps[case["idp"].as_str().unwrap()];
        let switch = |name: &str| idp.settings[name].as_bool().unwrap();
        let contexts: Vec<String> = match idp.settings["authn_context"].as_array() {
            Some(contexts) => contexts.iter().map(|context| context.as_str().unwrap().to_owned()).collect(),
            None => Vec::new(),
        };
        let expected = SamlExpectations {
            idp_entity_id: &idp.entity_id,
            sp_entity_id: self.sp["entity_id"].as_str().unwrap(),
            acs_url: self.sp["acs"].as_str().unwrap(),
            keys: &idp.keys,
            decryption_keys: &self.decryption_keys,
            skew_ms: idp.settings["skew_ms"].as_i64().unwrap_or(180_000),
            allow_sha1: switch("allow_sha1"),
            allow_cbc: switch("allow_cbc"),
            in_response_to: case["request_id"].as_str(),
            allow_unsolicited: switch("idp_initiated"),
            authn_context: &contexts,
            now: Timestamp(case["now"].as_i64().unwrap()),
            ask_engine_always: false,
        };
        let outcome = verify_response(field, &expected, &mut Vec::new());
        // Somebody who looks into a captured response sees what the login saw.
        let explained = SamlExpectations { ask_engine_always: true, ..expected };
        let mut checks = Vec::new();
        let again = verify_response(field, &explained, &mut checks);
        assert_eq!(again, outcome, "{}", case["name"]);
        assert_eq!(outcome.is_ok(), checks.iter().all(portcullis_sso::SamlCheck::is_passed), "{checks:?}");
        outcome
    }
}

/// The form field of a case: as it stands in a file, or base64 of XML that stands in one, or that is repeated pieces.
fn read_field(case: &Value) -> Vec<u8> {
    let read_file = |name: &Value| std::fs::read(folder().join(name.as_str().unwrap())).unwrap();
    if let Some(field) = case.get("field") {
        return read_file(field);
    }
    let Some(recipe) = case.get("generate") else {
        return STANDARD.encode(read_file(&case["file"])).into_bytes();
    };
    let mut text = String::new();
    for part in recipe["parts"].as_array().unwrap() {
        match part["repeat"].as_str() {
            Some(piece) => {
                text.push_str(&piece.repeat(usize::try_from(part["times"].as_u64().unwrap()).unwrap()))
            }
            None => text.push_str(part["text"].as_str().unwrap()),
        }
    }
    if recipe["target"] == "field" { text.into_bytes() } else { STANDARD.encode(text).into_bytes() }
}

fn judge(case: &Value, outcome: &Result<VerifiedResponse, LoginRefusal>) -> Result<(), String> {
    let expect = &case["expect"];
    match (expect["accepted"].as_bool().unwrap(), outcome) {
        (true, Ok(verified)) => judge_identity(expect, verified),
        (false, Err(refusal)) => {
            let class = refusal.class.bare_word();
            let listed =
                expect["classes"].as_array().is_some_and(|classes| classes.iter().any(|c| c == class));
            if expect["class"] == class || listed { Ok(()) } else { Err(format!("refused as {refusal}")) }
        }
        (true, Err(refusal)) => Err(format!("not accepted: {refusal}")),
        (false, Ok(_)) => Err("accepted".to_owned()),
    }
}

/// A replay is seen by who remembers the first: by the issuer and the ID, while the first is to be remembered.
fn judge_replay(
    corpus: &Corpus,
    before: &str,
    case: &Value,
    outcome: &Result<VerifiedResponse, LoginRefusal>,
) -> Result<(), String> {
    let first = corpus.cases.iter().find(|case| case["name"] == before).unwrap();
    let first = corpus.verify(first, &read_field(first)).map_err(|refusal| format!("{before}: {refusal}"))?;
    let second =
        outcome.as_ref().map_err(|refusal| format!("refused before it could be remembered: {refusal}"))?;
    if (&first.issuer, &first.assertion_id) != (&second.issuer, &second.assertion_id) {
        return Err("another assertion".to_owned());
    }
    let now = Timestamp(case["now"].as_i64().unwrap());
    if now < first.replay_until { Ok(()) } else { Err("forgotten too early".to_owned()) }
}

fn judge_identity(expect: &Value, verified: &VerifiedResponse) -> Result<(), String> {
    let unspecified = expect["unspecified_attributes"].as_array();
    let is_specified =
        |name: &str| !unspecified.is_some_and(|names| names.iter().any(|unspecified| unspecified == name));
    let attributes: HashMap<_, _> = verified
        .attributes
        .iter()
        .filter(|attribute| is_specified(&attribute.name))
        .map(|attribute| (attribute.name.clone(), attribute.values.clone()))
        .collect();
    let found = [
        ("name_id", Value::from(verified.name_id.value.clone())),
        ("name_id_format", Value::from(verified.name_id.format.clone())),
        ("name_qualifier", Value::from(verified.name_id.name_qualifier.clone())),
        ("sp_name_qualifier", Value::from(verified.name_id.sp_name_qualifier.clone())),
        ("session_index", Value::from(verified.session_index.clone())),
        ("session_end", Value::from(verified.session_end.map(|end| end.0))),
        ("attributes", serde_json::to_value(attributes).unwrap()),
    ];
    for (name, found) in found {
        if expect.get(name).is_some_and(|expected| *expected != found) {
            return Err(format!("{name}: {found}, not {}", expect[name]));
        }
    }
    Ok(())
}

#[test]
fn each_case_has_the_outcome_that_it_was_made_for() {
    let corpus = Corpus::read();
    let mut faults = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    let mut slowest = (Duration::ZERO, "");
    for case in &corpus.cases {
        let name = case["name"].as_str().unwrap();
        let field = read_field(case);
        let begun = Instant::now();
        let outcome = corpus.verify(case, &field);
        slowest = slowest.max((begun.elapsed() / 2, name));
        match &outcome {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
        let judged = match case["after"].as_str() {
            Some(before) => judge_replay(&corpus, before, case, &outcome),
            None => judge(case, &outcome),
        };
        if let Err(fault) = judged {
            faults.push(format!("{name} (expected {}; {}): {fault}", case["expect"]["class"], case["why"]));
        }
    }
    println!("accepted {accepted}, refused {refused}; the slowest took {slowest:?}");
    assert!(accepted > 150 && refused > 700, "accepted {accepted}, refused {refused}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

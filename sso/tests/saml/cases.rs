//! The corpus of `tests/vectors/saml`, read: cases, identity providers, and ourselves.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use portcullis_sso::{DecryptionKey, IdpKey, SamlExpectations};
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

pub(crate) struct Corpus {
    pub(crate) cases: Vec<Value>,
    idps: HashMap<String, CorpusIdp>,
    sp: Value,
    decryption_keys: Vec<DecryptionKey>,
}

impl Corpus {
    pub(crate) fn read() -> Self {
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

    /// The case of a name.
    pub(crate) fn case(&self, name: &str) -> &Value {
        self.cases.iter().find(|case| case["name"] == name).unwrap()
    }

    /// Runs a check with what a case expects of its response.
    pub(crate) fn with_expectations<T>(
        &self,
        case: &Value,
        run: impl FnOnce(&SamlExpectations<'_>) -> T,
    ) -> T {
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
        run(&expected)
    }
}

/// The text of a file of the corpus.
pub(crate) fn read_text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// The form field of a case: as it stands in a file, or base64 of XML that stands in one, or that is repeated pieces.
pub(crate) fn read_field(case: &Value) -> Vec<u8> {
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

//! Every document of `tests/vectors/saml/metadata.json`: read rightly, or refused in the right words.

use portcullis_policy::Timestamp;
use portcullis_sso::{IdpMetadata, LoginRefusal, MetadataRules, SamlBinding, SamlEndpoint};
use serde_json::Value;

use crate::vectors::{folder, idp_key, read_json};

fn read(case: &Value) -> Result<IdpMetadata, LoginRefusal> {
    let bytes = std::fs::read(folder().join(case["file"].as_str().unwrap())).unwrap();
    let pinned: Vec<_> = case["pinned"].as_str().map(idp_key).into_iter().collect();
    let now = Timestamp(case["now"].as_i64().unwrap());
    let rules =
        MetadataRules { entity_id: case["entity_id"].as_str(), pinned: &pinned, allow_loopback: false, now };
    IdpMetadata::read_document(&bytes, &rules)
}

fn assert_is(idp: &IdpMetadata, case: &Value) {
    let (name, expect) = (case["name"].as_str().unwrap(), &case["expect"]);
    let keys = expect["signing_certificates"].as_array().unwrap().iter();
    assert_eq!(idp.signing, keys.map(|file| idp_key(file.as_str().unwrap())).collect::<Vec<_>>(), "{name}");
    assert_eq!(Some(&*idp.entity_id), case["entity_id"].as_str(), "{name}");
    assert_eq!(idp.valid_until.map(|until| until.0), expect["valid_until"].as_i64(), "{name}");
    assert_eq!(
        Some(idp.want_authn_requests_signed),
        expect["want_authn_requests_signed"].as_bool(),
        "{name}"
    );
    for (word, binding) in [("redirect", SamlBinding::Redirect), ("post", SamlBinding::Post)] {
        let of = |endpoints| SamlEndpoint::find_binding(endpoints, binding);
        assert_eq!(of(&idp.sso).map(|is| &*is.location), expect["sso"][word].as_str(), "{name}");
        assert_eq!(of(&idp.slo).map(|is| &*is.location), expect["slo"][word].as_str(), "{name}");
        let answered = of(&idp.slo).and_then(|is| is.response_location.as_deref());
        assert_eq!(answered, expect["slo_response"][word].as_str(), "{name}");
    }
}

/// A word of the sentence that names a problem.
fn word_of(problem: &str) -> &'static [&'static str] {
    match problem {
        "html_page" => &["an HTML page"],
        "empty" => &["an empty document"],
        "not_xml" => &["not XML", "one root element"],
        "not_metadata" => &["no metadata"],
        "wrong_entity" => &["the entityID"],
        "ambiguous" => &["more than once"],
        "not_idp" => &["Identity Provider metadata", "speaks SAML 2.0"],
        "no_signing_key" => &["a signing key"],
        "certificate" => &["certificate", "base64"],
        "weak_key" => &["1024 bits"],
        "no_endpoint" => &["a SingleSignOnService"],
        "expired" => &["validUntil"],
        "doctype" => &["DOCTYPE"],
        "signature" => &[""],
        other => panic!("{other}"),
    }
}

#[test]
fn each_document_has_the_outcome_that_it_was_made_for() {
    let cases = read_json("metadata.json");
    let (mut read_rightly, mut refused) = (0, 0);
    for case in cases.as_array().unwrap() {
        let (name, expect) = (case["name"].as_str().unwrap(), &case["expect"]);
        let outcome = read(case);
        if expect["problem"] == "expired_certificate" {
            let idp = outcome.unwrap();
            assert!(idp.warnings.iter().any(|warning| warning.contains("is over since")), "{name}");
            read_rightly += 1;
            continue;
        }
        match outcome {
            Ok(idp) => {
                assert_eq!(expect["accepted"], true, "{name} is read");
                assert_is(&idp, case);
                read_rightly += 1;
            }
            Err(refusal) => {
                assert_eq!(expect["accepted"], false, "{name}: {refusal}");
                let one = [expect["class"].clone()];
                let classes = expect["classes"].as_array().map_or(&one[..], Vec::as_slice);
                assert!(classes.contains(&refusal.class.bare_word().into()), "{name}: {refusal}");
                let said = refusal.to_string();
                let words = word_of(expect["problem"].as_str().unwrap());
                assert!(words.iter().any(|word| said.contains(word)), "{name}: {words:?}: {said}");
                refused += 1;
            }
        }
    }
    assert!(read_rightly >= 30 && refused >= 40, "{read_rightly} read, {refused} refused");
}

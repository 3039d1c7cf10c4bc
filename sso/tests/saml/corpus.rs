//! Every case of `tests/vectors/saml`: the right identity comes out, or a refusal of the right class.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use portcullis_policy::Timestamp;
use portcullis_sso::{LoginRefusal, SamlCheck, SamlExpectations, VerifiedResponse, verify_response};
use serde_json::Value;

use crate::cases::{Corpus, read_field};

fn verify(corpus: &Corpus, case: &Value, field: &[u8]) -> Result<VerifiedResponse, LoginRefusal> {
    corpus.with_expectations(case, |expected| {
        let outcome = verify_response(field, expected, &mut Vec::new());
        // Somebody who looks into a captured response sees what the login saw.
        let explained = SamlExpectations { ask_engine_always: true, ..*expected };
        let mut checks = Vec::new();
        let again = verify_response(field, &explained, &mut checks);
        assert_eq!(again, outcome, "{}", case["name"]);
        assert_eq!(outcome.is_ok(), checks.iter().all(SamlCheck::is_passed), "{checks:?}");
        outcome
    })
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
    let first = corpus.case(before);
    let first =
        verify(corpus, first, &read_field(first)).map_err(|refusal| format!("{before}: {refusal}"))?;
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
        let outcome = verify(&corpus, case, &field);
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
    assert!(accepted >= 150 && refused >= 500, "accepted {accepted}, refused {refused}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

//! What an operator is told: every check, in its order, and every fault at once.

use portcullis_policy::Timestamp;
use portcullis_sso::{Class, SamlExpectations, verify_response};

use crate::cases::{Corpus, read_field};

#[test]
fn every_check_of_the_profile_is_made_though_one_has_failed() {
    let corpus = Corpus::read();
    let case = corpus.case("response-signed");
    let field = read_field(case);
    corpus.with_expectations(case, |expected| {
        let mut checks = Vec::new();
        verify_response(&field, expected, &mut checks).unwrap();
        let names: Vec<_> = checks.iter().map(|check| check.name).collect();
        assert_eq!(
            names,
            [
                "message",
                "signature",
                "version",
                "issuer",
                "status",
                "destination",
                "issue instant",
                "parts of the assertion",
                "NameID",
                "recipient",
                "confirmation time",
                "in response to",
                "conditions",
                "audience",
                "AuthnStatement",
                "attributes"
            ]
        );

        let elsewhere = SamlExpectations {
            sp_entity_id: "https://other.test/metadata",
            acs_url: "https://other.test/acs",
            ..*expected
        };
        let mut checks = Vec::new();
        let refusal = verify_response(&field, &elsewhere, &mut checks).unwrap_err();
        assert_eq!(refusal.class, Class::SamlDestination, "the first of them");
        let faults: Vec<_> = checks.iter().filter(|check| !check.is_passed()).collect();
        let classes: Vec<_> = faults.iter().filter_map(|check| check.fault).collect();
        assert_eq!(classes, [Class::SamlDestination, Class::SamlRecipient, Class::SamlAudience]);
        for fault in faults {
            assert!(fault.expected.starts_with("https://other.test/"), "{fault:?}");
            assert!(fault.got.starts_with("https://app.example.test/"), "{fault:?}");
            assert!(fault.remedy.contains("`portcullis urls` prints"), "{fault:?}");
        }
    });
}

#[test]
fn an_assertion_is_remembered_for_as_long_as_a_copy_of_it_would_be_taken() {
    let corpus = Corpus::read();
    for name in ["response-signed", "assertion-signed", "both-signed"] {
        let case = corpus.case(name);
        let field = read_field(case);
        corpus.with_expectations(case, |expected| {
            let until = verify_response(&field, expected, &mut Vec::new()).unwrap().replay_until;
            let is_taken = |now: Timestamp| {
                verify_response(&field, &SamlExpectations { now, ..*expected }, &mut Vec::new()).is_ok()
            };
            assert!(until > expected.now);
            // Whatever the step, no moment at or behind it is one at which a copy comes in.
            for ms in [0, 1, 1000, 60_000, 600_000, 86_400_000] {
                assert!(!is_taken(until.plus_ms(ms)), "{name}, {ms} ms behind");
            }
            assert!(is_taken(until.plus_ms(-1)), "{name}: it is forgotten when it is over, and not later");
        });
    }
}

#[test]
fn no_setting_of_one_login_lets_another_in() {
    let corpus = Corpus::read();
    let case = corpus.case("response-signed");
    let field = read_field(case);
    corpus.with_expectations(case, |expected| {
        let class = |expected: SamlExpectations<'_>| {
            verify_response(&field, &expected, &mut Vec::new()).err().map(|refusal| refusal.class)
        };
        let other = Some("_other");
        let contexts = ["urn:oasis:names:tc:SAML:2.0:ac:classes:X509".to_owned()];
        for (expected, refused) in [
            (*expected, None),
            (SamlExpectations { keys: &[], ..*expected }, Some(Class::SamlSignatureInvalid)),
            (SamlExpectations { in_response_to: other, ..*expected }, Some(Class::SamlInResponseTo)),
            (SamlExpectations { in_response_to: None, ..*expected }, Some(Class::SamlInResponseTo)),
            (
                SamlExpectations { in_response_to: None, allow_unsolicited: true, ..*expected },
                Some(Class::SamlInResponseTo),
            ),
            (SamlExpectations { authn_context: &contexts, ..*expected }, Some(Class::SamlSubject)),
            (
                SamlExpectations { idp_entity_id: "https://idp.example.test", ..*expected },
                Some(Class::SamlIssuer),
            ),
        ] {
            assert_eq!(class(expected), refused);
        }
    });
}

#[test]
fn a_weak_algorithm_is_refused_by_its_name() {
    let corpus = Corpus::read();
    for (name, class, algorithm) in [
        ("weak-rsa-sha1", Class::SamlSignaturePolicy, "rsa-sha1"),
        ("sealed-rsa15", Class::SamlDecrypt, "rsa-1_5"),
    ] {
        let case = corpus.case(name);
        corpus.with_expectations(case, |expected| {
            let refusal = verify_response(&read_field(case), expected, &mut Vec::new()).unwrap_err();
            assert_eq!(refusal.class, class);
            assert!(refusal.got.contains(algorithm), "{refusal}");
        });
    }
}

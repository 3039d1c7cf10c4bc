//! A captured response is judged as the login judges it, and the person is told who was verified.

use std::sync::Arc;

use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use portcullis_sso::{
    AttributeNames, AttributeSources, Class, FetchError, MetadataSource, SamlIdp, SamlSettings, SpKeys,
};
use serde_json::Value;

use crate::cases::{Corpus, read_field, read_text};

/// The time of most cases, in milliseconds.
const NOON: Timestamp = Timestamp(1_781_524_800_000);

pub(crate) fn settings(metadata: MetadataSource) -> SamlSettings {
    let sp: Value = serde_json::from_str(&read_text("sp.json")).unwrap();
    let pair = |name: &str| {
        let read = |part: &str| read_text(&format!("keys/sp-{name}.{part}.pem"));
        (Secret::new(read("key")), read("cert").trim().to_owned())
    };
    let keys = SpKeys::read_pairs(&[pair("current"), pair("next")]).unwrap();
    let names = |name: &str| vec![name.to_owned()];
    SamlSettings {
        name: "idp".to_owned(),
        metadata,
        entity_id: None,
        pinned: Vec::new(),
        sp_entity_id: sp["entity_id"].as_str().unwrap().to_owned(),
        acs_url: sp["acs"].as_str().unwrap().to_owned(),
        slo_url: sp["slo"].as_str().unwrap().to_owned(),
        keys: Arc::new(keys),
        name_id_policy: None,
        force_authn: false,
        authn_context: Vec::new(),
        posts_requests: false,
        approves_keys: false,
        accepts_unsolicited: true,
        allow_sha1: false,
        allow_cbc: false,
        subject: None,
        names: AttributeNames {
            email: names("mail"),
            groups: vec!["memberOf".to_owned(), "groups".to_owned()],
            ..AttributeNames::default()
        },
        link: Some("email".to_owned()),
        skew_ms: 180_000,
        loopback: false,
    }
}

fn idp(metadata: MetadataSource) -> SamlIdp {
    let fetch = Arc::new(|_| {
        let refused = FetchError::NotAllowed { host: String::new(), why: "nobody is asked here" };
        Box::pin(async { Err(refused) }) as std::pin::Pin<Box<dyn Future<Output = _> + Send>>
    });
    SamlIdp::new(settings(metadata), fetch, None, Arc::new(|_| {}), Arc::default(), NOON)
}

fn acme() -> SamlIdp {
    let certificate: String =
        read_text("keys/idp-rsa2048.cert.pem").lines().filter(|line| !line.starts_with("-----")).collect();
    let text = format!(
        "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" \
         entityID=\"https://idp.example.test/saml/metadata\"><IDPSSODescriptor \
         protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\"><KeyDescriptor><KeyInfo \
         xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data><X509Certificate>{certificate}</X509Certificate>\
         </X509Data></KeyInfo></KeyDescriptor><SingleSignOnService \
         Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"https://idp.example.test/sso\"/>\
         </IDPSSODescriptor></EntityDescriptor>"
    );
    idp(MetadataSource::Document(text.into()))
}

#[test]
fn a_captured_response_is_judged_as_the_login_judges_it() {
    let (corpus, idp) = (Corpus::read(), acme());
    let (mut accepted, mut refused) = (0, 0);
    for case in &corpus.cases {
        let field = read_field(case);
        let now = Timestamp(case["now"].as_i64().unwrap());
        let looked_into = idp.examine_response(None, &field, now);
        let judged = idp.verify_response(None, &field, now).map(|person| person.subject().to_owned());
        let found = looked_into.outcome.map(|person| person.subject().to_owned());
        assert_eq!(found, judged, "{}", case["name"]);
        let faults: Vec<_> = looked_into.checks.iter().filter_map(|check| check.fault).collect();
        match found {
            Ok(_) => accepted += 1,
            Err(refusal) => {
                refused += 1;
                assert_eq!(faults.first(), Some(&refusal.class), "{}", case["name"]);
            }
        }
        assert_eq!(faults.is_empty(), judged.is_ok());
    }
    assert!(accepted >= 4 && refused > 600, "{accepted}, {refused}");
}

#[test]
fn nobody_comes_in_unasked_where_the_configuration_does_not_say_so() {
    let corpus = Corpus::read();
    let field = read_field(corpus.case("idp-initiated"));
    for (accepts, outcome) in [(true, Ok(())), (false, Err(Class::SamlInResponseTo))] {
        let mut settings = settings(acme().settings().metadata.clone());
        settings.accepts_unsolicited = accepts;
        let nobody = Arc::new(|_| Box::pin(std::future::pending()) as _);
        let idp = SamlIdp::new(settings, nobody, None, Arc::new(|_| {}), Arc::default(), NOON);
        let judged = idp.verify_response(None, &field, NOON).map(drop).map_err(|refusal| refusal.class);
        let examined = idp.examine_response(None, &field, NOON).outcome.map(drop);
        assert_eq!((judged, examined.map_err(|refusal| refusal.class)), (outcome, outcome));
    }
}

#[test]
fn who_was_verified_is_told_though_the_person_is_refused() {
    let (corpus, idp) = (Corpus::read(), acme());
    let examine = |name: &str| {
        let case = corpus.case(name);
        idp.examine_response(case["request_id"].as_str(), &read_field(case), NOON)
    };
    let names = |checks: &[portcullis_sso::SamlCheck]| {
        let name = |check: Option<&portcullis_sso::SamlCheck>| check.map(|check| check.name);
        (name(checks.first()), name(checks.last()))
    };
    let good = examine("response-signed");
    assert_eq!(names(&good.checks), (Some("metadata"), Some("person")));
    assert_eq!(
        good.outcome.unwrap().email(),
        good.verified.map(|verified| verified.name_id.value).as_deref()
    );
    // The address is the NameID itself, as no attribute that is looked for holds one.
    let sources = AttributeSources {
        email: Some("NameID".to_owned()),
        groups: Some("groups".to_owned()),
        ..AttributeSources::default()
    };
    assert_eq!(good.sources, sources);

    let passing = examine("name-id-transient");
    assert_eq!(passing.outcome.unwrap_err().class, Class::SamlSubject);
    assert_eq!(names(&passing.checks), (Some("metadata"), Some("person")));
    assert!(passing.verified.is_some());
    let forged = examine("tampered-response-name-id");
    assert!(forged.verified.is_none() && forged.sources == AttributeSources::default());
    assert_eq!(names(&forged.checks), (Some("metadata"), Some("signature")));
}

#[test]
fn without_metadata_nothing_is_looked_at() {
    let corpus = Corpus::read();
    let field = read_field(corpus.case("response-signed"));
    let idp = idp(MetadataSource::Address("https://idp.example.test/metadata".to_owned()));
    let found = idp.examine_response(None, &field, NOON);
    assert_eq!(found.outcome.unwrap_err().class, Class::SamlMetadata);
    let checks: Vec<_> = found.checks.iter().map(|check| (check.name, check.is_passed())).collect();
    assert_eq!(checks, [("metadata", false)]);
}

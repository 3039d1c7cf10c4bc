//! The word on an identity provider's keys, on every road that a signature of it comes by: a response, both bindings of a
//! logout, metadata that is fetched again, metadata that was kept, and metadata that was itself signed.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use parking_lot::Mutex;
use portcullis_policy::Timestamp;
use portcullis_sso::{
    Class, Fetch, IdpKey, KeyBook, KeyStanding, LogoutArrival, MetadataSource, SamlIdp, SamlParameter,
};

use crate::captured::settings;
use crate::cases::{Corpus, read_field};
use crate::vectors::{certificate_text, folder, idp_key, read_json};

const NOON: Timestamp = Timestamp(1_781_524_800_000);
const ACME: &str = "idp-rsa2048";
const OTHER: &str = "idp-p256";
const ADDRESS: &str = "https://idp.example.test/metadata";

/// Metadata of the corpus' identity provider, with these keys.
fn document(keys: &[&str]) -> String {
    let keys: String = keys
        .iter()
        .map(|name| {
            let certificate = certificate_text(&format!("keys/{name}.cert.pem"));
            format!(
                "<KeyDescriptor><KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data><X509Certificate>\
                 {certificate}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
            )
        })
        .collect();
    format!(
        "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" \
         entityID=\"https://idp.example.test/saml/metadata\"><IDPSSODescriptor \
         protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">{keys}<SingleSignOnService \
         Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"https://idp.example.test/sso\"/>\
         </IDPSSODescriptor></EntityDescriptor>"
    )
}

/// An identity provider at an address, whose document a test changes.
struct Served {
    document: Arc<Mutex<String>>,
    book: Arc<KeyBook>,
    kept: Arc<Mutex<Option<String>>>,
    approves: bool,
}

impl Served {
    fn new(keys: &[&str], approves: bool) -> Self {
        let document = Arc::new(Mutex::new(document(keys)));
        Self { document, book: Arc::default(), kept: Arc::default(), approves }
    }

    /// A process: what the one before it kept is there, and its book.
    fn begin(&self) -> SamlIdp {
        let served = self.document.clone();
        let fetch: Fetch = Arc::new(move |_| {
            let text = served.lock().clone();
            Box::pin(async move { Ok(Response::new(Bytes::from(text))) })
        });
        let kept = self.kept.clone();
        let mut settings = settings(MetadataSource::Address(ADDRESS.to_owned()));
        settings.approves_keys = self.approves;
        let before = self.kept.lock().clone();
        let keep = Arc::new(move |text: &str| *kept.lock() = Some(text.to_owned()));
        let idp = SamlIdp::new(settings, fetch, before.as_deref(), keep, self.book.clone(), NOON);
        idp.settle_keys(NOON);
        idp
    }

    fn serve(&self, keys: &[&str]) {
        *self.document.lock() = document(keys);
    }
}

fn print_of(name: &str) -> [u8; 32] {
    idp_key(&format!("keys/{name}.cert.pem")).fingerprint()
}

fn hex(print: [u8; 32]) -> String {
    print.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The outcome of a good response, by its class.
fn outcome(idp: &SamlIdp) -> Result<(), Class> {
    let field = read_field(Corpus::read().case("idp-initiated"));
    idp.verify_response(None, &field, NOON).map(drop).map_err(|refusal| refusal.class)
}

/// The outcome of a good logout message, by both bindings.
fn logouts(idp: &SamlIdp) -> [Result<(), Class>; 2] {
    let cases = read_json("logout.json");
    let case =
        |name: &str| cases.as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone();
    let redirect = case("redirect-request");
    let query = redirect["query"].as_str().unwrap();
    let by_query = idp.verify_logout(&LogoutArrival::Query(query), None, NOON);
    let post = case("post-request");
    let text = std::fs::read(folder().join(post["file"].as_str().unwrap())).unwrap();
    let field = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let by_form =
        idp.verify_logout(&LogoutArrival::Form(SamlParameter::Request, field.as_bytes()), None, NOON);
    [by_query, by_form].map(|outcome| outcome.map(drop).map_err(|refusal| refusal.class))
}

#[tokio::test]
async fn a_key_that_was_distrusted_signs_nothing_on_any_road() {
    for approves in [false, true] {
        let served = Served::new(&[ACME, OTHER], approves);
        let idp = served.begin();
        idp.refresh_metadata(NOON).await.unwrap();
        assert_eq!((outcome(&idp), logouts(&idp)), (Ok(()), [Ok(()), Ok(())]));

        let all = |refused: Class| (Err(refused), [Err(refused), Err(refused)]);
        served.book.distrust_prints(&[print_of(ACME)]);
        let distrusted = all(Class::SamlKeyDistrusted);
        assert_eq!((outcome(&idp), logouts(&idp)), distrusted, "at once");
        idp.refresh_metadata(NOON).await.unwrap();
        assert_eq!((outcome(&idp), logouts(&idp)), distrusted, "metadata that has it still");
        served.serve(&[OTHER]);
        idp.refresh_metadata(NOON).await.unwrap();
        served.serve(&[ACME]);
        idp.refresh_metadata(NOON).await.unwrap();
        assert_eq!((outcome(&idp), logouts(&idp)), distrusted, "metadata that has it again");
        let restarted = served.begin();
        assert_eq!((outcome(&restarted), logouts(&restarted)), distrusted, "metadata that was kept");
        let mut from_file = settings(MetadataSource::Document(document(&[ACME]).into()));
        from_file.name = "another".to_owned();
        let nobody: Fetch = Arc::new(|_| Box::pin(std::future::pending()));
        let other = SamlIdp::new(from_file, nobody, None, Arc::new(|_| {}), served.book.clone(), NOON);
        assert_eq!(outcome(&other), Err(Class::SamlKeyDistrusted), "a file, and another name");
        let told = other.examine_response(None, &read_field(Corpus::read().case("idp-initiated")), NOON);
        let told = told.outcome.unwrap_err();
        assert!(told.got.contains(&hex(print_of(ACME))), "{told}");
    }
}

#[tokio::test]
async fn a_new_key_waits_and_the_line_says_for_what() {
    let served = Served::new(&[OTHER], true);
    let idp = served.begin();
    idp.refresh_metadata(NOON).await.unwrap();
    assert_eq!(outcome(&idp), Err(Class::SamlSignatureInvalid), "nobody knows that key yet");

    served.serve(&[OTHER, ACME]);
    assert!(idp.refresh_metadata(NOON).await.unwrap());
    for idp in [&idp, &served.begin()] {
        let waiting = Err(Class::SamlKeyWaiting);
        assert_eq!((outcome(idp), logouts(idp)), (waiting, [waiting, waiting]));
        let refusal =
            idp.verify_response(None, &read_field(Corpus::read().case("idp-initiated")), NOON).unwrap_err();
        let line = refusal.to_string();
        assert!(line.contains(&hex(print_of(ACME))) && line.contains("portcullis idp approve"), "{line}");
    }
    // All replaced: nobody is let in silently.
    served.serve(&[ACME]);
    idp.refresh_metadata(NOON).await.unwrap();
    assert_eq!(outcome(&idp), Err(Class::SamlKeyWaiting));
    served.book.approve_key("idp", &idp_key("keys/idp-rsa2048.cert.pem").key_print(), NOON);
    assert_eq!((outcome(&idp), logouts(&idp)), (Ok(()), [Ok(()), Ok(())]));
}

#[tokio::test]
async fn the_document_that_was_kept_is_older_than_the_one_that_is_fetched_first() {
    // An upgrade: metadata was kept, and nobody has written its keys down yet.
    let served = Served::new(&[OTHER, ACME], true);
    *served.kept.lock() = Some(document(&[OTHER]));
    let idp = served.begin();
    idp.refresh_metadata(NOON).await.unwrap();
    assert_eq!(outcome(&idp), Err(Class::SamlKeyWaiting));
}

#[tokio::test]
async fn metadata_signed_by_a_key_that_was_distrusted_is_refused() {
    let mut settings = settings(MetadataSource::Document(document(&[ACME]).into()));
    let pinned = idp_key("keys/idp-p384.cert.pem");
    settings.pinned = vec![pinned.certificate().to_vec()];
    let book = Arc::new(KeyBook::default());
    book.distrust_prints(&[pinned.key_print()]);
    let nobody: Fetch = Arc::new(|_| Box::pin(std::future::pending()));
    let idp = SamlIdp::new(settings, nobody, None, Arc::new(|_| {}), book, NOON);
    // Unsigned as it is: with the certificate gone it must not become metadata that needs none.
    assert_eq!(idp.refresh_metadata(NOON).await.unwrap_err().class, Class::SamlKeyDistrusted);
    assert_eq!(outcome(&idp), Err(Class::SamlKeyDistrusted));
}

#[tokio::test]
async fn metadata_in_force_is_nobodys_word_once_its_signer_is_distrusted() {
    let signed = std::fs::read_to_string(folder().join("metadata/signed-pinned.xml")).unwrap();
    let mut settings = settings(MetadataSource::Document(signed.into()));
    let pinned = idp_key("keys/federation-rsa2048.cert.pem");
    settings.pinned = vec![pinned.certificate().to_vec()];
    let book = Arc::new(KeyBook::default());
    let nobody: Fetch = Arc::new(|_| Box::pin(std::future::pending()));
    let idp = SamlIdp::new(settings, nobody, None, Arc::new(|_| {}), book.clone(), NOON);
    idp.settle_keys(NOON);
    assert_eq!(outcome(&idp), Ok(()), "the corpus' provider signs with a key of that document");
    let listed = book.list_keys().pinned;
    let [(name, keys)] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((name.as_str(), keys[0].key), (idp.name(), pinned.key_print()), "whose sessions are to end");
    book.distrust_prints(&[pinned.key_print()]);
    assert_eq!(outcome(&idp), Err(Class::SamlKeyDistrusted));
}

#[test]
fn a_key_is_in_force_until_somebody_says_otherwise() {
    let key = idp_key("keys/idp-p256.cert.pem");
    assert_eq!(IdpKey::standing(&key), KeyStanding::InForce);
}

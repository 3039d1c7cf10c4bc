//! `portcullis doctor saml` says of a captured response what the login would say, and what to change: over the whole
//! corpus of `tests/vectors/saml`, and in words. It creates nothing and asks nobody.

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::program::{binary, command};

const ACS: &str = "https://app.example.test/.portcullis/saml/idp/acs";
const ENTITY_ID: &str = "https://app.example.test/.portcullis/saml/idp/metadata";
const REQUEST: &str = "_3f2a9c4e5b6d7081928374655647382f";
/// The time at which the responses of the corpus came, in seconds.
const NOON: i64 = 1_781_524_800;
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/saml")
}

fn read_json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(vectors().join(name)).unwrap()).unwrap()
}

fn read_xml(name: &str) -> String {
    fs::read_to_string(vectors().join(format!("xml/{name}.xml"))).unwrap()
}

/// Metadata of an identity provider of the corpus: its entity ID and its certificates.
fn metadata(idp: &Value) -> String {
    let key = |pem: &Value| {
        let lines: String = pem.as_str().unwrap().lines().filter(|line| !line.starts_with("-----")).collect();
        format!(
            "<KeyDescriptor use=\"signing\"><KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data>\
             <X509Certificate>{lines}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
        )
    };
    let keys: String = idp["certificates"].as_array().unwrap().iter().map(key).collect();
    let entity_id = idp["entity_id"].as_str().unwrap().replace('&', "&amp;");
    format!(
        "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"{entity_id}\"><IDPSSODescriptor \
         protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">{keys}<SingleSignOnService \
         Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"https://idp.example.test/sso\"/>\
         </IDPSSODescriptor></EntityDescriptor>"
    )
}

/// A folder with a configuration, and with the metadata of each identity provider of the corpus.
pub struct Place(TempDir);

impl Place {
    fn new(idps: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let file = format!(
            "public_url: https://app.example.test\nupstream: http://127.0.0.1:1\nstate: {}/state\n\
             provisioning: invited\nlisten:\n  proxy: 127.0.0.1:8443\n  health: 127.0.0.1:8444\nidps:\n{idps}",
            path.display()
        );
        fs::write(path.join("portcullis.yaml"), file).unwrap();
        for (name, idp) in read_json("idps.json").as_object().unwrap() {
            fs::write(path.join(format!("{name}.xml")), metadata(idp)).unwrap();
        }
        Self(folder)
    }

    /// The service provider of the corpus, with one identity provider of it and our two pairs of keys.
    pub fn of_corpus(idp: &str, more: &str) -> Self {
        let place = Self::new(&entry("idp", &format!("{idp}.xml"), more));
        let state = place.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        for (pair, name) in [("current", "saml.pem"), ("next", "saml-next.pem")] {
            let read = |part: &str| {
                fs::read_to_string(vectors().join(format!("keys/sp-{pair}.{part}.pem"))).unwrap()
            };
            fs::write(state.join(name), read("key") + &read("cert")).unwrap();
            fs::set_permissions(state.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        place
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs it over a file.
    fn run(&self, file: &str, words: &[&str]) -> Output {
        command(self.path(), &[&["doctor", "saml", file], words].concat())
    }

    /// Runs it over a response of the corpus, at the time when that came, as the answer to the login that asked.
    pub fn explain(&self, name: &str, words: &[&str]) -> (Option<i32>, String) {
        let file = self.write(&format!("{name}.captured"), read_xml(name));
        let at = NOON.to_string();
        let output = self.run(&file, &[&["--at", &at, "--request-id", REQUEST], words].concat());
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }

    fn judge(&self, file: &str, words: &[&str]) -> Value {
        let output = self.run(file, &[words, &["--json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn entry(name: &str, metadata: &str, more: &str) -> String {
    format!(
        "  {name}:\n    domains: [{name}.test]\n    link:\n      claim: NameID\n      to: externalId\n    saml:\n      \
         metadata: {metadata}\n{more}"
    )
}

/// The form field of a case, as `sso/tests/saml` reads it.
fn read_field(case: &Value) -> Vec<u8> {
    let read_file = |name: &Value| fs::read(vectors().join(name.as_str().unwrap())).unwrap();
    if let Some(field) = case.get("field") {
        return read_file(field);
    }
    let Some(recipe) = case.get("generate") else {
        return STANDARD.encode(read_file(&case["file"])).into_bytes();
    };
    let part = |part: &Value| match part["repeat"].as_str() {
        Some(piece) => piece.repeat(usize::try_from(part["times"].as_u64().unwrap()).unwrap()),
        None => part["text"].as_str().unwrap().to_owned(),
    };
    let text: String = recipe["parts"].as_array().unwrap().iter().map(part).collect();
    if recipe["target"] == "field" { text.into_bytes() } else { STANDARD.encode(text).into_bytes() }
}

fn form_of(field: &[u8]) -> String {
    let value: String = url::form_urlencoded::byte_serialize(field).collect();
    format!("RelayState=%2Fdeep&SAMLResponse={value}")
}

/// Compares what was said of a case with what it was made for. Where the response is good and its name is none to keep,
/// the person is refused, and what was verified is told all the same.
fn find_fault(case: &Value, code: Option<i32>, said: &Value) -> Option<String> {
    let expect = &case["expect"];
    let is_good = expect["accepted"] == true;
    let has_person = expect["name_id_format"] != TRANSIENT && expect.get("mapping").is_none();
    let accepted = is_good && has_person;
    let class_fits = match (accepted, is_good) {
        (true, _) => said["class"].is_null(),
        (false, true) => said["class"] == "subject",
        (false, false) => {
            let listed = expect["classes"].as_array().is_some_and(|classes| classes.contains(&said["class"]));
            said["class"] == expect["class"] || listed
        }
    };
    let checks = said["checks"].as_array().unwrap();
    let all_pass = checks.iter().all(|check| check["passed"] == true);
    let explains = checks.iter().all(|check| check["passed"].as_bool() == Some(check["remedy"].is_null()));
    let code_fits = code == Some(i32::from(!accepted));
    if said["accepted"] != accepted || !class_fits || !code_fits || all_pass != accepted || !explains {
        return Some(format!("{code:?}, {said}"));
    }
    let mut stated = said["attributes"].clone();
    for unspecified in expect["unspecified_attributes"].as_array().into_iter().flatten() {
        stated.as_object_mut().unwrap().remove(unspecified.as_str().unwrap());
    }
    let found = json!({
        "name_id": said["name_id"], "name_id_format": said["name_id_format"], "session_index": said["session_index"],
        "attributes": stated,
    });
    found.as_object().unwrap().iter().find_map(|(name, found)| {
        let wanted = if is_good { expect.get(name)? } else { &Value::Null };
        (found != wanted).then(|| format!("{name}: {found}, not {wanted}"))
    })
}

/// The cases that a look at one response can tell: not the second post of two.
fn choose_cases() -> Vec<Value> {
    let cases = read_json("cases.json").as_array().unwrap().clone();
    cases.into_iter().filter(|case| case.get("after").is_none()).collect()
}

#[test]
fn of_each_response_it_says_what_the_login_would_say() {
    let idps = read_json("idps.json");
    let switches = |idp: &Value| {
        let unasked = if idp["idp_initiated"] == true { "accept" } else { "off" };
        format!(
            "      allow_sha1: {}\n      allow_cbc: {}\n      idp_initiated: {unasked}\n",
            idp["allow_sha1"], idp["allow_cbc"]
        )
    };
    let places: HashMap<&String, Place> = idps
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, idp)| (name, Place::of_corpus(name, &switches(idp))))
        .collect();
    let cases = choose_cases();
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = case["name"].as_str().unwrap();
            let place = &places[&case["idp"].as_str().unwrap().to_owned()];
            let file = place.write(&format!("{name}.form"), form_of(&read_field(case)));
            let now = case["now"].as_i64().unwrap();
            assert_eq!(now % 1000, 0);
            let at = (now / 1000).to_string();
            let mut words = vec!["--at", &at, "--json"];
            words.extend(case["request_id"].as_str().into_iter().flat_map(|id| ["--request-id", id]));
            let output = place.run(&file, &words);
            let fault = match serde_json::from_slice(&output.stdout) {
                Ok(said) => find_fault(case, output.status.code(), &said),
                Err(error) => Some(format!("{error}: {}", String::from_utf8_lossy(&output.stderr))),
            };
            faults.lock().unwrap().extend(fault.map(|fault| format!("{name}: {fault}")));
            fs::remove_file(file).unwrap();
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let faults = faults.into_inner().unwrap();
    println!("{} responses were looked at", cases.len());
    assert!(cases.len() > 700);
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

#[test]
fn however_it_was_copied_it_is_the_same_response() {
    let place = Place::of_corpus("acme", "");
    let xml = read_xml("encrypted-aes256-gcm");
    let field = STANDARD.encode(&xml);
    let at = NOON.to_string();
    let words = ["--at", &*at, "--request-id", REQUEST];
    let whole = place.judge(&place.write("a", &xml), &words);
    assert_eq!(whole["accepted"], true, "{whole}");
    let encoded: String = url::form_urlencoded::byte_serialize(field.as_bytes()).collect();
    for copied in [format!("\n{xml}\n"), field.clone(), format!("{encoded}\n"), form_of(field.as_bytes())] {
        assert_eq!(place.judge(&place.write("b", &copied), &words), whole, "{copied}");
    }
    // From a pipe, and at a time of a clock.
    let mut child = binary();
    child.args([
        "doctor",
        "saml",
        "-",
        "--json",
        "--at",
        "2026-06-15T12:00:00Z",
        "--request-id",
        REQUEST,
        "-c",
    ]);
    child.arg(place.path().join("portcullis.yaml")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(field.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), whole);
    // A form with two of them, or none, is refused as the login refuses it.
    for wrong in ["SAMLResponse=PGE%2B&SAMLResponse=PGE%2B", "SAMLRequest=PGE%2B"] {
        let said = place.judge(&place.write("c", wrong), &words);
        assert_eq!(
            (&said["class"], &said["checks"][0]["name"]),
            (&json!("malformed"), &json!("form")),
            "{said}"
        );
    }
}

#[test]
fn a_good_response_says_who_it_would_be() {
    let place = Place::of_corpus("acme", "      attributes:\n        name: cn\n");
    let (code, text) = place.explain("response-signed", &[]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "ok    audience                https://app.example.test/.portcullis/saml/idp/metadata\n",
        "Accepted. Nothing was stored.",
        "NameID         alice@example.test\n",
        "session index  _session-4711\n",
        "e-mail         alice@example.test (from email)\n",
        "groups         2: staff, admins (from groups)\n",
        "name           none; looked for cn (idps.idp.saml.attributes.name)\n",
        "a first login would look for externalId = alice@example.test (from NameID)",
        "unverified_email",
        "          admins\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!text.contains("FAIL") && !text.contains("idp_initiated"), "{text}");

    let idp = entry("idp", "acme.xml", "").replace("claim: NameID", "claim: employeeNumber");
    let (_, text) = Place::new(&idp).explain("response-signed", &[]);
    assert!(text.contains("would find nobody: employeeNumber (idps.idp.link.claim) did not come"), "{text}");
    // What was verified is told where the person is refused.
    let (code, text) = place.explain("name-id-transient", &[]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("FAIL  person\n") && text.contains("saml.subject") && text.contains(TRANSIENT),
        "{text}"
    );
}

#[test]
fn a_refused_response_says_what_to_change() {
    let place = Place::of_corpus("acme", "");
    let known = "d7:b3:25:f4:05:89:7f:ca";
    let got = |name: &str, before: &str| {
        let text = read_xml(name);
        let rest = text.split_once(before).unwrap().1;
        rest.split(['"', '<']).next().unwrap().to_owned()
    };
    let recipient = got("recipient-other", "Recipient=\"");
    let audience = got("audience-other", "<saml:Audience>");
    assert!(recipient != ACS && audience != ENTITY_ID);
    for (name, parts) in [
        (
            "recipient-other",
            &[
                "FAIL  recipient\n",
                "Recipient mismatch: paste the ACS URL",
                &format!("got       {recipient}\n"),
                &format!(" ACS URL: {ACS}\n"),
                "Refused: recipient (saml_recipient in the log).",
            ][..],
        ),
        (
            "audience-other",
            &[
                "FAIL  audience\n",
                "Audience mismatch: paste the entity ID",
                &format!("got       {audience}\n"),
                &format!(" audience (entity ID): {ENTITY_ID}\n"),
                "saml.entity_id",
            ],
        ),
        ("expired-conditions-response", &["FAIL  conditions\n", ", 3600 s ago\n", "run NTP"]),
        (
            "wrong-key-other-idp",
            &[
                "FAIL  signature\n",
                &format!("(certificates by SHA-256: {known})"),
                "has rotated its certificate",
                "idps.idp.saml.metadata is a document that nobody fetches",
            ],
        ),
        (
            "weak-rsa-sha1",
            &[
                "FAIL  signature\n",
                "got       SignatureMethod: rsa-sha1\n",
                "to RSA-SHA256",
                "allow_sha1: true below idps.idp.saml",
            ],
        ),
        ("audience-restriction-absent", &["got       no restriction of the audience\n"]),
    ] {
        let (code, text) = place.explain(name, &[]);
        assert_eq!(code, Some(1), "{text}");
        for part in parts {
            assert!(text.contains(part), "{name}: {part:?} in {text}");
        }
    }
    // Under the product's own words.
    let okta = entry("idp", "acme.xml", "").replace("    saml:", "    preset: okta\n    saml:");
    let (_, text) = Place::new(&okta).explain("recipient-other", &[]);
    assert!(text.contains(&format!(" single sign-on URL: {ACS}\n")), "{text}");
}

#[test]
fn a_capture_without_its_time_and_its_request_says_how_to_give_them() {
    let place = Place::of_corpus("acme", "");
    let file = place.write("captured", read_xml("response-signed"));
    let text = String::from_utf8(place.run(&file, &[]).stdout).unwrap();
    for part in ["--at 2026-06-15T11:59:58Z\n", &format!("--request-id {REQUEST}\n"), "Refused: expired"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    // The ID is anybody's text where the assertion alone is signed, and people paste what they read into a shell.
    let forged = read_xml("assertion-signed").replacen(REQUEST, "_a;touch x", 1);
    let file = place.write("captured", forged);
    let text = String::from_utf8(place.run(&file, &["--at", &NOON.to_string()]).stdout).unwrap();
    assert!(text.contains("--request-id ID\n"), "{text}");

    let unsolicited = read_json("cases.json").as_array().unwrap().iter().find_map(|case| {
        let is_good = case["request_id"].is_null() && case["expect"]["accepted"] == true;
        is_good.then(|| String::from_utf8(fs::read(vectors().join(case["file"].as_str()?)).ok()?).ok())?
    });
    let file = place.write("captured", unsolicited.unwrap());
    // It is judged by the setting, as the program does.
    let said = |place: &Place| {
        let output = place.run(&file, &["--at", &NOON.to_string()]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = said(&place);
    assert!(
        code == Some(1) && text.contains("in_response_to") && text.contains("set `idp_initiated`"),
        "{text}"
    );
    let restarting = Place::of_corpus("acme", "      idp_initiated: restart\n");
    assert!(said(&restarting).1.contains("begins a login of its own"));
    let accepting = Place::of_corpus("acme", "      idp_initiated: accept\n");
    let (code, text) = said(&accepting);
    assert!(
        code == Some(0) && text.contains("Accepted.") && text.contains("a page would ask first"),
        "{text}"
    );
}

#[test]
fn the_identity_provider_is_the_one_that_the_response_names() {
    let place = Place::new(&(entry("one", "acme.xml", "") + &entry("two", "other.xml", "")));
    let said = |words: &[&str]| place.explain("response-signed", words);
    let (_, text) = said(&[]);
    assert!(text.starts_with("A response of one to the request "), "{text}");
    assert!(text.contains("one/acs\n") && text.contains(" ACS URL: "), "the word of its own: {text}");
    let (_, text) = said(&["--idp", "two"]);
    assert!(text.contains("FAIL  signature"), "{text}");
    let file = place.write("nonsense", "PGE+");
    for (words, told) in [
        (&["--idp", "three"][..], "Known: one, two"),
        (&[][..], "the response does not say whose it is. Name one with --idp: one, two"),
    ] {
        let output = place.run(&file, words);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true), "{errors}");
        assert!(errors.contains(told), "{errors}");
    }
    let binary = place.write("binary", [0xff, 0xfe, b'<']);
    for words in [&["not-there"][..], &[&*file, "--idp", "one", "--metadata", &*binary]] {
        let output = place.run(words[0], &words[1..]);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true), "{words:?}");
    }
    let mine = Place::new(&entry("idp", "not-there.xml", ""));
    assert_eq!(mine.run("portcullis.yaml", &[]).status.code(), Some(78));
    let told = mine.judge("portcullis.yaml", &[]);
    assert_eq!(
        (&told["checks"][0]["id"], &told["checks"][0]["state"]),
        (&json!("configuration"), &json!("fail"))
    );
}

#[test]
fn it_creates_nothing_and_fetches_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = &*format!("https://{}/metadata", listener.local_addr().unwrap());
    // Nor does it look at a secret.
    let beside = "  op:\n    domains: [op.test]\n    oidc:\n      issuer: https://op.test\n      client_id: a\n      \
                  client_secret: ${run:touch secret-was-read}\n";
    let place = Place::new(&(entry("idp", address, "") + beside));
    let list = || {
        let mut names: Vec<_> =
            fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    place.explain("response-signed", &[]);
    let before = list();
    let (code, text) = place.explain("response-signed", &[]);
    assert_eq!((code, list()), (Some(1), before), "no state folder, no keys");
    assert!(text.contains("FAIL  metadata") && text.contains(address), "{text}");
    assert!(text.contains("start the program once") && text.contains("--metadata FILE"), "{text}");
    let (code, text) = place.explain("response-signed", &["--metadata", "acme.xml"]);
    assert_eq!(code, Some(0), "{text}");
    // Without keys of ours it says why nothing opens.
    let (code, text) = place.explain("encrypted-aes256-gcm", &["--metadata", "acme.xml"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("We have no keys of our own"), "{text}");

    // The document that was fetched last stands in for its address.
    let print = &portcullis_keys::sha256(address.as_bytes())[..8];
    let print: String = print.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir(place.path().join("state")).unwrap();
    let kept = fs::read(place.path().join("acme.xml")).unwrap();
    place.write(&format!("state/metadata-idp-{print}.xml"), kept);
    let (code, text) = place.explain("response-signed", &[]);
    assert_eq!(code, Some(0), "{text}");
    let (_, text) = place.explain("wrong-key-other-idp", &[]);
    assert!(text.contains(&format!("fetched from {address}")), "{text}");
    assert_eq!(fs::read_dir(place.path().join("state")).unwrap().count(), 1);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody was asked");
    assert!(!list().iter().any(|name| name == "secret-was-read"));
}

#[test]
fn nothing_in_a_response_acts_on_a_terminal() {
    let is_plain = |text: &str| text.chars().all(|c| c == '\n' || portcullis_policy::is_seen(c));
    // Whatever stands around a signed assertion is anybody's.
    let xml = read_xml("assertion-signed").replacen(&format!("=\"{ACS}\""), "=\"https://a&#x202E;b\"", 1);
    let place = Place::of_corpus("acme", "");
    let output = place.run(
        &place.write("captured", &xml),
        &["--at", &NOON.to_string(), "--request-id", "_a\u{202e}\u{1b}b"],
    );
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["got       https://a\\u{202e}b\n", "to the request _a\\u{202e}\\u{1b}b, as of"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(is_plain(&text), "{text:?}");

    let xml = xml.replace("https://idp.example.test/saml/metadata", "https://a&#x202E;b");
    let place = Place::new(&(entry("one", "acme.xml", "") + &entry("two", "other.xml", "")));
    let output = place.run(&place.write("captured", xml), &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("the issuer https://a\\u{202e}b is none that is known here"), "{text}");
    assert!(is_plain(&text), "{text:?}");
}

//! Promise: each row of `docs/symptoms.md` is what the program says. The test of a row brings the symptom about, and compares
//! the line and what to do with the page, word for word; `…` there stands for what differs.

use std::fs;
use std::path::Path;

use http::Method;
use portcullis_policy::Timestamp;
use serde_json::json;

use crate::doctor::Place;
use crate::rig::application::Application;
use crate::rig::directory::{USER, user};
use crate::rig::program::Program;
use crate::rig::provider::Profile;
use crate::rig::seed::Seed;
use crate::rig::served_provider::ServedProvider;
use crate::rig::settings::Settings;
use crate::rig::sqlite_lock;

/// The rows that a test brings about.
const BROUGHT_ABOUT: [&str; 36] = [
    "`redirect_uri_mismatch`",
    "`invalid_client`, the client ID",
    "`invalid_client`, the secret",
    "`unauthorized_client`",
    "`invalid_scope`",
    "a scope that it does not list",
    "`access_denied`",
    "the clocks differ",
    "no key for a signature",
    "Draft: an HTML login page",
    "Draft: not reachable from here",
    "Draft: another issuer",
    "Validating",
    "Active",
    "Recipient mismatch",
    "Audience mismatch",
    "Signature invalid",
    "Response expired",
    "NameID missing",
    "attributes missing",
    "Draft: an HTML login page instead of metadata",
    "the certificate of the metadata ends",
    "401 Unauthorized",
    "401 Unauthorized, the token has ended",
    "401 Unauthorized, there is no token",
    "403 Forbidden",
    "404 Not Found",
    "404 Not Found, in the provisioning log",
    "users come without attributes",
    "created, never updated",
    "deactivated there, active here",
    "Inactive: no call yet",
    "Inactive: only 401s",
    "Validating: calls, but no user",
    "Linked",
    "the domain is not allowed",
];

/// A row of the page.
struct Symptom {
    word: String,
    line: String,
    remedy: String,
}

fn read_page() -> Vec<Symptom> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/symptoms.md");
    let code = |cell: &str| cell.trim_matches('`').trim().to_owned();
    let rows = fs::read_to_string(path).unwrap();
    let rows = rows.lines().filter_map(|line| {
        let cells: Vec<&str> =
            line.strip_prefix("| ")?.strip_suffix('|')?.split(" |").map(str::trim).collect();
        match cells.as_slice() {
            [word, by, line, remedy] if by.starts_with('`') => {
                Some(Symptom { word: (*word).to_owned(), line: code(line), remedy: code(remedy) })
            }
            _ => None,
        }
    });
    rows.collect()
}

#[test]
fn each_row_of_the_page_is_brought_about() {
    let words: Vec<String> = read_page().into_iter().map(|symptom| symptom.word).collect();
    assert_eq!(words, BROUGHT_ABOUT);
}

/// Tells whether a line is what the page says, blanks counted once.
fn fits(template: &str, line: &str) -> bool {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = template.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut is_open = false;
    for part in parts {
        is_open = part.is_empty();
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    is_open || rest.is_empty()
}

/// Asserts that these lines say the row of the page.
#[track_caller]
fn assert_said(word: &str, said: &str) {
    assert!(BROUGHT_ABOUT.contains(&word), "{word}");
    let page = read_page();
    let symptom = page.iter().find(|symptom| symptom.word == word).unwrap();
    let mut lines = said.lines().skip_while(|line| !fits(&symptom.line, line));
    assert!(lines.next().is_some(), "{word}: no line is {:?} in\n{said}", symptom.line);
    if symptom.remedy.is_empty() {
        return;
    }
    let is_remedy = |line: &str| fits(&symptom.remedy, line.trim_start().trim_start_matches("-> "));
    assert!(lines.any(is_remedy), "{word}: nothing behind it is {:?} in\n{said}", symptom.remedy);
}

/// A program in front of an application, whose identity provider is bent by a test.
struct Scene {
    program: Program,
    op: ServedProvider,
}

impl Scene {
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let mut scene = Self::install(change).await;
        scene.program.begin().await;
        scene
    }

    /// The same without starting it.
    async fn install(change: impl FnOnce(&mut Settings)) -> Self {
        let app = Application::start().await;
        let settings = Settings::new(app.address);
        let op = ServedProvider::start(&settings.callback("op")).await;
        let mut settings = settings.with_idp(&op.issuer, &op.client);
        change(&mut settings);
        // The application lives as long as the test.
        std::mem::forget(app);
        Self { program: Program::install(settings), op }
    }

    /// Text of a command, and the code that it ends with.
    fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = tokio::task::block_in_place(|| self.program.command(words));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap();
        self.program.watch.check("doctor", &said);
        (output.status.code(), said)
    }

    #[track_caller]
    fn assert_doctor(&self, word: &str, code: i32) {
        let (ended, said) = self.run(&["doctor"]);
        assert_said(word, &said);
        assert_eq!(ended, Some(code), "{said}");
    }

    /// Opens the application as whoever is signed in at the provider; the number on the page, where it shows one.
    async fn open_app(&self) -> (u16, Option<String>) {
        let mut browser = self.program.browser();
        let page = browser.open("/").await;
        (page.status().as_u16(), number_on(&page.text()))
    }
}

/// The reference number that a page shows.
fn number_on(page: &str) -> Option<String> {
    let mut words = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let is_number = |word: &&str| {
        word.len() == 9 && word.as_bytes()[4] == b'-' && portcullis_keys::read_reference(word).is_some()
    };
    words.find(is_number).map(str::to_owned)
}

fn mira() -> Profile {
    Profile {
        subject: "00u-mira".to_owned(),
        name: "Mira".to_owned(),
        user_name: "mira".to_owned(),
        email: "mira@corp.test".to_owned(),
        group: "staff".to_owned(),
    }
}

fn changed(settings: &mut Settings, from: &str, to: &str) {
    assert!(settings.idps.contains(from), "{}", settings.idps);
    settings.idps = settings.idps.replace(from, to);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_uri_or_a_client_that_the_provider_does_not_have() {
    let scene = Scene::start(|_| {}).await;
    scene.assert_doctor("Validating", 0);
    let other = Scene::start(|_| {}).await;
    // Registered for another address.
    let client = scene.op.client.clone();
    let elsewhere = Scene::start(|settings| {
        *settings = settings.clone().with_idp(&scene.op.issuer, &client);
    })
    .await;
    elsewhere.assert_doctor("`redirect_uri_mismatch`", 1);
    let stranger = Scene::start(|settings| {
        let id = settings.idps.lines().find_map(|line| line.trim().strip_prefix("client_id: ")).unwrap();
        settings.idps = settings.idps.replace(&id.to_owned(), "nobody-here");
    })
    .await;
    stranger.assert_doctor("`invalid_client`, the client ID", 1);
    let forgot = Scene::start(|settings| settings.client_secret = "an-old-client-secret".to_owned()).await;
    forgot.assert_doctor("`invalid_client`, the secret", 1);
    other.op.say("/token", 400, r#"{"error":"unauthorized_client"}"#);
    other.assert_doctor("`unauthorized_client`", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_that_the_provider_does_not_have() {
    let scene = Scene::start(|settings| {
        changed(settings, "      client_id:", "      scopes: [openid, email, payroll]\n      client_id:");
    })
    .await;
    scene.assert_doctor("a scope that it does not list", 0);
    let to = format!("{}?error=invalid_scope", scene.program.settings.callback("op"));
    scene.op.answer("/authorize", move || {
        let answer = http::Response::builder().status(302).header("location", &to);
        answer.body(bytes::Bytes::new()).unwrap()
    });
    scene.assert_doctor("`invalid_scope`", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_and_keys_of_the_provider() {
    let scene = Scene::start(|_| {}).await;
    scene.op.set_ahead(3_600_000);
    scene.assert_doctor("the clocks differ", 1);
    scene.op.set_ahead(0);
    scene
        .op
        .inside()
        .metadata
        .insert("id_token_signing_alg_values_supported".into(), json!(["HS256", "RS256"]));
    scene.assert_doctor("no key for a signature", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_metadata_cannot_be_read_is_a_draft() {
    const DOCUMENT: &str = "/.well-known/openid-configuration";
    let scene = Scene::start(|_| {}).await;
    scene.op.say(DOCUMENT, 200, "<!doctype html><html>Sign in</html>");
    scene.assert_doctor("Draft: an HTML login page", 1);
    let issuer = json!({ "issuer": "https://login.other.test" }).to_string();
    scene.op.say(DOCUMENT, 200, issuer);
    scene.assert_doctor("Draft: another issuer", 1);
    let nobody = Scene::start(|settings| {
        let (_, issuer) = settings.idp();
        let nowhere = format!("http://idp.localhost:{}", crate::rig::ports::free().port());
        settings.idps = settings.idps.replace(&issuer, &nowhere);
    })
    .await;
    nobody.assert_doctor("Draft: not reachable from here", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_login_tells() {
    let scene = Scene::start(|settings| {
        settings.provisioning = "none";
        settings.more = "headers:\n  user: email\n".to_owned();
        changed(settings, "    oidc:", "    domains: [corp.test]\n    oidc:");
    })
    .await;
    scene.op.sign_in(Profile { email: "mira@other.test".to_owned(), ..mira() });
    let (status, number) = scene.open_app().await;
    let (_, said) = scene.run(&["ref", &number.unwrap_or_else(|| panic!("{status}"))]);
    assert_said("the domain is not allowed", &said);
    scene.op.sign_in(mira());
    assert_eq!(scene.open_app().await.0, 200);
    scene.assert_doctor("Active", 0);

    let callback = scene.program.settings.callback("op");
    let mut browser = scene.program.browser();
    let page = browser.fetch(Method::GET, &format!("{callback}?error=access_denied&state=x"), &[]).await;
    let (_, said) = scene.run(&["ref", &number_on(&page.text()).unwrap()]);
    assert_said("`access_denied`", &said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_does_not_get_in() {
    let scene = Scene::start(|_| {}).await;
    scene.assert_doctor("Inactive: no call yet", 0);
    let directory = scene.program.directory();
    let stranger = directory.clone().with_token("a-token-of-somebody-else");
    for _ in 0..2 {
        assert_eq!(stranger.send(Method::GET, "/Users", None).await.status, 401);
    }
    scene.assert_doctor("401 Unauthorized", 1);
    scene.assert_doctor("Inactive: only 401s", 1);
    let answer = directory.clone().below("/scim").send(Method::GET, "/Users", None).await;
    assert_eq!(answer.status, 404);
    assert_said("404 Not Found, in the provisioning log", answer.json()["detail"].as_str().unwrap());
    scene.assert_doctor("404 Not Found", 1);
    assert_eq!(directory.send(Method::GET, "/Users", None).await.status, 200);
    scene.assert_doctor("Validating: calls, but no user", 0);

    let closed = Scene::start(|settings| settings.scim_more = "  allow: [192.0.2.0/24]\n").await;
    assert_eq!(closed.program.directory().send(Method::GET, "/Users", None).await.status, 403);
    closed.assert_doctor("403 Forbidden", 1);

    let without = Scene::start(|settings| settings.scim_token.clear()).await;
    without.assert_doctor("401 Unauthorized, there is no token", 1);
    let made = without.program.command(&["token", "new", "--scim", "--name", "okta"]);
    without.program.watch.secret("a token", String::from_utf8(made.stdout).unwrap().trim());
    let mut database = sqlite_lock::open(&without.program.database()).await;
    sqlx::query("update token set created = 1, expires = 2").execute(&mut database).await.unwrap();
    without.assert_doctor("401 Unauthorized, the token has ended", 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_says_too_little() {
    let scene = Scene::start(|_| {}).await;
    let directory = scene.program.directory();
    let bare = json!({ "schemas": [USER], "userName": "ann@corp.test", "active": true });
    let some = json!({
        "schemas": [USER], "userName": "ben@corp.test", "emails": [{ "value": "ben@corp.test" }], "externalId": "7",
    });
    for body in [bare, some] {
        assert_eq!(directory.send(Method::POST, "/Users", Some(&body)).await.status, 201);
    }
    scene.assert_doctor("users come without attributes", 0);
    scene.assert_doctor("Linked", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_never_changes_anybody() {
    let mut scene = Scene::install(|_| {}).await;
    let seed = Seed::open(scene.program.folder(), &scene.program.settings).await;
    let long_ago = Timestamp::now().plus_ms(-40 * 86_400_000);
    for name in ["ann", "ben"] {
        seed.post_at("/Users", user(&format!("{name}@corp.test"), name), long_ago).await;
    }
    seed.close().await;
    // Without a program, and with one.
    scene.assert_doctor("created, never updated", 0);
    scene.program.begin().await;
    scene.assert_doctor("created, never updated", 0);
    scene.assert_doctor("deactivated there, active here", 0);
    let directory = scene.program.directory();
    let listed = directory.send(Method::GET, "/Users", None).await.json();
    let id = listed["Resources"][0]["id"].as_str().unwrap();
    assert_eq!(directory.send(Method::DELETE, &format!("/Users/{id}"), None).await.status, 204);
    let (_, said) = scene.run(&["doctor", "scim"]);
    for told in ["people were changed within 30 days", "people were deactivated or removed within 30 days"] {
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn a_saml_response_that_is_refused() {
    let place = Place::of_corpus("acme", "      attributes:\n        name: cn\n");
    for (word, response, code) in [
        ("Recipient mismatch", "recipient-other", 1),
        ("Audience mismatch", "audience-other", 1),
        ("Signature invalid", "wrong-key-other-idp", 1),
        ("Response expired", "expired-conditions-response", 1),
        ("NameID missing", "name-id-absent", 1),
        ("attributes missing", "response-signed", 0),
    ] {
        let (ended, said) = place.explain(response, &[]);
        assert_said(word, &said);
        assert_eq!(ended, Some(code), "{said}");
    }
}

/// Metadata of an identity provider whose one certificate ends on a day.
fn metadata_until(issuer: &str, day: jiff::civil::Date) -> String {
    use base64::Engine as _;
    let mut params = rcgen::CertificateParams::new(["idp.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(day.year().into(), day.month() as u8, day.day() as u8);
    let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let certificate = base64::engine::general_purpose::STANDARD.encode(certificate.der());
    format!(
        "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" entityID=\"{issuer}\"><IDPSSODescriptor \
         protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\"><KeyDescriptor use=\"signing\"><KeyInfo \
         xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data><X509Certificate>{certificate}</X509Certificate></X509Data>\
         </KeyInfo></KeyDescriptor><SingleSignOnService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" \
         Location=\"{issuer}/sso\"/></IDPSSODescriptor></EntityDescriptor>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_saml_that_cannot_be_read_or_ends() {
    let scene = Scene::install(|settings| {
        let (_, issuer) = settings.idp();
        settings.idps = format!(
            "  op:\n    link:\n      claim: NameID\n      to: externalId\n    saml:\n      metadata: {issuer}/metadata\n"
        );
    })
    .await;
    scene.op.say("/metadata", 200, "<!doctype html><html>Sign in</html>");
    scene.assert_doctor("Draft: an HTML login page instead of metadata", 1);
    let soon = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let soon = soon.checked_add(jiff::Span::new().days(10)).unwrap();
    scene.op.say("/metadata", 200, metadata_until(&scene.op.issuer, soon));
    scene.assert_doctor("the certificate of the metadata ends", 0);
    assert!(!scene.program.folder().join("state").exists(), "it made nothing");
    assert_eq!(scene.op.asked().len(), 2, "{:?}", scene.op.asked());
}

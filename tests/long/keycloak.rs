//! Keycloak: a third provider's habits, by OpenID Connect and by SAML. It notifies nobody of a disabled user, so SCIM is
//! the only signal; but that sessions were ended it says itself, from server to server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::browser::{BrowserPage, HeadlessBrowser};
use crate::rig::idp::lead_on;
use crate::rig::ports;
use crate::rig::saml_idp::{post_saml_messages, sign_in_saml, sign_in_saml_until};
use crate::rig::settings::{Settings, oidc};
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::rig::wire::Dial;
use crate::rig_keycloak::{ALICE, Keycloak, SECRET};

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_signs_in_the_directory_removes_and_keycloak_signs_out() {
    needs!("keycloak");
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    let keycloak = Keycloak::start(&settings).await;
    settings.idps = oidc("op", &keycloak.issuer, "app");
    settings.client_secret = SECRET.to_owned();
    let stage = Stage::of(app, settings).await;
    let id = stage.directory.person("alice", ALICE).await;

    let mut browser = stage.program.browser();
    let page = sign_in(&mut browser).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    assert_eq!(stage.app.last("/home").unwrap().header("x-forwarded-user").as_deref(), Some("alice"));
    stage.directory.deactivate(&id).await;
    assert_eq!(browser.fetch(http::Method::GET, "/home", &[]).await.status(), 401);
    // Keycloak still knows her: it signs her in without a question, and she is refused here.
    assert_eq!(browser.open("/home").await.status(), 403);
    stage.directory.reactivate(&id).await;
    assert_eq!(browser.open("/home").await.status(), 200);

    let asked = browser.open("/.portcullis/logout").await;
    let page = browser.submit(&asked, &asked.form()).await;
    assert_eq!(
        (page.status().as_u16(), page.url.path()),
        (200, "/.portcullis/logged-out"),
        "{}",
        page.text()
    );
    let again = browser.open("/home").await;
    assert!(again.form_with("password").is_some(), "its session is over too: {}", again.text());
}

async fn sign_in(browser: &mut HeadlessBrowser) -> BrowserPage {
    let page = browser.open("/home").await;
    let form = page.form_with("password").unwrap_or_else(|| panic!("no form: {}", page.text()));
    browser.submit(&page, &form.with("username", "alice").with("password", "pw")).await
}

/// The configuration of Keycloak as a provider of SAML. `who` and `more` are as they are written, about its people and
/// below `saml:`.
fn saml(keycloak: &Keycloak, who: &str, more: &str) -> String {
    let metadata = keycloak.saml_metadata();
    format!("  kc:\n    preset: keycloak\n{who}    saml:\n      metadata: {metadata}\n{more}")
}

/// A program, and what it says of itself to Keycloak.
async fn stage_by_saml(keycloak: &Keycloak, encrypts: bool, change: impl FnOnce(&mut Settings)) -> Stage {
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    change(&mut settings);
    let stage = Stage::of(app, settings).await;
    let metadata = stage.program.browser().open("/.portcullis/saml/kc/metadata").await.text();
    let client = keycloak.import_sp(metadata, encrypts).await;
    let known = &client["attributes"];
    // It has read in our metadata that we sign, with which key, that we decrypt, and where logouts go.
    assert_eq!(known["saml.client.signature"], "true", "{client}");
    assert!(known["saml.signing.certificate"].is_string(), "{client}");
    assert_eq!(known["saml.encrypt"], "true", "{client}");
    let slo = format!("{}/.portcullis/saml/kc/slo", stage.program.settings.origin());
    assert_eq!(known["saml_single_logout_service_url_post"], slo, "{client}");
    stage
}

/// Signs in by SAML in a browser of its own, and gives the response too.
async fn sign_in_by_saml(stage: &Stage, name: &str) -> (HeadlessBrowser, String) {
    let mut browser = stage.program.browser();
    let (page, form) = sign_in_saml_until(&mut browser, "/home?a=b", name).await;
    let (_, response) = form.fields.iter().find(|(name, _)| name == "SAMLResponse").unwrap();
    let response = String::from_utf8(STANDARD.decode(response).unwrap()).unwrap();
    let page = browser.submit(&page, &form).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    assert_eq!(page.json()["target"], "/home?a=b");
    (browser, response)
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_by_saml_signs_in_and_ends_sessions_from_server_to_server() {
    needs!("keycloak");
    let keycloak = Keycloak::start(&Settings::new(ports::free())).await;
    every_session_of_one_person_ends_by_its_word(&keycloak).await;
    its_people_are_a_directorys_and_leave_by_our_button(&keycloak).await;
}

async fn every_session_of_one_person_ends_by_its_word(keycloak: &Keycloak) {
    let stage = stage_by_saml(keycloak, false, |settings| {
        settings.provisioning = "none";
        settings.idps = saml(keycloak, "    domains: [example.com]\n", "      trust_email: true\n");
    })
    .await;
    let visitor = |browser: &HeadlessBrowser| Visitor::new(&stage.program.settings, &browser.cookies());
    let (one, response) = sign_in_by_saml(&stage, "alice").await;
    assert_eq!(response.matches("<dsig:SignatureValue>").count(), 2, "response and assertion: {response}");
    let seen = stage.app.last("/home").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("alice@example.com"));
    assert_eq!(seen.header("x-forwarded-groups").as_deref(), Some("staff"));
    let (two, _) = sign_in_by_saml(&stage, "alice").await;
    let (bobs, _) = sign_in_by_saml(&stage, "bob").await;
    let (one, two, bob) = (visitor(&one), visitor(&two), visitor(&bobs));
    let (socket, other) = (one.socket("/ws").await.unwrap(), two.socket("/ws").await.unwrap());
    let mut bobs = bob.stream("/events", Dial::default()).await;

    // One LogoutRequest a session, by Keycloak itself: no browser, no cookie. Its console says done when all are answered.
    keycloak.end_sessions(ALICE).await;
    stage.app.mark("after the answer").await;
    for socket in [socket, other] {
        assert!(!socket.read_out().await.iter().any(|text| text == "after the answer"));
    }
    bobs.until("after the answer").await;
    assert_eq!((one.status("/").await, two.status("/").await, bob.status("/").await), (401, 401, 200));
    let told = stage.program.logged(&["the IdP has ended sessions"]).await;
    assert!(told.contains("\"live\":1"), "each names one session: {told}");
}

async fn its_people_are_a_directorys_and_leave_by_our_button(keycloak: &Keycloak) {
    let link = "    link:\n      claim: username\n      to: userName\n";
    let stage = stage_by_saml(keycloak, true, |settings| settings.idps = saml(keycloak, link, "")).await;
    let id = stage.directory.person("alice", ALICE).await;
    let (mut browser, response) = sign_in_by_saml(&stage, "alice").await;
    assert!(response.contains("EncryptedAssertion") && !response.contains("alice"), "{response}");
    assert_eq!(stage.app.last("/home").unwrap().header("x-forwarded-user").as_deref(), Some("alice"));
    let visitor = Visitor::new(&stage.program.settings, &browser.cookies());

    let asked = browser.open("/.portcullis/logout").await;
    let onward = browser.submit(&asked, &asked.form()).await;
    let page = lead_on(&mut browser, &onward).await;
    let page = post_saml_messages(&mut browser, page).await;
    assert_eq!(
        (page.status().as_u16(), page.url.path()),
        (200, "/.portcullis/logged-out"),
        "{}",
        page.text()
    );
    assert_eq!(visitor.status("/").await, 401);
    let again = browser.open("/home").await;
    assert!(again.form_with("password").is_some(), "its session is over too: {}", again.text());

    stage.directory.deactivate(&id).await;
    assert_eq!(sign_in_saml(&mut browser, "/home", "alice").await.status(), 403);
    stage.program.logged(&["\"reason\":\"inactive\""]).await;
}

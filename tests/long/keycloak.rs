//! Keycloak: a third provider's habits. It notifies nobody of a disabled user, so SCIM is the only signal.

use crate::needs;
use crate::rig::application::Application;
use crate::rig::browser::{BrowserPage, HeadlessBrowser};
use crate::rig::settings::{Settings, oidc};
use crate::rig::stage::Stage;
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

//! PyPI canaille: one product signs people in and provisions them. Log in through it, lock the person in it, be refused.

use crate::needs;
use crate::rig::application::Application;
use crate::rig::browser::HeadlessBrowser;
use crate::rig::canaille::Canaille;
use crate::rig::settings::{Settings, oidc};
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;

const MARK: &str = "written-after-the-lock";

#[tokio::test(flavor = "multi_thread")]
async fn locked_in_canaille_is_out_here() {
    needs!("canaille");
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    let canaille = Canaille::start(&settings).await;
    settings.idps = oidc("canaille", &canaille.issuer, "app")
        .replace("    oidc:\n", "    link: { claim: sub, to: userName }\n    oidc:\n")
        + "      scopes: [openid, profile, email, groups]\n";
    settings.client_secret = "app-secret".to_owned();
    settings.scim_token = "scim-push-token".to_owned();
    let stage = Stage::of(app, settings).await;

    // Any save of a person pushes them: the lock of nobody is the shortest.
    for name in ["alice", "bob"] {
        canaille.run(&["set", "user", name, "--title", "Boss", "--quiet"]).await;
    }
    let found = stage.directory.find("userName eq \"alice\"").await;
    assert_eq!(found["totalResults"], 1, "{found}");
    assert!(found["Resources"][0].get("password").is_none(), "its password hash is not kept");

    let mut browser = stage.program.browser();
    let page = sign_in(&mut browser, "alice", "pw-of-alice-9").await;
    assert_eq!(page.status(), 200, "{}", page.text());
    let seen = stage.app.last("/home").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("alice"));
    assert_eq!(
        seen.header("x-forwarded-groups").as_deref(),
        Some("staff"),
        "groups are what the directory says"
    );
    let alice = Visitor::new(&stage.program.settings, &browser.cookies());
    let mut socket = alice.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();

    // The command returns when its pushes were answered.
    canaille.run(&["set", "user", "alice", "--lock-date", "2020-01-01T00:00:00+00:00", "--quiet"]).await;
    stage.app.mark(MARK).await;
    assert!(!socket.read_out().await.iter().any(|text| text == MARK));
    let before = stage.app.count();
    assert_eq!(alice.status("/home").await, 401);
    assert_eq!(stage.app.count(), before);

    canaille.unlock("alice").await;
    assert_eq!(alice.status("/home").await, 401, "the old session stays dead");
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "alice", "pw-of-alice-9").await.status(), 200);
    let hash = stage.program.log().contains("pbkdf2");
    assert!(!hash, "a password hash stands in the log");
}

async fn sign_in(
    browser: &mut HeadlessBrowser,
    name: &str,
    password: &str,
) -> crate::rig::browser::BrowserPage {
    let mut page = browser.open("/home").await;
    for _ in 0..3 {
        let form = match (page.form_with("login"), page.form_with("password")) {
            (Some(form), _) => form.with("login", name).with("answer", ""),
            (None, Some(form)) => form.with("password", password),
            (None, None) => return page,
        };
        page = browser.submit(&page, &form).await;
    }
    page
}

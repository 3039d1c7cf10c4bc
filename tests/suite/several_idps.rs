//! Several identity providers in one deployment: which one a person is sent to, and that none of them speaks for
//! another's people.

use http::Method;
use serde_json::json;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::browser::{BrowserPage, HeadlessBrowser};
use crate::rig::idp::{Client, Op, finish_sign_in, lead_on};
use crate::rig::inspect::session_of;
use crate::rig::settings::{Settings, oidc};
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;

/// A second provider for tests of this file.
fn second() -> &'static Op {
    static SECOND: std::sync::OnceLock<Op> = std::sync::OnceLock::new();
    SECOND.get_or_init(Op::start)
}

/// A stage with two providers: `one` for one.test, `two` for two.test.
async fn stage(change: impl FnOnce(&mut Settings)) -> Stage {
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    let client = Client::drawn();
    Op::shared().register(&client, &settings, &["one"]).await;
    second().register(&client, &settings, &["two"]).await;
    let of = |name: &str, op: &Op| {
        let lines = oidc(name, &op.issuer, &client.id);
        lines.replacen("    oidc:", &format!("    domains: [{name}.test]\n    oidc:"), 1)
    };
    settings.idps = of("one", Op::shared()) + &of("two", second());
    settings.client_secret.clone_from(&client.secret);
    change(&mut settings);
    Stage::of(app, settings).await
}

/// Gives an address on the page that asks for one; the page that comes.
async fn give_address(browser: &mut HeadlessBrowser, page: &BrowserPage, address: &str) -> BrowserPage {
    let form = page.form_with("email").unwrap_or_else(|| panic!("no page that asks: {}", page.text()));
    browser.submit(page, &form.with("email", address)).await
}

/// The provider that a page is of.
fn is_at(page: &BrowserPage, op: &Op) -> bool {
    page.url.as_str().starts_with(&op.issuer)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_says_where_a_person_signs_in_and_the_browser_remembers() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@two.test", "00u-mira").await;
    let mut browser = stage.program.browser();
    let page = browser.open("/deep?a=b").await;
    assert!(page.status() == 200 && page.url.path() == "/.portcullis/login", "{}", page.url);
    for name in ["one", "two", "corp.test"] {
        assert!(!page.text().contains(name), "no provider and no domain is told: {}", page.text());
    }
    for unknown in ["mira@elsewhere.test", "mira", "@", "mira@two.test.evil.test", "mira@xtwo.test"] {
        let page = give_address(&mut browser, &page, unknown).await;
        assert!(
            page.form_with("email").is_some() && page.text().contains("Nobody signs in here"),
            "{unknown}"
        );
    }
    let onward = give_address(&mut browser, &page, " Mira@TWO.test ").await;
    assert!(!onward.text().contains("ira@"), "the address is in no address of ours: {}", onward.text());
    let page = lead_on(&mut browser, &onward).await;
    assert!(is_at(&page, second()), "{}", page.url);
    let page = finish_sign_in(&mut browser, page, "00u-mira").await;
    assert_eq!(page.json()["target"], "/deep?a=b");

    // The next login asks nothing.
    let (session, _) = session_of(&browser).unwrap();
    browser.jar.plant("app.localhost", &session, "gone");
    assert_eq!(browser.open("/").await.json()["target"], "/", "the provider knows her still");
    // But whoever wants to choose can.
    let page = browser.open("/.portcullis/login?choose&return_to=/x").await;
    assert!(page.form_with("email").is_some());
    // Another browser knows nothing, and an address that names the provider needs no page.
    let mut other = stage.program.browser();
    assert!(is_at(&other.open("/.portcullis/login?idp=two").await, second()));
    assert!(is_at(&other.open("/.portcullis/login?idp=one").await, Op::shared()));
    assert!(other.open("/.portcullis/login?idp=three").await.form_with("email").is_some());
    // Another site cannot make the browser choose.
    let form = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.test")];
    assert_eq!(other.fetch(Method::POST, "/.portcullis/login", &form).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_for_any_domain_takes_what_no_other_lists() {
    needs!("op");
    let stage = stage(|settings| settings.idps = settings.idps.replace("[one.test]", "any")).await;
    let mut browser = stage.program.browser();
    for (address, op) in [("a@two.test", second()), ("a@elsewhere.test", Op::shared())] {
        let page = browser.open("/.portcullis/login?choose").await;
        let page = give_address(&mut browser, &page, address).await;
        let page = lead_on(&mut browser, &page).await;
        assert!(is_at(&page, op), "{address}: {}", page.url);
    }
}

/// Signs in by a provider that is named.
async fn sign_in_by(stage: &Stage, idp: &str, name: &str) -> (HeadlessBrowser, BrowserPage) {
    let mut browser = stage.program.browser();
    let page = browser.open(&format!("/.portcullis/login?idp={idp}")).await;
    let page = finish_sign_in(&mut browser, page, name).await;
    (browser, page)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_of_one_provider_does_not_become_anothers_by_that_ones_word() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@one.test", "00u-mira").await;
    let (_, page) = sign_in_by(&stage, "one", "00u-mira").await;
    assert_eq!(page.status(), 200, "{}", page.text());
    // The other one says the same subject.
    let (_, page) = sign_in_by(&stage, "two", "00u-mira").await;
    assert_eq!(page.status(), 403);
    let told = stage.program.logged(&["\"reason\":\"linked_to_another\""]).await;
    assert!(told.contains("\"idp\":\"two\""), "{told}");
    // And nobody whose address is of the other one's domain is matched by this one.
    stage.directory.person("nora@one.test", "00u-nora").await;
    let (_, page) = sign_in_by(&stage, "two", "00u-nora").await;
    assert_eq!(page.status(), 403);
    stage.program.logged(&["\"reason\":\"domain\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_names_its_provider_is_closed_to_the_other() {
    needs!("op");
    let stage = stage(|settings| settings.scim_idps = Some("[one]")).await;
    stage.directory.person("mira@two.test", "00u-mira").await;
    let (_, page) = sign_in_by(&stage, "two", "00u-mira").await;
    assert_eq!(page.status(), 403);
    stage.program.logged(&["\"reason\":\"other_directory\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_goes_takes_its_own_people_along() {
    needs!("op");
    for reloads in [true, false] {
        let mut stage = stage(|_| {}).await;
        stage.directory.person("mira@one.test", "00u-mira").await;
        stage.directory.person("nora@two.test", "00u-nora").await;
        let (mira, _) = sign_in_by(&stage, "one", "00u-mira").await;
        let (nora, _) = sign_in_by(&stage, "two", "00u-nora").await;
        let visitor = |browser: &HeadlessBrowser| Visitor::new(&stage.program.settings, &browser.cookies());
        let (mira, nora) = (visitor(&mira), visitor(&nora));
        assert_eq!((mira.status("/").await, nora.status("/").await), (200, 200));
        let only_one = |settings: &mut Settings| {
            settings.idps.truncate(settings.idps.find("  two:").unwrap());
        };
        if reloads {
            stage.program.reload(only_one).await;
            stage.program.logged(&["the configuration is in force"]).await;
        } else {
            stage.stop().await;
            only_one(&mut stage.program.settings);
            crate::rig::program::write_files(stage.program.folder(), &stage.program.settings);
            stage.program.begin().await;
        }
        assert_eq!((mira.status("/").await, nora.status("/").await), (200, 401), "reload: {reloads}");
        // With one provider left nobody is asked.
        let mut browser = stage.program.browser();
        assert!(is_at(&browser.open("/").await, Op::shared()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_directory_each_provider_has_its_own_people() {
    needs!("op");
    let stage = stage(|settings| settings.provisioning = "none").await;
    for (op, domain) in [(Op::shared(), "one.test"), (second(), "two.test")] {
        op.person("same", json!({ "email": format!("same@{domain}"), "email_verified": true })).await;
    }
    let (mut one, page) = sign_in_by(&stage, "one", "same").await;
    assert_eq!(page.status(), 200, "{}", page.text());
    let (mut two, page) = sign_in_by(&stage, "two", "same").await;
    assert_eq!(page.status(), 200, "{}", page.text());
    assert!(one.open("/.portcullis/me").await.text().contains("same@one.test"));
    assert!(two.open("/.portcullis/me").await.text().contains("same@two.test"));
    // An address of the other one's domain is not this one's to give.
    second().person("thief", json!({ "email": "same@one.test", "email_verified": true })).await;
    let (_, page) = sign_in_by(&stage, "two", "thief").await;
    assert_eq!(page.status(), 403);
    stage.program.logged(&["\"reason\":\"domain\""]).await;
}

//! Signing in and out by SAML as a person sees it, in headless Chromium: the identity provider is another site, so the
//! browser's own rules say which cookies come along with what it posts, and which forms a page may send.

use serde_json::Value;

use crate::in_a_browser::picture;
use crate::needs;
use crate::rig::chromium::Chromium;
use crate::rig::inspect::{FLOW_COOKIE, SESSION_COOKIE};
use crate::rig::saml_idp::SimpleSaml;
use crate::rig::settings::{Settings, oidc};
use crate::rig::stage::Stage;
use crate::rig::{ports, tls};
use crate::saml::{BY_NAME_ID, person, saml, stage_at};

/// Where a person wants to go: a page of the application that says when its script runs.
const WAY: &str = "/page?way=back";

/// Fills the provider's own form.
async fn sign_in(chromium: &Chromium, idp: &SimpleSaml, uid: &str) {
    chromium.fill("input[name=username]", uid).await;
    assert_eq!(chromium.run("return location.origin").await, *idp.origin);
    chromium.fill("input[name=password]", "pw").await;
    chromium.click("#submit_button").await;
}

async fn is_at(chromium: &Chromium, url: &str) -> bool {
    chromium.run("return location.href").await == url
}

/// The cookies of ours that come along with what another site posts.
async fn crossing(chromium: &Chromium, stage: &Stage) -> Vec<Value> {
    let mut cookies = chromium.cookies(&stage.program.settings.host).await;
    cookies.retain(|cookie| cookie["sameSite"] == "None");
    cookies
}

/// The session cookie, which has the flags it must have.
async fn session_of(chromium: &Chromium, stage: &Stage) -> Option<Value> {
    let mut cookies = chromium.cookies(&stage.program.settings.host).await;
    cookies.retain(|cookie| cookie["name"].as_str().unwrap().starts_with(SESSION_COOKIE));
    let cookie = cookies.pop()?;
    let flags = (&cookie["secure"], &cookie["httpOnly"], &cookie["sameSite"], &cookie["path"]);
    assert_eq!(flags, (&true.into(), &true.into(), &"Lax".into(), &"/".into()));
    stage.program.watch.secret("a session cookie", cookie["value"].as_str().unwrap());
    Some(cookie)
}

/// Presses our button and ends on our page, signed out at both: the session's cookie is gone, and worth nothing to whoever
/// has kept it.
async fn sign_out(chromium: &Chromium, stage: &Stage) {
    let origin = stage.program.settings.origin();
    let session = session_of(chromium, stage).await.expect("a session");
    let pages = stage.app.count_of("/page");
    chromium.open(&format!("{origin}/.portcullis/logout")).await;
    chromium.reads("Sign out?").await;
    chromium.click("form button").await;
    chromium.reads("You are signed out").await;
    chromium.reads("and the sign-in service").await;
    assert!(is_at(chromium, &format!("{origin}/.portcullis/logged-out")).await);
    assert_eq!(session_of(chromium, stage).await, None);
    chromium.plant_cookie(&origin, session).await;
    chromium.open(&format!("{origin}{WAY}")).await;
    chromium.reads("Enter your username and password").await;
    assert_eq!(stage.app.count_of("/page"), pages);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_page_that_asks_for_an_address_to_signed_out_at_both() {
    needs!("chromium");
    needs!("simplesamlphp");
    let idp = SimpleSaml::shared();
    let two = |settings: &mut Settings| {
        let other = oidc("other", &format!("http://{}", ports::free()), "nobody");
        settings.idps = saml("corp", &idp.metadata_url(), "[corp.test]", BY_NAME_ID, "")
            + &other.replacen("    oidc:", "    domains: [other.test]\n    oidc:", 1);
    };
    let (stage, _) = stage_at(idp, two, |_| {}).await;
    let uid = person(idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    let origin = stage.program.settings.origin();
    let chromium = Chromium::start((800, 700), &[]).await;
    chromium.screen(800, 600).await;

    // The address says where, and the page leads on by itself.
    chromium.open(&format!("{origin}{WAY}")).await;
    chromium.reads("E-mail address").await;
    chromium.picture(&picture("saml-1-address")).await;
    chromium.fill("input[name=email]", "mira@elsewhere.test").await;
    chromium.click("form button").await;
    chromium.reads("Nobody signs in here with that address").await;
    chromium.picture(&picture("saml-2-unknown-address")).await;
    chromium.fill("input[name=email]", "mira@corp.test").await;
    chromium.click("form button").await;
    chromium.reads("Enter your username and password").await;
    let flows = crossing(&chromium, &stage).await;
    assert!(flows.len() == 1 && flows[0]["name"].as_str().unwrap().starts_with(FLOW_COOKIE), "{flows:?}");
    assert!(flows[0]["secure"] == true && flows[0]["httpOnly"] == true, "{flows:?}");
    assert_eq!(session_of(&chromium, &stage).await, None);

    // The answer comes from the other site, with that cookie.
    sign_in(&chromium, idp, &uid).await;
    chromium.reads("socket open").await;
    assert!(is_at(&chromium, &format!("{origin}{WAY}")).await);
    let seen = stage.app.last("/page").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("mira@corp.test"));
    assert_eq!(seen.header("cookie"), None, "our cookies stay with us");
    assert_eq!(crossing(&chromium, &stage).await, [] as [Value; 0], "it is spent");

    // Our button, the provider's single logout, and back: redirects of a form that our page's policy lets through.
    sign_out(&chromium, &stage).await;

    // The browser remembered which provider, and that one asks again. With a cookie as others are the answer is nobody's.
    let pages = stage.app.count_of("/page");
    let mut flow = crossing(&chromium, &stage).await.pop().expect("a login under way");
    flow["sameSite"] = "Lax".into();
    chromium.plant_cookie(&origin, flow).await;
    sign_in(&chromium, idp, &uid).await;
    chromium.reads("Your login got lost").await;
    assert!(is_at(&chromium, &format!("{origin}/.portcullis/saml/corp/acs")).await);
    assert_eq!(stage.app.count_of("/page"), pages);
}

/// The metadata without what goes by redirect.
fn by_form_alone(metadata: &str) -> String {
    metadata.split_inclusive('>').filter(|tag| !tag.contains("bindings:HTTP-Redirect")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_by_form_is_sent_by_our_page_itself() {
    needs!("chromium");
    needs!("simplesamlphp");
    let idp = SimpleSaml::shared();
    let metadata = by_form_alone(&idp.metadata().await);
    assert!(
        metadata.contains("SingleSignOnService") && metadata.contains("SingleLogoutService"),
        "{metadata}"
    );
    let by_form = |settings: &mut Settings| {
        settings.scheme = "https";
        let metadata = format!("'{}'", metadata.replace('\n', " ").replace('\'', "''"));
        settings.idps = saml("corp", &metadata, "[corp.test]", BY_NAME_ID, "      binding: post\n");
    };
    let (stage, _) = stage_at(idp, by_form, |_| {}).await;
    let uid = person(idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    let origin = stage.program.settings.origin();
    let trust = format!("--ignore-certificate-errors-spki-list={}", tls::leaf_key_hash());
    let chromium = Chromium::start((800, 700), &[trust]).await;

    chromium.open(&format!("{origin}{WAY}")).await;
    chromium.reads("Enter your username and password").await;
    sign_in(&chromium, idp, &uid).await;
    chromium.reads("socket open").await;
    assert!(is_at(&chromium, &format!("{origin}{WAY}")).await);
    sign_out(&chromium, &stage).await;
}

/// The provider leads the browser from one application to the next, by redirects.
#[tokio::test(flavor = "multi_thread")]
async fn leaving_one_application_leaves_the_other_of_the_same_provider() {
    needs!("chromium");
    needs!("simplesamlphp");
    let idp = SimpleSaml::shared();
    let (here, _) = stage_at(idp, |_| {}, |_| {}).await;
    let (there, _) = stage_at(idp, |settings| "there.localhost".clone_into(&mut settings.host), |_| {}).await;
    let uid = person(idp, "mira", "mira@corp.test", &[]);
    let chromium = Chromium::start((800, 700), &[]).await;
    for (stage, asks) in [(&there, true), (&here, false)] {
        stage.directory.person("mira@corp.test", &uid).await;
        chromium.open(&format!("{}{WAY}", stage.program.settings.origin())).await;
        if asks {
            sign_in(&chromium, idp, &uid).await;
        }
        chromium.reads("socket open").await;
    }
    let session = session_of(&chromium, &there).await.expect("a session");

    sign_out(&chromium, &here).await;
    let origin = there.program.settings.origin();
    chromium.plant_cookie(&origin, session).await;
    chromium.open(&format!("{origin}{WAY}")).await;
    chromium.reads("Enter your username and password").await;
    assert_eq!(there.app.count_of("/page"), 1);
}

/// A tile of the provider's portal: another site posts, so the browser keeps the session cookie back, and brings it to the
/// page behind. There it is asked before a stranger takes the place of whoever is signed in.
#[tokio::test(flavor = "multi_thread")]
async fn a_tile_of_another_person_is_asked_about() {
    needs!("chromium");
    needs!("simplesamlphp");
    let idp = SimpleSaml::start();
    let accepting =
        saml("corp", &idp.metadata_url(), "[corp.test]", BY_NAME_ID, "      idp_initiated: accept\n");
    let (stage, sp) = stage_at(&idp, |settings: &mut Settings| settings.idps = accepting, |_| {}).await;
    let origin = stage.program.settings.origin();
    let chromium = Chromium::start((800, 700), &[]).await;
    chromium.screen(800, 600).await;
    let mut people = Vec::new();
    for name in ["mira", "nora"] {
        let mail = format!("{name}@corp.test");
        let uid = person(&idp, name, &mail, &[]);
        stage.directory.person(&mail, &uid).await;
        people.push(uid);
    }
    let tile = idp.unasked(&sp.entity_id, Some(WAY));
    chromium.open(&tile).await;
    sign_in(&chromium, &idp, &people[0]).await;
    chromium.reads("socket open").await;
    assert!(is_at(&chromium, &format!("{origin}{WAY}")).await);
    let hers = session_of(&chromium, &stage).await.expect("a session");

    // Her own tile again: another session, and no question.
    chromium.open(&tile).await;
    chromium.reads("socket open").await;
    assert_ne!(session_of(&chromium, &stage).await.expect("a session")["value"], hers["value"]);

    // Somebody else signs in at the provider, with the same browser: it has lost the provider's cookies.
    let hers = session_of(&chromium, &stage).await.expect("a session");
    for mut cookie in chromium.cookies("own-saml.localhost").await {
        cookie["value"] = "lost".into();
        chromium.plant_cookie(&idp.origin, cookie).await;
    }
    chromium.open(&tile).await;
    sign_in(&chromium, &idp, &people[1]).await;
    chromium.reads("Sign in as somebody else?").await;
    chromium.reads("You are signed in").await;
    chromium.picture(&picture("saml-3-somebody-else")).await;
    assert_eq!(session_of(&chromium, &stage).await.expect("a session")["value"], hers["value"]);
    chromium.click("form button").await;
    chromium.reads("socket open").await;
    let seen = stage.app.last("/page").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("nora@corp.test"));
}

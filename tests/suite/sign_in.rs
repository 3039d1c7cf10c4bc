//! A person signs in at an OpenID provider on another site, uses the application, signs out: through the front door,
//! with npm oidc-provider, by the browser's rules.

use http::Method;
use serde_json::json;

use crate::needs;
use crate::rig::browser::{Browser, FLOW_COOKIE};
use crate::rig::directory::okta;
use crate::rig::idp::{Op, finish_sign_in, sign_in, sign_in_until};
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::until;
use crate::rig::upstream::Upstream;

/// A stage whose IdP is the provider of this run.
async fn stage(change: impl FnOnce(&mut Settings)) -> Stage {
    stage_at(Op::shared(), change).await
}

async fn stage_at(op: &Op, change: impl FnOnce(&mut Settings)) -> Stage {
    let app = Upstream::start().await;
    let settings = Settings::new(app.address);
    let client = op.client(&settings).await;
    let mut settings = settings.with_idp(&op.issuer, &client);
    change(&mut settings);
    Stage::of(app, settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_and_the_application_learns_who_it_is() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = Browser::new(&stage.program);

    let page = sign_in(&mut browser, "/deep/page?with=query&and=more", "00u-mira").await;
    assert_eq!(page.status(), 200, "{}", page.text());
    assert_eq!(page.url.path(), "/deep/page", "the way back is the way that was asked for");
    assert_eq!(page.json()["target"], "/deep/page?with=query&and=more");
    let seen = stage.app.last("/deep/page").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("mira@corp.test"));
    assert_eq!(seen.header("cookie"), None, "our cookies stay with us");
    assert_eq!(stage.app.count(), 1, "nothing reached the application before");

    let me = browser.fetch(Method::GET, "/.portcullis/me", &[]).await;
    assert_eq!(me.status(), 200);
    assert!(me.text().contains("mira@corp.test"), "{}", me.text());
    assert!(stage.program.watch.len() >= 4, "the browser told its secrets to the look-out");

    // The flow's cookie is gone with the flow.
    let left =
        browser.jar.of("app.localhost").into_iter().filter(|c| c.name.starts_with(FLOW_COOKIE)).count();
    assert!(left <= 1, "{left} cookies of logins are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_the_session_here_and_at_the_provider() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
    let stolen = browser.cookies();

    let asked = browser.open("/.portcullis/logout").await;
    assert_eq!(asked.status(), 200);
    assert_eq!(browser.fetch(Method::GET, "/still", &[]).await.status(), 200, "asking ends nothing");
    let form = asked.form();
    assert_eq!(form.method, "post");
    let page = browser.submit(&asked, &form).await;
    assert!(page.url.as_str().starts_with(&Op::shared().issuer), "{}: {}", page.url, page.text());
    // The session is over before the provider was asked anything.
    let thief = crate::rig::visitor::Visitor::new(&stage.program.settings, &stolen);
    assert_eq!(thief.status("/").await, 401);
    let confirm =
        page.form_with("xsrf").unwrap_or_else(|| panic!("the provider's logout page: {}", page.text()));
    let back = browser.submit(&page, &confirm.with("logout", "yes")).await;
    assert_eq!(back.url.path(), "/.portcullis/logged-out");
    assert_eq!(back.status(), 200);

    // Signing in again asks for a name again: the provider's session is over too.
    let again = browser.open("/").await;
    assert!(again.form_with("login").is_some(), "{}", again.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_signed_out_by_another_site() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
    browser.arrive_from("http://evil.localhost/", Method::GET, "/.portcullis/logout").await;
    browser.arrive_from("http://evil.localhost/", Method::POST, "/.portcullis/logout").await;
    let forged =
        browser.fetch(Method::POST, "/.portcullis/logout", &[("origin", "http://evil.localhost")]).await;
    assert!(!forged.status().is_success() && !forged.status().is_redirection(), "{}", forged.status());
    assert_eq!(browser.fetch(Method::GET, "/", &[]).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_directory_does_not_know_or_has_removed_is_refused_by_name() {
    needs!("op");
    let stage = stage(|_| {}).await;
    let mut browser = Browser::new(&stage.program);
    let page = sign_in(&mut browser, "/", "00u-nobody").await;
    assert_eq!(page.status(), 403, "{}", page.text());
    let empty = stage.program.logged(&["login refused", "directory"]).await;
    assert!(empty.to_lowercase().contains("sync"), "the empty directory is named, with the remedy: {empty}");

    let id = stage.directory.person("mira@corp.test", "00u-mira").await;
    stage.directory.deactivate(&id).await;
    let mut browser = Browser::new(&stage.program);
    let page = sign_in(&mut browser, "/", "00u-mira").await;
    assert_eq!(page.status(), 403);
    assert!(!page.text().contains("00u-mira") && !page.text().contains("corp.test"), "{}", page.text());
    let reference = reference_of(&page.text());
    let line = stage.program.logged(&[&reference]).await;
    assert!(line.contains("login refused"), "{line}");
    // Refusals are written in batches, without a hurry.
    let mut told = String::new();
    until("the refusal under its number", || {
        let output = stage.program.command(&["ref", &reference]);
        told = String::from_utf8_lossy(&output.stdout).into_owned();
        async move { output.status.success() }
    })
    .await;
    assert!(told.contains("not active in the directory"), "{told}");
    assert_eq!(stage.app.count(), 0);

    // Brought back, the same person signs in.
    stage.directory.reactivate(&id).await;
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_cookie_of_somebody_else_is_never_adopted() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    stage.directory.person("una@corp.test", "00u-una").await;
    let mut mira = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut mira, "/", "00u-mira").await.status(), 200);
    let (name, value) = mira.session().unwrap();

    // Una's browser holds Mira's cookie before Una signs in: she gets a session of her own, and Mira's ends.
    let mut una = Browser::new(&stage.program);
    una.jar.plant("app.localhost", &name, &value);
    let page = una.look("/.portcullis/login?return_to=/una").await;
    let page = una.follow(page).await;
    let page = finish_sign_in(&mut una, page, "00u-una").await;
    assert_eq!(page.status(), 200);
    assert_eq!(stage.app.last("/una").unwrap().header("x-forwarded-user").as_deref(), Some("una@corp.test"));
    assert_ne!(una.session().unwrap().1, value, "a new id at every login");
    assert_eq!(
        mira.fetch(Method::GET, "/", &[]).await.status(),
        401,
        "the session that was replaced is over"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_provider_is_good_once_and_in_its_own_browser() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = Browser::new(&stage.program);
    let callback = callback_of(&stage, &mut browser, "00u-mira").await;

    // Another browser, that never began this login, brings it: login CSRF.
    let mut other = Browser::new(&stage.program);
    let page = other.look(callback.as_str()).await;
    assert_eq!(page.status(), 403, "{}", page.text());
    assert!(other.session().is_none());
    // A bent state, a foreign issuer.
    for bent in [
        callback.as_str().replace("state=", "state=x"),
        callback.as_str().replace("iss=", "iss=http%3A%2F%2Fevil"),
    ] {
        let mut copy = browser.clone();
        assert_eq!(copy.look(&bent).await.status(), 403, "{bent}");
        assert!(copy.session().is_none());
    }
    let before = browser.clone();
    let page = browser.open(callback.as_str()).await;
    assert_eq!(page.status(), 200);
    // The same again, with the flow's cookie kept by a thief.
    let mut replayed = before;
    let again = replayed.look(callback.as_str()).await;
    assert!(replayed.session().is_none(), "{} {}", again.status(), again.text());
    assert_eq!(browser.fetch(Method::GET, "/", &[]).await.status(), 200, "the rightful session lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_stays_on_this_origin() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    for target in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "http:evil.example",
        "/%0d%0aset-cookie:x=1",
        "javascript:alert(1)",
        "/.portcullis/logout",
        "/\t/evil.example",
    ] {
        let mut browser = Browser::new(&stage.program);
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", target).finish();
        let page = browser.open(&format!("/.portcullis/login?{query}")).await;
        let page = finish_sign_in(&mut browser, page, "00u-mira").await;
        assert_eq!(
            page.url.origin().ascii_serialization(),
            stage.program.settings.origin(),
            "{target}: {}",
            page.url
        );
        assert!(!page.url.path().starts_with("/.portcullis"), "{target}: {}", page.url);
        assert_eq!(page.status(), 200, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tabs_may_sign_in_at_once_and_flows_do_not_pile_up() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = Browser::new(&stage.program);
    let mut tabs = Vec::new();
    for tab in 0..8 {
        tabs.push(browser.open(&format!("/tab/{tab}")).await);
        let flows =
            browser.jar.of("app.localhost").into_iter().filter(|c| c.name.starts_with(FLOW_COOKIE)).count();
        assert!(flows <= 5, "{flows} logins under way");
    }
    let last = tabs.pop().unwrap();
    let page = finish_sign_in(&mut browser, last, "00u-mira").await;
    assert_eq!((page.status().as_u16(), page.url.path()), (200, "/tab/7"));
    let earlier = tabs.pop().unwrap();
    let page = finish_sign_in(&mut browser, earlier, "00u-mira").await;
    assert_eq!((page.status().as_u16(), page.url.path()), (200, "/tab/6"), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_races_a_removal_lets_nobody_in() {
    needs!("op");
    let stage = stage(|_| {}).await;
    for round in 0..12 {
        let (name, subject) = (format!("racer{round}@corp.test"), format!("00u-racer-{round}"));
        let id = stage.directory.person(&name, &subject).await;
        let mut browser = Browser::new(&stage.program);
        let callback = callback_of(&stage, &mut browser, &subject).await;
        let landing = tokio::spawn(async move {
            browser.look(callback.as_str()).await;
            browser
        });
        if round % 3 == 1 {
            tokio::task::yield_now().await;
        }
        if round % 3 == 2 {
            // Let the login get some of the way: the code is being changed for a token meanwhile.
            tokio::time::sleep(std::time::Duration::from_millis(8)).await;
        }
        stage.directory.deactivate(&id).await;
        let before = stage.app.count();
        let mut browser = landing.await.unwrap();
        assert_eq!(browser.fetch(Method::GET, "/after", &[]).await.status(), 401, "round {round}");
        assert_eq!(stage.app.count(), before);
    }
}

/// Of two subjects that race for one user exactly one is linked; the same subject twice gets one link and two sessions.
#[tokio::test(flavor = "multi_thread")]
async fn two_subjects_that_race_for_one_user_do_not_both_get_it() {
    needs!("op");
    let op = Op::shared();
    let stage = stage(|settings| {
        settings.idps = settings
            .idps
            .replace("    oidc:\n", "    link: { claim: preferred_username, to: userName }\n    oidc:\n");
    })
    .await;
    for round in 0..5 {
        let name = format!("twin{round}@corp.test");
        stage.directory.person(&name, &format!("ext-{round}")).await;
        let subjects = [format!("sub-a-{round}"), format!("sub-b-{round}")];
        let mut ready = Vec::new();
        for subject in &subjects {
            op.person(subject, json!({ "preferred_username": name })).await;
            let mut browser = Browser::new(&stage.program);
            let callback = callback_of(&stage, &mut browser, subject).await;
            ready.push((browser, callback));
        }
        let landed: Vec<_> = ready
            .into_iter()
            .map(|(mut browser, callback)| {
                tokio::spawn(async move { browser.open(callback.as_str()).await.status() })
            })
            .collect();
        let mut statuses = Vec::new();
        for one in landed {
            statuses.push(one.await.unwrap().as_u16());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403], "round {round}");
    }

    stage.directory.person("same@corp.test", "ext-same").await;
    op.person("sub-same", json!({ "preferred_username": "same@corp.test" })).await;
    let mut ready = Vec::new();
    for _ in 0..2 {
        let mut browser = Browser::new(&stage.program);
        let callback = callback_of(&stage, &mut browser, "sub-same").await;
        ready.push((browser, callback));
    }
    for (mut browser, callback) in ready {
        assert_eq!(browser.open(callback.as_str()).await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_external_id_is_a_change_of_person() {
    needs!("op");
    let stage = stage(|_| {}).await;
    let id = stage.directory.person("mira@corp.test", "00u-old").await;
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "00u-old").await.status(), 200);
    let changed = json!([{ "op": "replace", "path": "externalId", "value": "00u-new" }]);
    assert_eq!(stage.directory.patch(&id, changed).await.status, 200);
    assert_eq!(
        browser.fetch(Method::GET, "/", &[]).await.status(),
        401,
        "the session of the former person is over"
    );
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "00u-old").await.status(), 403, "and so is their link");
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "00u-new").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_without_a_restart() {
    needs!("op");
    let op = Op::start();
    let stage = stage_at(&op, |_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
    op.rotate(false).await;
    let mut browser = Browser::new(&stage.program);
    let page = sign_in(&mut browser, "/", "00u-mira").await;
    assert_eq!(
        page.status(),
        200,
        "an unknown key is fetched: {}",
        stage.program.lines_with("refused").join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_stops_new_logins_and_nobody_else() {
    needs!("op");
    let op = Op::start();
    let stage = stage_at(&op, |_| {}).await;
    let id = stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut signed_in = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut signed_in, "/", "00u-mira").await.status(), 200);
    let mut half_way = Browser::new(&stage.program);
    let callback = callback_of(&stage, &mut half_way, "00u-mira").await;

    for mode in ["down", "nonsense"] {
        op.mode(mode).await;
        assert_eq!(signed_in.fetch(Method::GET, "/", &[]).await.status(), 200, "{mode}");
        assert_eq!(
            crate::rig::wire::get(stage.program.settings.health, "localhost", "/readyz")
                .await
                .unwrap()
                .status,
            200
        );
        let page = half_way.clone().look(callback.as_str()).await;
        assert!(page.status().is_server_error() || page.status() == 403, "{mode}: {}", page.status());
        assert!(page.text().contains('-'), "a reference: {}", page.text());
    }
    // Removal needs no provider.
    stage.directory.deactivate(&id).await;
    assert_eq!(signed_in.fetch(Method::GET, "/", &[]).await.status(), 401);
    stage.directory.reactivate(&id).await;
    op.mode("up").await;
    let mut browser = Browser::new(&stage.program);
    until("a login after the outage", || {
        let mut browser = browser.clone();
        async move { sign_in(&mut browser, "/", "00u-mira").await.status() == 200 }
    })
    .await;
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_directory_the_verified_address_is_the_name() {
    needs!("op");
    let op = Op::shared();
    let stage = stage(|settings| settings.provisioning = "none").await;
    op.person("sub-none-1", json!({ "email": "Nora@Corp.test", "email_verified": true })).await;
    op.person("sub-none-2", json!({ "email": "sly@corp.test", "email_verified": false })).await;
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/n", "sub-none-1").await.status(), 200);
    let name = stage.app.last("/n").unwrap().header("x-forwarded-user").unwrap();
    assert_eq!(name.to_lowercase(), "nora@corp.test");
    let mut browser = Browser::new(&stage.program);
    assert_eq!(
        sign_in(&mut browser, "/s", "sub-none-2").await.status(),
        403,
        "an address nobody verified is no name"
    );
    let line = stage.program.logged(&["login refused", "trust_email", "headers.user"]).await;
    assert!(line.contains("subject"), "the line names both settings: {line}");
    assert_eq!(stage.app.count_of("/s"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_were_invited_come_in_and_go_by_the_command_line() {
    needs!("op");
    let stage = stage(|settings| {
        settings.provisioning = "invited";
        settings.idps = settings
            .idps
            .replace("    oidc:\n", "    link: { claim: preferred_username, to: userName }\n    oidc:\n");
    })
    .await;
    Op::shared().person("sub-invited", json!({ "preferred_username": "ines@corp.test" })).await;
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "sub-invited").await.status(), 403, "not yet");
    let run = |words: &[&str]| {
        let done = stage.program.command(words);
        let said =
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{words:?}: {said}");
        said
    };
    run(&["user", "add", "ines@corp.test"]);
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "sub-invited").await.status(), 200);
    let visitor = crate::rig::visitor::Visitor::new(&stage.program.settings, &browser.cookies());
    let mut socket = visitor.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    assert!(run(&["user", "list"]).contains("ines@corp.test"));

    run(&["user", "disable", "ines@corp.test"]);
    stage.app.mark("after-the-command").await;
    assert!(!socket.read_out().await.iter().any(|text| text == "after-the-command"));
    assert_eq!(visitor.status("/").await, 401);
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "sub-invited").await.status(), 403);
    run(&["user", "enable", "ines@corp.test"]);
    assert_eq!(visitor.status("/").await, 401, "old sessions stay dead");
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "sub-invited").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_count_what_happened_and_name_nobody() {
    needs!("op");
    let stage = stage(|_| {}).await;
    let id = stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = Browser::new(&stage.program);
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
    stage.directory.patch(&id, okta::deactivate()).await;
    let answer = crate::rig::wire::get(stage.program.settings.health, "localhost", "/metrics").await.unwrap();
    let text = answer.text();
    for word in ["requests", "login", "session", "exchange", "revo", "cache"] {
        assert!(text.contains(word), "no metric about {word}:\n{text}");
    }
    for name in ["mira", "corp.test", "00u-", &id] {
        assert!(!text.contains(name), "the metrics name somebody: {name}");
    }
}

/// Signs in up to the provider's answer, which is not brought.
async fn callback_of(stage: &Stage, browser: &mut Browser, subject: &str) -> url::Url {
    sign_in_until(browser, subject, &stage.program.settings.callback("op")).await
}

/// The reference number on a page.
fn reference_of(page: &str) -> String {
    let is_reference = |word: &&str| {
        word.len() == 9
            && word.as_bytes()[4] == b'-'
            && word.bytes().all(|b| b == b'-' || b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .find(is_reference)
        .unwrap_or_else(|| panic!("no reference on the page:\n{page}"))
        .to_owned()
}

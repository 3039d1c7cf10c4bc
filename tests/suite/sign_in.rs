//! A person signs in at an OpenID provider on another site, uses the application, signs out: through the front door,
//! with npm oidc-provider, by the browser's rules.

use http::Method;
use serde_json::json;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::browser::HeadlessBrowser;
use crate::rig::directory::okta;
use crate::rig::idp::{Op, finish_sign_in, sign_in, sign_in_until};
use crate::rig::inspect::{FLOW_COOKIE, session_of};
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::until;

/// A stage whose IdP is the provider of this run.
async fn stage(change: impl FnOnce(&mut Settings)) -> Stage {
    stage_at(Op::shared(), change).await
}

async fn stage_at(op: &Op, change: impl FnOnce(&mut Settings)) -> Stage {
    let app = Application::start().await;
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
    let mut browser = stage.program.browser();

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
    let mut browser = stage.program.browser();
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
    let mut browser = stage.program.browser();
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
    let mut browser = stage.program.browser();
    let page = sign_in(&mut browser, "/", "00u-nobody").await;
    assert_eq!(page.status(), 403, "{}", page.text());
    let empty = stage.program.logged(&["login refused", "directory"]).await;
    assert!(empty.to_lowercase().contains("sync"), "the empty directory is named, with the remedy: {empty}");

    let id = stage.directory.person("mira@corp.test", "00u-mira").await;
    stage.directory.deactivate(&id).await;
    let mut browser = stage.program.browser();
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
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_cookie_of_somebody_else_is_never_adopted() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    stage.directory.person("una@corp.test", "00u-una").await;
    let mut mira = stage.program.browser();
    assert_eq!(sign_in(&mut mira, "/", "00u-mira").await.status(), 200);
    let (name, value) = session_of(&mira).unwrap();

    // Una's browser holds Mira's cookie before Una signs in: she gets a session of her own, and Mira's ends.
    let mut una = stage.program.browser();
    una.jar.plant("app.localhost", &name, &value);
    let page = una.look("/.portcullis/login?return_to=/una").await;
    let page = una.follow(page).await;
    let page = finish_sign_in(&mut una, page, "00u-una").await;
    assert_eq!(page.status(), 200);
    assert_eq!(stage.app.last("/una").unwrap().header("x-forwarded-user").as_deref(), Some("una@corp.test"));
    assert_ne!(session_of(&una).unwrap().1, value, "a new id at every login");
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
    let mut browser = stage.program.browser();
    let callback = callback_of(&stage, &mut browser, "00u-mira").await;

    // Another browser, that never began this login, brings it: login CSRF.
    let mut other = stage.program.browser();
    let page = other.look(callback.as_str()).await;
    // Nothing of the answer is taken: that browser begins a login of its own.
    assert_eq!(page.status(), 303, "{}", page.text());
    assert!(page.location().unwrap().as_str().starts_with(&Op::shared().issuer));
    assert!(session_of(&other).is_none());
    // A bent state, a foreign issuer.
    for bent in [
        callback.as_str().replace("state=", "state=x"),
        callback.as_str().replace("iss=", "iss=http%3A%2F%2Fevil"),
    ] {
        let mut copy = browser.clone();
        assert_eq!(copy.look(&bent).await.status(), 403, "{bent}");
        assert!(session_of(&copy).is_none());
    }
    let before = browser.clone();
    let page = browser.open(callback.as_str()).await;
    assert_eq!(page.status(), 200);
    // The same again, with the flow's cookie kept by a thief.
    let mut replayed = before;
    let again = replayed.look(callback.as_str()).await;
    assert!(session_of(&replayed).is_none(), "{} {}", again.status(), again.text());
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
        let mut browser = stage.program.browser();
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
    let mut browser = stage.program.browser();
    let mut tabs = Vec::new();
    for tab in 0..8 {
        tabs.push(browser.open(&format!("/tab/{tab}")).await);
        let flows =
            browser.jar.of("app.localhost").into_iter().filter(|c| c.name.starts_with(FLOW_COOKIE)).count();
        assert!(flows <= 5, "{flows} logins under way");
    }
    // The first is finished first: the later ones have pushed its cookie out, so it starts over by itself.
    let first = tabs.remove(0);
    let page = finish_sign_in(&mut browser, first, "00u-mira").await;
    assert_eq!((page.status().as_u16(), page.url.path()), (200, "/tab/0"), "{}", page.text());
    for (tab, waiting) in tabs.into_iter().enumerate() {
        let page = finish_sign_in(&mut browser, waiting, "00u-mira").await;
        let path = format!("/tab/{}", tab + 1);
        assert_eq!((page.status().as_u16(), page.url.path()), (200, path.as_str()), "{}", page.text());
    }
}

/// Twenty tabs of a browser that the provider knows: each is sent there and comes back at once, in every order.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_tabs_at_a_provider_that_knows_the_person_all_end_on_their_own_page() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
    for last_first in [false, true] {
        // Signed out here, not there.
        let (name, _) = session_of(&browser).unwrap();
        browser.jar.plant("app.localhost", &name, "gone");
        let mut tabs = Vec::new();
        for tab in 0..20 {
            let page = browser.look(&format!("/tab/{tab}?of=20")).await;
            let to_login = page.location().unwrap();
            tabs.push((tab, browser.look(to_login.as_str()).await));
        }
        if last_first {
            tabs.reverse();
        }
        for (tab, at_the_door) in tabs {
            let page = browser.follow(at_the_door).await;
            let path = format!("/tab/{tab}");
            assert_eq!((page.status().as_u16(), page.url.path()), (200, path.as_str()), "{}", page.text());
            assert_eq!(page.url.query(), Some("of=20"));
        }
    }
}

/// A browser that keeps no cookie is told so, and not sent round for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_loses_every_cookie_is_told_so() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = stage.program.browser();
    let mut callback = callback_of(&stage, &mut browser, "00u-mira").await;
    let stop = stage.program.settings.callback("op");
    for round in 0..3 {
        for cookie in browser.jar.of("app.localhost").into_iter().map(|c| c.name.clone()).collect::<Vec<_>>()
        {
            browser.jar.plant("app.localhost", &cookie, "lost");
        }
        let page = browser.look(callback.as_str()).await;
        if round == 2 {
            assert_eq!(page.status(), 403);
            assert!(page.text().contains("got lost"), "{}", page.text());
            break;
        }
        callback = browser.follow_until(page, &stop).await;
    }
    assert!(session_of(&browser).is_none_or(|(_, value)| value == "lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_way_back_returns_whole() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    for length in [200, 1_900, 2_100, 6_000, 16_000] {
        let mut browser = stage.program.browser();
        // As saved filters look: much of it percent-encoded.
        let target = format!("/deep/{length}?{}", "f=%7B%22a%22%3A1%7D&g=x+y%26z&".repeat(length / 30));
        let page = sign_in(&mut browser, &target, "00u-mira").await;
        assert_eq!(page.status(), 200, "{length}: {}", page.text());
        assert_eq!(page.json()["target"], target.as_str(), "{length}");
    }
    // Where it was kept is no page, and nobody is led away by a reference that is none.
    let mut browser = stage.program.browser();
    assert_eq!(browser.look("/.portcullis/kept/00ff").await.status(), 404);
    for odd in
        ["/.portcullis/kept/00ff//evil.test/", "/.portcullis/kept/", "/.portcullis/kept/0/.portcullis/logout"]
    {
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", odd).finish();
        let page = browser.open(&format!("/.portcullis/login?{query}")).await;
        let page = finish_sign_in(&mut browser, page, "00u-mira").await;
        assert_eq!((page.status().as_u16(), page.url.path()), (200, "/"), "{odd}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_cookies_of_the_host_hide_no_login() {
    needs!("op");
    let stage = stage(|_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = stage.program.browser();
    browser.jar.plant("app.localhost", "caf\u{e9}", "\u{fc}n\u{ef}code");
    for number in 0..40 {
        browser.jar.plant("app.localhost", &format!("{FLOW_COOKIE}{number:016x}"), "junk");
    }
    let page = sign_in(&mut browser, "/odd", "00u-mira").await;
    assert_eq!((page.status().as_u16(), page.url.path()), (200, "/odd"), "{}", page.text());
}

/// One cookie of a login under way buys a few token requests, not any number.
#[tokio::test(flavor = "multi_thread")]
async fn one_login_asks_for_tokens_a_few_times_at_most() {
    needs!("op");
    let op = Op::start();
    let stage = stage_at(&op, |_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = stage.program.browser();
    let callback = callback_of(&stage, &mut browser, "00u-mira").await;
    let before = op.asked("/token").await;
    let mut statuses = Vec::new();
    for number in 0..12 {
        let bent = callback.as_str().replace("code=", &format!("code=x{number}"));
        statuses.push(browser.clone().look(&bent).await.status().as_u16());
    }
    assert_eq!(op.asked("/token").await - before, 3, "{statuses:?}");
    assert_eq!((statuses[0], statuses[11]), (403, 503), "{statuses:?}");
    stage.program.logged(&["login refused", "tries"]).await;
    // Somebody else's login is another one.
    let mut other = stage.program.browser();
    assert_eq!(sign_in(&mut other, "/", "00u-mira").await.status(), 200);
}

/// What a provider says went wrong reaches the record, whatever else is missing, and a trouble that passes is told so.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_provider_is_recorded_and_one_that_passes_says_so() {
    needs!("op");
    let stage = stage(|_| {}).await;
    let callback = stage.program.settings.callback("op");
    for (error, status) in [("access_denied", 403), ("temporarily_unavailable", 503)] {
        let mut browser = stage.program.browser();
        let page = browser.look(&format!("{callback}?error={error}&error_description=no+state+here")).await;
        assert_eq!(page.status(), status, "{}", page.text());
        assert_eq!(page.text().contains("Try again in a moment"), status == 503);
        assert_eq!(page.text().contains("Ask your administrator"), status == 403);
        let reference = reference_of(&page.text());
        let line = stage.program.logged(&[&reference]).await;
        assert!(line.contains(error) && line.contains("provider_error"), "{line}");
    }
}

/// Somebody registers at the provider with another person's address: not verified, so nobody is matched by it.
#[tokio::test(flavor = "multi_thread")]
async fn an_unverified_address_takes_no_account_over() {
    needs!("op");
    let op = Op::shared();
    for claim in ["email", "preferred_username"] {
        let stage = stage(|settings| {
            let link = format!("    link: {{ claim: {claim}, to: userName }}\n    oidc:\n");
            settings.idps = settings.idps.replace("    oidc:\n", &link);
        })
        .await;
        stage.directory.person("vera@corp.test", "ext-vera").await;
        let said = |verified: bool| {
            json!({
                "email": "vera@corp.test", "email_verified": verified, "preferred_username": "VERA@corp.test",
            })
        };
        let (mallory, vera) = (format!("sub-mallory-{claim}"), format!("sub-vera-{claim}"));
        op.person(&mallory, said(false)).await;
        op.person(&vera, said(true)).await;
        let mut browser = stage.program.browser();
        assert_eq!(sign_in(&mut browser, "/", &mallory).await.status(), 403, "{claim}");
        let line = stage.program.logged(&["login refused", "unverified_email"]).await;
        assert!(line.contains("trust_email"), "{line}");
        assert_eq!(stage.app.count(), 0);
        let mut browser = stage.program.browser();
        assert_eq!(sign_in(&mut browser, "/", &vera).await.status(), 200, "{claim}: the account is hers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_of_logins_are_series_before_there_is_one() {
    let stage = Stage::start().await;
    let answer = crate::rig::wire::get(stage.program.settings.health, "localhost", "/metrics").await.unwrap();
    let text = answer.text();
    for outcome in [
        "accepted",
        "oidc_state",
        "unverified_email",
        "no_match",
        "removed",
        "flow_spent",
        "rounds",
        "busy",
        "tries",
        "store",
    ] {
        let series = format!("portcullis_logins_total{{outcome=\"{outcome}\"}} 0");
        assert!(text.contains(&series), "{series}:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_races_a_removal_lets_nobody_in() {
    needs!("op");
    let stage = stage(|_| {}).await;
    for round in 0..12 {
        let (name, subject) = (format!("racer{round}@corp.test"), format!("00u-racer-{round}"));
        let id = stage.directory.person(&name, &subject).await;
        let mut browser = stage.program.browser();
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
            let mut browser = stage.program.browser();
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
        let mut browser = stage.program.browser();
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
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "00u-old").await.status(), 200);
    let changed = json!([{ "op": "replace", "path": "externalId", "value": "00u-new" }]);
    assert_eq!(stage.directory.patch(&id, changed).await.status, 200);
    assert_eq!(
        browser.fetch(Method::GET, "/", &[]).await.status(),
        401,
        "the session of the former person is over"
    );
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "00u-old").await.status(), 403, "and so is their link");
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "00u-new").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_without_a_restart() {
    needs!("op");
    let op = Op::start();
    let stage = stage_at(&op, |_| {}).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
    op.rotate(false).await;
    let mut browser = stage.program.browser();
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
    let mut signed_in = stage.program.browser();
    assert_eq!(sign_in(&mut signed_in, "/", "00u-mira").await.status(), 200);
    let mut half_way = stage.program.browser();
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
    let mut browser = stage.program.browser();
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
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/n", "sub-none-1").await.status(), 200);
    let name = stage.app.last("/n").unwrap().header("x-forwarded-user").unwrap();
    assert_eq!(name.to_lowercase(), "nora@corp.test");
    // This provider says nothing of groups, and nothing is kept as said: not even that there are none.
    let mut database = crate::rig::sqlite_lock::open(&stage.program.database()).await;
    let told: String = sqlx::query_scalar("select told from account").fetch_one(&mut database).await.unwrap();
    assert!(told.contains("\"groups\":null"), "{told}");
    let mut browser = stage.program.browser();
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
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "sub-invited").await.status(), 403, "not yet");
    let run = |words: &[&str]| {
        let done = stage.program.command(words);
        let said =
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{words:?}: {said}");
        said
    };
    run(&["user", "add", "ines@corp.test"]);
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "sub-invited").await.status(), 200);
    let visitor = crate::rig::visitor::Visitor::new(&stage.program.settings, &browser.cookies());
    let mut socket = visitor.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    assert!(run(&["user", "list"]).contains("ines@corp.test"));

    run(&["user", "disable", "ines@corp.test"]);
    stage.app.mark("after-the-command").await;
    assert!(!socket.read_out().await.iter().any(|text| text == "after-the-command"));
    assert_eq!(visitor.status("/").await, 401);
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "sub-invited").await.status(), 403);
    run(&["user", "enable", "ines@corp.test"]);
    assert_eq!(visitor.status("/").await, 401, "old sessions stay dead");
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "sub-invited").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_count_what_happened_and_name_nobody() {
    needs!("op");
    let stage = stage(|_| {}).await;
    let id = stage.directory.person("mira@corp.test", "00u-mira").await;
    let mut browser = stage.program.browser();
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
async fn callback_of(stage: &Stage, browser: &mut HeadlessBrowser, subject: &str) -> url::Url {
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

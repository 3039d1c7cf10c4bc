//! A person signs in at an identity provider of SAML on another site, through the front door and by the browser's rules:
//! SimpleSAMLphp for what has to work, crewjam's for what has to be refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::browser::BrowserPage;
use crate::rig::idp::{lead_on, onward_of};
use crate::rig::inspect::session_of;
use crate::rig::saml_idp::{
    Crewjam, SentNameId, SignedParts, SimpleSaml, SpAtIdp, sign_in_saml, sign_in_saml_until,
};
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;

/// The lines of one identity provider of SAML; `more` stands below `saml:`.
pub(crate) fn saml(name: &str, metadata: &str, domains: &str, link: &str, more: &str) -> String {
    format!("  {name}:\n    domains: {domains}\n{link}    saml:\n      metadata: {metadata}\n{more}")
}

/// A person is the `externalId` of the directory that stands in the NameID.
pub(crate) const BY_NAME_ID: &str = "    link:\n      claim: NameID\n      to: externalId\n";

/// A stage with one SimpleSAMLphp, told of it as `change` says. The program makes its keys at its start.
pub(crate) async fn stage_at(
    idp: &SimpleSaml,
    settle: impl FnOnce(&mut Settings),
    change: impl FnOnce(&mut SpAtIdp),
) -> (Stage, SpAtIdp) {
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.idps = saml("corp", &idp.metadata_url(), "[corp.test]", BY_NAME_ID, "");
    settle(&mut settings);
    let stage = Stage::of(app, settings).await;
    let ours = |page: &str| format!("{}/.portcullis/saml/corp/{page}", stage.program.settings.origin());
    let mut sp = SpAtIdp::new(&ours("metadata"), &ours("acs"));
    sp.slo = Some((ours("slo"), false));
    let pair = std::fs::read_to_string(stage.program.folder().join("state/saml.pem")).unwrap();
    sp.certificate_pem = Some(pair[pair.find("-----BEGIN CERTIFICATE").unwrap()..].to_owned());
    sp.must_sign = true;
    change(&mut sp);
    idp.register(&sp);
    (stage, sp)
}

async fn stage(settle: impl FnOnce(&mut Settings), change: impl FnOnce(&mut SpAtIdp)) -> (Stage, SpAtIdp) {
    stage_at(SimpleSaml::shared(), settle, change).await
}

/// Somebody at the provider, whose `uid` nobody else of this run has.
pub(crate) fn person(idp: &SimpleSaml, name: &str, mail: &str, groups: &[&str]) -> String {
    let uid = format!("{name}-{:x}", crate::rig::settings::rand());
    idp.person(&uid, &json!({ "uid": [uid], "mail": [mail], "groups": groups, "displayName": [name] }));
    uid
}

fn is_page_of(page: &BrowserPage, stage: &Stage) -> bool {
    page.url.as_str().starts_with(&stage.program.settings.origin())
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_by_whatever_is_signed_and_leaves_at_both_places() {
    needs!("simplesamlphp");
    for (sign, encrypt) in [
        (SignedParts::Assertion, false),
        (SignedParts::Response, false),
        (SignedParts::Both, false),
        (SignedParts::Both, true),
    ] {
        let (stage, _) = stage(|_| {}, |sp| (sp.sign, sp.encrypt) = (sign, encrypt)).await;
        let uid = person(SimpleSaml::shared(), "mira", "mira@corp.test", &["staff"]);
        stage.directory.person("mira@corp.test", &uid).await;
        let mut browser = stage.program.browser();
        let page = sign_in_saml(&mut browser, "/deep?with=query", &uid).await;
        assert_eq!(page.status(), 200, "{sign:?} {encrypt}: {}", page.text());
        assert_eq!(page.json()["target"], "/deep?with=query");
        let seen = stage.app.last("/deep").unwrap();
        assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("mira@corp.test"));
        assert_eq!(seen.header("cookie"), None, "our cookies stay with us");

        // Out here, out there, and back on our page.
        let visitor = Visitor::new(&stage.program.settings, &browser.cookies());
        let asked = browser.open("/.portcullis/logout").await;
        let form = asked.form();
        let onward = browser.submit(&asked, &form).await;
        let page = lead_on(&mut browser, &onward).await;
        assert_eq!(page.url.path(), "/.portcullis/logged-out", "{}: {}", page.url, page.text());
        assert!(page.text().contains("and the sign-in service"), "{}", page.text());
        assert_eq!(visitor.status("/").await, 401);
        let page = browser.open("/").await;
        assert!(page.form_with("username").is_some(), "the provider asks again: {}", page.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_directory_the_assertion_says_who_it_is() {
    needs!("simplesamlphp");
    let more = "      trust_email: true\n";
    let (stage, _) = stage(
        |settings| {
            settings.provisioning = "none";
            settings.idps = saml("corp", &SimpleSaml::shared().metadata_url(), "[corp.test]", "", more);
        },
        |_| {},
    )
    .await;
    let idp = SimpleSaml::shared();
    let mira = person(idp, "mira", "Mira@corp.test", &["staff", "wiki, all"]);
    let mut browser = stage.program.browser();
    let page = sign_in_saml(&mut browser, "/who", &mira).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    let seen = stage.app.last("/who").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("Mira@corp.test"));
    assert_eq!(seen.header("x-forwarded-groups").as_deref(), Some("staff,wiki%2C all"));
    // An address of another domain is not this provider's to give.
    let thief = person(idp, "thief", "mira@elsewhere.test", &[]);
    let page = sign_in_saml(&mut stage.program.browser(), "/", &thief).await;
    assert_eq!(page.status(), 403);
    stage.program.logged(&["\"reason\":\"domain\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_at_the_provider_is_cut_before_the_provider_is_answered() {
    needs!("simplesamlphp");
    for is_form in [false, true] {
        let (stage, _) = stage(|_| {}, |sp| sp.slo.iter_mut().for_each(|slo| slo.1 = is_form)).await;
        let idp = SimpleSaml::shared();
        let uid = person(idp, "mira", "mira@corp.test", &[]);
        stage.directory.person("mira@corp.test", &uid).await;
        let mut browser = stage.program.browser();
        assert_eq!(sign_in_saml(&mut browser, "/", &uid).await.status(), 200);
        let visitor = Visitor::new(&stage.program.settings, &browser.cookies());
        // Another browser of hers is another session there.
        let mut other = stage.program.browser();
        assert_eq!(sign_in_saml(&mut other, "/", &uid).await.status(), 200);
        let elsewhere = Visitor::new(&stage.program.settings, &other.cookies());
        let socket = visitor.socket("/ws").await.unwrap();

        let page = idp.end_session(&mut browser).await;
        assert!(!is_page_of(&page, &stage), "{}: {}", page.url, page.text());
        assert_eq!(page.status(), 200, "the provider took our answer: {}", page.text());
        stage.app.mark("after the answer").await;
        assert!(!socket.read_out().await.iter().any(|text| text == "after the answer"));
        assert_eq!((visitor.status("/").await, elsewhere.status("/").await), (401, 200));
        let told = stage.program.logged(&["the IdP has ended sessions"]).await;
        assert!(told.contains("\"live\":1"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_nobody_asked_for_is_not_read_or_begins_a_login_of_ours() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::shared();
    let uid = person(idp, "mira", "mira@corp.test", &[]);
    let (stage, sp) = stage(|_| {}, |_| {}).await;
    stage.directory.person("mira@corp.test", &uid).await;
    let mut browser = stage.program.browser();
    let page = sign_in_saml(&mut browser, &idp.unasked(&sp.entity_id, Some("/deep")), &uid).await;
    assert_eq!(page.status(), 403);
    assert!(session_of(&browser).is_none());
    let told = stage.program.logged(&["saml_in_response_to"]).await;
    assert!(told.contains("saml.idp_initiated: restart"), "{told}");

    let restart = "      idp_initiated: restart\n";
    let (stage, sp) = self::stage(
        |settings| settings.idps = saml("corp", &idp.metadata_url(), "[corp.test]", BY_NAME_ID, restart),
        |_| {},
    )
    .await;
    stage.directory.person("mira@corp.test", &uid).await;
    for (state, lands) in [
        (Some("/deep?a=b"), "/deep?a=b"),
        (None, "/"),
        (Some("https://evil.test/x"), "/"),
        (Some("//evil.test"), "/"),
        (Some("/\\evil.test"), "/"),
        (Some("/.portcullis/logout"), "/"),
    ] {
        let mut browser = stage.program.browser();
        let page = sign_in_saml(&mut browser, &idp.unasked(&sp.entity_id, state), &uid).await;
        let page = sign_in_saml(&mut browser, &onward_of(&page), &uid).await;
        assert_eq!(page.json()["target"], lands, "{state:?}");
    }
}

/// The form with another message.
pub(crate) fn with_message(
    form: &crate::rig::html::HtmlForm,
    change: impl FnOnce(String) -> String,
) -> crate::rig::html::HtmlForm {
    let encoded = form.encoded();
    let (_, value) = url::form_urlencoded::parse(encoded.as_bytes())
        .find(|(name, _)| name == "SAMLResponse")
        .expect("a response");
    let text = String::from_utf8(STANDARD.decode(value.as_bytes()).unwrap()).unwrap();
    form.clone().with("SAMLResponse", &STANDARD.encode(change(text)))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_in_by_a_response_that_was_changed_or_brought_again() {
    needs!("simplesamlphp");
    let (stage, _) = stage(|_| {}, |sp| sp.sign = SignedParts::Both).await;
    let idp = SimpleSaml::shared();
    let (mira, nora) =
        (person(idp, "mira", "mira@corp.test", &[]), person(idp, "nora", "nora@corp.test", &[]));
    stage.directory.person("mira@corp.test", &mira).await;
    stage.directory.person("nora@corp.test", &nora).await;

    let mut browser = stage.program.browser();
    let (page, form) = sign_in_saml_until(&mut browser, "/", &mira).await;
    let forged = with_message(&form, |text| text.replace(&mira, &nora));
    let refused = browser.submit(&page, &forged).await;
    assert_eq!(refused.status(), 403);
    assert!(session_of(&browser).is_none());
    stage.program.logged(&["saml_signature_invalid"]).await;

    // A good one, brought twice: by a copy of the browser as it was before.
    let mut browser = stage.program.browser();
    let (page, form) = sign_in_saml_until(&mut browser, "/", &mira).await;
    let mut copy = stage.program.browser();
    copy.jar = browser.jar.clone();
    assert_eq!(browser.submit(&page, &form).await.status(), 200);
    let again = copy.submit(&page, &form).await;
    assert_eq!(again.status(), 503, "it was brought often enough: {}", again.text());
    assert!(session_of(&copy).is_none());

    // In a browser that has not asked for it, and as the answer to another login.
    let mut browser = stage.program.browser();
    let (page, form) = sign_in_saml_until(&mut browser, "/", &mira).await;
    let mut stranger = stage.program.browser();
    assert_eq!(stranger.submit(&page, &form).await.status(), 403);
    sign_in_saml_until(&mut stranger, "/", &nora).await;
    let refused = stranger.submit(&page, &form).await;
    assert_eq!(refused.status(), 403);
    assert!(session_of(&stranger).is_none());
    let told = stage.program.logged(&["saml_in_response_to", "expected=_"]).await;
    assert!(!told.contains(&form.encoded()), "{told}");
    // It was not spent by that.
    assert_eq!(browser.submit(&page, &form).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_bring_a_response_back() {
    needs!("simplesamlphp");
    let (mut stage, _) = stage(|_| {}, |_| {}).await;
    let uid = person(SimpleSaml::shared(), "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    let mut browser = stage.program.browser();
    let (page, form) = sign_in_saml_until(&mut browser, "/", &uid).await;
    let mut copy = stage.program.browser();
    copy.jar = browser.jar.clone();
    assert_eq!(browser.submit(&page, &form).await.status(), 200);
    let visitor = Visitor::new(&stage.program.settings, &browser.cookies());
    stage.restart().await;
    assert_eq!(copy.submit(&page, &form).await.status(), 403);
    stage.program.logged(&["saml_replay"]).await;
    // Sessions survive, and so does what is known of the provider.
    assert_eq!(visitor.status("/").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_for_good_are_matched_anew_or_refused() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::shared();
    // Another name at each login is nobody's.
    let (stage, _) = stage(|_| {}, |sp| sp.name_id = SentNameId::Transient).await;
    let uid = person(idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    assert_eq!(sign_in_saml(&mut stage.program.browser(), "/", &uid).await.status(), 403);
    let told = stage.program.logged(&["saml_subject"]).await;
    assert!(told.contains("persistent") && told.contains("saml.subject"), "{told}");

    // Unless an attribute says who it is.
    let by_uid = "      subject: uid\n";
    let link = "    link:\n      claim: uid\n      to: externalId\n";
    let (stage, _) = self::stage(
        |settings| settings.idps = saml("corp", &idp.metadata_url(), "[corp.test]", link, by_uid),
        |sp| sp.name_id = SentNameId::Transient,
    )
    .await;
    let id = stage.directory.person("mira@corp.test", &uid).await;
    for _ in 0..2 {
        assert_eq!(sign_in_saml(&mut stage.program.browser(), "/", &uid).await.status(), 200);
    }
    stage.directory.deactivate(&id).await;
    assert_eq!(sign_in_saml(&mut stage.program.browser(), "/", &uid).await.status(), 403);
    stage.program.logged(&["\"reason\":\"inactive\""]).await;

    // An address that is given to a second person is the second person's.
    let link = "    link:\n      claim: NameID\n      to: userName\n";
    let (stage, _) = self::stage(
        |settings| {
            let trusted = "      trust_email: true\n";
            settings.idps = saml("corp", &idp.metadata_url(), "[corp.test]", link, trusted);
        },
        |sp| sp.name_id = SentNameId::EmailAddress,
    )
    .await;
    let first = stage.directory.person("shared@corp.test", "first").await;
    let holder = person(idp, "holder", "shared@corp.test", &[]);
    let mut browser = stage.program.browser();
    assert_eq!(sign_in_saml(&mut browser, "/", &holder).await.status(), 200);
    let before = Visitor::new(&stage.program.settings, &browser.cookies());
    stage.directory.delete(&first).await;
    assert_eq!(before.status("/").await, 401);
    assert_eq!(sign_in_saml(&mut stage.program.browser(), "/", &holder).await.status(), 403);
    stage.directory.person("shared@corp.test", "second").await;
    let mut browser = stage.program.browser();
    assert_eq!(sign_in_saml(&mut browser, "/", &holder).await.status(), 200);
    assert_eq!(before.status("/").await, 401, "what the first one had stays over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_changes_its_key_needs_no_restart() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::start();
    let (stage, _) = stage_at(&idp, |_| {}, |_| {}).await;
    let uid = person(&idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    assert_eq!(sign_in_saml(&mut stage.program.browser(), "/", &uid).await.status(), 200);
    idp.rotate(false);
    let page = sign_in_saml(&mut stage.program.browser(), "/", &uid).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    stage.program.logged(&["has other signing keys now"]).await;
    let audit = stage.program.command(&["audit", "tail"]);
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.contains("idp.keys"), "{audit}");
    // What was learned is kept at once: a key that was withdrawn does not come back with a restart.
    let kept = std::fs::read_dir(stage.program.folder().join("state")).unwrap().flatten();
    let kept = kept.map(|file| file.path()).find(|path| path.to_string_lossy().contains("metadata-corp-"));
    assert_eq!(std::fs::read_to_string(kept.unwrap()).unwrap(), idp.metadata().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_of_ours_makes_nobody_somebody_else() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::shared();
    let (mut stage, mut sp) = stage(|_| {}, |_| {}).await;
    let (mira, nora) =
        (person(idp, "mira", "mira@corp.test", &[]), person(idp, "nora", "nora@corp.test", &[]));
    stage.directory.person("mira@corp.test", &mira).await;
    stage.directory.person("nora@corp.test", &nora).await;
    for uid in [&mira, &nora] {
        assert_eq!(sign_in_saml(&mut stage.program.browser(), "/", uid).await.status(), 200);
    }
    let disabled = stage.program.command(&["user", "disable", "nora@corp.test"]);
    assert!(disabled.status.success(), "{disabled:?}");
    sp.entity_id = format!("{}/another", stage.program.settings.origin());
    idp.register(&sp);
    let named = format!("      entity_id: {}\n", sp.entity_id);
    stage.program.reload(|settings| settings.idps.push_str(&named)).await;
    stage.program.logged(&["the configuration is in force"]).await;
    let page = sign_in_saml(&mut stage.program.browser(), "/", &mira).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    assert_eq!(sign_in_saml(&mut stage.program.browser(), "/", &nora).await.status(), 403);
    stage.program.logged(&["\"reason\":\"disabled\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_that_is_none_puts_nobody_out() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::shared();
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.idps = saml("corp", "{folder}/idp.xml", "[corp.test]", BY_NAME_ID, "");
    let mut program = crate::rig::program::Program::install(settings);
    let file = program.folder().join("idp.xml");
    std::fs::write(&file, idp.metadata().await).unwrap();
    program.begin().await;
    let ours = |page: &str| format!("{}/.portcullis/saml/corp/{page}", program.settings.origin());
    idp.register(&SpAtIdp::new(&ours("metadata"), &ours("acs")));
    let uid = person(idp, "mira", "mira@corp.test", &[]);
    program.directory().person("mira@corp.test", &uid).await;
    let mut browser = program.browser();
    assert_eq!(sign_in_saml(&mut browser, "/", &uid).await.status(), 200);
    let visitor = Visitor::new(&program.settings, &browser.cookies());
    std::fs::write(&file, "<!doctype html><html><body>Sign in to see this</body></html>").unwrap();
    let checked = program.command(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    let told = String::from_utf8(checked.stderr).unwrap();
    assert!(told.contains("idps.corp.saml.metadata") && told.contains("HTML"), "{told}");
    program.reload(|_| {}).await;
    program.logged(&["could not be put in force"]).await;
    assert_eq!(visitor.status("/").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_away_at_the_start_was_known_before() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::start();
    let (mut stage, _) = stage_at(&idp, |_| {}, |_| {}).await;
    let uid = person(&idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    let mut browser = stage.program.browser();
    assert_eq!(sign_in_saml(&mut browser, "/", &uid).await.status(), 200);
    let visitor = Visitor::new(&stage.program.settings, &browser.cookies());
    crate::rig::until("the metadata in the state folder", || async {
        let files = std::fs::read_dir(stage.program.folder().join("state")).unwrap();
        files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("metadata-corp-"))
    })
    .await;
    drop(idp);
    stage.restart().await;
    assert_eq!(visitor.status("/").await, 200, "nobody is out because the provider is away");
    // Whoever wants in is sent there all the same: it may be away for us alone.
    let page = stage.program.browser().look("/").await;
    assert!(page.location().is_some(), "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_by_sha1_is_refused_by_its_name() {
    needs!("crewjam");
    let idp = Crewjam::start().await;
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.idps = saml("corp", "{folder}/idp.xml", "[corp.test]", BY_NAME_ID, "");
    let mut program = crate::rig::program::Program::install(settings);
    std::fs::write(program.folder().join("idp.xml"), idp.metadata().await).unwrap();
    program.begin().await;
    let ours = |page: &str| format!("{}/.portcullis/saml/corp/{page}", program.settings.origin());
    idp.register(&SpAtIdp::new(&ours("metadata"), &ours("acs"))).await;
    let page = sign_in_saml(&mut program.browser(), "/", "alice").await;
    assert_eq!(page.status(), 403, "{}", page.text());
    let told = program.logged(&["saml_signature_policy"]).await;
    assert!(told.contains("rsa-sha1"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_metadata_says_what_urls_prints() {
    needs!("simplesamlphp");
    let (stage, sp) = stage(|_| {}, |_| {}).await;
    let mut browser = stage.program.browser();
    let page = browser.open("/.portcullis/saml/corp/metadata").await;
    assert_eq!(page.header("content-type"), Some("application/samlmetadata+xml"));
    let printed = stage.program.command(&["urls"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    for address in [&sp.entity_id, &sp.acs, &sp.slo.as_ref().unwrap().0] {
        assert!(page.text().contains(address.as_str()) && printed.contains(address.as_str()), "{printed}");
    }
    for (method, path, status) in [
        (http::Method::GET, "/.portcullis/saml/corp/acs", 405),
        (http::Method::POST, "/.portcullis/saml/other/acs", 404),
        (http::Method::GET, "/.portcullis/saml/corp/x", 404),
        (http::Method::GET, "/.portcullis/saml/corp", 404),
        (http::Method::GET, "/.portcullis/callback/corp", 403),
        (http::Method::POST, "/.portcullis/backchannel-logout/corp", 404),
    ] {
        assert_eq!(browser.fetch(method, path, &[]).await.status(), status, "{path}");
    }
}

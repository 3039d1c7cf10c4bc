//! Responses that nobody here asked for, as of a tile in a provider's portal, where `idp_initiated: accept` takes them: by
//! every check of the others, once, and beside somebody else's live session only when its owner says so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;

use crate::needs;
use crate::rig::browser::{BrowserPage, HeadlessBrowser};
use crate::rig::html::HtmlForm;
use crate::rig::inspect::session_of;
use crate::rig::saml_idp::{SignedParts, SimpleSaml, SpAtIdp, sign_in_saml, sign_in_saml_until};
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::saml::{BY_NAME_ID, person, saml, stage_at};

const ACCEPT: &str = "      idp_initiated: accept\n";

struct Unasked {
    stage: Stage,
    sp: SpAtIdp,
    mira: String,
    nora: String,
}

impl Unasked {
    async fn start(change: impl FnOnce(&mut SpAtIdp)) -> Self {
        let idp = SimpleSaml::shared();
        let idps = saml("corp", &idp.metadata_url(), "[corp.test]", BY_NAME_ID, ACCEPT);
        let (stage, sp) = stage_at(idp, |settings: &mut Settings| settings.idps = idps, change).await;
        let mira = person(idp, "mira", "mira@corp.test", &[]);
        let nora = person(idp, "nora", "nora@corp.test", &[]);
        stage.directory.person("mira@corp.test", &mira).await;
        stage.directory.person("nora@corp.test", &nora).await;
        Self { stage, sp, mira, nora }
    }

    fn browser(&self) -> HeadlessBrowser {
        self.stage.program.browser()
    }

    fn tile(&self, state: Option<&str>) -> String {
        SimpleSaml::shared().unasked(&self.sp.entity_id, state)
    }

    /// Presses the tile, and follows to the end.
    async fn press(&self, browser: &mut HeadlessBrowser, state: Option<&str>, uid: &str) -> BrowserPage {
        sign_in_saml(browser, &self.tile(state), uid).await
    }

    /// A response that a browser of somebody else's has got, to be posted by others.
    async fn response_of(&self, uid: &str) -> (BrowserPage, HtmlForm) {
        sign_in_saml_until(&mut self.browser(), &self.tile(None), uid).await
    }

    /// The person who is signed in with a browser, as the application sees them.
    async fn who(&self, browser: &mut HeadlessBrowser) -> Option<String> {
        session_of(browser)?;
        assert_eq!(browser.open("/who").await.status(), 200);
        self.stage.app.last("/who").unwrap().header("x-forwarded-user")
    }
}

fn asks(page: &BrowserPage) -> bool {
    page.status() == 200 && page.text().contains("Sign in as somebody else?")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tile_signs_somebody_in_and_leads_nowhere_else() {
    needs!("simplesamlphp");
    for (sign, encrypt) in [(SignedParts::Assertion, false), (SignedParts::Both, true)] {
        let rig = Unasked::start(|sp| (sp.sign, sp.encrypt) = (sign, encrypt)).await;
        for (state, lands) in [
            (Some("/deep?a=b"), "/deep?a=b"),
            (None, "/"),
            (Some("https://evil.test/x"), "/"),
            (Some("//evil.test"), "/"),
            (Some("/\\evil.test"), "/"),
            (Some("/.portcullis/logout"), "/"),
        ] {
            let mut browser = rig.browser();
            let page = rig.press(&mut browser, state, &rig.mira).await;
            assert_eq!(page.status(), 200, "{state:?}: {}", page.text());
            assert_eq!(page.json()["target"], lands, "{state:?}");
            assert_eq!(rig.who(&mut browser).await.as_deref(), Some("mira@corp.test"));
            assert!(browser.cookies().matches("pcflow-arrived").count() == 0, "{}", browser.cookies());
        }
        let checked = rig.stage.program.command(&["check"]);
        let warned = String::from_utf8(checked.stderr).unwrap();
        assert!(checked.status.success() && warned.contains("saml.idp_initiated"), "{warned}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_elses_live_session_is_replaced_without_a_question() {
    needs!("simplesamlphp");
    let rig = Unasked::start(|_| {}).await;
    let mut browser = rig.browser();
    assert_eq!(rig.press(&mut browser, None, &rig.mira).await.status(), 200);
    let mira = Visitor::new(&rig.stage.program.settings, &browser.cookies());
    let socket = mira.socket("/ws").await.unwrap();

    // Her own second response replaces her session without a word.
    let (page, form) = rig.response_of(&rig.mira).await;
    assert!(!asks(&browser.submit(&page, &form).await));
    assert_eq!(mira.status("/").await, 401, "her former session has ended");
    socket.read_out().await;
    let mira = Visitor::new(&rig.stage.program.settings, &browser.cookies());

    // Another site has her browser post a stranger's response: login CSRF.
    let (page, form) = rig.response_of(&rig.nora).await;
    let asked = browser.submit(&page, &form).await;
    assert!(asks(&asked), "{}", asked.text());
    assert!(asked.text().contains("mira@corp.test") && !asked.text().contains("<script"), "{}", asked.text());
    assert!(asked.header("content-security-policy").unwrap().contains("form-action 'self'"));
    assert_eq!(
        (mira.status("/").await, rig.who(&mut browser).await.as_deref()),
        (200, Some("mira@corp.test"))
    );
    // It asks again as long as nobody has said yes, and the button works with its own token alone, from our own page.
    assert!(asks(&browser.open("/.portcullis/arrived").await));
    let button = asked.form();
    assert!(asks(&browser.submit(&asked, &button.clone().with("token", "0")).await));
    let foreign = browser.arrive_from("https://evil.test", Method::POST, "/.portcullis/arrived").await;
    assert_eq!(foreign.status(), 403, "{}", foreign.text());
    assert_eq!(mira.status("/").await, 200);

    let page = browser.submit(&asked, &button).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    assert_eq!(rig.who(&mut browser).await.as_deref(), Some("nora@corp.test"));
    assert_eq!(mira.status("/").await, 401);

    // A yes is about the session that the page told of, not about whoever is signed in by then.
    let (page, form) = rig.response_of(&rig.mira).await;
    let asked = browser.submit(&page, &form).await;
    assert!(asks(&asked) && asked.text().contains("nora@corp.test"), "{}", asked.text());
    let uid = person(SimpleSaml::shared(), "olga", "olga@corp.test", &[]);
    rig.stage.directory.person("olga@corp.test", &uid).await;
    let mut hers = rig.browser();
    assert_eq!(rig.press(&mut hers, None, &uid).await.status(), 200);
    let (name, value) = session_of(&hers).unwrap();
    let url = rig.stage.program.settings.origin().parse().unwrap();
    let planted = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax");
    assert!(browser.jar.set(&url, &planted).is_some());
    let again = browser.submit(&asked, &asked.form()).await;
    assert!(asks(&again) && again.text().contains("olga@corp.test"), "{}", again.text());
    assert_eq!(rig.who(&mut browser).await.as_deref(), Some("olga@corp.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_counts_once_over_restarts_and_in_no_other_browser() {
    needs!("simplesamlphp");
    let mut rig = Unasked::start(|_| {}).await;
    let (page, form) = rig.response_of(&rig.mira).await;
    let mut browser = rig.browser();
    assert_eq!(browser.submit(&page, &form).await.status(), 200);
    let mut other = rig.browser();
    assert_eq!(other.submit(&page, &form).await.status(), 403);
    assert!(session_of(&other).is_none());
    rig.stage.program.logged(&["saml_replay"]).await;
    rig.stage.restart().await;
    let mut other = rig.browser();
    assert_eq!(other.submit(&page, &form).await.status(), 403);
    assert!(session_of(&other).is_none());

    // The page behind it is nothing to a browser that did not bring the response, and nothing after a restart.
    let (page, form) = rig.response_of(&rig.nora).await;
    let mut browser = rig.browser();
    let arrived = browser.submit_once(&page, &form).await;
    assert_eq!(arrived.location().unwrap().path(), "/.portcullis/arrived");
    assert!(session_of(&browser).is_none(), "nobody is in yet");
    let mut stranger = rig.browser();
    assert_eq!(stranger.open("/.portcullis/arrived").await.status(), 403);
    assert!(session_of(&stranger).is_none());
    rig.stage.restart().await;
    assert_eq!(browser.open("/.portcullis/arrived").await.status(), 403);
    assert!(session_of(&browser).is_none());
    // Nothing was spent: the tile, or the very response, signs in all the same.
    assert_eq!(browser.submit(&page, &form).await.status(), 200);
}

/// A response to a login of somebody else, and one that was changed so that it answers nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_answers_a_request_is_never_taken_as_unasked() {
    needs!("simplesamlphp");
    let rig = Unasked::start(|_| {}).await;
    let mut hers = rig.browser();
    let (page, form) = sign_in_saml_until(&mut hers, "/", &rig.mira).await;
    let stolen =
        [form.clone().with("RelayState", ""), form.clone().with("RelayState", "/deep"), form.clone()];
    for stolen in stolen {
        let mut thief = rig.browser();
        assert_eq!(thief.submit(&page, &stolen).await.status(), 403);
        assert!(session_of(&thief).is_none());
    }
    rig.stage.program.logged(&["saml_in_response_to"]).await;
    // The assertion alone is signed: around it a thief writes what they like.
    let encoded = form.encoded();
    let (_, value) =
        url::form_urlencoded::parse(encoded.as_bytes()).find(|(name, _)| name == "SAMLResponse").unwrap();
    let text = String::from_utf8(STANDARD.decode(value.as_bytes()).unwrap()).unwrap();
    let at = text.find(" InResponseTo=\"").unwrap();
    let end = at + 15 + text[at + 15..].find('"').unwrap() + 1;
    let bare = format!("{}{}", &text[..at], &text[end..]);
    let mut thief = rig.browser();
    let posted = form.clone().with("RelayState", "").with("SAMLResponse", &STANDARD.encode(bare));
    assert_eq!(thief.submit(&page, &posted).await.status(), 403);
    assert!(session_of(&thief).is_none());
    // She gets in by it.
    assert_eq!(hers.submit(&page, &form).await.status(), 200);
    // A tile that is pressed while a login is under way is one of its own.
    let mut browser = rig.browser();
    browser.open("/").await;
    assert_eq!(rig.press(&mut browser, None, &rig.nora).await.status(), 200);
    assert_eq!(rig.who(&mut browser).await.as_deref(), Some("nora@corp.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_provider_accepts_and_another_does_not_and_a_reload_takes_it_back() {
    needs!("simplesamlphp");
    let mut rig = Unasked::start(|_| {}).await;
    let other = SimpleSaml::start();
    let both = rig.stage.program.settings.idps.clone()
        + &saml("other", &other.metadata_url(), "[other.test]", BY_NAME_ID, "");
    rig.stage.program.reload(move |settings| settings.idps = both).await;
    rig.stage.program.logged(&["the configuration is in force"]).await;
    let ours = |page: &str| format!("{}/.portcullis/saml/other/{page}", rig.stage.program.settings.origin());
    let sp = SpAtIdp::new(&ours("metadata"), &ours("acs"));
    other.register(&sp);
    let uid = person(&other, "olga", "olga@other.test", &[]);
    rig.stage.directory.person("olga@other.test", &uid).await;
    let mut browser = rig.browser();
    let page = sign_in_saml(&mut browser, &other.unasked(&sp.entity_id, None), &uid).await;
    assert_eq!(page.status(), 403, "it is not even read: {}", page.text());
    rig.stage.program.logged(&["saml_in_response_to", "\"idp\":\"other\""]).await;
    // Nor is one provider's response another's.
    let (page, form) =
        sign_in_saml_until(&mut rig.browser(), &other.unasked(&sp.entity_id, None), &uid).await;
    let mut moved = form.clone();
    moved.action = moved.action.replace("/other/", "/corp/");
    assert_eq!(rig.browser().submit(&page, &moved).await.status(), 403);
    assert_eq!(rig.press(&mut rig.browser(), None, &rig.mira).await.status(), 200);

    // What has arrived under a configuration that took it is nothing to one that does not.
    let (page, form) = rig.response_of(&rig.nora).await;
    let mut browser = rig.browser();
    browser.submit_once(&page, &form).await;
    rig.stage.program.reload(|settings| settings.idps = settings.idps.replace(ACCEPT, "")).await;
    rig.stage.program.logged(&["the configuration is in force"]).await;
    assert_eq!(browser.open("/.portcullis/arrived").await.status(), 403);
    assert!(session_of(&browser).is_none());
}

/// A key that is distrusted between the response and the page behind it opens nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_arrived_is_overtaken_by_a_distrusted_key() {
    needs!("simplesamlphp");
    let idp = SimpleSaml::start();
    let idps = saml("corp", &idp.metadata_url(), "[corp.test]", BY_NAME_ID, ACCEPT);
    let (stage, sp) = stage_at(&idp, |settings: &mut Settings| settings.idps = idps, |_| {}).await;
    let uid = person(&idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &uid).await;
    let mut browser = stage.program.browser();
    let (page, form) = sign_in_saml_until(&mut browser, &idp.unasked(&sp.entity_id, None), &uid).await;
    browser.submit_once(&page, &form).await;
    let listing = stage.program.command(&["idp", "list", "--json"]);
    let listing: serde_json::Value = serde_json::from_slice(&listing.stdout).unwrap();
    let key = listing["idps"][0]["keys"][0]["certificate"].as_str().unwrap();
    assert!(stage.program.command(&["idp", "distrust", key]).status.success());
    assert_eq!(browser.open("/.portcullis/arrived").await.status(), 403);
    assert!(session_of(&browser).is_none());
    stage.program.logged(&["\"reason\":\"overtaken\""]).await;
}

/// Strangers' posts are bounded: one message is looked at so often, and no body is read of whom nobody has asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_posted_again_and_again_is_not_looked_at_again_and_again() {
    needs!("simplesamlphp");
    let rig = Unasked::start(|_| {}).await;
    let (page, form) = rig.response_of(&rig.mira).await;
    let junk = form.clone().with("SAMLResponse", &STANDARD.encode("<x/>"));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(rig.browser().submit(&page, &junk).await.status().as_u16());
    }
    assert_eq!(statuses, [403, 403, 403, 503, 503]);
    rig.stage.program.logged(&["\"reason\":\"tries\""]).await;
}

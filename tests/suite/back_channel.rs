//! The provider ends a session of its own and says so, server to server (OIDC Back-Channel Logout 1.0): it is answered once
//! everything that stood on that session is gone, and nothing else is.

use http::Request;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::idp::{Client, Op, sign_in};
use crate::rig::inspect::session_of;
use crate::rig::raw::RawSocket;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::rig::wire::{self, Answer, whole};

/// A stage whose provider tells `heard_at` of the ends of sessions; nobody hears it where that is `None`.
async fn stage(is_told: bool) -> (Stage, Client) {
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    // The provider asks by the address: it can resolve no name of the app.
    settings.host = "127.0.0.1".to_owned();
    let heard_at = if is_told {
        format!("{}/.portcullis/backchannel-logout/op", settings.origin())
    } else {
        format!("http://{}/nobody", crate::rig::ports::free())
    };
    let client = Op::shared().client_told_at(&settings, &heard_at).await;
    let settings = settings.with_idp(&Op::shared().issuer, &client);
    let stage = Stage::of(app, settings).await;
    stage.directory.person("mira@corp.test", "00u-mira").await;
    (stage, client)
}

/// Signs Mira in with another browser; what she has then.
async fn mira(stage: &Stage) -> (crate::rig::browser::HeadlessBrowser, Visitor) {
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
    let visitor = Visitor::new(&stage.program.settings, &browser.cookies());
    (browser, visitor)
}

/// Posts to `backchannel-logout/<idp>`.
async fn post(stage: &Stage, idp: &str, body: &str) -> Answer {
    let host = stage.program.settings.origin();
    let request = Request::post(format!("/.portcullis/backchannel-logout/{idp}"))
        .header("host", host.split_once("://").unwrap().1)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(whole(body.to_owned()))
        .unwrap();
    wire::ask(stage.program.proxy(), request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_at_the_provider_is_cut_before_the_provider_is_answered() {
    needs!("op");
    let (stage, _) = stage(true).await;
    let (mut browser, visitor) = mira(&stage).await;
    let (_, elsewhere) = mira(&stage).await;
    let socket = visitor.socket("/ws").await.unwrap();
    assert_eq!((visitor.status("/").await, elsewhere.status("/").await), (200, 200));

    // The page comes once the provider has told its clients.
    assert_eq!(Op::shared().end_session(&mut browser).await.status(), 200);
    stage.app.mark("after the answer").await;
    assert!(!socket.read_out().await.iter().any(|text| text == "after the answer"));
    assert_eq!(visitor.status("/").await, 401);
    assert_eq!(elsewhere.status("/").await, 200, "another session of hers is another");
    let told = stage.program.logged(&["the IdP has ended sessions"]).await;
    assert!(told.contains("\"live\":1"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_kept_its_connection_over_an_upgrade_is_answered_on_it() {
    needs!("op");
    let (mut stage, client) = stage(false).await;
    let (mut browser, visitor) = mira(&stage).await;
    Op::shared().end_session(&mut browser).await;
    let [token] = &Op::shared().logout_tokens(&client).await[..] else { panic!("not one token") };
    let socket = visitor.socket("/ws").await.unwrap();
    let mut kept = RawSocket::connect(stage.program.proxy(), &stage.program.settings.host).await;
    kept.say("GET /.portcullis/ping", &[]).await;
    assert_eq!(kept.answer().await.0.status, 204);
    let before = stage.program.upgrade().await;
    let body = format!("logout_token={token}");
    let length = format!("Content-Length: {}", body.len());
    let page = "POST /.portcullis/backchannel-logout/op";
    kept.say(page, &[&length, "Content-Type: application/x-www-form-urlencoded"]).await;
    kept.send(body.as_bytes()).await;
    let (head, text) = kept.answer().await;
    assert_eq!((head.status, text.as_str(), head.field("connection")), (200, "", Some("close")));
    stage.app.mark("after the answer").await;
    assert!(!socket.read_out().await.iter().any(|text| text == "after the answer"));
    assert_eq!(visitor.status("/").await, 401);
    before.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_once_and_survives_a_restart() {
    needs!("op");
    let (mut stage, client) = stage(false).await;
    let (mut browser, visitor) = mira(&stage).await;
    let (_, elsewhere) = mira(&stage).await;
    assert!(session_of(&browser).is_some());
    Op::shared().end_session(&mut browser).await;
    assert_eq!(visitor.status("/").await, 200, "nobody has told us");
    let [token] = &Op::shared().logout_tokens(&client).await[..] else { panic!("not one token") };

    // What is no message ends nothing.
    for body in [
        "",
        "logout_token=",
        "logout_token=a.b.c",
        "token=x",
        &format!("logout_token={token}&logout_token={token}"),
    ] {
        assert_eq!(post(&stage, "op", body).await.status, 400, "{body}");
    }
    let tampered = token.replacen('.', ".e", 1);
    assert_eq!(post(&stage, "op", &format!("logout_token={tampered}")).await.status, 400);
    assert_eq!(post(&stage, "other", &format!("logout_token={token}")).await.status, 404);
    let origin = stage.program.settings.origin();
    let host = origin.split_once("://").unwrap().1;
    let reads = wire::get(stage.program.proxy(), host, "/.portcullis/backchannel-logout/op");
    assert_eq!(reads.await.unwrap().status, 404);
    assert_eq!(visitor.status("/").await, 200);

    let answer = post(&stage, "op", &format!("logout_token={token}")).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, ""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!((visitor.status("/").await, elsewhere.status("/").await), (401, 200));

    let again = post(&stage, "op", &format!("logout_token={token}")).await;
    assert!(again.status == 400 && again.text().contains("invalid_request"), "{}", again.text());
    stage.restart().await;
    assert_eq!(post(&stage, "op", &format!("logout_token={token}")).await.status, 400);
    assert_eq!((visitor.status("/").await, elsewhere.status("/").await), (401, 200));
    let told = stage.program.logged(&["one that came before"]).await;
    assert!(told.contains("oidc_logout_token") && !told.contains(token.as_str()), "{told}");
}

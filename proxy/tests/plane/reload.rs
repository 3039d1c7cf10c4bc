//! New rules while requests pass.

use std::time::Duration;

use portcullis_policy::{Allow, Timestamp};
use portcullis_proxy::Limits;

use crate::rig::{Rig, Wish, admins};
use crate::streams::UPGRADE;

#[tokio::test(flavor = "multi_thread")]
async fn what_new_rules_forbid_is_cut_and_what_they_allow_stays() {
    let rig = Rig::new().await;
    let (alice, bob) = (format!("Cookie: {}", rig.alice()), format!("Cookie: {}", rig.bob()));
    let mut stays = rig.ask("GET /socket", &[&[alice.as_str()][..], &UPGRADE].concat()).await;
    let mut cut = rig.ask("GET /socket", &[&[bob.as_str()][..], &UPGRADE].concat()).await;
    let mut elsewhere = rig.ask("GET /events", &[&bob]).await;
    stays.until("ready\n").await;
    cut.until("ready\n").await;
    elsewhere.until("hello").await;

    // The rule of /socket says something else now, so even who is still allowed reconnects; /events is as it was.
    let (rules, policy) = rig.new_rules(2, vec![("/socket", admins()), ("/**", Allow::SignedIn)]);
    rig.gate.replace_rules(rules);
    let cleared = rig.sessions.cleared(rig.sessions.review(policy));
    let _ = tokio::time::timeout(BOUND, cleared).await.unwrap();
    rig.upstream.mark("marked").await;

    elsewhere.until("marked").await;
    assert!(cut.rest().await.is_err());
    assert!(stays.rest().await.is_err());
    for line in rig.lines("/socket", 2).await {
        assert_eq!((&line["reason"], &line["ended"]), (&"forbidden".into(), &"cut".into()));
    }
    let fields = |cookie: &str| [&[cookie.to_owned()][..], &UPGRADE.map(str::to_owned)].concat();
    for (cookie, status) in [(&alice, 101), (&bob, 403)] {
        let fields = fields(cookie);
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        assert_eq!(rig.ask("GET /socket", &fields).await.head().await.status, status);
    }
}

const BOUND: Duration = Duration::from_secs(5);

fn open_to_all(below: &'static str) -> Vec<(&'static str, Allow)> {
    vec![(below, Allow::Public), ("/**", Allow::SignedIn)]
}

/// Whoever came under a public rule is nobody's, and is found by a reload all the same.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_cut_where_their_path_is_not_public_any_more() {
    let rules = vec![("/socket", Allow::Public), ("/events", Allow::Public), ("/**", Allow::SignedIn)];
    let rig = Rig::with(Wish { rules, ..Wish::default() }).await;
    let alice = format!("Cookie: {}", rig.alice());
    let mut socket = rig.ask("GET /socket", &UPGRADE).await;
    let mut named = rig.ask("GET /socket", &[&[alice.as_str()][..], &UPGRADE].concat()).await;
    let mut events = rig.ask("GET /events", &[]).await;
    socket.until("ready\n").await;
    named.until("ready\n").await;
    events.until("hello").await;
    assert_eq!(rig.sessions.figures().strangers, 3, "a public rule asks nobody, whoever has a session");

    let (rules, policy) = rig.new_rules(2, open_to_all("/events"));
    rig.gate.replace_rules(rules);
    let cleared = rig.sessions.cleared(rig.sessions.review(policy));
    let _ = tokio::time::timeout(BOUND, cleared).await.unwrap();
    rig.upstream.mark("marked").await;

    events.until("marked").await;
    assert!(socket.rest().await.is_err());
    assert!(named.rest().await.is_err());
    for line in rig.lines("/socket", 2).await {
        let (reason, ended, decision) = (&line["reason"], &line["ended"], &line["decision"]);
        assert_eq!((reason, ended, decision), (&"forbidden".into(), &"cut".into(), &"public".into()));
    }
    assert_eq!(rig.ask("GET /socket", &UPGRADE).await.head().await.status, 401);
    assert_eq!(rig.sessions.figures().strangers, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_let_go_when_nothing_passes() {
    let limits = Limits { idle: Duration::from_secs(30), ..Limits::default() };
    let rules = vec![("/**", Allow::Public)];
    let rig = Rig::with(Wish { rules, limits, ..Wish::default() }).await;
    let now = Timestamp::now();
    let mut socket = rig.ask("GET /socket", &UPGRADE).await;
    let mut events = rig.ask("GET /events", &[]).await;
    socket.until("ready\n").await;
    events.until("hello").await;
    drop(rig.sessions.expire(now.plus_ms(29_000)));
    rig.upstream.mark("marked").await;
    socket.until("marked").await;
    events.until("marked").await;
    drop(rig.sessions.expire(Timestamp::now().plus_ms(30_000)));
    assert!(socket.rest().await.is_err());
    assert!(events.rest().await.is_err());
    for path in ["/socket", "/events"] {
        let line = &rig.lines(path, 1).await[0];
        assert_eq!((&line["reason"], &line["ended"]), (&"idle".into(), &"cut".into()), "{path}");
    }
}

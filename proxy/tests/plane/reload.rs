//! New rules while requests pass.

use portcullis_policy::Allow;

use crate::client::Raw;
use crate::rig::{Rig, admins};
use crate::streams::UPGRADE;

#[tokio::test(flavor = "multi_thread")]
async fn what_new_rules_forbid_is_cut_and_what_they_allow_stays() {
    let rig = Rig::new().await;
    let (alice, bob) = (format!("Cookie: {}", rig.alice()), format!("Cookie: {}", rig.bob()));
    let mut stays = Raw::ask(&rig, "GET /socket", &[&[alice.as_str()][..], &UPGRADE].concat()).await;
    let mut cut = Raw::ask(&rig, "GET /socket", &[&[bob.as_str()][..], &UPGRADE].concat()).await;
    let mut elsewhere = Raw::ask(&rig, "GET /events", &[&bob]).await;
    stays.until("ready\n").await;
    cut.until("ready\n").await;
    elsewhere.until("hello").await;

    // The rule of /socket says something else now, so even who is still allowed reconnects; /events is as it was.
    let (rules, policy) = rig.new_rules(2, vec![("/socket", admins()), ("/**", Allow::SignedIn)]);
    rig.gate.replace(rules);
    let cleared = rig.sessions.cleared(rig.sessions.review(policy));
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), cleared).await.unwrap();
    rig.upstream.mark("marked");

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
        assert_eq!(Raw::ask(&rig, "GET /socket", &fields).await.head().await.status, status);
    }
}

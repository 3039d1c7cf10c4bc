//! The log: one number a commit, in the order of commits, without gaps; and the rows of a change with the change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_policy::{Change, Seq};
use portcullis_scim::Outcome;
use portcullis_store::Origin;
use serde_json::json;

use crate::support::{NOW, ORG, Rig, user, user_path};

#[tokio::test]
async fn a_change_and_its_rows_are_one_commit() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let done = rig.delete(&user_path(&alice)).await;
    let (events, audits) =
        (rig.store.list_events(ORG, 1).await.unwrap(), rig.store.list_audits(ORG, 1).await.unwrap());
    assert_eq!((events[0].seq.0, events[0].kind.as_str()), (done.seq, "user.deleted"));
    assert_eq!(events[0].subject, alice.id.as_str());
    assert_eq!((audits[0].seq.0, audits[0].action.as_str()), (done.seq, "user.deleted"));
    assert_eq!(audits[0].actor, "scim:test");
    assert_eq!((events[0].at, audits[0].at), (NOW, NOW));
    let changes = rig.store.changes_after(Seq(done.seq - 1), 10).await.unwrap();
    assert_eq!(
        changes,
        done.changes.iter().map(|change| (Seq(done.seq), change.clone())).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn the_audit_names_nobody_where_it_may_not_and_keeps_no_long_value() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let long = "x".repeat(100_000);
    for (names, name) in [(true, long.as_str()), (false, "nobody@corp.test")] {
        let origin = Origin { names, ..Origin::of_actor("login") };
        let refused = rig.store.log_in(rig.login("s-1", name), &origin, NOW).await.err().unwrap();
        assert!(refused.to_string().len() < 300, "{refused}");
        let audit = &rig.store.list_audits(ORG, 1).await.unwrap()[0];
        assert_eq!(audit.outcome, "no_match");
        assert!(audit.detail.len() < 500, "{}", audit.detail.len());
        assert_eq!(audit.detail.contains("s-1"), names, "{}", audit.detail);
        assert!(!audit.detail.contains("nobody@corp.test"), "{}", audit.detail);
    }
    let origin = Origin { names: false, ..Origin::of_actor("login") };
    rig.done(rig.store.log_in(rig.login("s-1", "alice"), &origin, NOW).await.unwrap()).await;
    assert!(!rig.store.list_audits(ORG, 1).await.unwrap()[0].detail.contains("s-1"));
}

#[tokio::test]
async fn every_kind_of_change_reads_as_it_was_written() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (hash, _) = rig.sign_in("s1", "alice").await;
    let origin = portcullis_store::Origin::of_actor("test");
    use portcullis_store::Which;
    for which in [Which::Session(hash), Which::Idp(ORG, "okta".into()), Which::Org(ORG), Which::Deployment] {
        rig.done(rig.store.end_sessions_of(which, &origin, NOW).await.unwrap()).await;
    }
    rig.patch(&user_path(&alice), json!([{ "op": "replace", "value": { "title": "x", "active": false } }]))
        .await
        .value
        .unwrap();
    let all = rig.store.changes_after(Seq(0), 1_000).await.unwrap();
    let kinds: Vec<_> = all
        .iter()
        .map(|(_, change)| match change {
            Change::Out(..) => "out",
            Change::Ended(_, ended) if *ended == hash => "ended",
            Change::Ended(..) => "ended another",
            Change::Epoch(..) => "epoch",
            Change::Reconsider(_) => "reconsider",
            Change::ReconsiderAll(_) => "all",
        })
        .collect();
    assert_eq!(kinds, ["reconsider", "ended", "epoch", "epoch", "epoch", "out", "reconsider"]);
}

#[tokio::test]
async fn a_commit_is_read_whole_however_small_the_limit() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let done = rig
        .patch(&user_path(&alice), json!([{ "op": "replace", "value": { "title": "x", "active": false } }]))
        .await;
    assert_eq!(done.changes.len(), 2);
    for limit in [0, 1, 2, 3] {
        assert_eq!(rig.store.changes_after(Seq(0), limit).await.unwrap().len(), 2, "{limit}");
    }
    assert!(rig.store.changes_after(Seq(done.seq), 9).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_are_in_the_order_of_commits_without_gaps() {
    let rig = Arc::new(Rig::new().await);
    let base = rig.store.last_seq().await.unwrap().0;

    // A follower that reads on from what it has seen must miss nothing.
    let stop = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn({
        let (rig, stop) = (rig.clone(), stop.clone());
        async move {
            let (mut seen, mut heard) = (Seq(base), Vec::new());
            loop {
                let last_round = stop.load(Ordering::Acquire);
                let rows = rig.store.changes_after(seen, 7).await.unwrap();
                for (seq, change) in rows {
                    assert!(seq >= seen);
                    seen = seq;
                    heard.push((seq, change));
                }
                if last_round && rig.store.changes_after(seen, 1).await.unwrap().is_empty() {
                    return heard;
                }
            }
        }
    });

    let writers = (0..8).map(|writer| {
        let rig = rig.clone();
        tokio::spawn(async move {
            let mut said = Vec::new();
            for n in 0..12 {
                let done = rig.write("POST", "/Users", user(&format!("user-{writer}-{n}"))).await;
                said.push((done.seq, done.changes));
                let Ok(Outcome::Created(made)) = done.value else { panic!("{:?}", done.value) };
                let done = if n % 3 == 0 {
                    rig.delete(&user_path(&made)).await
                } else {
                    rig.patch(&user_path(&made), json!([{ "op": "replace", "path": "title", "value": "x" }]))
                        .await
                };
                said.push((done.seq, done.changes));
                // Refused, so no number is used.
                let refused = rig.put("/Users/unknown", user("x")).await;
                assert!(refused.value.is_err());
            }
            said
        })
    });
    let mut said: BTreeMap<i64, Vec<Change>> = BTreeMap::new();
    for writer in futures_util::future::join_all(writers.collect::<Vec<_>>()).await {
        for (seq, changes) in writer.unwrap() {
            assert!(said.insert(seq, changes).is_none(), "{seq} was given twice");
        }
    }
    stop.store(true, Ordering::Release);
    let heard = follower.await.unwrap();
    let last = rig.store.last_seq().await.unwrap().0;
    assert_eq!(said.keys().copied().collect::<Vec<_>>(), (base + 1..=last).collect::<Vec<_>>(), "no gaps");
    let expected: Vec<_> = said
        .into_iter()
        .flat_map(|(seq, changes)| changes.into_iter().map(move |change| (Seq(seq), change)))
        .collect();
    assert_eq!(heard, expected);
}

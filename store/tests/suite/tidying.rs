//! What time takes away, and what it must not.

use portcullis_policy::{OrgId, Seq, UserFrom};
use portcullis_store::{AdmissionRefusal, LoggedRefusal, Origin, PeopleSource, Retention};

use crate::support::{HOUR, NOW, ORG, Rig, telling, user_path};

const DAY: i64 = 24 * HOUR;
const KEPT: Retention = Retention {
    idle_ms: 2 * HOUR,
    tombstone_ms: 30 * DAY,
    unused_ms: 90 * DAY,
    event_ms: 1_000 * DAY,
    audit_ms: 1_000 * DAY,
    revocation_ms: 1_000 * DAY,
    refusal_ms: 1_000 * DAY,
    repeat_ms: DAY,
};

#[tokio::test]
async fn sessions_that_are_over_go_and_others_stay() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (idle, _) = rig.sign_in("s1", "alice").await;
    let (heard, _) = rig.sign_in("s1", "alice").await;
    rig.store.save_seen(vec![(heard, NOW.plus_ms(3 * HOUR))]).await.unwrap();
    rig.store.tidy(NOW.plus_ms(2 * HOUR + 1), KEPT).await.unwrap();
    assert!(
        rig.store.guess_owner(&idle).await.unwrap().is_some(),
        "its time of last sight may not be written yet"
    );
    rig.store.tidy(NOW.plus_ms(3 * HOUR), KEPT).await.unwrap();
    assert!(rig.store.guess_owner(&idle).await.unwrap().is_none());
    assert!(rig.store.guess_owner(&heard).await.unwrap().is_some());
    rig.store.save_seen(vec![(heard, NOW.plus_ms(12 * HOUR))]).await.unwrap();
    rig.store.tidy(NOW.plus_ms(12 * HOUR), KEPT).await.unwrap();
    assert!(rig.store.guess_owner(&heard).await.unwrap().is_none(), "its absolute end");
}

#[tokio::test]
async fn a_flow_is_remembered_as_long_as_it_could_be_presented() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let login = rig.login("s1", "alice");
    rig.try_sign_in(login.clone()).await.unwrap();
    rig.store.tidy(NOW.plus_ms(599_999), KEPT).await.unwrap();
    assert_eq!(rig.try_sign_in(login.clone()).await.err(), Some(AdmissionRefusal::FlowSpent));
    assert!(rig.store.tidy(NOW.plus_ms(600_000), KEPT).await.unwrap() >= 1);
}

#[tokio::test]
async fn a_tombstone_is_shredded_after_its_time_and_still_bars() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (hash, signed_in) = rig.sign_in("s1", "alice").await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    rig.store.tidy(NOW.plus_ms(30 * DAY - 1), KEPT).await.unwrap();
    assert!(rig.store.read_description(ORG, signed_in.account).await.unwrap().is_some());
    rig.store.tidy(NOW.plus_ms(30 * DAY), KEPT).await.unwrap();
    assert!(rig.store.read_description(ORG, signed_in.account).await.unwrap().is_none());
    assert!(rig.store.read_session(&hash).await.unwrap().is_none());
    assert!(rig.store.user_list(ORG, None, 10).await.unwrap().is_empty());
    let mut login = rig.login("s1", "");
    login.provisioning = PeopleSource::None;
    login.policy = telling(UserFrom::Subject);
    assert_eq!(
        rig.try_sign_in(login).await.err(),
        Some(AdmissionRefusal::Removed),
        "the keyed hash remembers"
    );
    assert_ne!(rig.add_user("alice").await.id, alice.id, "nothing is left to restore");
}

#[tokio::test]
async fn accounts_nobody_uses_go_but_not_those_an_operator_disabled() {
    let rig = Rig::new().await;
    rig.add_user("alice").await; // of a directory: the directory's to remove
    for subject in ["s1", "s2"] {
        let mut login = rig.login(subject, "");
        login.provisioning = PeopleSource::None;
        login.policy = telling(UserFrom::Subject);
        rig.try_sign_in(login).await.unwrap();
    }
    let disabled = rig.store.user_disable(ORG, "s2", &Origin::of_actor("cli"), NOW).await.unwrap();
    rig.done(disabled).await;
    rig.store.tidy(NOW.plus_ms(90 * DAY), KEPT).await.unwrap();
    let left: Vec<_> =
        rig.store.user_list(ORG, None, 10).await.unwrap().into_iter().map(|u| u.name).collect();
    assert_eq!(left, ["alice", "s2"]);
}

#[tokio::test]
async fn more_than_a_piece_is_removed_in_pieces() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    for _ in 0..450 {
        rig.sign_in("s1", "alice").await;
    }
    let removed = rig.store.tidy(NOW.plus_ms(13 * HOUR), KEPT).await.unwrap();
    assert_eq!(removed, 900, "sessions and flows");
    assert_eq!(rig.store.tidy(NOW.plus_ms(13 * HOUR), KEPT).await.unwrap(), 0);
}

#[tokio::test]
async fn the_ring_keeps_the_last_ten_thousand_refusals() {
    let rig = Rig::new().await;
    let refused = |n: u32| LoggedRefusal {
        org: OrgId::ONLY,
        reference: format!("R-{n}"),
        at: NOW,
        record: format!("{{\"n\":{n}}}"),
    };
    for batch in 0..21 {
        let batch = (batch * 500..(batch + 1) * 500).map(refused).collect();
        rig.store.keep_refusals(batch).await.unwrap();
    }
    rig.store.keep_refusals(Vec::new()).await.unwrap();
    assert_eq!(rig.store.find_refusal("R-499").await.unwrap(), None);
    assert_eq!(rig.store.find_refusal("R-500").await.unwrap(), Some(refused(500)));
    assert_eq!(rig.store.find_refusal("R-10499").await.unwrap(), Some(refused(10_499)));
    let twice = LoggedRefusal { record: "{}".to_owned(), ..refused(10_499) };
    rig.store.keep_refusals(vec![twice.clone()]).await.unwrap();
    assert_eq!(rig.store.find_refusal("R-10499").await.unwrap(), Some(twice), "the newest");
}

#[tokio::test]
async fn logs_are_kept_for_their_time_each_for_its_own() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.set_active(&alice, false).await.value.unwrap();
    let refused = LoggedRefusal {
        org: OrgId::ONLY,
        reference: "7Q2M-X4KD".to_owned(),
        at: NOW,
        record: "{}".to_owned(),
    };
    rig.store.keep_refusals(vec![refused]).await.unwrap();
    let left = async || {
        (
            rig.store.list_events(ORG, 10).await.unwrap().len(),
            rig.store.list_audits(ORG, 10).await.unwrap().len(),
            rig.store.changes_after(Seq(0), 10).await.unwrap().len(),
            rig.store.find_refusal("7Q2M-X4KD").await.unwrap().is_some(),
        )
    };
    assert_eq!(left().await, (2, 2, 1, true));
    let kept = Retention::new(2 * HOUR);
    let tidied = async |days: i64, ms: i64| rig.store.tidy(NOW.plus_ms(days * DAY + ms), kept).await.unwrap();
    assert_eq!(tidied(7, -1).await, 0);
    assert_eq!(tidied(7, 0).await, 1);
    assert_eq!(left().await, (2, 2, 0, true));
    assert_eq!(tidied(30, 0).await, 1);
    assert_eq!(left().await, (2, 2, 0, false));
    assert_eq!(tidied(90, 0).await, 2);
    assert_eq!(left().await, (0, 2, 0, false));
    assert_eq!(tidied(400, -1).await, 0);
    assert_eq!(tidied(400, 0).await, 2);
    assert_eq!(left().await, (0, 0, 0, false));
    // What is written next is numbered on, and kept.
    let before = rig.store.last_seq().await.unwrap();
    rig.add_user("bob").await;
    assert_eq!(rig.store.list_events(ORG, 10).await.unwrap()[0].seq, Seq(before.0 + 1));
}

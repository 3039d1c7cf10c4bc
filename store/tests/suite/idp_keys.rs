//! The signing keys of identity providers: kept over a restart, written down once, approved, and distrusted for ever, with
//! every session of whoever has the key.

use std::collections::BTreeSet;

use portcullis_policy::{Change, Scope, Timestamp};
use portcullis_store::{IdpKeyRow, IdpKeyState, Origin, idp_keys_in};

use crate::support::{NOW, ORG, Rig};

fn key(number: u8, state: IdpKeyState) -> IdpKeyRow {
    IdpKeyRow { certificate: [number; 32], key: [number + 100; 32], state, since: NOW }
}

async fn keep(rig: &Rig, idp: &str, keys: &[IdpKeyRow]) {
    let origin = Origin::of_actor("idp");
    let kept = rig.store.keep_idp_keys(ORG, idp.to_owned(), keys.to_vec(), &origin, NOW).await.unwrap();
    assert!(!rig.done(kept).await.takes_away);
}

async fn distrust(
    rig: &Rig,
    prints: &[[u8; 32]],
    known: &[&str],
) -> crate::support::Done<portcullis_store::DistrustedKey> {
    let known = known.iter().map(|idp| (*idp).to_owned()).collect();
    let prints: BTreeSet<_> = prints.iter().copied().collect();
    rig.done(rig.store.distrust_idp_key(ORG, prints, known, &Origin::of_actor("cli"), NOW).await.unwrap())
        .await
}

/// What was done with keys, the oldest first.
async fn told(rig: &Rig) -> Vec<(String, String)> {
    let audits = rig.store.audits_before(ORG, None, 100).await.unwrap();
    let ours = audits.into_iter().rev().filter(|audit| audit.action == "idp.keys");
    ours.map(|audit| (audit.outcome, audit.detail)).collect()
}

#[tokio::test]
async fn keys_are_kept_and_each_change_is_told_once() {
    use IdpKeyState::{Gone, InForce, Waiting};
    let rig = Rig::new().await;
    keep(&rig, "corp", &[key(1, InForce)]).await;
    for _ in 0..2 {
        keep(&rig, "corp", &[key(1, InForce), key(2, Waiting)]).await;
    }
    let rig = rig.reopened().await;
    let kept = rig.store.read_idp_keys(ORG).await.unwrap();
    let corp = |key| ("corp".to_owned(), key);
    assert_eq!(kept.keys, [corp(key(1, InForce)), corp(key(2, Waiting))]);
    assert_eq!(idp_keys_in(&rig.path, ORG).await.unwrap(), kept, "and by whoever only looks");
    keep(&rig, "corp", &[key(1, Gone), key(2, Waiting)]).await;
    keep(&rig, "other", &[key(2, InForce)]).await;
    let outcomes: Vec<_> = told(&rig).await.into_iter().map(|(outcome, _)| outcome).collect();
    assert_eq!(outcomes, ["first", "waiting", "changed", "first"]);
    // One that the book has forgotten.
    keep(&rig, "corp", &[key(2, Waiting)]).await;
    assert_eq!(rig.store.read_idp_keys(ORG).await.unwrap().keys.len(), 2);
}

#[tokio::test]
async fn only_a_key_that_waits_is_approved() {
    let rig = Rig::new().await;
    keep(&rig, "corp", &[key(1, IdpKeyState::Gone), key(2, IdpKeyState::Waiting)]).await;
    for (idp, number, is_approved) in
        [("other", 2, false), ("corp", 1, false), ("corp", 2, true), ("corp", 2, false)]
    {
        let origin = Origin::of_actor("cli");
        let approving = rig.store.approve_idp_key(ORG, idp.to_owned(), [number + 100; 32], &origin, NOW);
        assert_eq!(rig.done(approving.await.unwrap()).await.value, is_approved, "{idp} {number}");
    }
    let kept = rig.store.read_idp_keys(ORG).await.unwrap().keys;
    assert_eq!(kept[1].1.state, IdpKeyState::InForce);
    assert_eq!(told(&rig).await.iter().filter(|(outcome, _)| outcome == "approved").count(), 1);
}

#[tokio::test]
async fn a_distrusted_key_ends_every_session_of_whoever_has_it_or_had_it() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (alice, _) = rig.sign_in("s1", "alice").await;
    keep(&rig, "okta", &[key(1, IdpKeyState::InForce)]).await;
    keep(&rig, "okta", &[key(1, IdpKeyState::Gone), key(2, IdpKeyState::InForce)]).await;
    keep(&rig, "entra", &[key(3, IdpKeyState::InForce)]).await;
    let done = distrust(&rig, &[[3; 32]], &[]).await;
    assert_eq!((done.value.idps.as_slice(), done.value.live), (&["entra".to_owned()][..], Some(0)));
    assert!(rig.is_in(&alice).await, "another provider's key");

    // By the key's own fingerprint, though its certificate is gone.
    let done = distrust(&rig, &[[101; 32]], &["unsaved"]).await;
    assert_eq!(done.value.idps, ["okta", "unsaved"]);
    assert_eq!((done.value.live, done.value.is_repeat, done.takes_away), (Some(1), false, true));
    assert!(!rig.is_in(&alice).await);
    let okta = Change::Epoch(Scope::Idp(ORG, "okta".into()), 1);
    assert!(done.changes.contains(&okta), "{:?}", done.changes);

    // Repeated it enforces again, and ends nothing that began since.
    let mut login = rig.login("s1", "alice");
    login.epochs = [0, 0, 1];
    let hash = login.session.hash;
    rig.try_sign_in(login).await.unwrap();
    let again = distrust(&rig, &[[101; 32]], &[]).await;
    assert!(again.value.is_repeat && again.takes_away && again.changes.contains(&okta));
    assert!(rig.is_in(&hash).await);
    let rig = rig.reopened().await;
    let distrusted: BTreeSet<_> =
        rig.store.read_idp_keys(ORG).await.unwrap().distrusted.into_iter().collect();
    assert_eq!(distrusted, [[3; 32], [101; 32]].into());
    assert_eq!(told(&rig).await.iter().filter(|(outcome, _)| outcome == "distrusted").count(), 2);
    // Time takes nothing of it away.
    let late = Timestamp(NOW.0 * 10);
    rig.store.tidy(late, portcullis_store::Retention::new(1)).await.unwrap();
    assert_eq!(rig.store.read_idp_keys(ORG).await.unwrap().distrusted.len(), 2);
}

#[tokio::test]
async fn a_key_that_was_distrusted_by_its_certificate_is_distrusted_in_the_next_one_too() {
    let rig = Rig::new().await;
    distrust(&rig, &[[1; 32]], &[]).await;
    keep(&rig, "corp", &[key(1, IdpKeyState::Waiting)]).await;
    assert!(rig.store.read_idp_keys(ORG).await.unwrap().distrusted.contains(&[101; 32]));
    assert!(told(&rig).await.iter().all(|(outcome, _)| outcome != "waiting"), "nobody can approve it");
}

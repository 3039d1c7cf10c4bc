//! Sessions: what a cold load reads, what ends them, what survives.

use portcullis_policy::{AppId, Change, Generation, OrgId, Scope, SessionHash};
use portcullis_session::InFlight;
use portcullis_store::{IdpNotice, IdpSessions, Origin, Which};

use crate::support::{HERE, HOUR, NOW, ORG, Rig, fresh_hash, user_path};

fn origin() -> Origin {
    Origin::of_actor("test")
}

#[tokio::test]
async fn a_cold_load_reads_what_the_login_wrote() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.add_group("crew", &[&alice.id]).await;
    let (hash, signed_in) = rig.sign_in("s1", "alice").await;
    assert_eq!(rig.store.guess_owner(&hash).await.unwrap(), Some((ORG, signed_in.account)));
    let stored = rig.store.read_session(&hash).await.unwrap().unwrap();
    assert_eq!(stored.session.app, AppId::ONLY);
    assert_eq!(&*stored.session.idp, "okta");
    assert_eq!(stored.session.born, Generation(0));
    assert_eq!((stored.session.created, stored.session.seen), (NOW, NOW));
    assert_eq!(stored.session.expires, NOW.plus_ms(12 * HOUR));
    assert!(!stored.session.ended && stored.described.active);
    assert_eq!(stored.described.facts, signed_in.facts);
    assert_eq!(stored.described.resource, Some((HERE, alice.id)));
    assert_eq!(stored.described.at, rig.store.last_seq().await.unwrap());
    assert_eq!(rig.store.guess_owner(&fresh_hash()).await.unwrap(), None);
    assert!(rig.store.read_session(&fresh_hash()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_of_the_rows_is_let_in_by_the_real_check() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (hash, signed_in) = rig.sign_in("s1", "alice").await;
    let enter = async |hash: SessionHash| {
        let exchange = InFlight::new();
        let cold = rig.sessions.keep_account(ORG, signed_in.account).enrol(hash, &exchange);
        let stored = rig.store.read_session(&hash).await.unwrap().unwrap();
        rig.sessions.read_session(cold, &stored, AppId::ONLY, NOW).map(drop)
    };
    enter(hash).await.unwrap();
    rig.set_active(&alice, false).await.value.unwrap();
    assert!(enter(hash).await.is_err());
}

/// The log number, the session and the account of one reading are of one moment: a change with that number or a smaller
/// one is in it, a later one is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reading_is_of_one_moment() {
    let rig = std::sync::Arc::new(Rig::new().await);
    let alice = rig.add_user("alice").await;
    for round in 0..12 {
        let (hash, _) = rig.sign_in("s1", "alice").await;
        let base = rig.store.read_session(&hash).await.unwrap().unwrap();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let rig = rig.clone();
                tokio::spawn(async move {
                    let mut readings = Vec::new();
                    loop {
                        let stored = rig.store.read_session(&hash).await.unwrap().unwrap();
                        let (at, generation) = (stored.described.at, stored.described.generation);
                        readings.push((at, stored.session.ended, generation));
                        if stored.session.ended && generation > base.described.generation {
                            return readings;
                        }
                    }
                })
            })
            .collect();
        let removed = rig.set_active(&alice, false).await.seq;
        rig.set_active(&alice, true).await.value.unwrap();
        let ended = rig
            .done(rig.store.end_sessions_of(Which::Session(hash), &origin(), NOW).await.unwrap())
            .await
            .seq;
        for reader in readers {
            for (at, is_ended, generation) in reader.await.unwrap() {
                assert_eq!(is_ended, at.0 >= ended, "round {round}: {at:?}");
                assert_eq!(generation > base.described.generation, at.0 >= removed, "round {round}: {at:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_login_replaces_the_session_the_browser_had() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.add_user("bob").await;
    let (old, before) = rig.sign_in("s1", "alice").await;
    let mut login = rig.login("s2", "bob");
    login.session.replaces = Some(old);
    let done = rig.try_sign_in(login).await.unwrap();
    assert!(done.changes.contains(&Change::Ended(before.account, old)));
    assert!(!rig.is_in(&old).await);
}

#[tokio::test]
async fn a_logout_ends_one_and_its_repeat_is_enforced_too() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (one, signed_in) = rig.sign_in("s1", "alice").await;
    let (other, _) = rig.sign_in("s1", "alice").await;
    let token = rig.store.logout_hint(&one).await.unwrap().unwrap();
    assert_eq!((&*token.idp, token.sealed.as_deref()), ("okta", Some(&b"sealed"[..])));
    let first = rig.done(rig.store.end_sessions_of(Which::Session(one), &origin(), NOW).await.unwrap()).await;
    assert_eq!((first.value, &first.changes[..]), (1, &[Change::Ended(signed_in.account, one)][..]));
    assert!(!rig.is_in(&one).await && rig.is_in(&other).await);
    assert_eq!(rig.store.logout_hint(&one).await.unwrap(), None, "what only the logout needed is gone");
    let again = rig.done(rig.store.end_sessions_of(Which::Session(one), &origin(), NOW).await.unwrap()).await;
    assert_eq!((again.value, again.changes, again.seq), (0, first.changes, first.seq));
    let nobody = rig
        .done(rig.store.end_sessions_of(Which::Session(fresh_hash()), &origin(), NOW).await.unwrap())
        .await;
    assert!(nobody.value == 0 && nobody.changes.is_empty());
}

#[tokio::test]
async fn each_wider_end_ends_its_own_and_nothing_else() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.add_user("bob").await;
    let (alice, signed_in) = rig.sign_in("s1", "alice").await;
    let (bob, _) = rig.sign_in("s2", "bob").await;
    let end =
        async |which: Which| rig.done(rig.store.end_sessions_of(which, &origin(), NOW).await.unwrap()).await;

    let done = end(Which::Account(ORG, signed_in.account)).await;
    assert_eq!((done.value, done.changes), (1, vec![Change::Out(signed_in.account, Generation(1))]));
    assert!(!rig.is_in(&alice).await && rig.is_in(&bob).await);

    let none = end(Which::Idp(ORG, "entra".into())).await;
    assert_eq!(none.value, 0);
    assert!(rig.is_in(&bob).await);
    let done = end(Which::Idp(ORG, "okta".into())).await;
    assert_eq!(done.value, 1, "alice's is over already");
    assert_eq!(done.changes, [Change::Epoch(Scope::Idp(ORG, "okta".into()), 1)]);
    assert!(!rig.is_in(&bob).await);

    let (again, _) = rig.sign_in("s2", "bob").await;
    assert!(rig.is_in(&again).await, "born after the epoch");
    assert_eq!(end(Which::Org(OrgId(9))).await.value, 0);
    assert!(rig.is_in(&again).await);
    assert_eq!(end(Which::Org(ORG)).await.changes, [Change::Epoch(Scope::Org(ORG), 1)]);
    assert!(!rig.is_in(&again).await);

    let (again, _) = rig.sign_in("s2", "bob").await;
    assert_eq!(end(Which::Deployment).await.changes, [Change::Epoch(Scope::Deployment, 1)]);
    assert!(!rig.is_in(&again).await);
    assert_eq!(rig.store.count_sessions(NOW).await.unwrap(), 0);
}

#[tokio::test]
async fn ends_survive_a_restart() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (kept, _) = rig.sign_in("s1", "alice").await;
    let (ended, _) = rig.sign_in("s1", "alice").await;
    rig.done(rig.store.end_sessions_of(Which::Session(ended), &origin(), NOW).await.unwrap()).await;
    let rig = rig.reopened().await;
    assert!(rig.is_in(&kept).await && !rig.is_in(&ended).await);
    rig.done(rig.store.end_sessions_of(Which::Deployment, &origin(), NOW).await.unwrap()).await;
    let rig = rig.reopened().await;
    assert!(!rig.is_in(&kept).await);
}

#[tokio::test]
async fn last_seen_only_grows() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (hash, _) = rig.sign_in("s1", "alice").await;
    let seen = async || rig.store.read_session(&hash).await.unwrap().unwrap().session.seen;
    rig.store.save_seen(vec![(hash, NOW.plus_ms(5_000)), (fresh_hash(), NOW)]).await.unwrap();
    assert_eq!(seen().await, NOW.plus_ms(5_000));
    rig.store.save_seen(vec![(hash, NOW.plus_ms(1_000))]).await.unwrap();
    assert_eq!(seen().await, NOW.plus_ms(5_000));
    rig.store.save_seen(Vec::new()).await.unwrap();
}

#[tokio::test]
async fn live_sessions_are_counted() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.add_user("bob").await;
    rig.sign_in("s1", "alice").await;
    let (bob, _) = rig.sign_in("s2", "bob").await;
    rig.sign_in("s2", "bob").await;
    assert_eq!(rig.store.count_sessions(NOW).await.unwrap(), 3);
    rig.done(rig.store.end_sessions_of(Which::Session(bob), &origin(), NOW).await.unwrap()).await;
    assert_eq!(rig.store.count_sessions(NOW).await.unwrap(), 2);
    rig.delete(&user_path(&alice)).await.value.unwrap();
    assert_eq!(rig.store.count_sessions(NOW).await.unwrap(), 1);
    assert_eq!(rig.store.count_sessions(NOW.plus_ms(12 * HOUR)).await.unwrap(), 0);
}

/// A message of the IdP about a person's sessions, or some of them.
fn notice(number: u8, subject: Option<&str>, sessions: &[&str]) -> IdpNotice {
    IdpNotice {
        id: [number; 32],
        until: NOW.plus_ms(600_000),
        sessions: IdpSessions {
            org: ORG,
            idp: "okta".into(),
            subject: subject.map(str::to_owned),
            sessions: sessions.iter().map(|session| (*session).to_owned()).collect(),
        },
    }
}

#[tokio::test]
async fn the_idp_ends_what_it_names_and_nothing_else() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.add_user("bob").await;
    let mut hashes = Vec::new();
    for (subject, user, session) in [
        ("s1", "alice", Some("a")),
        ("s1", "alice", Some("b")),
        ("s1", "alice", None),
        ("s2", "bob", Some("c")),
    ] {
        let mut login = rig.login(subject, user);
        login.session.idp_session = session.map(str::to_owned);
        hashes.push(login.session.hash);
        rig.try_sign_in(login).await.unwrap();
    }
    let end = async |notice: IdpNotice| {
        let done = rig.done(rig.store.end_at_idp(notice, &origin(), NOW).await.unwrap()).await;
        (done.value.live, done.value.is_repeat, done.changes.len())
    };
    let who_is_in = async || {
        let mut found = Vec::new();
        for hash in &hashes {
            found.push(rig.is_in(hash).await);
        }
        found
    };
    // A session of another person, of nobody, and no name at all.
    for (number, subject, sessions) in
        [(1, Some("s2"), &["a"][..]), (2, None, &["z"]), (3, Some("s9"), &[]), (4, None, &[])]
    {
        assert_eq!(end(notice(number, subject, sessions)).await, (0, false, 0), "{number}");
    }
    let mut elsewhere = notice(5, Some("s1"), &[]);
    elsewhere.sessions.idp = "entra".into();
    assert_eq!(end(elsewhere).await, (0, false, 0));
    assert_eq!(who_is_in().await, [true; 4]);

    assert_eq!(end(notice(6, Some("s1"), &["a"])).await, (1, false, 1));
    assert_eq!(who_is_in().await, [false, true, true, true]);
    // Repeated, it is enforced again, and ends nothing that came since.
    let mut login = rig.login("s1", "alice");
    login.session.idp_session = Some("a".to_owned());
    let since = login.session.hash;
    rig.try_sign_in(login).await.unwrap();
    assert_eq!(end(notice(6, Some("s1"), &["a"])).await, (0, true, 1));
    assert!(rig.is_in(&since).await);
    // All of a person: what had ended before is enforced too.
    assert_eq!(end(notice(7, Some("s1"), &[])).await, (3, false, 4));
    assert_eq!(who_is_in().await, [false, false, false, true]);
    assert_eq!(end(notice(8, None, &["b", "c"])).await, (1, false, 2));
    assert_eq!(who_is_in().await, [false; 4]);
}

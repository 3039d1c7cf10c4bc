//! The master key and what is hashed with its help: a key that does not fit is refused, and bars outlive every
//! replacement that has the key from before.

use std::sync::Arc;

use portcullis_keys::{AssertionKey, Keyring, Random};
use portcullis_policy::UserFrom;
use portcullis_scim::Schemas;
use portcullis_store::{
    AdmissionRefusal, FormerKeys, KeyLoss, KeysError, LoginError, Origin, PeopleSource, Retention, Store,
};

use crate::support::{HOUR, NOW, ORG, Rig, master, telling, user_path};

async fn refused(rig: &Rig, subject: &str) -> Option<AdmissionRefusal> {
    let mut login = rig.login(subject, "");
    login.provisioning = PeopleSource::None;
    login.policy = telling(UserFrom::Subject);
    rig.try_sign_in(login).await.err()
}

/// alice is in, bob was removed a long time ago, carol just now, dave is disabled.
async fn peopled() -> Rig {
    let rig = Rig::new().await;
    for (subject, name) in [("s1", "alice"), ("s2", "bob"), ("s3", "carol"), ("s4", "dave")] {
        rig.add_user(name).await;
        rig.sign_in(subject, name).await;
    }
    for name in ["bob", "carol"] {
        let found = rig.list(&format!("/Users?filter=userName%20eq%20%22{name}%22")).await.records.remove(0);
        rig.delete(&user_path(&found)).await.value.unwrap();
        if name == "bob" {
            let kept =
                Retention { tombstone_ms: 0, unused_ms: 24 * 365 * HOUR, ..Retention::new(24 * 365 * HOUR) };
            rig.store.tidy(NOW, kept).await.unwrap();
        }
    }
    rig.sign_out_by_hand("dave").await;
    rig
}

async fn open(rig: &Rig, keys: &Keyring) -> Result<Store, KeysError> {
    rig.store.close().await;
    let store = Store::open(&rig.path, Arc::new(Schemas::core_schemas())).await.unwrap();
    store.use_keys(keys, &mut Random::from_system(), NOW).await.map(|()| store)
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_an_error_that_says_what_is_lost() {
    let rig = peopled().await;
    let error = open(&rig, &master(8)).await.err().unwrap();
    let lost = KeyLoss { sessions: 1, links: 2, bars: 3 };
    assert!(matches!(&error, KeysError::DoNotFit { lost: found, .. } if *found == lost), "{error:?}");
    let text = error.to_string();
    for part in
        ["portcullis.db", "sessions (1)", "links (2)", "bars (3:", "portcullis keys replace", "Restore"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let rig = rig.reopened().await;
    assert_eq!(refused(&rig, "s2").await, Some(AdmissionRefusal::Removed), "the refusal changed nothing");
}

#[tokio::test]
async fn without_a_key_nobody_is_signed_in() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.store.close().await;
    let store = Store::open(&rig.path, Arc::new(Schemas::core_schemas())).await.unwrap();
    assert!(store.has_keys().await.unwrap());
    let error = store.log_in(rig.login("s1", "alice"), &Origin::of_actor("login"), NOW).await.err().unwrap();
    assert!(matches!(error, LoginError::Store(_)) && format!("{error:?}").contains("NoKeys"), "{error:?}");
}

#[tokio::test]
async fn with_the_key_from_before_a_new_one_keeps_every_bar_and_ends_every_session() {
    let rig = peopled().await;
    let (alice, _) = rig.sign_in("s1", "alice").await;
    let would = rig.store.would_replace_keys(Some(&master(7)), NOW).await.unwrap();
    let done = rig
        .store
        .replace_keys(Some(&master(7)), &master(8), &mut Random::from_system(), &Origin::of_actor("cli"), NOW)
        .await
        .unwrap();
    let done = rig.done(done).await.value;
    assert_eq!(done, would);
    assert!(done.keeps_bars && done.void.is_empty());
    assert!(!rig.is_in(&alice).await);
    assert!(open(&rig, &master(7)).await.is_err(), "the one from before is worth nothing now");
    let rig = rig.reopened_with(8).await;
    for (subject, refusal) in [
        ("s2", AdmissionRefusal::Removed),
        ("s3", AdmissionRefusal::Removed),
        ("s4", AdmissionRefusal::Disabled),
    ] {
        assert_eq!(refused(&rig, subject).await, Some(refusal), "{subject}");
    }
}

#[tokio::test]
async fn without_it_whoever_is_known_stays_barred_and_the_rest_is_told() {
    let rig = peopled().await;
    let would = rig.store.would_replace_keys(None, NOW).await.unwrap();
    assert_eq!((would.sessions, would.barred_again, would.void.len()), (1, 2, 1));
    assert_eq!(refused(&rig, "s2").await, Some(AdmissionRefusal::Removed), "it changes nothing");
    // A key that is not the one from before is none.
    let done = rig
        .store
        .replace_keys(Some(&master(9)), &master(8), &mut Random::from_system(), &Origin::of_actor("cli"), NOW)
        .await
        .unwrap();
    assert_eq!(rig.done(done).await.value, would);
    let rig = rig.reopened_with(8).await;
    assert_eq!(refused(&rig, "s3").await, Some(AdmissionRefusal::Removed));
    assert_eq!(refused(&rig, "s4").await, Some(AdmissionRefusal::Disabled));
    assert_eq!(refused(&rig, "s2").await, None, "whose bar was named as void");
    // What is barred from now on is barred by the new key.
    rig.sign_out_by_hand("alice").await;
    assert_eq!(refused(&rig, "s1").await, Some(AdmissionRefusal::Disabled));
    assert!(rig.store.user_list(ORG, None, 10).await.unwrap().len() >= 3);
}

#[tokio::test]
async fn the_keys_of_the_signed_header_follow_the_master_key_or_are_made_anew() {
    let rig = Rig::new().await;
    let (origin, mut random) = (Origin::of_actor("tick"), Random::from_system());
    let names = |rows: Vec<portcullis_store::AssertionKeyRow>| {
        rows.iter().map(|row| row.key.kid().to_owned()).collect::<Vec<_>>()
    };
    let mut made = Vec::new();
    for later in 0..3 {
        let key = AssertionKey::new();
        let former = if later == 1 { FormerKeys::Go } else { FormerKeys::Stay };
        let sealing = (&master(7), &mut random);
        let now = NOW.plus_ms(later);
        let added = rig.store.add_assertion_key(&key, former, sealing, &origin, now).await.unwrap();
        rig.done(added).await;
        made.push(key.kid().to_owned());
    }
    assert_eq!(names(rig.store.read_assertion_keys(&master(7)).await.unwrap()), made[1..]);
    let damaged = rig.store.read_assertion_keys(&master(8)).await.unwrap_err().to_string();
    assert!(damaged.contains("another master key"), "{damaged}");
    rig.store.drop_assertion_keys(vec![made[1].clone()]).await.unwrap();

    let mut replace = async |former: Option<u8>, next| {
        let former = former.map(master);
        let done =
            rig.store.replace_keys(former.as_ref(), &master(next), &mut random, &origin, NOW).await.unwrap();
        rig.done(done).await;
    };
    replace(Some(7), 8).await;
    assert_eq!(names(rig.store.read_assertion_keys(&master(8)).await.unwrap()), made[2..]);
    replace(None, 9).await;
    assert!(rig.store.list_assertion_keys().await.unwrap().is_empty());
}

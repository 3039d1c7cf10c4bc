//! Without a directory the login alone says who somebody is.

use portcullis_policy::{AccountId, Change, UserFrom};
use portcullis_store::{AdmissionRefusal, EmailDomains, Origin, RelinkTo, Retention};
use serde_json::json;

use crate::support::{HOUR, NOW, ORG, Rig, USER, alone, telling, user_path};

#[tokio::test]
async fn without_a_directory_the_first_login_makes_the_account() {
    let rig = Rig::new().await;
    let first = rig.try_sign_in(alone(&rig, "s1", Some("mia@corp.test"))).await.unwrap().value;
    let again = rig.try_sign_in(alone(&rig, "s1", Some("mia@new.test"))).await.unwrap();
    let other = rig.try_sign_in(alone(&rig, "s2", Some("mia@corp.test"))).await.unwrap().value;
    assert_eq!(first.account, again.value.account);
    assert_ne!(first.account, other.account, "an address is nobody");
    assert_eq!(again.changes, [Change::Reconsider(first.account)], "another address is another header");
    let described = rig.store.read_description(ORG, first.account).await.unwrap().unwrap();
    assert_eq!(described.facts.email.as_deref(), Some("mia@new.test"));
    assert_eq!(described.facts.subject.as_deref(), Some("s1"));
    assert_eq!(described.facts.groups.iter().map(|group| &**group).collect::<Vec<_>>(), ["crew"]);
    assert!(described.resource.is_none());
}

#[tokio::test]
async fn groups_that_were_not_said_are_not_the_same_as_none() {
    let rig = Rig::new().await;
    let says = |groups: Option<Vec<String>>| {
        let mut login = alone(&rig, "s1", Some("mia@corp.test"));
        login.claims.groups = groups;
        login
    };
    for (groups, kept) in [(Some(vec![]), "[]"), (None, "null")] {
        let account = rig.try_sign_in(says(groups)).await.unwrap().value.account;
        assert!(
            rig.store.read_description(ORG, account).await.unwrap().unwrap().facts.groups.is_empty(),
            "no role"
        );
        assert_eq!(rig.told_of(account).await["groups"].to_string(), kept);
    }
    // A provider that goes on saying nothing changes nothing.
    assert_eq!(rig.try_sign_in(says(None)).await.unwrap().changes, []);
}

#[tokio::test]
async fn without_a_directory_and_a_verified_address_nobody_is_named() {
    let rig = Rig::new().await;
    let refusal = rig.try_sign_in(alone(&rig, "s1", None)).await.err();
    assert_eq!(refusal, Some(AdmissionRefusal::NoName { wanted: "email" }));
    assert!(rig.store.user_list(ORG, None, 10).await.unwrap().is_empty(), "no account was made");
    let mut login = alone(&rig, "s1", None);
    login.policy = telling(UserFrom::Subject);
    rig.try_sign_in(login).await.unwrap();
}

#[tokio::test]
async fn without_a_directory_the_domains_hold() {
    let rig = Rig::new().await;
    for address in ["mia@evil.test", "mia@corp.test@evil.test", "mia@corp.test.", "@corp.test"] {
        let mut login = alone(&rig, "s1", Some(address));
        login.domains = EmailDomains::Only(vec!["corp.test".to_owned()]);
        assert_eq!(rig.try_sign_in(login).await.err().unwrap().log_word(), "domain", "{address}");
    }
    // Nor does anybody enter of whom no domain is known.
    let mut login = alone(&rig, "s1", None);
    login.policy = telling(UserFrom::Subject);
    login.domains = EmailDomains::Only(vec!["corp.test".to_owned()]);
    assert_eq!(rig.try_sign_in(login).await.err().unwrap().log_word(), "domain");
}

#[tokio::test]
async fn who_was_removed_from_a_directory_does_not_come_back_without_one() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice@corp.test").await;
    rig.sign_in("s1", "alice@corp.test").await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let by_subject = alone(&rig, "s1", Some("somebody@corp.test"));
    assert_eq!(rig.try_sign_in(by_subject).await.err(), Some(AdmissionRefusal::Removed));
    let by_name = alone(&rig, "s9", Some("ALICE@corp.test"));
    assert_eq!(rig.try_sign_in(by_name).await.err(), Some(AdmissionRefusal::Removed));
    // The directory provisions again: whoever is matched to an active user enters.
    rig.add_user("alice@corp.test").await;
    rig.sign_in("s1", "alice@corp.test").await;
}

#[tokio::test]
async fn a_directory_that_comes_later_matches_anew_and_ends_the_old_account() {
    let rig = Rig::new().await;
    let login = alone(&rig, "s1", Some("mia@corp.test"));
    let old = login.session.hash;
    let alone = rig.try_sign_in(login).await.unwrap().value;
    rig.add_user("mia").await;
    let signed_in = rig.try_sign_in(rig.login("s1", "mia")).await.unwrap();
    assert_ne!(signed_in.value.account, alone.account);
    assert!(
        signed_in.changes.iter().any(|change| matches!(change, Change::Out(id, _) if *id == alone.account))
    );
    assert!(!rig.is_in(&old).await);
}

#[tokio::test]
async fn without_a_directory_nobody_keeps_what_a_former_one_said() {
    let rig = Rig::new().await;
    let emails = json!([{ "value": "old@corp.test", "primary": true }]);
    let alice = rig.post("/Users", json!({ "schemas": [USER], "userName": "alice", "emails": emails })).await;
    rig.add_group("admins", &[&alice.id]).await;
    let (old, before) = rig.sign_in("s1", "alice").await;
    let done = rig.try_sign_in(alone(&rig, "s1", Some("new@corp.test"))).await.unwrap();
    let after = &done.value;
    assert_ne!(after.account, before.account);
    assert!(!rig.is_in(&old).await);
    for facts in [&after.facts, &rig.store.read_description(ORG, after.account).await.unwrap().unwrap().facts]
    {
        assert_eq!(facts.email.as_deref(), Some("new@corp.test"));
        assert_eq!(facts.groups.iter().map(|group| &**group).collect::<Vec<_>>(), ["crew"]);
        assert!(facts.user_name.is_none() && facts.id.is_none());
    }
    // The directory's last word on whether somebody may come in still counts.
    rig.add_user("bob").await;
    rig.sign_in("s2", "bob").await;
    let bob = rig.list("/Users?filter=userName%20eq%20%22bob%22").await.records.remove(0);
    rig.set_active(&bob, false).await.value.unwrap();
    assert_eq!(
        rig.try_sign_in(alone(&rig, "s2", Some("b@corp.test"))).await.err(),
        Some(AdmissionRefusal::Inactive)
    );
    // And a directory that comes back matches anew.
    let (_, again) = rig.sign_in("s1", "alice").await;
    assert_eq!(again.account, before.account);
}

async fn stable_id(rig: &Rig, account: AccountId) -> String {
    rig.store.read_description(ORG, account).await.unwrap().unwrap().facts.stable_id.to_string()
}

#[tokio::test]
async fn to_an_application_a_person_stays_who_they_were() {
    let rig = Rig::new().await;
    let login = |subject: &str| alone(&rig, subject, Some("mia@corp.test"));
    let mia = rig.try_sign_in(login("s1")).await.unwrap().value;
    let ada = rig.try_sign_in(login("s2")).await.unwrap().value;
    let (known, other) = (stable_id(&rig, mia.account).await, stable_id(&rig, ada.account).await);
    assert_eq!(*mia.facts.stable_id, known);
    assert_eq!(known.len(), 43);
    assert_ne!(known, other);

    // An account that nobody uses is removed, and the one that follows it is the same person.
    let kept = Retention { unused_ms: 0, ..Retention::new(0) };
    rig.store.tidy(NOW.plus_ms(100 * 24 * HOUR), kept).await.unwrap();
    let again = rig.try_sign_in(login("s1")).await.unwrap().value;
    assert_ne!(again.account, mia.account);
    assert_eq!(stable_id(&rig, again.account).await, known);

    // So is one whose link an operator has moved, however often.
    for issuer in ["https://new.test", "https://newer.test"] {
        let home = RelinkTo { idp: "okta".to_owned(), issuer: issuer.to_owned() };
        let done =
            rig.store.relink_people(ORG, "okta", &home, None, &Origin::of_actor("cli"), NOW).await.unwrap();
        assert_eq!(rig.done(done).await.value.moved, 1);
        assert_eq!(stable_id(&rig, again.account).await, known);
    }
    // Whoever comes at the former issuer with that subject is somebody else; and nobody is forgotten whose id is kept.
    let other = rig.try_sign_in(login("s1")).await.unwrap().value;
    assert_ne!(other.account, again.account);
    assert_ne!(stable_id(&rig, other.account).await, known);
    rig.store
        .tidy(NOW.plus_ms(300 * 24 * HOUR), Retention { unused_ms: 0, ..Retention::new(0) })
        .await
        .unwrap();
    assert_eq!(stable_id(&rig, again.account).await, known);
    // Whom a directory knows is who they are there.
    let alice = rig.add_user("alice").await;
    let (_, signed_in) = rig.sign_in("s3", "alice").await;
    assert!(user_path(&alice).ends_with(&stable_id(&rig, signed_in.account).await));
}

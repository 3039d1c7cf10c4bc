//! Subjects that an operator moves to another issuer, with what keeps people out.

use portcullis_store::{AdmissionRefusal, Origin, RelinkTo, VerifiedLogin};

use crate::support::{NOW, ORG, Rig, alone, user_path};

#[tokio::test]
async fn an_operator_moves_the_subjects_of_a_former_issuer() {
    let rig = Rig::new().await;
    let home = RelinkTo { idp: "login".to_owned(), issuer: "https://new.test".to_owned() };
    let at_home = |mut login: VerifiedLogin| {
        (login.idp, login.issuer) = ("login".into(), home.issuer.clone());
        login
    };
    let mut accounts = Vec::new();
    for n in 0..120 {
        let login = alone(&rig, &format!("s{n}"), Some(&format!("x{n}@corp.test")));
        accounts.push(rig.try_sign_in(login).await.unwrap().value.account);
    }
    rig.sign_out_by_hand("s1").await;
    // Somebody at the new issuer has the subject of another already.
    let stranger = rig.try_sign_in(at_home(alone(&rig, "s2", Some("y@corp.test")))).await.unwrap().value;

    let listed = rig.store.list_relinkable(ORG, "okta", &home, None, 1_000).await.unwrap();
    assert_eq!(listed.len(), 120);
    assert_eq!((listed[2].subject.as_str(), listed[2].taken_by), ("s2", Some(stranger.account)));
    assert!(listed.iter().filter(|one| one.taken_by.is_some()).count() == 1);
    assert_eq!(rig.store.list_relinkable(ORG, "entra", &home, None, 10).await.unwrap(), []);
    let refused = rig.try_sign_in(at_home(alone(&rig, "s0", Some("x@corp.test")))).await.unwrap().value;
    assert_ne!(refused.account, accounts[0], "a list changes nothing");

    let (mut after, mut moved, mut taken) = (None, 0, 0);
    loop {
        let done =
            rig.store.relink_people(ORG, "okta", &home, after, &Origin::of_actor("cli"), NOW).await.unwrap();
        let done = rig.done(done).await.value;
        (moved, taken, after) = (moved + done.moved, taken + done.taken, done.next);
        if after.is_none() {
            break;
        }
    }
    assert_eq!((moved, taken), (118, 2));
    let mia = rig.try_sign_in(at_home(alone(&rig, "s5", Some("x@corp.test")))).await.unwrap().value;
    assert_eq!((mia.account, mia.is_first), (accounts[5], false));
    let out = rig.try_sign_in(at_home(alone(&rig, "s1", Some("x@corp.test")))).await.err();
    assert_eq!(out, Some(AdmissionRefusal::Disabled), "who was barred is barred there too");
    let stranded = rig.store.list_stranded(ORG, &[&home.issuer]).await.unwrap();
    assert_eq!((stranded.len(), stranded[0].people), (1, 2));
}

#[tokio::test]
async fn a_bar_of_a_removed_person_moves_with_the_issuer() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.sign_in("s1", "alice").await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let home = RelinkTo { idp: "login".to_owned(), issuer: "https://new.test".to_owned() };
    let done =
        rig.store.relink_people(ORG, "okta", &home, None, &Origin::of_actor("cli"), NOW).await.unwrap();
    assert_eq!(rig.done(done).await.value.moved, 0);
    let mut login = alone(&rig, "s1", Some("other@corp.test"));
    (login.idp, login.issuer) = ("login".into(), home.issuer);
    assert_eq!(rig.try_sign_in(login).await.err(), Some(AdmissionRefusal::Removed));
}

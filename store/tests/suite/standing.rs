//! What sessions were made under must still be configured, at a start and at a reload alike; and a login that was
//! under way when its epoch was raised comes to nothing.

use portcullis_policy::{Change, Scope, SessionHash, UserFrom};
use portcullis_store::{AdmissionRefusal, Mode, Origin, PeopleSource, Standing, VerifiedLogin, Which};

use crate::support::{Done, HERE, NOW, ORG, Rig, telling};

fn standing(idps: &[(&str, &str)], mode: Mode) -> Standing {
    Standing {
        unknown: Default::default(),
        idps: idps.iter().map(|(name, issuer)| ((*name).to_owned(), (*issuer).to_owned())).collect(),
        mode,
        directories: if mode == Mode::None { Default::default() } else { [HERE].into() },
    }
}

const OKTA: (&str, &str) = ("okta", "https://idp.test");

async fn stand(rig: &Rig, standing: Standing) -> Done<Vec<Scope>> {
    rig.done(rig.store.set_standing(ORG, standing, &Origin::of_actor("start"), NOW).await.unwrap()).await
}

fn alone(rig: &Rig, subject: &str) -> VerifiedLogin {
    let mut login = rig.login(subject, "");
    login.provisioning = PeopleSource::None;
    login.policy = telling(UserFrom::Subject);
    login
}

async fn signed_in(rig: &Rig) -> SessionHash {
    rig.add_user("alice").await;
    rig.sign_in("s1", "alice").await.0
}

#[tokio::test]
async fn what_is_still_configured_keeps_its_sessions() {
    let rig = Rig::new().await;
    let alice = signed_in(&rig).await;
    let before = rig.store.last_seq().await.unwrap();
    // Compared as a set: more may be configured than was used.
    let done = stand(&rig, standing(&[("entra", "https://entra.test"), OKTA], Mode::Scim)).await;
    assert!(done.value.is_empty() && !done.takes_away);
    assert_eq!(rig.store.last_seq().await.unwrap(), before, "nothing was written");
    assert!(rig.is_in(&alice).await);
}

#[tokio::test]
async fn another_name_or_issuer_ends_the_sessions_of_the_idp_once() {
    for now in [("login", "https://idp.test"), ("okta", "https://new.test")] {
        let rig = Rig::new().await;
        let alice = signed_in(&rig).await;
        let done = stand(&rig, standing(&[now], Mode::Scim)).await;
        assert_eq!(done.value, [Scope::Idp(ORG, "okta".into())], "{now:?}");
        assert!(done.takes_away && !rig.is_in(&alice).await);
        let again = stand(&rig, standing(&[now], Mode::Scim)).await;
        assert!(again.value.is_empty(), "they have ended");
        // Born afterwards, under what is configured.
        let mut login = rig.login("s1", "alice");
        (login.idp, login.issuer) = (now.0.into(), now.1.to_owned());
        login.replaces = Some("okta".into());
        let hash = login.session.hash;
        rig.try_sign_in(login).await.unwrap();
        stand(&rig, standing(&[now], Mode::Scim)).await;
        assert!(rig.is_in(&hash).await);
    }
}

#[tokio::test]
async fn another_provisioning_ends_everybodys_sessions() {
    let others = [Mode::Invited, Mode::None];
    for mode in others {
        let rig = Rig::new().await;
        let alice = signed_in(&rig).await;
        assert_eq!(stand(&rig, standing(&[OKTA], mode)).await.value, [Scope::Org(ORG)], "{mode:?}");
        assert!(!rig.is_in(&alice).await);
    }
    let rig = Rig::new().await;
    let login = alone(&rig, "s1");
    let hash = login.session.hash;
    rig.try_sign_in(login).await.unwrap();
    stand(&rig, standing(&[OKTA], Mode::None)).await;
    assert!(rig.is_in(&hash).await);
    stand(&rig, standing(&[OKTA], Mode::Scim)).await;
    assert!(!rig.is_in(&hash).await, "people in no directory are out");
}

#[tokio::test]
async fn another_directory_ends_everybodys_sessions() {
    let rig = Rig::new().await;
    let alice = signed_in(&rig).await;
    let mut elsewhere = standing(&[OKTA], Mode::Scim);
    elsewhere.directories = [crate::support::ELSEWHERE].into();
    stand(&rig, elsewhere).await;
    assert!(!rig.is_in(&alice).await);
}

#[tokio::test]
async fn the_epochs_in_force_are_told_for_logins_to_begin_under() {
    let rig = Rig::new().await;
    for _ in 0..3 {
        let end = rig
            .store
            .end_sessions_of(Which::Idp(ORG, "okta".into()), &Origin::of_actor("cli"), NOW)
            .await
            .unwrap();
        rig.done(end).await;
    }
    let done = stand(&rig, standing(&[OKTA], Mode::Scim)).await;
    assert!(done.changes.contains(&Change::Epoch(Scope::Idp(ORG, "okta".into()), 3)), "{:?}", done.changes);
    let fresh = Rig::over(tempfile::tempdir().unwrap()).await;
    let cut = fresh.sessions.apply_changes(&done.changes);
    drop(cut);
    assert_eq!(fresh.sessions.epochs(ORG, "okta"), [0, 0, 3]);
    // One whose issuer is not known yet too: its first login must not look as if it had been overtaken.
    let unknown = Standing { unknown: ["okta".to_owned()].into(), ..standing(&[], Mode::Scim) };
    let done = stand(&rig, unknown).await;
    let numbers: Vec<_> = done
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Epoch(Scope::Idp(_, idp), number) if &**idp == "okta" => Some(*number),
            _ => None,
        })
        .collect();
    assert!(numbers.last().is_some_and(|number| *number >= 3), "{numbers:?}");
}

#[tokio::test]
async fn a_login_under_way_when_its_sessions_are_ended_is_refused_by_name() {
    for (n, which) in
        [Which::Deployment, Which::Org(ORG), Which::Idp(ORG, "okta".into())].into_iter().enumerate()
    {
        let rig = Rig::new().await;
        rig.add_user("alice").await;
        let mut login = rig.login("s1", "alice");
        login.epochs = [0; 3];
        rig.done(rig.store.end_sessions_of(which, &Origin::of_actor("cli"), NOW).await.unwrap()).await;
        let refusal = rig.try_sign_in(login.clone()).await.err().unwrap();
        assert_eq!(refusal.log_word(), "overtaken");
        let scope = ["the deployment", "the organization", "the IdP"][n];
        assert!(refusal.to_string().contains(scope), "{refusal}");
        assert!(rig.store.read_session(&login.session.hash).await.unwrap().is_none());
        // Whoever starts again is let in.
        let mut again = rig.login("s1", "alice");
        again.epochs = [0; 3];
        again.epochs[n] = 1;
        rig.try_sign_in(again).await.unwrap();
    }
}

#[tokio::test]
async fn an_epoch_of_another_idp_overtakes_nobody() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let mut login = rig.login("s1", "alice");
    login.epochs = [0; 3];
    let end = rig
        .store
        .end_sessions_of(Which::Idp(ORG, "entra".into()), &Origin::of_actor("cli"), NOW)
        .await
        .unwrap();
    rig.done(end).await;
    rig.try_sign_in(login).await.unwrap();
}

#[tokio::test]
async fn a_login_that_began_before_the_idp_was_removed_makes_no_session() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    // Nobody has signed in by it before.
    stand(&rig, standing(&[OKTA], Mode::Scim)).await;
    let mut late = rig.login("s1", "alice");
    late.epochs = [0; 3];
    stand(&rig, standing(&[("login", "https://new.test")], Mode::Scim)).await;
    assert!(matches!(
        rig.try_sign_in(late).await.err(),
        Some(AdmissionRefusal::Overtaken { scope: "the IdP" })
    ));
}

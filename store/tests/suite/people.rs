//! People as operators handle them.

use portcullis_policy::{Attributes, Change, UserFrom};
use portcullis_scim::ScimError;
use portcullis_store::{LoginAttributes, NewUser, Origin, PeopleSource, UserError, UserState};

use crate::support::{HERE, NOW, ORG, Rig, telling, user, user_path};

fn cli() -> Origin {
    Origin::of_actor("cli")
}

fn new(name: &str) -> NewUser {
    NewUser { user_name: name.to_owned(), email: Some("mia@corp.test".to_owned()), ..NewUser::default() }
}

#[tokio::test]
async fn an_invited_person_signs_in() {
    let rig = Rig::new().await;
    let added = rig.store.user_add(ORG, HERE, new("mia"), &cli(), NOW).await.unwrap();
    let id = rig.done(added).await.value;
    let (hash, signed_in) = rig.sign_in("s1", "MIA").await;
    assert!(rig.is_in(&hash).await);
    assert_eq!(signed_in.facts.id.as_deref(), Some(id.as_str()));
    assert_eq!(signed_in.facts.email.as_deref(), Some("mia@corp.test"));
    // It is a User like any other: SCIM, once it comes, finds it.
    assert_eq!(rig.list("/Users?filter=userName%20eq%20%22mia%22").await.total, 1);
}

#[tokio::test]
async fn names_that_are_taken_or_none_are_refused() {
    let rig = Rig::new().await;
    let added = rig.store.user_add(ORG, HERE, new("mia"), &cli(), NOW).await.unwrap();
    rig.done(added).await;
    let again = rig.store.user_add(ORG, HERE, new("MIA"), &cli(), NOW).await.err().unwrap();
    assert!(
        matches!(&again, UserError::Refused(ScimError::Uniqueness { with, .. }) if with == "mia"),
        "{again}"
    );
    for name in ["", " ", " mia2", "mia2 "] {
        let refused = rig.store.user_add(ORG, HERE, new(name), &cli(), NOW).await.err();
        assert!(matches!(refused, Some(UserError::Refused(ScimError::Invalid { .. }))), "{name:?}");
    }
    let wrong = NewUser { email: Some("no address".to_owned()), ..new("bob") };
    assert!(rig.store.user_add(ORG, HERE, wrong, &cli(), NOW).await.is_err());
}

#[tokio::test]
async fn disabling_puts_out_and_the_directory_does_not_overrule_it() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (hash, signed_in) = rig.sign_in("s1", "alice").await;
    let done = rig.done(rig.store.user_disable(ORG, "ALICE", &cli(), NOW).await.unwrap()).await;
    assert_eq!(done.value.state, UserState::Disabled);
    assert!(done.takes_away && matches!(done.changes[..], [Change::Out(id, _)] if id == signed_in.account));
    assert!(!rig.is_in(&hash).await);
    let again = rig.done(rig.store.user_disable(ORG, "alice", &cli(), NOW).await.unwrap()).await;
    assert_eq!((again.changes, again.seq), (done.changes, done.seq));
    // The directory goes on as if nothing was.
    rig.set_active(&alice, false).await.value.unwrap();
    rig.set_active(&alice, true).await.value.unwrap();
    rig.put(&user_path(&alice), user("alice")).await.value.unwrap();
    assert_eq!(rig.try_sign_in(rig.login("s1", "alice")).await.err().unwrap().log_word(), "disabled");
    assert!(!rig.is_in(&hash).await);
    // Nor does the operator overrule the directory.
    rig.set_active(&alice, false).await.value.unwrap();
    let done = rig.done(rig.store.user_enable(ORG, "alice", &cli(), NOW).await.unwrap()).await;
    assert_eq!(done.value.state, UserState::Inactive);
    rig.set_active(&alice, true).await.value.unwrap();
    rig.sign_in("s1", "alice").await;
    assert!(!rig.is_in(&hash).await, "old sessions stay dead");
}

#[tokio::test]
async fn people_are_named_by_name_id_number_subject_or_address() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let mut login = rig.login("sub-1", "");
    login.provisioning = PeopleSource::None;
    login.policy = telling(UserFrom::Subject);
    login.claims = LoginAttributes { email: Some("mia@corp.test".to_owned()), ..LoginAttributes::default() };
    let mia = rig.try_sign_in(login).await.unwrap().value.account;
    let number = format!("account:{}", mia.0);
    for who in ["alice", alice.id.as_str(), &number, "sub-1", "MIA@corp.test"] {
        let done = rig.done(rig.store.user_disable(ORG, who, &cli(), NOW).await.unwrap()).await;
        assert_eq!(done.value.state, UserState::Disabled, "{who}");
        rig.done(rig.store.user_enable(ORG, who, &cli(), NOW).await.unwrap()).await;
    }
    for who in ["", "nobody", "account:999", "account:x"] {
        let error = rig.store.user_disable(ORG, who, &cli(), NOW).await.err();
        assert!(matches!(error, Some(UserError::Unknown(_))), "{who:?}");
    }
    rig.write_in(crate::support::ELSEWHERE, "POST", "/Users", None, user("alice")).await.value.unwrap();
    let error = rig.store.user_disable(ORG, "alice", &cli(), NOW).await.err().unwrap();
    assert!(matches!(error, UserError::Ambiguous { .. }));
    assert_eq!(
        error.to_string().matches("account:").count(),
        3,
        "two of them, and how to say which: {error}"
    );
}

/// A login without a directory: what is said of them, by the subject.
fn alone(rig: &Rig, subject: &str, email: &str) -> portcullis_store::VerifiedLogin {
    let mut login = rig.login(subject, "");
    login.provisioning = PeopleSource::None;
    login.policy = telling(UserFrom::Subject);
    login.claims = LoginAttributes { email: Some(email.to_owned()), ..LoginAttributes::default() };
    login
}

/// Mia was in the directory that is not fed any more, and has an account by her logins since. An order about her is one
/// about both, however it names her: or she would be said to be out while she is in.
#[tokio::test]
async fn a_person_with_two_accounts_is_out_with_both() {
    let rig = Rig::new().await;
    rig.done(rig.store.user_add(ORG, HERE, new("mia@corp.test"), &cli(), NOW).await.unwrap()).await;
    rig.sign_in("s1", "mia@corp.test").await;
    let directory = rig.store.find_named(ORG, "mia@corp.test").await.unwrap().first;
    let login = alone(&rig, "s1", "Mia@Corp.Test");
    let hash = login.session.hash;
    let by_login = rig.try_sign_in(login).await.unwrap().value.account;
    assert_ne!(by_login, directory);
    rig.try_sign_in(alone(&rig, "s2", "bob@corp.test")).await.unwrap();

    let shown = rig.store.user_show(ORG, "mia@corp.test", NOW).await.unwrap();
    assert_eq!((shown.user.account, shown.others), (directory, vec![by_login]));
    let numbers = [directory, by_login].map(|id| format!("account:{}", id.0));
    let ended = rig.done(rig.store.user_end_sessions(ORG, "s1", &cli(), NOW).await.unwrap()).await;
    assert_eq!((ended.value.ended, ended.changes.len()), (1, 2));
    assert!(!rig.is_in(&hash).await);
    for who in ["mia@corp.test", "s1", &numbers[0], &numbers[1]] {
        let login = alone(&rig, "s1", "mia@corp.test");
        let hash = login.session.hash;
        rig.try_sign_in(login).await.unwrap();
        let done = rig.done(rig.store.user_disable(ORG, who, &cli(), NOW).await.unwrap()).await;
        assert_eq!((done.value.ended, done.changes.len(), done.value.others.len()), (1, 2, 1), "{who}");
        assert!(!rig.is_in(&hash).await, "{who}");
        let again = rig.done(rig.store.user_disable(ORG, who, &cli(), NOW).await.unwrap()).await;
        assert_eq!((again.changes.len(), again.seq, again.takes_away), (2, done.seq, true), "{who}");
        // Neither as herself, nor as another subject of the same address, nor as one who only says so.
        for (subject, email) in [("s1", "mia@corp.test"), ("s1", "new@corp.test"), ("s3", "MIA@corp.test")] {
            let refused = rig.try_sign_in(alone(&rig, subject, email)).await.err().unwrap();
            assert_eq!(refused.log_word(), "disabled", "{who}: {subject} {email}");
        }
        rig.done(rig.store.user_enable(ORG, who, &cli(), NOW).await.unwrap()).await;
    }
    rig.try_sign_in(alone(&rig, "s2", "bob@corp.test")).await.unwrap();

    let login = alone(&rig, "s1", "mia@corp.test");
    let hash = login.session.hash;
    rig.try_sign_in(login).await.unwrap();
    let removed = rig.done(rig.store.user_remove(ORG, "mia@corp.test", &cli(), NOW).await.unwrap()).await;
    assert_eq!((removed.value.ended, removed.value.others), (1, vec![by_login]));
    assert!(!rig.is_in(&hash).await);
    for email in ["mia@corp.test", "new@corp.test"] {
        let refused = rig.try_sign_in(alone(&rig, "s1", email)).await.err().unwrap();
        assert_eq!(refused.log_word(), "removed", "{email}");
    }
}

/// Whom a login made is kept out by the address too, though no directory ever had it.
#[tokio::test]
async fn the_address_of_a_disabled_person_lets_in_no_other_subject() {
    let rig = Rig::new().await;
    let first = rig.try_sign_in(alone(&rig, "s1", "mia@corp.test")).await.unwrap().value.account;
    rig.done(rig.store.user_disable(ORG, "mia@corp.test", &cli(), NOW).await.unwrap()).await;
    let refused = rig.try_sign_in(alone(&rig, "s2", "MIA@corp.test")).await.err().unwrap();
    assert_eq!(refused.log_word(), "disabled");
    rig.try_sign_in(alone(&rig, "s3", "bob@corp.test")).await.unwrap();
    rig.done(rig.store.user_enable(ORG, &format!("account:{}", first.0), &cli(), NOW).await.unwrap()).await;
    rig.try_sign_in(alone(&rig, "s2", "mia@corp.test")).await.unwrap();
}

#[tokio::test]
async fn whoever_is_there_is_listed() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let bob = rig.add_user("bob").await;
    let carol = rig.add_user("carol").await;
    rig.set_active(&bob, false).await.value.unwrap();
    rig.delete(&user_path(&carol)).await.value.unwrap();
    let mut login = rig.login("sub-1", "");
    login.provisioning = PeopleSource::None;
    login.policy = telling(UserFrom::Subject);
    rig.try_sign_in(login).await.unwrap();
    let list = rig.store.user_list(ORG, None, 100).await.unwrap();
    let lines: Vec<_> =
        list.iter().map(|user| (user.name.as_str(), user.state, user.idp.as_deref())).collect();
    assert_eq!(
        lines,
        [
            ("alice", UserState::Active, None),
            ("bob", UserState::Inactive, None),
            ("carol", UserState::Deleted, None),
            ("sub-1", UserState::Active, Some("okta")),
        ]
    );
    let rest = rig.store.user_list(ORG, Some(list[1].account), 1).await.unwrap();
    assert_eq!(rest, list[2..3]);
    assert!(rig.store.user_list(portcullis_policy::OrgId(7), None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_kept_of_a_person_is_shown() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let sales = rig.add_group("Sales", &[&alice.id]).await;
    rig.add_group("Staff", &[&sales.id]).await;
    let (hash, signed_in) = rig.sign_in("s1", "alice").await;
    let shown = rig.store.user_show(ORG, "ALICE", NOW).await.unwrap();
    assert_eq!((shown.user.account, shown.user.state), (signed_in.account, UserState::Active));
    assert_eq!(shown.user.groups, ["Sales", "Staff"]);
    assert_eq!(shown.nested, ["Staff"]);
    let [link] = &shown.links[..] else { panic!("{:?}", shown.links) };
    assert_eq!((&*link.idp, &*link.issuer, &*link.subject), ("okta", "https://idp.test", "s1"));
    let [session] = &shown.sessions[..] else { panic!("{:?}", shown.sessions) };
    assert_eq!((session.hash, &*session.idp, session.created), (hash, "okta", NOW));
    assert!(
        rig.store.user_show(ORG, "alice", NOW.plus_ms(13 * 3_600_000)).await.unwrap().sessions.is_empty()
    );

    let listed = rig.store.user_list(ORG, None, 10).await.unwrap();
    assert_eq!(listed[0].groups, ["Sales", "Staff"]);
    let ended = rig.store.user_end_sessions(ORG, "alice", &cli(), NOW).await.unwrap();
    let ended = rig.done(ended).await;
    assert!(ended.takes_away && ended.value.ended == 1 && ended.value.state == UserState::Active);
    assert!(!rig.is_in(&hash).await);
    assert!(rig.store.user_show(ORG, "alice", NOW).await.unwrap().sessions.is_empty());
    rig.sign_in("s1", "alice").await;
    let unknown = rig.store.user_show(ORG, "nobody", NOW).await.err();
    assert!(matches!(unknown, Some(UserError::Unknown(name)) if name == "nobody"));
}

#[tokio::test]
async fn a_person_removed_by_hand_is_gone_as_by_the_directory() {
    let rig = Rig::new().await;
    let added = rig.store.user_add(ORG, HERE, new("mia"), &cli(), NOW).await.unwrap();
    let id = rig.done(added).await.value;
    let (hash, signed_in) = rig.sign_in("s1", "mia").await;
    let removed = rig.done(rig.store.user_remove(ORG, "MIA", &cli(), NOW).await.unwrap()).await;
    assert_eq!((removed.value.state, removed.value.ended), (UserState::Deleted, 1));
    assert!(matches!(removed.changes[..], [Change::Out(account, _)] if account == signed_in.account));
    assert!(!rig.is_in(&hash).await);
    assert!(rig.try_sign_in(rig.login("s1", "mia")).await.is_err());
    assert!(matches!(rig.store.user_show(ORG, "mia", NOW).await, Err(UserError::Unknown(_))));
    // A tombstone, found by its id; removing it again changes nothing and is enforced again.
    let shown = rig.store.user_show(ORG, id.as_str(), NOW).await.unwrap();
    assert!(shown.user.state == UserState::Deleted && shown.links.is_empty());
    let again = rig.done(rig.store.user_remove(ORG, id.as_str(), &cli(), NOW).await.unwrap()).await;
    assert_eq!((again.changes, again.value.ended), (removed.changes, 0));
    let audits = rig.store.list_audits(ORG, 10).await.unwrap();
    assert!(audits.iter().any(|audit| audit.action == "user.deleted" && audit.actor == "cli"), "{audits:?}");
}

#[tokio::test]
async fn whom_a_login_made_cannot_be_removed_and_it_is_said_what_can() {
    let rig = Rig::new().await;
    let mut login = rig.login("s1", "alice");
    login.provisioning = PeopleSource::None;
    login.policy = telling(UserFrom::Subject);
    let signed_in = rig.done(rig.store.log_in(login, &cli(), NOW).await.unwrap()).await.value;
    let name = format!("account:{}", signed_in.account.0);
    let refused = rig.store.user_remove(ORG, &name, &cli(), NOW).await.err().unwrap();
    assert!(refused.to_string().contains("portcullis user disable"), "{refused}");
}

#[tokio::test]
async fn the_audit_is_read_page_by_page() {
    let rig = Rig::new().await;
    for n in 0..5 {
        rig.add_user(&format!("user{n}")).await;
    }
    let whole = rig.store.list_audits(ORG, 100).await.unwrap();
    let mut paged = Vec::new();
    loop {
        let before = paged.last().map(|last: &portcullis_store::Audit| (last.seq, last.n));
        let page = rig.store.audits_before(ORG, before, 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert!(paged.len() >= 5);
    assert_eq!(paged, whole);
}

/// The directory's entry, one who came under its name, and one who shares that one's address: whichever is named, all.
/// Who only calls themselves like the entry is not what an order about them leads to.
#[tokio::test]
async fn an_order_goes_as_far_as_names_lead_and_no_name_is_chosen() {
    let rig = Rig::new().await;
    let login = |subject: &str, email: &str, preferred: &str| {
        let mut login = alone(&rig, subject, email);
        login.claims.attributes =
            Attributes::default().with_texts(Attributes::PREFERRED_USERNAME, [preferred]);
        login
    };
    for (name, email) in
        [("carol", "carol@home.test"), ("dora", "dora@corp.test"), ("frank", "frank@corp.test")]
    {
        let user = NewUser { email: Some(email.to_owned()), ..new(name) };
        rig.done(rig.store.user_add(ORG, HERE, user, &cli(), NOW).await.unwrap()).await;
    }
    let second = login("s2", "carol@x.test", "second");
    let hash = second.session.hash;
    rig.try_sign_in(login("s1", "carol@x.test", "carol")).await.unwrap();
    rig.try_sign_in(second).await.unwrap();
    let done = rig.done(rig.store.user_disable(ORG, "carol", &cli(), NOW).await.unwrap()).await;
    assert_eq!((done.value.ended, done.value.others.len()), (2, 2));
    assert!(!rig.is_in(&hash).await);
    rig.done(rig.store.user_enable(ORG, "carol", &cli(), NOW).await.unwrap()).await;
    rig.try_sign_in(login("s2", "carol@x.test", "second")).await.unwrap();

    // The directory has an address that is not its name.
    rig.done(rig.store.user_disable(ORG, "dora", &cli(), NOW).await.unwrap()).await;
    let refused = rig.try_sign_in(login("s3", "Dora@corp.test", "d")).await.err().unwrap();
    assert_eq!(refused.log_word(), "disabled");
    rig.done(rig.store.user_enable(ORG, "dora", &cli(), NOW).await.unwrap()).await;
    let dora = login("s3", "dora@corp.test", "d");
    let hash = dora.session.hash;
    let account = rig.try_sign_in(dora).await.unwrap().value.account;
    let name = format!("account:{}", account.0);
    let removed = rig.done(rig.store.user_remove(ORG, &name, &cli(), NOW).await.unwrap()).await;
    assert_eq!((removed.value.state, removed.value.ended), (UserState::Deleted, 1));
    assert!(!rig.is_in(&hash).await);

    // Mallory calls herself Frank.
    rig.try_sign_in(login("s4", "mallory@x.test", "frank")).await.unwrap();
    let done = rig.done(rig.store.user_disable(ORG, "mallory@x.test", &cli(), NOW).await.unwrap()).await;
    assert_eq!(done.value.others, []);
    assert_eq!(rig.store.user_show(ORG, "frank", NOW).await.unwrap().user.state, UserState::Active);
}

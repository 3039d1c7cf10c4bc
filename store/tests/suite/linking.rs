//! Linking: a subject is let in as exactly one active person, or refused by name.

use portcullis_policy::{Change, DirectoryId, UserFrom};
use portcullis_store::{
    AdmissionRefusal, EmailDomains, LinkTo, LoginError, Origin, PeopleSource, VerifiedLogin,
};
use serde_json::json;

use crate::support::{ELSEWHERE, HERE, NOW, ORG, Rig, USER, alone, fresh_hash, telling, user, user_path};

fn link_to(login: &mut VerifiedLogin, to: LinkTo, value: Option<&str>) {
    let PeopleSource::Directory { link, .. } = &mut login.provisioning else { panic!() };
    link.to = to;
    link.value = value.map(str::to_owned);
}

fn directories(login: &mut VerifiedLogin, named: &[DirectoryId]) {
    let PeopleSource::Directory { directories, .. } = &mut login.provisioning else { panic!() };
    *directories = named.to_vec();
}

#[tokio::test]
async fn a_known_subject_is_that_user_whatever_name_comes_with_it() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.add_user("bob").await;
    let (_, first) = rig.sign_in("s1", "alice").await;
    let (_, again) = rig.sign_in("s1", "bob").await;
    assert!(first.is_first && !again.is_first);
    assert_eq!(first.account, again.account);
    assert_eq!(again.facts.user_name.as_deref(), Some("alice"));
}

/// The address of somebody else, typed into a form of the IdP: the victim's account stays the victim's.
#[tokio::test]
async fn an_address_that_nobody_verified_matches_nobody() {
    let rig = Rig::new().await;
    rig.add_user("alice@corp.test").await;
    let unverified = |subject: &str| {
        let mut login = rig.login(subject, "alice@corp.test");
        let PeopleSource::Directory { link, .. } = &mut login.provisioning else { panic!() };
        link.is_unverified_address = true;
        login
    };
    assert!(!rig.store.is_linked(ORG, "https://idp.test", "alice-1").await.unwrap());
    let refusal = rig.try_sign_in(unverified("mallory-1")).await.err().unwrap();
    assert_eq!(refusal, AdmissionRefusal::UnverifiedEmail { claim: "preferred_username".to_owned() });
    assert_eq!(refusal.log_word(), "unverified_email");
    assert!(refusal.remedy().contains("trust_email"));
    // Nothing is taken: the person signs in, and from then on is known by the subject, whatever is said.
    let (_, first) = rig.sign_in("alice-1", "alice@corp.test").await;
    assert!(first.is_first);
    assert!(rig.store.is_linked(ORG, "https://idp.test", "alice-1").await.unwrap());
    assert!(!rig.store.is_linked(ORG, "https://idp.test", "mallory-1").await.unwrap());
    let again = rig.try_sign_in(unverified("alice-1")).await.unwrap().value;
    assert_eq!((again.account, again.is_first), (first.account, false));
    assert!(rig.try_sign_in(unverified("mallory-1")).await.is_err());
}

/// A removed person's address keeps out whoever says it, verified or not.
#[tokio::test]
async fn who_was_removed_comes_back_under_no_name_that_is_only_said() {
    let rig = Rig::new().await;
    let mia = rig.add_user("mia@corp.test").await;
    rig.delete(&user_path(&mia)).await;
    let mut login = alone(&rig, "s9", None);
    login.policy = telling(UserFrom::Subject);
    login.claims.names_said = vec!["MIA@corp.test".to_owned()];
    assert_eq!(rig.try_sign_in(login).await.err(), Some(AdmissionRefusal::Removed));
}

#[tokio::test]
async fn the_same_subject_twice_gets_one_link_and_two_sessions() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (one, other) = tokio::join!(rig.sign_in("s1", "alice"), rig.sign_in("s1", "alice"));
    assert_eq!(one.1.account, other.1.account);
    assert_eq!([one.1.is_first, other.1.is_first].iter().filter(|first| **first).count(), 1);
    assert!(rig.is_in(&one.0).await && rig.is_in(&other.0).await);
}

#[tokio::test]
async fn of_two_subjects_racing_for_one_user_exactly_one_is_linked() {
    for round in 0..20 {
        let rig = Rig::new().await;
        rig.add_user("alice").await;
        let race = (0..4).map(|n| {
            let login = rig.login(&format!("s{round}-{n}"), "alice");
            rig.try_sign_in(login)
        });
        let ends = futures_util::future::join_all(race).await;
        let (won, lost): (Vec<_>, Vec<_>) = ends.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 3));
        for refusal in lost {
            assert_eq!(refusal.err(), Some(AdmissionRefusal::LinkedToAnother { to: "userName" }));
        }
    }
}

#[tokio::test]
async fn a_missing_claim_is_named() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    for value in [None, Some("")] {
        let mut login = rig.login("s1", "alice");
        link_to(&mut login, LinkTo::ExternalId, value);
        let refusal = rig.try_sign_in(login).await.err().unwrap();
        assert_eq!(
            refusal,
            AdmissionRefusal::MissingClaim { claim: "preferred_username".into(), to: "externalId" }
        );
    }
}

#[tokio::test]
async fn nobody_in_an_empty_directory_is_told_to_sync() {
    let rig = Rig::new().await;
    let refusal = rig.try_sign_in(rig.login("s1", "alice")).await.err().unwrap();
    assert_eq!(refusal.log_word(), "directory_empty");
    assert!(refusal.to_string().contains("the directory is empty"), "{refusal}");
    assert!(refusal.remedy().contains("full sync"));
}

#[tokio::test]
async fn no_match_says_what_the_values_look_like() {
    let rig = Rig::new().await;
    for n in 0..40 {
        // Entra's usual mapping: mailNickname. Three were made by hand.
        let external_id = if n < 37 { format!("user{n}") } else { format!("E-{n}") };
        let name = format!("user{n}@corp.test");
        let body = json!({ "schemas": [USER], "userName": name, "externalId": external_id });
        rig.post("/Users", body).await;
    }
    let mut login = rig.login("s1", "user1@corp.test");
    link_to(&mut login, LinkTo::ExternalId, Some("2f1c7d1e-0b5a-4b8e-9a44-0f6f0a3c1d22"));
    let refusal = rig.try_sign_in(login).await.err().unwrap();
    assert_eq!(
        refusal.to_string(),
        "no user has externalId 2f1c7d1e-0b5a-4b8e-9a44-0f6f0a3c1d22; 37 of 40 look like mailNickname"
    );
    assert_eq!(refusal.log_word(), "no_match");

    let refusal = rig.try_sign_in(rig.login("s1", "mallory@corp.test")).await.err().unwrap();
    assert_eq!(refusal.to_string(), "no user has userName mallory@corp.test");
}

#[tokio::test]
async fn two_matches_are_nobody() {
    let rig = Rig::new().await;
    for name in ["alice", "alicia"] {
        let emails = json!([{ "value": "a@corp.test", "type": "work" }]);
        rig.post("/Users", json!({ "schemas": [USER], "userName": name, "emails": emails })).await;
    }
    let mut login = rig.login("s1", "a@corp.test");
    link_to(&mut login, LinkTo::Email, Some("A@corp.test"));
    let refusal = rig.try_sign_in(login).await.err().unwrap();
    assert_eq!(refusal, AdmissionRefusal::TwoMatches { to: "emails", value: "A@corp.test".into(), count: 2 });
}

#[tokio::test]
async fn an_address_that_one_user_has_twice_is_one_match() {
    let rig = Rig::new().await;
    let emails =
        json!([{ "value": "a@corp.test", "type": "work" }, { "value": "A@corp.test", "type": "home" }]);
    rig.post("/Users", json!({ "schemas": [USER], "userName": "alice", "emails": emails })).await;
    let mut login = rig.login("s1", "x");
    link_to(&mut login, LinkTo::Email, Some("a@corp.test"));
    rig.try_sign_in(login).await.unwrap();
}

#[tokio::test]
async fn a_user_whom_another_subject_has_is_refused() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.sign_in("s1", "alice").await;
    let refusal = rig.try_sign_in(rig.login("s2", "alice")).await.err().unwrap();
    assert_eq!(refusal, AdmissionRefusal::LinkedToAnother { to: "userName" });
    // The same subject of another issuer is another subject.
    let mut other = rig.login("s1", "alice");
    other.issuer = "https://other.test".to_owned();
    assert_eq!(rig.try_sign_in(other).await.err().unwrap().log_word(), "linked_to_another");
}

#[tokio::test]
async fn another_name_of_the_idp_is_the_same_people() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (_, first) = rig.sign_in("s1", "alice").await;
    let mut renamed = rig.login("s1", "whatever");
    renamed.idp = "login".into();
    let again = rig.try_sign_in(renamed).await.unwrap().value;
    assert_eq!((again.account, again.is_first), (first.account, false));
    let listed = rig.store.user_list(ORG, None, 10).await.unwrap();
    assert_eq!(listed[0].idp.as_deref(), Some("login"), "the name is told as it is now");
}

#[tokio::test]
async fn a_disabled_person_stays_out_under_another_name_and_another_provisioning() {
    let rig = Rig::new().await;
    let first = rig.try_sign_in(alone(&rig, "s1", Some("mia@corp.test"))).await.unwrap().value;
    rig.sign_out_by_hand("mia@corp.test").await;
    for idp in ["okta", "login"] {
        let mut login = alone(&rig, "s1", Some("mia@corp.test"));
        login.idp = idp.into();
        assert_eq!(rig.try_sign_in(login).await.err(), Some(AdmissionRefusal::Disabled), "{idp}");
    }
    // A directory comes, and has a user that the subject matches: both words must let the person in.
    rig.add_user("mia").await;
    assert_eq!(rig.try_sign_in(rig.login("s1", "mia")).await.err(), Some(AdmissionRefusal::Disabled));
    let who = format!("account:{}", first.account.0);
    let enabled = rig.store.user_enable(ORG, &who, &Origin::of_actor("cli"), NOW).await.unwrap();
    rig.done(enabled).await;
    rig.sign_in("s1", "mia").await;
}

#[tokio::test]
async fn an_operators_word_does_not_lift_the_directorys() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (_, signed_in) = rig.sign_in("s1", "alice").await;
    rig.sign_out_by_hand("alice").await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    let who = format!("account:{}", signed_in.account.0);
    let enabled = rig.store.user_enable(ORG, &who, &Origin::of_actor("cli"), NOW).await.unwrap();
    rig.done(enabled).await;
    let refused = rig.try_sign_in(alone(&rig, "s1", Some("x@corp.test"))).await.err();
    assert_eq!(refused, Some(AdmissionRefusal::Removed));
}

#[tokio::test]
async fn an_idp_that_replaces_another_links_its_people_anew_by_the_one_attribute() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.add_user("bob").await;
    let (old, before) = rig.sign_in("s1", "alice").await;
    let moved = |subject: &str, name: &str, replaces: Option<&str>| {
        let mut login = rig.login(subject, name);
        login.idp = "login".into();
        login.issuer = "https://new.test".to_owned();
        login.replaces = replaces.map(Into::into);
        login
    };
    for replaces in [None, Some("entra")] {
        let refused = rig.try_sign_in(moved("n1", "alice", replaces)).await.err();
        assert_eq!(refused, Some(AdmissionRefusal::LinkedToAnother { to: "userName" }), "{replaces:?}");
    }
    let done = rig.try_sign_in(moved("n1", "alice", Some("okta"))).await.unwrap();
    assert_eq!(done.value.account, before.account);
    assert!(done.changes.iter().any(|change| matches!(change, Change::Out(id, _) if *id == before.account)));
    assert!(!rig.is_in(&old).await);
    assert!(!rig.try_sign_in(moved("n1", "x", None)).await.unwrap().value.is_first, "it stays");
    // Once, and not for a second subject of the new one; nor does a subject that happens to be equal come to anything.
    let refused = rig.try_sign_in(moved("n2", "alice", Some("okta"))).await.err();
    assert_eq!(refused, Some(AdmissionRefusal::LinkedToAnother { to: "userName" }));
    assert_eq!(
        rig.try_sign_in(moved("s1", "bob", Some("okta"))).await.unwrap().value.facts.user_name.as_deref(),
        Some("bob")
    );
    assert_eq!(
        rig.try_sign_in(rig.login("s1", "alice")).await.err().unwrap().log_word(),
        "linked_to_another"
    );
}

#[tokio::test]
async fn the_issuer_may_change_under_the_same_name() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (_, before) = rig.sign_in("s1", "alice").await;
    let moved = |subject: &str| {
        let mut login = rig.login(subject, "alice");
        login.issuer = "https://new.test".to_owned();
        login.replaces = Some("okta".into());
        login
    };
    assert_eq!(rig.try_sign_in(moved("n1")).await.unwrap().value.account, before.account);
    let second = rig.try_sign_in(moved("n2")).await.err();
    assert_eq!(
        second,
        Some(AdmissionRefusal::LinkedToAnother { to: "userName" }),
        "of the new issuer, not of the old one"
    );
}

#[tokio::test]
async fn a_directory_that_does_not_name_the_idp_is_closed_to_it() {
    let rig = Rig::new().await;
    let done = rig.write_in(ELSEWHERE, "POST", "/Users", None, user("alice")).await;
    done.value.unwrap();
    let refusal = rig.try_sign_in(rig.login("s1", "alice")).await.err().unwrap();
    assert_eq!(refusal, AdmissionRefusal::OtherDirectory { directory: ELSEWHERE, idp: "okta".into() });
    // Linked while it was named; named no more.
    let mut login = rig.login("s1", "alice");
    directories(&mut login, &[HERE, ELSEWHERE]);
    rig.try_sign_in(login).await.unwrap();
    assert_eq!(rig.try_sign_in(rig.login("s1", "alice")).await.err().unwrap().log_word(), "other_directory");
}

#[tokio::test]
async fn a_name_of_another_domain_is_refused() {
    let rig = Rig::new().await;
    let strangers = [
        ("eve@evil.test", Some("evil.test")),
        ("eve@CORP.test.evil.test", Some("corp.test.evil.test")),
        ("eve@corp.test@evil.test", None),
        ("eve@corp.test.", None),
        ("@corp.test", None),
        ("plain", None),
    ];
    for name in strangers.map(|(name, _)| name).into_iter().chain(["mia@corp.test"]) {
        rig.add_user(name).await;
    }
    for (name, domain) in strangers {
        let mut login = rig.login(name, name);
        login.domains = EmailDomains::Only(vec!["corp.test".to_owned()]);
        let refusal = rig.try_sign_in(login).await.err().unwrap();
        let domain = domain.map(str::to_owned);
        assert_eq!(refusal, AdmissionRefusal::Domain { attribute: "userName", domain, idp: "okta".into() });
    }
    let mut login = rig.login("mia", "mia@corp.test");
    login.domains = EmailDomains::Only(vec!["corp.test".to_owned()]);
    rig.try_sign_in(login).await.unwrap();
}

#[tokio::test]
async fn the_address_the_application_is_told_must_be_of_the_domains_too() {
    let rig = Rig::new().await;
    let emails = json!([{ "value": "mia@elsewhere.test", "primary": true }]);
    let body = json!({ "schemas": [USER], "userName": "mia@corp.test", "emails": emails });
    let mia = rig.post("/Users", body).await;
    let mut login = rig.login("mia", "mia@corp.test");
    login.domains = EmailDomains::Only(vec!["corp.test".to_owned()]);
    let refusal = rig.try_sign_in(login.clone()).await.err().unwrap();
    let domain = Some("elsewhere.test".to_owned());
    assert_eq!(
        refusal,
        AdmissionRefusal::Domain { attribute: "the e-mail address", domain, idp: "okta".into() }
    );
    // Also once linked: the directory may have changed the address since.
    let operations = json!([{ "op": "replace", "path": "emails", "value": [{ "value": "mia@corp.test" }] }]);
    rig.patch(&user_path(&mia), operations).await.value.unwrap();
    login.flow = fresh_hash().0.to_vec();
    rig.try_sign_in(login.clone()).await.unwrap();
    let operations =
        json!([{ "op": "replace", "path": "emails", "value": [{ "value": "mia@elsewhere.test" }] }]);
    rig.patch(&user_path(&mia), operations).await.value.unwrap();
    login.flow = fresh_hash().0.to_vec();
    login.session.hash = fresh_hash();
    assert_eq!(rig.try_sign_in(login).await.err().unwrap().log_word(), "domain");
}

#[tokio::test]
async fn an_inactive_user_is_refused_linked_or_not() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let bob = rig.add_user("bob").await;
    rig.sign_in("s1", "alice").await;
    rig.set_active(&alice, false).await.value.unwrap();
    rig.set_active(&bob, false).await.value.unwrap();
    assert_eq!(rig.try_sign_in(rig.login("s1", "alice")).await.err(), Some(AdmissionRefusal::Inactive));
    assert_eq!(rig.try_sign_in(rig.login("s2", "bob")).await.err(), Some(AdmissionRefusal::Inactive));
    rig.set_active(&alice, true).await.value.unwrap();
    let (_, back) = rig.sign_in("s1", "somebody else").await;
    assert!(!back.is_first, "`active: false` keeps the link");
}

#[tokio::test]
async fn a_user_whom_an_operator_disabled_is_refused() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.sign_in("s1", "alice").await;
    let disabled = rig.store.user_disable(ORG, "alice", &Origin::of_actor("cli"), NOW).await.unwrap();
    rig.done(disabled).await;
    assert_eq!(rig.try_sign_in(rig.login("s1", "alice")).await.err(), Some(AdmissionRefusal::Disabled));
}

#[tokio::test]
async fn who_was_removed_is_told_so() {
    let rig = Rig::new().await;
    let body = json!({ "schemas": [USER], "userName": "alice", "externalId": "x1" });
    let alice = rig.post("/Users", body).await;
    rig.sign_in("s1", "alice").await;
    rig.delete(&user_path(&alice)).await.value.unwrap();
    assert_eq!(rig.try_sign_in(rig.login("s1", "alice")).await.err(), Some(AdmissionRefusal::Removed));
    assert_eq!(rig.try_sign_in(rig.login("s2", "ALICE")).await.err(), Some(AdmissionRefusal::Removed));
    let mut login = rig.login("s1", "");
    link_to(&mut login, LinkTo::ExternalId, Some("x1"));
    assert_eq!(rig.try_sign_in(login).await.err(), Some(AdmissionRefusal::Removed));
}

#[tokio::test]
async fn a_flow_is_good_once() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let login = rig.login("s1", "alice");
    rig.try_sign_in(login.clone()).await.unwrap();
    let mut again = login.clone();
    again.session.hash = fresh_hash();
    assert_eq!(rig.try_sign_in(again.clone()).await.err(), Some(AdmissionRefusal::FlowSpent));
    assert!(rig.store.read_session(&again.session.hash).await.unwrap().is_none());
}

#[tokio::test]
async fn a_refused_login_has_spent_its_flow_and_stands_in_the_audit() {
    let rig = Rig::new().await;
    let login = rig.login("s1", "alice");
    assert_eq!(rig.try_sign_in(login.clone()).await.err().unwrap().log_word(), "directory_empty");
    rig.add_user("alice").await;
    assert_eq!(rig.try_sign_in(login).await.err(), Some(AdmissionRefusal::FlowSpent));
    let audit = rig.store.list_audits(ORG, 10).await.unwrap();
    let outcomes: Vec<_> =
        audit.iter().filter(|row| row.action == "login").map(|row| row.outcome.as_str()).collect();
    assert_eq!(outcomes, ["flow_spent", "directory_empty"]);
    assert_eq!(audit[0].reference.as_deref(), Some("7Q2M-X4KD"));
    assert_eq!(rig.store.count_sessions(NOW).await.unwrap(), 0);
}

#[tokio::test]
async fn the_user_header_never_falls_back() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let mut login = rig.login("s1", "alice");
    login.policy = telling(UserFrom::Email);
    let refusal = rig.try_sign_in(login).await.err().unwrap();
    assert_eq!(refusal, AdmissionRefusal::NoName { wanted: "email" });
    let remedy = refusal.remedy();
    assert!(remedy.contains("trust_email") && remedy.contains("headers.user: subject"), "{remedy}");
    // Nothing is left behind: another subject may still be the first.
    rig.sign_in("s2", "alice").await;
}

#[tokio::test]
async fn another_external_id_is_another_person() {
    let rig = Rig::new().await;
    let body = json!({ "schemas": [USER], "userName": "alice", "externalId": "x1" });
    let alice = rig.post("/Users", body).await;
    let (hash, signed_in) = rig.sign_in("s1", "alice").await;
    let operations = json!([{ "op": "replace", "path": "externalId", "value": "x2" }]);
    let done = rig.patch(&user_path(&alice), operations).await;
    done.value.unwrap();
    assert!(done.takes_away);
    assert!(
        done.changes.iter().any(|change| matches!(change, Change::Out(id, _) if *id == signed_in.account)),
        "{:?}",
        done.changes
    );
    assert!(!rig.is_in(&hash).await, "the generation was raised");
    let (_, other) = rig.sign_in("s2", "alice").await;
    assert!(other.is_first, "the link was removed");
    assert_eq!(
        rig.try_sign_in(rig.login("s1", "alice")).await.err().unwrap().log_word(),
        "linked_to_another"
    );
}

#[tokio::test]
async fn an_external_id_that_stays_keeps_link_and_session() {
    let rig = Rig::new().await;
    let body = json!({ "schemas": [USER], "userName": "alice", "externalId": "x1" });
    let alice = rig.post("/Users", body).await;
    let (hash, _) = rig.sign_in("s1", "alice").await;
    let body = json!({ "schemas": [USER], "userName": "alice.b", "externalId": "x1", "active": true });
    rig.put(&user_path(&alice), body).await.value.unwrap();
    assert!(rig.is_in(&hash).await);
    assert!(!rig.sign_in("s1", "x").await.1.is_first);
}

#[tokio::test]
async fn a_login_and_a_removal_leave_nobody_in() {
    for round in 0..30 {
        let rig = Rig::new().await;
        let alice = rig.add_user("alice").await;
        let login = rig.login(&format!("s{round}"), "alice");
        let hash = login.session.hash;
        let path = user_path(&alice);
        let (signed_in, removed) = tokio::join!(rig.try_sign_in(login), rig.delete(&path));
        removed.value.unwrap();
        // Before it: refused. After it: its generation is smaller.
        assert!(signed_in.is_err() || !rig.is_in(&hash).await);
        assert!(!rig.is_in(&hash).await);
    }
}

#[tokio::test]
async fn a_refusal_is_not_a_fault_of_the_store() {
    let rig = Rig::new().await;
    let error = rig.store.log_in(rig.login("s1", "x"), &Origin::of_actor("login"), NOW).await.err().unwrap();
    assert!(matches!(error, LoginError::Refused(_)));
}

#[tokio::test]
async fn a_statement_is_good_once_whatever_login_brings_it() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let mut first = rig.login("s1", "alice");
    first.statement = Some(([7; 32], NOW.plus_ms(60_000)));
    let mut second = rig.login("s1", "alice");
    second.statement = first.statement;
    rig.try_sign_in(first).await.unwrap();
    assert_eq!(rig.try_sign_in(second).await.err(), Some(AdmissionRefusal::Replayed));
    // Another statement is another.
    let mut third = rig.login("s1", "alice");
    third.statement = Some(([8; 32], NOW.plus_ms(60_000)));
    rig.try_sign_in(third).await.unwrap();
}

/// A login under a name that may be somebody else's some day.
fn passing_name(rig: &Rig, subject: &str, name: &str) -> VerifiedLogin {
    VerifiedLogin { is_durable: false, ..rig.login(subject, name) }
}

#[tokio::test]
async fn a_name_that_is_not_for_good_is_matched_anew_each_time() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.add_user("bob").await;
    let first = rig.try_sign_in(passing_name(&rig, "shared@corp.test", "alice")).await.unwrap();
    assert_eq!(first.value.facts.user_name.as_deref(), Some("alice"));
    // The same name, and the directory says that it is somebody else now.
    let second = rig.try_sign_in(passing_name(&rig, "shared@corp.test", "bob")).await.unwrap();
    assert_eq!(second.value.facts.user_name.as_deref(), Some("bob"));
    assert_ne!(first.value.account, second.value.account);
    // Nobody was linked: a subject for good finds both free.
    rig.try_sign_in(rig.login("for-good-too", "bob")).await.unwrap();
    rig.try_sign_in(rig.login("for-good", "alice")).await.unwrap();
    let refused = rig.try_sign_in(passing_name(&rig, "shared@corp.test", "alice")).await;
    assert!(matches!(refused.err(), Some(AdmissionRefusal::LinkedToAnother { .. })));
    // Nor does such a name pass for a subject that was linked.
    let refused = rig.try_sign_in(passing_name(&rig, "for-good", "nobody")).await;
    assert!(matches!(refused.err(), Some(AdmissionRefusal::NoMatch { .. })));
}

#[tokio::test]
async fn without_a_directory_such_a_name_is_all_there_is_to_know_a_person_by() {
    let rig = Rig::new().await;
    let login = |subject: &str| VerifiedLogin {
        provisioning: PeopleSource::None,
        policy: telling(UserFrom::Subject),
        ..passing_name(&rig, subject, "alice")
    };
    let first = rig.try_sign_in(login("a@corp.test")).await.unwrap();
    let second = rig.try_sign_in(login("a@corp.test")).await.unwrap();
    assert_eq!(
        first.value.account, second.value.account,
        "an operator disables one account, not one of many"
    );
}

#[tokio::test]
async fn one_idp_does_not_speak_for_the_domains_of_another() {
    let rig = Rig::new().await;
    let mut mira = user("mira");
    mira["emails"] = json!([{ "value": "mira@a.test" }]);
    mira["externalId"] = json!("x1");
    rig.post("/Users", mira).await;
    let mut unknown = user("nobody-knows-where");
    unknown["externalId"] = json!("x2");
    rig.post("/Users", unknown).await;
    let by_any = |subject: &str, name: &str| {
        let mut login = rig.login(subject, name);
        login.domains = EmailDomains::AnyBut(vec!["a.test".to_owned()]);
        login.is_one_of_several = true;
        login
    };
    // An id has no domain, and the person's address is another IdP's.
    for (subject, name, id) in [("s1", "mira", "x1"), ("s2", "nobody-knows-where", "x2")] {
        let mut login = by_any(subject, name);
        link_to(&mut login, LinkTo::ExternalId, Some(id));
        let refused = rig.try_sign_in(login).await.err();
        assert!(matches!(refused, Some(AdmissionRefusal::Domain { .. })), "{name}: {refused:?}");
    }
    // By herself, the one IdP signs in whoever it likes; and whoever is linked stays so.
    rig.try_sign_in(rig.login("s2", "nobody-knows-where")).await.unwrap();
    let mut linked = by_any("s2", "nobody-knows-where");
    linked.is_one_of_several = true;
    rig.try_sign_in(linked).await.unwrap();
}

#[tokio::test]
async fn a_login_that_nobody_was_asked_about_replaces_its_own_persons_session_alone() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.add_user("bob").await;
    let (alices, _) = rig.sign_in("s1", "alice").await;
    let origin = Origin::of_actor("login");
    let arriving = |subject: &str, name: &str, number: u8| {
        let mut login = rig.login(subject, name);
        login.session.replaces = Some(alices);
        login.session.spares_others = true;
        login.statement = Some(([number; 32], NOW.plus_ms(60_000)));
        login
    };
    let before = rig.store.last_seq().await.unwrap();
    let bobs = arriving("s2", "bob", 1);
    for _ in 0..2 {
        let stopped = rig.store.log_in(bobs.clone(), &origin, NOW).await.err();
        assert!(matches!(stopped, Some(LoginError::OfAnother)), "{stopped:?}");
    }
    assert_eq!(rig.store.last_seq().await.unwrap(), before, "nothing was written");
    assert!(rig.is_in(&alices).await);
    // Somebody whom nobody has seen yet is another person too, and a refusal stays one.
    let mut unknown = arriving("s9", "nobody", 2);
    assert!(matches!(
        rig.store.log_in(unknown.clone(), &origin, NOW).await.err(),
        Some(LoginError::Refused(_))
    ));
    unknown = arriving("s9", "", 3);
    unknown.provisioning = PeopleSource::None;
    unknown.policy = telling(portcullis_policy::UserFrom::Subject);
    assert!(matches!(rig.store.log_in(unknown, &origin, NOW).await.err(), Some(LoginError::OfAnother)));

    // Her own is replaced without a question.
    let hers = arriving("s1", "alice", 4);
    let hash = hers.session.hash;
    rig.try_sign_in(hers).await.unwrap();
    assert!(!rig.is_in(&alices).await && rig.is_in(&hash).await);
    // One that is over is nobody's any more: what was stopped before was not spent.
    rig.try_sign_in(bobs.clone()).await.unwrap();
    assert!(rig.is_in(&bobs.session.hash).await);
    // Asked, and said yes.
    let mut replacing = rig.login("s1", "alice");
    replacing.session.replaces = Some(bobs.session.hash);
    rig.try_sign_in(replacing).await.unwrap();
    assert!(!rig.is_in(&bobs.session.hash).await);
}

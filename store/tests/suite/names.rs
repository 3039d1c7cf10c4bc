//! Names that look or sound alike: which collide in a directory, and whom a login by name finds. Fine to find, coarse
//! to be unique.

use portcullis_scim::{Outcome, ScimError, ScimType};
use portcullis_store::{LinkTo, PeopleSource};
use serde_json::json;

use crate::support::{Rig, USER, user};

/// (in the directory, comes along, collides, is found by a login).
const PAIRS: &[(&str, &str, bool, bool)] = &[
    ("alice", "ALICE", true, true),
    ("kim", "\u{212a}im", true, false),       // Kelvin sign
    ("ilker", "\u{131}lker", false, false),   // dotless i
    ("alice", "\u{ff41}lice", true, false),   // full width
    ("jos\u{e9}", "jose\u{301}", true, true), // composed and combining
    ("JOS\u{c9}", "jos\u{e9}", true, false),  // case beyond ASCII
    ("alice", "\u{430}lice", false, false),   // Cyrillic a
    ("stra\u{df}e", "strasse", true, false),  // sharp s
    ("fi", "\u{fb01}", true, false),          // ligature
    ("alice", "ali\u{200d}ce", false, false), // joiner
    ("mia@corp.test", "mia@corp.test.", false, false),
    ("mia@corp.test", "mia@corp.test@corp.test", false, false),
    ("mia@corp.test", "mia@CORP.test", true, true),
];

#[tokio::test]
async fn look_alikes_collide_by_name_and_are_told_with_whom() {
    for (known, comes, collides, _) in PAIRS {
        let rig = Rig::new().await;
        rig.add_user(known).await;
        let answer = rig.write("POST", "/Users", user(comes)).await.value;
        match (collides, answer) {
            (true, Err(ScimError::Uniqueness { attribute, with, .. })) => {
                assert_eq!((&*attribute, &*with), ("userName", *known))
            }
            (false, Ok(Outcome::Created(_))) => {}
            (_, answer) => panic!("{known:?} and {comes:?}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn look_alikes_never_sign_in_as_another() {
    for (known, comes, _, found) in PAIRS {
        let rig = Rig::new().await;
        rig.add_user(known).await;
        let signed_in = rig.try_sign_in(rig.login("s1", comes)).await;
        assert_eq!(signed_in.is_ok(), *found, "{known:?} and {comes:?}");
    }
}

#[tokio::test]
async fn look_alikes_in_addresses_are_two_people_or_the_same_exactly_as_in_names() {
    for (known, comes, _, found) in PAIRS {
        let rig = Rig::new().await;
        let emails = json!([{ "value": known }]);
        rig.post("/Users", json!({ "schemas": [USER], "userName": "u", "emails": emails })).await;
        let mut login = rig.login("s1", comes);
        let PeopleSource::Directory { link, .. } = &mut login.provisioning else { panic!() };
        link.to = LinkTo::Email;
        assert_eq!(rig.try_sign_in(login).await.is_ok(), *found, "{known:?} and {comes:?}");
    }
}

#[tokio::test]
async fn an_external_id_is_compared_byte_for_byte() {
    let rig = Rig::new().await;
    for (name, external_id) in [("a", "X1"), ("b", "x1"), ("c", "\u{212a}1"), ("d", "K1")] {
        let body = json!({ "schemas": [USER], "userName": name, "externalId": external_id });
        rig.post("/Users", body).await;
    }
    for (name, external_id) in [("a", "X1"), ("b", "x1"), ("c", "\u{212a}1"), ("d", "K1")] {
        let mut login = rig.login(name, external_id);
        let PeopleSource::Directory { link, .. } = &mut login.provisioning else { panic!() };
        link.to = LinkTo::ExternalId;
        let signed_in = rig.try_sign_in(login).await.unwrap().value;
        assert_eq!(signed_in.facts.user_name.as_deref(), Some(name));
    }
    let body = json!({ "schemas": [USER], "userName": "e", "externalId": "x1" });
    let answer = rig.write("POST", "/Users", body).await.value;
    assert!(
        matches!(&answer, Err(ScimError::Uniqueness { attribute, with, .. }) if *attribute == *"externalId" && with == "b"),
        "{answer:?}"
    );
    assert_eq!(answer.unwrap_err().scim_type(), Some(ScimType::Uniqueness));
}

#[tokio::test]
async fn a_user_may_keep_and_respell_their_own_name() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    for name in ["ALICE", "\u{ff41}lice", "alice"] {
        let done = rig.put(&crate::support::user_path(&alice), user(name)).await;
        assert!(matches!(done.value, Ok(Outcome::Changed(_))), "{name}");
    }
    rig.add_user("bob").await;
    let done = rig.put(&crate::support::user_path(&alice), user("BOB")).await;
    assert!(matches!(done.value, Err(ScimError::Uniqueness { .. })));
    assert_eq!(
        rig.get(&crate::support::user_path(&alice)).await.unwrap().resource.user_name(),
        Some("alice")
    );
}

#[tokio::test]
async fn group_names_collide_folded_but_never_with_user_names() {
    let rig = Rig::new().await;
    rig.add_group("Platform", &[]).await;
    rig.add_user("Platform").await;
    let body = json!({ "schemas": [crate::support::GROUP], "displayName": "PLATFORM" });
    let answer = rig.write("POST", "/Groups", body).await.value;
    assert!(
        matches!(&answer, Err(ScimError::Uniqueness { attribute, with, .. }) if *attribute == *"displayName" && with == "Platform"),
        "{answer:?}"
    );
}

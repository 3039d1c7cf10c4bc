//! Imports: one step of a roster's plan is applied whole, and a directory that a SCIM client feeds takes none.

use std::collections::BTreeSet;

use portcullis_policy::{Change, ResourceId};
use portcullis_roster::{Coverage, KnownPerson, plan_roster, read_roster};
use portcullis_scim::ScimError;
use portcullis_store::{Mode, Origin, PeopleSource, Standing, StepApplied, StepRefusal};

use crate::support::{Done, HERE, NOW, ORG, Rig};

impl Rig {
    async fn known(&self) -> Vec<KnownPerson> {
        let people = self.store.directory_people(ORG, HERE).await.unwrap();
        people.into_iter().map(|person| person.known).collect()
    }

    /// Plans a file and applies it, as an import does.
    async fn import(&self, text: &str, coverage: Coverage) -> Vec<Done<StepApplied>> {
        let people = self.store.directory_people(ORG, HERE).await.unwrap();
        let known: Vec<KnownPerson> = people.iter().map(|person| person.known.clone()).collect();
        let plan = plan_roster(&read_roster(text.as_bytes(), &[]).unwrap(), &known, coverage).unwrap();
        let mut applied = Vec::new();
        for step in plan.steps() {
            let id = step.known.map(|nth| people[nth].id.clone());
            let origin = Origin::of_actor("import");
            let step = self.store.apply_roster_step(ORG, HERE, id, step.clone(), &origin, NOW).await.unwrap();
            applied.push(self.done(step).await);
        }
        let again = plan_roster(&read_roster(text.as_bytes(), &[]).unwrap(), &self.known().await, coverage);
        assert_eq!(again.unwrap().steps().count(), 0, "the directory says what the file says");
        applied
    }
}

fn named(name: &str, groups: &[&str]) -> KnownPerson {
    let groups = groups.iter().map(|&group| group.to_owned()).collect();
    KnownPerson { user_name: name.into(), active: true, groups, ..KnownPerson::default() }
}

#[tokio::test]
async fn a_file_makes_people_and_groups_and_the_next_one_changes_them() {
    let rig = Rig::new().await;
    rig.import(
        "userName,email,givenName,displayName,groups\nalice,a@corp.test,Alice,A. L.,Staff|Owners\nbob,,,,Staff\n",
        Coverage::Partial,
    )
    .await;
    let alice = KnownPerson {
        email: Some("a@corp.test".into()),
        given_name: Some("Alice".into()),
        display_name: Some("A. L.".into()),
        ..named("alice", &["Staff", "Owners"])
    };
    assert_eq!(rig.known().await, vec![alice.clone(), named("bob", &["Staff"])]);
    // Filters find what documents say, and groups are groups.
    for filter in
        ["Users?filter=emails.value%20eq%20%22a@corp.test%22", "Groups?filter=displayName%20eq%20%22staff%22"]
    {
        assert_eq!(rig.list(&format!("/{filter}")).await.total, 1, "{filter}");
    }
    let applied =
        rig.import("userName,email,groups\nalice,,staff\nbob,b@corp.test,\n", Coverage::Partial).await;
    assert!(applied.iter().all(|done| done.value.answer.is_ok() && done.takes_away));
    assert_eq!(
        rig.known().await,
        vec![
            KnownPerson { email: None, groups: vec!["Staff".into()], ..alice },
            KnownPerson { email: Some("b@corp.test".into()), ..named("bob", &[]) }
        ]
    );
    assert_eq!(rig.list("/Users?filter=emails.value%20eq%20%22a@corp.test%22").await.total, 0);
}

#[tokio::test]
async fn a_leaver_is_out_with_the_commit_and_comes_back_as_the_same_person() {
    let rig = Rig::new().await;
    let id = rig.add_user("mia").await.id;
    let mut login = rig.login("s1", "mia");
    if let PeopleSource::Directory { invited, .. } = &mut login.provisioning {
        *invited = true;
    }
    let hash = login.session.hash;
    rig.try_sign_in(login).await.unwrap();
    rig.import("userName\nbob\nmia\n", Coverage::Full).await;
    assert!(rig.is_in(&hash).await);
    let applied = rig.import("userName\nbob\n", Coverage::Full).await;
    assert_eq!(applied[0].value.sessions, 1);
    assert!(matches!(applied[0].changes[0], Change::Out(..)), "{:?}", applied[0].changes);
    assert!(!rig.is_in(&hash).await);
    // Said again, it waits like the first.
    let people = rig.store.directory_people(ORG, HERE).await.unwrap();
    let known: Vec<KnownPerson> = people.iter().map(|person| person.known.clone()).collect();
    let roster = read_roster(b"userName,active\nmia,yes\n", &[]).unwrap();
    let mut step = plan_roster(&roster, &known, Coverage::Partial).unwrap().additions.remove(0);
    step.active = Some(false);
    let origin = Origin::of_actor("import");
    let again = rig.store.apply_roster_step(ORG, HERE, Some(id.clone()), step, &origin, NOW).await.unwrap();
    let again = rig.done(again).await;
    assert!(again.takes_away && matches!(again.changes[..], [Change::Out(..)]), "{:?}", again.changes);

    rig.import("userName\nbob\nmia\n", Coverage::Full).await;
    assert_eq!(rig.store.directory_people(ORG, HERE).await.unwrap()[0].id, id);
    assert!(!rig.is_in(&hash).await, "old sessions stay dead");
}

#[tokio::test]
async fn what_changed_since_the_plan_was_made_is_refused_and_nothing_of_the_step_is_written() {
    let rig = Rig::new().await;
    let roster = read_roster(b"userName,groups\nalice,Staff\n", &[]).unwrap();
    let step = plan_roster(&roster, &[], Coverage::Partial).unwrap().additions.remove(0);
    rig.add_user("ALICE").await;
    let origin = Origin::of_actor("import");
    let taken = rig.store.apply_roster_step(ORG, HERE, None, step.clone(), &origin, NOW).await.unwrap();
    let taken = rig.done(taken).await.value.answer;
    assert!(matches!(&taken, Err(StepRefusal::Scim(ScimError::Uniqueness { .. }))), "{taken:?}");
    assert_eq!(rig.list("/Groups").await.total, 0);
    let nobody = Some(ResourceId::new("nobody"));
    let gone = rig.store.apply_roster_step(ORG, HERE, nobody, step, &origin, NOW).await.unwrap();
    let gone = rig.done(gone).await.value.answer;
    assert!(matches!(&gone, Err(StepRefusal::Scim(ScimError::NotFound { .. }))), "{gone:?}");
}

#[tokio::test]
async fn a_directory_that_scim_feeds_takes_no_step() {
    let rig = Rig::new().await;
    let standing = |mode| Standing {
        idps: BTreeSet::from([("okta".to_owned(), "https://okta.test".to_owned())]),
        unknown: BTreeSet::new(),
        mode,
        directories: BTreeSet::from([HERE]),
    };
    let origin = Origin::of_actor("start");
    let roster = read_roster(b"userName\nalice\n", &[]).unwrap();
    let step = plan_roster(&roster, &[], Coverage::Full).unwrap().additions.remove(0);
    for (mode, is_fed) in [(Mode::Scim, true), (Mode::Invited, false)] {
        let set = rig.store.set_standing(ORG, standing(mode), &origin, NOW).await.unwrap();
        rig.done(set).await;
        assert_eq!(rig.store.is_fed_by_scim(ORG, HERE).await.unwrap(), is_fed);
        let applied = rig.store.apply_roster_step(ORG, HERE, None, step.clone(), &origin, NOW).await.unwrap();
        let answer = rig.done(applied).await.value.answer;
        assert_eq!(answer == Err(StepRefusal::FedByScim), is_fed, "{answer:?}");
    }
    assert_eq!(rig.known().await, vec![named("alice", &[])]);
}

#[tokio::test]
async fn who_was_removed_for_good_is_not_there_and_a_file_brings_the_same_person_back() {
    let rig = Rig::new().await;
    let id = rig.add_user("mia").await.id;
    rig.delete(&format!("/Users/{id}")).await.value.unwrap();
    assert!(rig.known().await.is_empty());
    rig.import("userName\nmia\n", Coverage::Full).await;
    assert_eq!(rig.store.directory_people(ORG, HERE).await.unwrap()[0].id, id);
}

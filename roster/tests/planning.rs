//! A plan, applied to a directory, gives what the file says; planning again gives nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use portcullis_policy::fold::unique_key;
use portcullis_roster::{Column, Coverage, KnownPerson, RosterPlan, StepKind, plan_roster, read_roster};
use proptest::prelude::*;

/// A directory of a test: what a store does with a plan, in twenty lines.
fn apply(plan: &RosterPlan, known: &[KnownPerson]) -> Vec<KnownPerson> {
    let mut people = known.to_vec();
    for step in plan.steps() {
        let nth = step.known.unwrap_or_else(|| {
            people.push(KnownPerson { active: true, ..KnownPerson::default() });
            people.len() - 1
        });
        let person = &mut people[nth];
        for change in &step.changes {
            let to = change.to.clone();
            match change.column {
                Column::UserName => person.user_name = to.unwrap(),
                Column::ExternalId => person.external_id = to,
                Column::Email => person.email = to,
                Column::GivenName => person.given_name = to,
                Column::FamilyName => person.family_name = to,
                Column::DisplayName => person.display_name = to,
                Column::Groups | Column::Active => panic!("no text"),
            }
        }
        person.active = step.active.unwrap_or(person.active);
        let left: Vec<String> = step.leaves.iter().map(|group| unique_key(group)).collect();
        person.groups.retain(|group| !left.contains(&unique_key(group)));
        person.groups.extend(step.joins.iter().cloned());
    }
    people
}

fn person(name: &str, groups: &[&str]) -> KnownPerson {
    let groups = groups.iter().map(|&group| group.to_owned()).collect();
    KnownPerson { user_name: name.into(), active: true, groups, ..KnownPerson::default() }
}

fn plan(text: &str, known: &[KnownPerson], coverage: Coverage) -> RosterPlan {
    plan_roster(&read_roster(text.as_bytes(), &[]).unwrap(), known, coverage).unwrap()
}

fn lines(plan: &RosterPlan) -> Vec<String> {
    plan.steps().map(ToString::to_string).collect()
}

#[test]
fn whoever_is_missing_from_a_full_file_is_deactivated_and_comes_back_when_named_again() {
    let known = [person("alice", &["Staff"]), person("bob", &[])];
    let text = "userName,groups\nAlice,staff\n";
    assert_eq!(lines(&plan(text, &known, Coverage::Partial)), ["change alice: userName=Alice"]);
    let full = plan(text, &known, Coverage::Full);
    assert_eq!(lines(&full), ["deactivate bob: not in the file", "change alice: userName=Alice"]);
    assert_eq!((full.active, full.put_out), (2, 1));
    let after = apply(&full, &known);
    let back = plan("userName\nbob\nAlice\n", &after, Coverage::Full);
    assert_eq!(lines(&back), ["reactivate bob"]);
    assert_eq!(back.steps().next().unwrap().known, Some(1), "the same person");
    assert!(
        lines(&plan("userName\nbob\n", &after, Coverage::Partial)).is_empty(),
        "a partial file says nothing of it"
    );
    assert!(
        lines(&plan("userName,active\nbob,\nAlice,\n", &after, Coverage::Full)).is_empty(),
        "empty keeps it"
    );
}

#[test]
fn removals_come_first_and_a_column_that_is_not_there_leaves_everything_alone() {
    let mut known = [person("alice", &["Staff", "Owners"]), person("bob", &["Staff"]), person("carl", &[])];
    known[0].email = Some("a@corp.test".into());
    let text = "userName,groups,active\nnew,Staff,\nalice,Staff,\ncarl,,no\nbob,Staff|Guests,\n";
    assert_eq!(
        lines(&plan(text, &known, Coverage::Partial)),
        [
            "deactivate carl",
            "change alice: leaves Owners",
            "create new: joins Staff",
            "change bob: joins Guests"
        ]
    );
    let cleared = plan("userName,email\nalice,\n", &known, Coverage::Partial);
    assert_eq!(lines(&cleared), ["change alice: email="]);
}

#[test]
fn an_external_id_finds_its_person_under_another_name_and_another_one_is_another_person() {
    let mut known = [person("alice", &[]), person("bob", &[])];
    known[0].external_id = Some("1".into());
    let renamed = plan("userName,externalId\nalicia,1\n", &known, Coverage::Partial);
    assert_eq!((lines(&renamed), renamed.put_out), (vec!["change alice: userName=alicia".to_owned()], 0));
    let another = plan("userName,externalId\nalice,2\n", &known, Coverage::Partial);
    assert_eq!((another.put_out, another.removals.len()), (1, 1));
    assert!(lines(&another)[0].contains("sessions end"), "{another:?}");
    for (text, what) in [
        ("userName,externalId\nbob,1\n", "line 2: userName \"bob\" is that of somebody else"),
        ("userName,externalId\nalicia,1\nalice,\n", "line 3: userName \"alice\" and line 2 name one person"),
    ] {
        let roster = read_roster(text.as_bytes(), &[]).unwrap();
        let said = plan_roster(&roster, &known, Coverage::Partial).unwrap_err().to_string();
        assert!(said.contains(what), "{said}");
    }
}

#[test]
fn the_guard_counts_who_is_put_out() {
    let people =
        |count: usize| -> Vec<KnownPerson> { (0..count).map(|n| person(&format!("p{n}"), &[])).collect() };
    let keeping = |kept: usize| -> String {
        "userName\n".to_owned() + &(0..kept).map(|n| format!("p{n}\n")).collect::<String>()
    };
    for (there, kept, is_too_much) in [
        (100, 90, false),
        (100, 89, true),
        (20, 16, false),
        (20, 15, true),
        (3, 2, false),
        (3, 0, true),
        (0, 0, false),
    ] {
        let plan = plan(&keeping(kept), &people(there), Coverage::Full);
        assert_eq!(plan.put_out, there - kept);
        assert_eq!(plan.is_too_much(10), is_too_much, "{kept} of {there}");
    }
    assert!(!plan(&keeping(0), &people(3), Coverage::Full).is_too_much(100));
}

fn texts() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-z]{1,3}")
}

fn group_lists() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(prop::sample::select(vec!["Staff", "Owners", "Guests", "Ops"]), 0..3)
        .prop_map(|groups| groups.into_iter().map(str::to_owned).collect())
}

/// People of a few names, so that files and directories meet.
fn directories() -> impl Strategy<Value = Vec<KnownPerson>> {
    let one = (texts(), texts(), texts(), group_lists(), any::<bool>());
    prop::collection::btree_map("[a-h]", one, 0..8).prop_map(|people| {
        let person =
            |(name, (given_name, family_name, display_name, groups, active)): (String, _)| KnownPerson {
                external_id: Some(format!("id-{name}")),
                user_name: name,
                email: None,
                given_name,
                family_name,
                display_name,
                active,
                groups,
            };
        people.into_iter().map(person).collect()
    })
}

fn files() -> impl Strategy<Value = (String, Coverage)> {
    let row = (texts(), texts(), group_lists(), prop::sample::select(vec!["", "yes", "No"]));
    (prop::collection::btree_map("[a-hA-H]", row, 0..8), any::<[bool; 4]>(), any::<bool>()).prop_map(
        |(rows, has, full)| {
            let mut seen = Vec::new();
            let pick = |cells: [String; 4]| -> String {
                cells
                    .into_iter()
                    .zip(has)
                    .filter(|(_, has)| *has)
                    .map(|(cell, _)| format!(",{cell}"))
                    .collect()
            };
            let mut text = format!(
                "userName{}\n",
                pick(["givenName", "displayName", "groups", "active"].map(str::to_owned))
            );
            for (name, (given, display, groups, active)) in rows {
                if !seen.contains(&unique_key(&name)) {
                    seen.push(unique_key(&name));
                    let cells = [
                        given.unwrap_or_default(),
                        display.unwrap_or_default(),
                        groups.join("|"),
                        active.to_owned(),
                    ];
                    text += &format!("{name}{}\n", pick(cells));
                }
            }
            (text, if full { Coverage::Full } else { Coverage::Partial })
        },
    )
}

proptest! {
    #[test]
    fn a_plan_applied_gives_the_file_and_then_nothing(known in directories(), (text, coverage) in files()) {
        let roster = read_roster(text.as_bytes(), &[]).unwrap();
        let plan = plan_roster(&roster, &known, coverage).unwrap();
        let after = apply(&plan, &known);
        let again = plan_roster(&roster, &after, coverage).unwrap();
        prop_assert_eq!(again.steps().count(), 0, "{:?}", again);
        for row in &roster.rows {
            let found: Vec<&KnownPerson> = after.iter().filter(|person| person.user_name == row.user_name).collect();
            prop_assert_eq!(found.len(), 1);
            let person = found[0];
            let before = known.iter().find(|known| unique_key(&known.user_name) == unique_key(&row.user_name));
            let kept = |has: bool, said: &Option<String>, stored: Option<Option<String>>| if has { said.clone() } else { stored.flatten() };
            prop_assert_eq!(&person.given_name, &kept(roster.has(Column::GivenName), &row.given_name, before.map(|b| b.given_name.clone())));
            prop_assert_eq!(&person.family_name, &before.and_then(|before| before.family_name.clone()));
            prop_assert_eq!(person.external_id.is_some(), before.is_some(), "a column that is not there");
            let says = row.active.or((coverage == Coverage::Full && !roster.has(Column::Active)).then_some(true));
            prop_assert_eq!(person.active, says.unwrap_or_else(|| before.is_none_or(|before| before.active)));
            let sorted = |groups: &[String]| { let mut groups = groups.to_vec(); groups.sort(); groups };
            let wanted = if roster.has(Column::Groups) { row.groups.clone() } else { before.map(|b| b.groups.clone()).unwrap_or_default() };
            prop_assert_eq!(sorted(&person.groups), sorted(&wanted));
        }
        // Whoever is not in the file: out after a full one, as they were after a partial one; and there in any case.
        for (nth, before) in known.iter().enumerate() {
            if !roster.rows.iter().any(|row| unique_key(&row.user_name) == unique_key(&before.user_name)) {
                let expected = KnownPerson { active: before.active && coverage == Coverage::Partial, ..before.clone() };
                prop_assert_eq!(&after[nth], &expected);
            }
        }
        let put_out = known.iter().zip(&after).filter(|(before, after)| before.active && !after.active).count();
        prop_assert_eq!(plan.put_out, put_out);
        // Removals come first: no step that takes away from somebody stands behind one that does not.
        let kinds: Vec<bool> = plan.steps().map(|step| step.takes_away() && step.kind() != StepKind::Create).collect();
        prop_assert!(kinds.is_sorted_by(|before, after| before >= after), "{:?}", kinds);
    }
}

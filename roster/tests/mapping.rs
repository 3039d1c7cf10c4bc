//! Mapping sheets: what one may say, what is refused, and that no value is at two people on the way.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashMap;

use portcullis_roster::{
    MappedAttribute, MappedPerson, MappingPlan, MappingStep, plan_mapping, read_mapping,
};
use proptest::prelude::*;

const APP: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User:appUserName";
const NUMBER: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User:number";

fn attributes(unique: bool) -> Vec<MappedAttribute> {
    let one = |path: &str, unique| MappedAttribute { path: path.to_owned(), unique, case_exact: false };
    vec![one(APP, unique), one(NUMBER, false)]
}

fn person(name: &str, email: &str, app: &str) -> MappedPerson {
    let app = (!app.is_empty()).then(|| app.to_owned());
    MappedPerson {
        user_name: name.to_owned(),
        external_id: Some(format!("id-{name}")),
        email: Some(email.to_owned()),
        active: true,
        values: vec![app, None],
    }
}

fn people() -> Vec<MappedPerson> {
    vec![
        person("alice", "Alice@corp.test", "al"),
        person("bob", "bob@corp.test", ""),
        MappedPerson { active: false, ..person("carl", "carl@corp.test", "cc") },
    ]
}

fn accepts(_: &MappedAttribute, value: &str) -> Result<(), String> {
    if value == "bad" { Err("not a value".to_owned()) } else { Ok(()) }
}

fn plan(text: &str, unique: bool) -> Result<MappingPlan, String> {
    let attributes = attributes(unique);
    let sheet =
        read_mapping(text.as_bytes(), &attributes, &[], accepts).map_err(|problems| problems.to_string())?;
    plan_mapping(&sheet, &attributes, &people()).map_err(|problems| problems.to_string())
}

fn lines(steps: &[MappingStep]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

#[test]
fn a_sheet_gives_values_and_tells_whom_it_missed_on_both_sides() {
    let text = "Email,appusername,Number\nalice@corp.test,asmith,7\nBOB@corp.test,bob,\nzoe@corp.test,z,\n";
    let said = plan(text, true).unwrap();
    assert_eq!(lines(&said.sets), ["alice: appUserName=asmith (was al); number=7", "bob: appUserName=bob"]);
    assert_eq!((said.clears.len(), said.unnamed.len()), (0, 0), "carl is inactive");
    assert_eq!(said.unknown, [(4, "zoe@corp.test".to_owned())]);
    // By other columns, and by the whole name; an empty field takes away; what is so is no step.
    let said = plan(&format!("userName;{APP}\nALICE;al\ncarl;\n"), false).unwrap();
    assert_eq!(lines(&said.sets), ["carl: appUserName= (was cc)"]);
    assert_eq!(said.unnamed, [1]);
    assert_eq!(lines(&plan("externalId,number\nid-bob,1\n", true).unwrap().sets), ["bob: number=1"]);
    assert_eq!(plan("externalId,number\nID-bob,1\n", true).unwrap().unknown.len(), 1, "an id has its case");
}

/// Who is not here holds nothing, look-alikes are others, and an id is compared with its blanks.
#[test]
fn a_row_is_theirs_whom_it_names_and_nobody_elses() {
    let said = plan("email,appUserName\nformer@corp.test,al\nalice@corp.test,al\n", true).unwrap();
    assert_eq!((said.sets.len(), said.unknown.len()), (0, 1));
    assert_eq!(plan("userName,appUserName\nálice,x\n", true).unwrap().unknown.len(), 1);
    assert_eq!(plan("externalId,number\n\"id-bob \",1\nid-bob,2\n", true).unwrap().unknown.len(), 1);
    let text = b"userName,\"Notes; more\",appUserName\nbob,x,y\n";
    let sheet = read_mapping(text, &attributes(true), &["notes; more".to_owned()], accepts);
    assert_eq!(sheet.unwrap().rows.len(), 1);
}

#[test]
fn a_value_that_goes_to_somebody_else_is_taken_away_first() {
    let said = plan("email,appUserName\nbob@corp.test,AL\nalice@corp.test,asmith\n", true).unwrap();
    assert_eq!(lines(&said.clears), ["alice: appUserName= (was al)"]);
    assert_eq!(lines(&said.sets), ["bob: appUserName=AL", "alice: appUserName=asmith (was al)"]);
}

#[test]
fn what_could_be_read_two_ways_is_refused_with_its_line() {
    for (text, said) in [
        (
            "email,userName,appUserName\na,b,c\n",
            "line 1: email and userName both say who is meant, and may say two people. To pass over one: --ignore userName",
        ),
        (
            "appUserName\nc\n",
            "line 1: no column says who is meant. Name one of email, userName, externalId beside appUserName, number",
        ),
        ("email\na@b.test\n", "line 1: no column gives anything. Name one of appUserName, number"),
        ("email,department,appUserName\n,,\n", "line 1: \"department\" is no column of such a sheet"),
        ("email,appUserName,APPUSERNAME\n", "line 1: the column APPUSERNAME is there twice"),
        ("email,appUserName\n,x\n", "line 2: the row has no email"),
        ("email,appUserName\na@b.test,x\nA@b.test,y\n", "line 3: email: \"A@b.test\" stands in line 2 too"),
        ("email,appUserName\na@b.test,\"x\ny\"\n", "line 2: appUserName holds a control character"),
        ("email,appUserName\na@b.test\n", "line 2: 1 fields, and the first line has 2"),
        ("email,appUserName\na@b.test,bad\n", "line 2: appUserName: \"bad\": not a value"),
        ("email,appUserName\na@b.test,x\u{200b}y\n", "line 2: appUserName: \"x"),
        ("", "line 1: the file is empty. Its first line names the columns, email among them"),
        (
            "email,appUserName\nalice@corp.test,x\nbob@corp.test,X\n",
            "line 3: appUserName: \"X\" is that of alice@corp.test too, and must be unique",
        ),
        (
            "email,appUserName\nbob@corp.test,CC\n",
            "line 2: appUserName: \"CC\" is that of carl too, and must be unique",
        ),
    ] {
        let problems = plan(text, true).unwrap_err();
        assert!(problems.starts_with(said), "{text}: {problems}");
        assert!(problems.ends_with("Nothing was changed."), "{problems}");
    }
    let attributes = attributes(false);
    let sheet = read_mapping(b"email,appUserName\nsame@corp.test,x\n", &attributes, &[], accepts).unwrap();
    let twins = [person("one", "same@corp.test", ""), person("two", "SAME@corp.test", "")];
    let said = plan_mapping(&sheet, &attributes, &twins).unwrap_err().to_string();
    assert!(said.contains("is of two people, one and two. Name people by userName"), "{said}");
    // The same name in two extensions.
    let other = "urn:ietf:params:scim:schemas:extension:zeta:2.0:User:appUserName".to_owned();
    let two = [attributes[0].clone(), MappedAttribute { path: other, ..attributes[0].clone() }];
    let said = read_mapping(b"email,appUserName\n", &two, &[], accepts).unwrap_err().to_string();
    assert!(said.contains(&format!("may be meant in two ways. Write it as {APP}")), "{said}");
    // What was not declared unique may be shared.
    assert!(plan("email,appUserName\nalice@corp.test,x\nbob@corp.test,X\n", false).is_ok());
}

fn apply(steps: &[MappingStep], at: &mut [MappedPerson], unique: bool) {
    for step in steps {
        for change in &step.changes {
            let nth = usize::from(change.path == NUMBER);
            at[step.known].values[nth].clone_from(&change.to);
        }
        if unique {
            let mut holders = HashMap::new();
            for person in at.iter() {
                if let Some(value) = &person.values[0] {
                    let before = holders.insert(value.to_lowercase(), &person.user_name);
                    assert_eq!(before, None, "{value} is at two people");
                }
            }
        }
    }
}

proptest! {
    /// Whatever moves from whom to whom: each value is at one person at any time, and in the end the sheet is so.
    #[test]
    fn no_value_is_ever_at_two_people(
        before in proptest::sample::subsequence(vec!["a", "b", "c", "d", "e", "f"], 0..=6).prop_shuffle(),
        rows in proptest::collection::btree_map(0usize..6, proptest::option::of("[a-fA-F]"), 0..6),
    ) {
        let attributes = attributes(true);
        let known: Vec<MappedPerson> = (0..6)
            .map(|nth| person(&format!("p{nth}"), &format!("p{nth}@corp.test"), before.get(nth).unwrap_or(&"")))
            .collect();
        let mut text = "email,appUserName\n".to_owned();
        for (nth, value) in &rows {
            text.push_str(&format!("p{nth}@corp.test,{}\n", value.as_deref().unwrap_or_default()));
        }
        let sheet = read_mapping(text.as_bytes(), &attributes, &[], accepts).unwrap();
        let Ok(plan) = plan_mapping(&sheet, &attributes, &known) else { return Ok(()) };
        let mut at = known.clone();
        apply(&plan.clears, &mut at, true);
        apply(&plan.sets, &mut at, true);
        for (nth, value) in &rows {
            prop_assert_eq!(&at[*nth].values[0], value);
        }
        let again = plan_mapping(&sheet, &attributes, &at).unwrap();
        prop_assert!(again.sets.is_empty() && again.clears.is_empty());
    }
}

//! What the fuzzer of files of people holds to be true of any input. The same function replays the corpus on the stable
//! compiler (`roster/tests/corpus.rs`).

use std::collections::HashSet;

use portcullis_policy::fold::unique_key;
use portcullis_roster::{
    Column, Coverage, KnownPerson, MappedAttribute, MappedPerson, RosterProblems, plan_mapping, plan_roster,
    read_mapping, read_roster,
};

/// A file is understood or has problems, the same ones each time, in the order of its lines. One that is understood
/// names nobody twice, and makes an empty directory what it says.
pub fn file(data: &[u8]) {
    sheet(data);
    let lines = lines_of(data);
    let roster = match read_roster(data, &["ignored".to_owned()]) {
        Ok(roster) => roster,
        Err(problems) => {
            let printed = check_problems(&problems, lines);
            let again = read_roster(data, &["ignored".to_owned()]).err().map(|again| again.to_string());
            assert_eq!(again, Some(printed));
            return;
        }
    };
    let names: HashSet<String> = roster.rows.iter().map(|row| unique_key(&row.user_name)).collect();
    assert_eq!(names.len(), roster.rows.len());
    assert!(roster.has(Column::UserName) && !names.contains(""));
    let plan = plan_roster(&roster, &[], Coverage::Full).expect("nobody is there to be mistaken for");
    assert_eq!((plan.removals.len(), plan.additions.len()), (0, roster.rows.len()));
    let made: Vec<KnownPerson> = roster
        .rows
        .iter()
        .map(|row| KnownPerson {
            user_name: row.user_name.clone(),
            external_id: row.external_id.clone(),
            email: row.email.clone(),
            given_name: row.given_name.clone(),
            family_name: row.family_name.clone(),
            display_name: row.display_name.clone(),
            active: row.active.unwrap_or(true),
            groups: row.groups.clone(),
        })
        .collect();
    let again = plan_roster(&roster, &made, Coverage::Full).expect("the same people");
    assert_eq!(again.steps().count(), 0, "{again:?}");
}

fn lines_of(data: &[u8]) -> u64 {
    u64::try_from(data.iter().filter(|byte| **byte == b'\n').count() + 1).unwrap_or(u64::MAX)
}

/// Problems are few enough to be read, of one line each, and in their order.
fn check_problems(problems: &RosterProblems, lines: u64) -> String {
    let printed = problems.to_string();
    assert!(problems.count() > 0 && problems.iter().count() <= 20);
    assert!(printed.lines().count() <= 21, "{printed}");
    assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
    let mut before = 0;
    for problem in problems.iter() {
        assert!(problem.line >= before && problem.line <= lines, "{printed}");
        before = problem.line;
    }
    printed
}

/// The same of a mapping sheet: one that is understood changes nothing the second time, if it can be true at all.
fn sheet(data: &[u8]) {
    let attribute =
        |path: &str, unique| MappedAttribute { path: path.to_owned(), unique, case_exact: unique };
    let attributes = [attribute("urn:x:displayName", true), attribute("urn:x:groups", false)];
    let sheet = match read_mapping(data, &attributes, &["ignored".to_owned()], |_, _| Ok(())) {
        Ok(sheet) => sheet,
        Err(problems) => return drop(check_problems(&problems, lines_of(data))),
    };
    // Everybody whom it names is there, in one of the three ways.
    let mut people: Vec<MappedPerson> = sheet
        .rows
        .iter()
        .map(|row| MappedPerson {
            user_name: row.person.clone(),
            external_id: Some(row.person.clone()),
            email: Some(row.person.clone()),
            active: true,
            values: vec![None, None],
        })
        .collect();
    let Ok(plan) = plan_mapping(&sheet, &attributes, &people) else { return };
    assert!(plan.unknown.is_empty() && plan.unnamed.is_empty() && plan.clears.is_empty());
    for step in &plan.sets {
        for change in &step.changes {
            let nth =
                attributes.iter().position(|attribute| attribute.path == change.path).expect("one of them");
            people[step.known].values[nth].clone_from(&change.to);
        }
    }
    let again = plan_mapping(&sheet, &attributes, &people).expect("the same people");
    assert!(again.sets.is_empty(), "{again:?}");
}

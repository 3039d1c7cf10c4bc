//! What the fuzzer of files of people holds to be true of any input. The same function replays the corpus on the stable
//! compiler (`roster/tests/corpus.rs`).

use std::collections::HashSet;

use portcullis_policy::fold::unique_key;
use portcullis_roster::{Column, Coverage, KnownPerson, plan_roster, read_roster};

/// A file is understood or has problems, the same ones each time, in the order of its lines. One that is understood
/// names nobody twice, and makes an empty directory what it says.
pub fn file(data: &[u8]) {
    let lines = u64::try_from(data.iter().filter(|byte| **byte == b'\n').count() + 1).unwrap_or(u64::MAX);
    let roster = match read_roster(data, &["ignored".to_owned()]) {
        Ok(roster) => roster,
        Err(problems) => {
            let printed = problems.to_string();
            assert!(problems.count() > 0 && problems.iter().count() <= 20);
            assert!(printed.lines().count() <= 21, "{printed}");
            assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
            let mut before = 0;
            for problem in problems.iter() {
                assert!(problem.line >= before && problem.line <= lines, "{printed}");
                before = problem.line;
            }
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

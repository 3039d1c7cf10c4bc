//! What a file may say, and what is refused, each with its line.
#![allow(clippy::unwrap_used, missing_docs)]

use portcullis_roster::{Column, MOST_ROWS, RosterRow, read_roster};

fn rows(text: &str) -> Vec<RosterRow> {
    match read_roster(text.as_bytes(), &[]) {
        Ok(roster) => roster.rows,
        Err(problems) => panic!("{problems}"),
    }
}

fn refused(bytes: impl AsRef<[u8]>) -> String {
    read_roster(bytes.as_ref(), &[]).unwrap_err().to_string()
}

#[test]
fn a_file_of_everything() {
    let text = "\u{feff}USERNAME,externalId,Email,givenName,familyName,displayName,groups,active\r\n\
                alice@corp.test,00u1,Alice@corp.test, Alice ,Ãlvarez,\"Álvarez, Alice\",Staff| Owners |staff,YES\r\n\
                bob,,,,,,,0\r\n\r\n";
    let alice = RosterRow {
        line: 2,
        user_name: "alice@corp.test".into(),
        external_id: Some("00u1".into()),
        email: Some("Alice@corp.test".into()),
        given_name: Some("Alice".into()),
        family_name: Some("Ãlvarez".into()),
        display_name: Some("Álvarez, Alice".into()),
        groups: vec!["Staff".into(), "Owners".into()],
        active: Some(true),
    };
    let bob = RosterRow { line: 3, user_name: "bob".into(), active: Some(false), ..RosterRow::default() };
    assert_eq!(rows(text), vec![alice, bob]);
}

#[test]
fn a_spreadsheet_may_write_semicolons() {
    let read = rows("userName;displayName\nalice;A, B\n");
    assert_eq!(read[0].display_name.as_deref(), Some("A, B"));
    assert!(refused("userName;email,active\nalice;;\n").contains("line 1: the first line has both , and ;"));
    assert_eq!(rows("userName\nalice\n").len(), 1);
    for two_ways in ["userName\nalice,bob\n", "userName\nalice;bob\n"] {
        assert!(refused(two_ways).contains("line 2: 2 fields, and the first line has 1"), "{two_ways}");
    }
}

#[test]
fn columns_are_known_or_passed_over_by_name() {
    let text = b"userName,e-mail,Department\nalice,x,y\n";
    let said = read_roster(text, &[]).unwrap_err().to_string();
    assert!(said.contains("\"e-mail\" is no column that is known; perhaps email is meant"), "{said}");
    assert!(said.contains("--ignore \"Department\""), "{said}");
    let roster = read_roster(text, &["department".into(), "E-Mail".into()]).unwrap();
    assert!(roster.has(Column::UserName) && !roster.has(Column::Email));
    assert!(refused("email\na@b.test\n").contains("there is no column userName"));
    assert!(refused("userName,username\na,b\n").contains("the column userName is there twice"));
    assert!(refused("").contains("the file is empty"));
}

#[test]
fn every_problem_has_its_line_and_all_are_said() {
    let said = refused(
        "userName,email,active,groups\n,a@b.test,,\nbob,nowhere,,\ncarl,,perhaps,\ndora,,,A;B\neve,,,,\n\
         fay\u{1b},,,\nGUS,,,\ngus,,,\n",
    );
    for line in [
        "line 2: the row has no userName",
        "line 3: email: \"nowhere\" must have one @",
        "line 4: active: \"perhaps\" is neither",
        "line 5: groups: \"A;B\" holds a ;",
        "line 6: 5 fields, and the first line has 4",
        "line 7: userName holds a control character",
        "line 9: userName: \"gus\" is the name of line 8 too",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    let many: String = "userName,active\n".to_owned() + &"x,maybe\n".repeat(50);
    let said = refused(many);
    assert_eq!(said.lines().count(), 21, "{said}");
    assert!(said.ends_with("… and 30 more. Nothing was changed."), "{said}");
}

#[test]
fn other_encodings_and_what_is_too_large_are_refused() {
    assert!(refused(b"userName\nal\xefce\n").contains("line 2: not UTF-8; perhaps Latin-1"));
    assert!(refused([0xff, 0xfe, b'u', 0]).contains("UTF-16"));
    assert!(refused(format!("userName\n{}\n", "x".repeat(1025))).contains("longer than 1024 bytes"));
    assert!(refused("userName\n\"alice").contains("line 2: a quote is opened and never closed"));
    let many: String =
        "userName\n".to_owned() + &(0..=MOST_ROWS).map(|n| format!("p{n}\n")).collect::<String>();
    assert!(refused(many).contains("line 200002: the file has more than 200000 rows"));
    assert!(refused(vec![b'x'; 64 * 1024 * 1024 + 1]).contains("larger than 64 MiB"));
}

/// Names that look like others are others', and a group is bound by its whole name.
#[test]
fn what_hides_at_an_end_is_no_blank() {
    let read = rows("userName,groups\nalice,\" admins\u{a0} | \u{3000}staff\"\n");
    assert_eq!(read[0].groups, ["admins\u{a0}", "\u{3000}staff"]);
    for name in ["bob\u{200b}", "\u{feff}\u{feff}bob", "bob\u{a0}"] {
        let said = refused(format!("userName\n{name}\n"));
        assert!(said.contains("line 2: userName: ") && said.contains("unseen at an end"), "{said}");
    }
    assert!(refused("userName\nACCOUNT:18\n").contains("the number of an account"));
}

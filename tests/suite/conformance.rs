//! SCIM seen by clients that nobody here wrote: scim2-tester and scim-sanity. What they find is listed here with its
//! reason; anything new is a failure, and so is anything listed that they no longer find.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use crate::needs;
use crate::rig::peer;
use crate::rig::stage::Stage;

/// What it said, and its exit code.
async fn run(stage: &Stage, program: &str, words: &[&str]) -> (String, Option<i32>) {
    let mut command = Command::new(peer::cache().join("suites/bin").join(program));
    command.args(words).stdin(Stdio::null()).env("NO_COLOR", "1");
    command.env("SCIM_CLI_HEADERS", format!("Authorization: Bearer {}", stage.program.settings.scim_token));
    let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (said, output.status.code())
}

/// The names behind a mark at the beginning of a line.
fn marked(said: &str, marks: &[&str]) -> BTreeSet<String> {
    let of_line = |line: &str| {
        marks.iter().find_map(|mark| line.trim().strip_prefix(mark)).map(|name| name.trim().to_owned())
    };
    said.lines().filter_map(of_line).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Attributes of one's own beside those of the standard: a declared type of each kind that its checks can fill.
const OWN: &str = "  extensions:
    urn:ietf:params:scim:schemas:extension:acme:2.0:User:
      desk: { type: string, unique: true }
      level: integer
      remote: boolean
      badge: { type: complex, attributes: { number: integer, site: string } }
      skills: { type: string, multi_valued: true }
";

/// The list among them.
const SKILLS: &str = "urn:ietf:params:scim:schemas:extension:acme:2.0:User:skills";

#[tokio::test(flavor = "multi_thread")]
async fn scim_sanity_finds_what_is_known() {
    needs!("suites");
    for own in ["", OWN] {
        let stage = stage(own).await;
        let (base, token) = (stage.program.settings.scim_base(), stage.program.settings.scim_token.clone());
        let (said, code) =
            run(&stage, "scim-sanity", &["probe", &base, "--token", &token, "--i-accept-side-effects"]).await;
        let passed = marked(&said, &["[PASS]"]);
        assert!(passed.len() >= 20, "{said}");
        // It adds the member `fake-member-id` and wants 200: its exit code is 1 wherever a membership that cannot take
        // effect is an error, which it is here.
        assert_eq!(code, Some(1), "{said}");
        let known = set(&["PATCH /Groups/{id} add member"]);
        assert_eq!(marked(&said, &["[FAIL]", "[ERROR]"]), known, "{said}");
    }
}

/// The same with one word changed: where it adds a member, it is somebody who is there.
#[tokio::test(flavor = "multi_thread")]
async fn scim_sanity_finds_nothing_where_the_member_exists() {
    needs!("suites");
    const PROBE: &str = "import sys\n\
        from scim_sanity.probe import tests\n\
        member, make = sys.argv.pop(1), tests.make_patch\n\
        there = lambda value: [{'value': member}] if value == [{'value': 'fake-member-id'}] else value\n\
        tests.make_patch = lambda operations: make([{key: there(value) for key, value in one.items()} for one in operations])\n\
        from scim_sanity.cli import main\n\
        sys.argv[0] = 'scim-sanity'\n\
        sys.exit(main())";
    let stage = Stage::seeded(|settings| settings.groups_answer = "200", &["alice@corp.test"]).await;
    let (base, token) = (stage.program.settings.scim_base(), stage.program.settings.scim_token.clone());
    let member = stage.id("alice@corp.test");
    let words = ["-c", PROBE, member, "probe", &base, "--token", &token, "--i-accept-side-effects"];
    let (said, code) = run(&stage, "python3", &words).await;
    assert!(marked(&said, &["[PASS]"]).contains("PATCH /Groups/{id} add member"), "{said}");
    assert_eq!((code, marked(&said, &["[FAIL]", "[ERROR]"])), (Some(0), BTreeSet::new()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scim2_tester_finds_what_is_known() {
    needs!("suites");
    for own in ["", OWN] {
        let stage = stage(own).await;
        let (said, code) = run(&stage, "scim2", &["-u", &stage.program.settings.scim_base(), "test"]).await;
        let passed = said.lines().filter(|line| line.starts_with("SUCCESS")).count();
        assert!(passed >= 130, "{passed} passed:\n{said}");
        let known = match own {
            "" => BTreeSet::new(),
            // It adds to a list that it has filled before, as part of the extension, and wants what it added alone.
            _ => [format!("check_add_attribute: PATCH modify() returned unexpected value for '{SKILLS}'.")]
                .into(),
        };
        assert_eq!(faults(&said), known, "{said}");
        assert_eq!(code, Some(i32::from(!known.is_empty())), "{said}");
    }
}

async fn stage(own: &'static str) -> Stage {
    Stage::with(|settings| {
        settings.groups_answer = "200";
        settings.scim_more = own;
    })
    .await
}

/// `name: reason` of every check that failed: two lines of its report.
fn faults(said: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = said.lines().collect();
    let pairs = lines.windows(2).filter_map(|pair| {
        let name =
            ["ERROR ", "CRITICAL ", "DEVIATION "].iter().find_map(|mark| pair[0].strip_prefix(mark))?;
        Some(format!("{}: {}", name.trim(), pair[1].trim()))
    });
    pairs.collect()
}

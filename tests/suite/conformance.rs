//! SCIM seen by clients that nobody here wrote: scim2-tester and scim-sanity. What they find is listed here with its
//! reason; anything new is a failure, and so is anything listed that they no longer find.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use crate::needs;
use crate::rig::peer;
use crate::rig::stage::Stage;

async fn run(stage: &Stage, program: &str, words: &[&str]) -> String {
    let mut command = Command::new(peer::cache().join("suites/bin").join(program));
    command.args(words).stdin(Stdio::null()).env("NO_COLOR", "1");
    command.env("SCIM_CLI_HEADERS", format!("Authorization: Bearer {}", stage.program.settings.scim_token));
    let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
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

#[tokio::test(flavor = "multi_thread")]
async fn scim_sanity_finds_what_is_known() {
    needs!("suites");
    let stage = Stage::with(|settings| settings.groups_answer = "200").await;
    let (base, token) = (stage.program.settings.scim_base(), stage.program.settings.scim_token.clone());
    let said =
        run(&stage, "scim-sanity", &["probe", &base, "--token", &token, "--i-accept-side-effects"]).await;
    let passed = marked(&said, &["[PASS]"]);
    assert!(passed.len() >= 20, "{said}");
    // It adds a member that does not exist and wants 200. A membership that cannot take effect is an error here.
    let known = set(&["PATCH /Groups/{id} add member"]);
    assert_eq!(marked(&said, &["[FAIL]", "[ERROR]"]), known, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scim2_tester_finds_what_is_known() {
    needs!("suites");
    let stage = Stage::with(|settings| settings.groups_answer = "200").await;
    let said = run(&stage, "scim2", &["-u", &stage.program.settings.scim_base(), "test"]).await;
    let passed = said.lines().filter(|line| line.starts_with("SUCCESS")).count();
    assert!(passed >= 100, "{passed} passed:\n{said}");
    let known = set(&[
        // It takes `active` away and wants it gone. Taken away means inactive here, which is shown (RFC 7644 §3.5.2.2
        // lets a server assign a default).
        "check_remove_attribute: PATCH modify() did not remove attribute 'active'",
        // Its members are made-up ids where `$ref` may not be sent. A membership that cannot take effect is an error.
        "object_query_with_attributes: members: number 1 of 1 names no user or group of this directory",
        "object_list_with_attributes: members: number 1 of 1 names no user or group of this directory",
        "search_with_attributes: members: number 1 of 1 names no user or group of this directory",
        "object_replacement: members: number 1 of 1 names no user or group of this directory",
        "check_remove_attribute: members: number 1 of 1 names no user or group of this directory",
        "check_add_attribute: Failed to add attribute 'members': members: number 1 of 1 names no user or group of this \
         directory",
        "check_replace_attribute: Failed to replace attribute 'members': members: number 1 of 1 names no user or group \
         of this directory",
        // It repeats `schemas` inside the extension.
        "check_add_attribute: Failed to add attribute 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User': User \
         has no attribute \"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:schemas\"",
        "check_replace_attribute: Failed to replace attribute \
         'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User': User has no attribute \
         \"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:schemas\"",
    ]);
    assert_eq!(faults(&said), known, "{said}");
}

/// `name: reason` of every check that failed: two lines of its report.
fn faults(said: &str) -> BTreeSet<String> {
    let lines: Vec<&str> = said.lines().collect();
    let pairs = lines.windows(2).filter_map(|pair| {
        let name = ["ERROR ", "CRITICAL "].iter().find_map(|mark| pair[0].strip_prefix(mark))?;
        Some(format!("{}: {}", name.trim(), pair[1].trim()))
    });
    pairs.collect()
}

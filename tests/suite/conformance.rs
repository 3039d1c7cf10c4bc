//! SCIM seen by clients that nobody here wrote: scim2-tester and scim-sanity.

use std::process::{Command, Output, Stdio};

use crate::needs;
use crate::rig::peer;
use crate::rig::stage::Stage;

async fn run(stage: &Stage, program: &str, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(peer::cache().join("suites/bin").join(program));
    command.args(words).stdin(Stdio::null());
    command.env("SCIM_CLI_HEADERS", format!("Authorization: Bearer {}", stage.program.settings.scim_token));
    let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn scim_sanity_finds_nothing() {
    needs!("suites");
    let stage = Stage::start().await;
    let (base, token) = (stage.program.settings.scim_base(), stage.program.settings.scim_token.clone());
    let words = ["probe", &base, "--token", &token, "--i-accept-side-effects"];
    let (fine, said) = run(&stage, "scim-sanity", &words).await;
    assert!(fine, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scim2_tester_finds_nothing() {
    needs!("suites");
    let stage = Stage::start().await;
    let (fine, said) = run(&stage, "scim2", &["-u", &stage.program.settings.scim_base(), "test"]).await;
    assert!(fine, "{said}");
}

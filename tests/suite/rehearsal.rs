//! The rehearsal with the real program: the script comes out, and whatever happens, it leaves nothing behind.

use rustix::process::{Signal, kill_process, test_kill_process};

use crate::rig::rehearsal::Rehearsal;
use crate::rig::until;

#[tokio::test(flavor = "multi_thread")]
async fn the_script_comes_out_and_leaves_nothing_behind() {
    let mut rehearsal = Rehearsal::start(&["--script"]);
    assert_eq!(rehearsal.ended().await.code(), Some(0), "{}", rehearsal.said());
    rehearsal.says("Every step came out as it should.").await;
    assert!(!rehearsal.folder().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_in_the_middle_is_told() {
    // Before the script begins, in its midst, where a step may miss the program first, and after it.
    for moment in ["state folder", "The directory deactivates Alice", "Ctrl-C"] {
        let scene = tempfile::tempdir().unwrap();
        let state = scene.path().join("state");
        let mut rehearsal = Rehearsal::start(&["--stay", "--state", state.to_str().unwrap()]);
        rehearsal.says(moment).await;
        until("a program", || {
            let runs = rehearsal.program().is_some();
            async move { runs }
        })
        .await;

        kill_process(rehearsal.program().unwrap(), Signal::KILL).unwrap();
        assert_eq!(rehearsal.ended().await.code(), Some(1), "{moment}");
        rehearsal.says("the program ended by itself (signal: 9 (SIGKILL))").await;
        rehearsal.says(&format!("are kept in {}", state.display())).await;
        assert!(state.join("portcullis.yaml").is_file());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_ends_with_the_rehearsal() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut rehearsal = Rehearsal::start(&["--stay"]);
        rehearsal.says("Ctrl-C").await;
        let program = rehearsal.program().unwrap();
        assert!(test_kill_process(program).is_ok());

        rehearsal.signal(signal);
        assert_eq!(rehearsal.ended().await.code(), Some(0), "{}", rehearsal.said());
        assert!(test_kill_process(program).is_err(), "{signal:?}");
        assert!(!rehearsal.folder().exists());
    }
}

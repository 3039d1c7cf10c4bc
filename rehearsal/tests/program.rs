//! The rehearsal from outside, with stand-ins for the program: what it says where there is none or where it fails, and
//! that none is left behind. With the real one `tests/suite/rehearsal.rs` plays.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

/// A bound that only a fault reaches.
const NET: Duration = Duration::from_secs(20);

#[test]
fn a_missing_program_is_named_with_the_remedy() {
    let scene = Scene::new();
    let missing = scene.folder.path().join("nowhere/portcullis");
    let output = scene.rehearsal(&missing, "").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains(&missing.display().to_string()) && said.contains("--program PATH"), "{said}");
    assert!(output.stdout.is_empty(), "nothing was begun");
    assert_eq!(scene.left_behind(), 0);
}

#[test]
fn what_cannot_be_started_is_named() {
    let scene = Scene::new();
    let text = scene.folder.path().join("portcullis");
    fs::write(&text, "no program").unwrap();
    let output = scene.rehearsal(&text, "").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains(&format!("{} could not be started: ", text.display())), "{said}");
}

#[test]
fn a_program_that_ends_early_is_told_with_its_words_and_the_folder_is_kept() {
    let scene = Scene::new();
    let output = scene.stand_in("echo 'line 3: a wrong key' >&2; exit 78").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    let (words, fault) = (said.find("line 3: a wrong key"), said.find("ended by itself (exit status: 78)"));
    assert!(words.is_some() && words < fault, "{said}");
    let folder = said.lines().last().unwrap().rsplit(' ').next().unwrap();
    assert!(Path::new(folder).join("portcullis.yaml").is_file(), "{said}");
}

#[test]
fn the_program_is_started_as_an_operator_starts_it() {
    let scene = Scene::new();
    let output = scene.stand_in("echo \"$#: $1 $2 $3\" >&2; exit 1").output().unwrap();
    let said = stderr(&output);
    let words: Vec<&str> = said.lines().next().unwrap().split(' ').collect();
    assert_eq!(words[..3], ["3:", "run", "--config"]);
    assert!(words[3].ends_with("/portcullis.yaml"), "{said}");
}

#[test]
fn no_signal_leaves_the_program_or_the_folder_behind() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let scene = Scene::new();
        let mut rehearsal = scene.start("ready; exec sleep 600");
        let program = scene.pid();
        kill_process(Pid::from_child(&rehearsal), signal).unwrap();
        assert_eq!(wait_end(&mut rehearsal), Some(1), "{signal:?}: the script was not over");
        assert!(test_kill_process(program).is_err(), "{signal:?}: the program is still there");
        assert_eq!(scene.left_behind(), 0, "{signal:?}");
    }
}

#[test]
fn a_program_that_does_not_hear_is_killed_when_somebody_asks_again() {
    let scene = Scene::new();
    let mut rehearsal = scene.start("trap '' TERM; ready; exec sleep 600");
    let program = scene.pid();
    let ask = || kill_process(Pid::from_child(&rehearsal), Signal::INT).unwrap();
    ask();
    sleep(Duration::from_millis(300));
    assert!(test_kill_process(program).is_ok(), "it has its time");
    ask();
    assert_eq!(wait_end(&mut rehearsal), Some(1));
    assert!(test_kill_process(program).is_err());
}

#[test]
fn a_program_that_does_not_hear_is_killed_when_its_time_is_up() {
    let scene = Scene::new();
    let mut rehearsal = scene.start("trap '' TERM; ready; exec sleep 600");
    let program = scene.pid();
    kill_process(Pid::from_child(&rehearsal), Signal::TERM).unwrap();
    assert_eq!(wait_end(&mut rehearsal), Some(1));
    assert!(test_kill_process(program).is_err());
}

/// A place for one rehearsal and its stand-in.
struct Scene {
    folder: TempDir,
    /// The temporary folder of the rehearsal.
    temporary: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), temporary: tempfile::tempdir().unwrap() }
    }

    /// The rehearsal of a stand-in that does this.
    fn stand_in(&self, does: &str) -> Command {
        self.rehearsal(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand-in")), does)
    }

    fn rehearsal(&self, program: &Path, does: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis-rehearsal"));
        command.arg("--script").arg("--program").arg(program).stdin(Stdio::null());
        command.env("TMPDIR", self.temporary.path());
        command.env("STAND_IN_ID", self.folder.path().join("pid")).env("STAND_IN_DOES", does);
        command
    }

    fn start(&self, does: &str) -> Child {
        self.stand_in(does).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The process id of the stand-in, once it is ready.
    fn pid(&self) -> Pid {
        let file = self.folder.path().join("pid");
        let began = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(&file) {
                return Pid::from_raw(text.trim().parse().unwrap()).unwrap();
            }
            assert!(began.elapsed() < NET, "the program was not started");
            sleep(Duration::from_millis(10));
        }
    }

    /// Counts what stands in the temporary folder.
    fn left_behind(&self) -> usize {
        fs::read_dir(self.temporary.path()).unwrap().count()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait_end(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > NET {
            let _ = child.kill();
            panic!("the rehearsal did not end");
        }
        sleep(Duration::from_millis(10));
    }
}

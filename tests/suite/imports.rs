//! Files of people: what they say is so once the command answers, whoever they take out is out by then, and a file that
//! cannot be right changes nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::rig::import_crash::{Crash, survive_kills};
use crate::rig::settings::Settings;
use crate::rig::sqlite_lock::WriteLock;
use crate::rig::stage::Stage;
use crate::rig::until;

const ALICE: &str = "alice@corp.test";
const BOB: &str = "bob@corp.test";
/// `externalId` is left out: it is what the seeded sessions were linked by, and a file without the column leaves it.
const HEADER: &str = "userName,displayName,groups";

fn invited(settings: &mut Settings) {
    settings.provisioning = "invited";
}

fn file(stage: &Stage, name: &str, rows: &[&str]) -> String {
    let path = stage.program.folder().join(name);
    fs::write(&path, format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
    path.to_str().unwrap().to_owned()
}

fn printed(output: &Output, code: i32) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

fn import(stage: &Stage, words: &[&str], code: i32) -> String {
    printed(&stage.program.command(&[&["import"], words].concat()), code)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_missing_from_a_full_file_is_out_before_the_command_answers() {
    let mut stage = Stage::seeded(invited, &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    let (mut hers, mut his) = (alice.socket("/ws").await.unwrap(), bob.socket("/ws").await.unwrap());
    for socket in [&mut hers, &mut his] {
        socket.echo("mine").await.unwrap();
    }
    let path =
        file(&stage, "people.csv", &["alice@corp.test,Alice,Staff", "carl@corp.test,Carl,Staff|Owners"]);

    let dry = import(&stage, &[&path, "--full", "--dry-run"], 0);
    for line in [
        "deactivate bob@corp.test: not in the file\n",
        "change alice@corp.test: displayName=Alice; joins Staff\n",
        "create carl@corp.test: displayName=Carl; joins Staff; joins Owners\n",
        "A dry run, and nothing was changed. It would be: 2 people in the file: 1 created, 1 changed, 1 deactivated, 0 reactivated; 1 of 2 active people put out.",
    ] {
        assert!(dry.contains(line), "{line} in {dry}");
    }
    his.echo("still here").await.unwrap();

    let said = import(&stage, &[&path, "--full"], 0);
    stage.app.mark("after-the-command").await;
    assert!(
        said.contains("1 created, 1 changed, 1 deactivated, 0 reactivated; 1 live session ended"),
        "{said}"
    );
    assert!(!his.read_out().await.iter().any(|text| text == "after-the-command"));
    assert_eq!((bob.status("/").await, alice.status("/").await), (401, 200));
    let shown = printed(&stage.program.command(&["user", "show", "carl@corp.test"]), 0);
    assert!(shown.contains("Staff") && shown.contains("Owners"), "{shown}");
    assert!(
        printed(&stage.program.command(&["audit", "tail", "-n", "1", "--json"]), 0).contains("\"import\"")
    );
    stage
        .program
        .logged(&["a file of people was imported", "\"deactivated\":1", "\"by\":\"operator\""])
        .await;
    assert!(import(&stage, &[&path, "--full"], 0).contains("0 created, 0 changed, 0 deactivated"));

    // Named again he is the same person, who signs in anew; and all of it works without a program.
    let id = stage.id(BOB).to_owned();
    let path = file(&stage, "more.csv", &["bob@corp.test,Bob,"]);
    stage.stop().await;
    assert!(import(&stage, &[&path, "--full", "--max-removals", "100%"], 0).contains("1 reactivated"));
    let shown = printed(&stage.program.command(&["user", "show", BOB]), 0);
    assert!(shown.contains(&id) && shown.contains("state:         active"), "{shown}");
    stage.program.begin().await;
    assert_eq!((bob.status("/").await, alice.status("/").await), (401, 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_a_file_give_roles_and_losing_one_cuts() {
    let bind = |settings: &mut Settings| {
        invited(settings);
        settings.bindings =
            Some("version: 1\nroles: [member]\nbindings:\n  - group: Staff\n    role: member\n".to_owned());
        settings.more += "routes:\n  - path: /**\n    allow: [member]\n";
    };
    let stage = Stage::seeded(bind, &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    assert_eq!((alice.status("/").await, bob.status("/").await), (403, 403));
    let both = file(&stage, "both.csv", &["alice@corp.test,,Staff", "bob@corp.test,,Staff|Guests"]);
    import(&stage, &[&both], 0);
    assert_eq!((alice.status("/").await, bob.status("/").await), (200, 200));
    let mut socket = bob.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    let less = file(&stage, "less.csv", &["bob@corp.test,,Guests"]);
    assert!(import(&stage, &[&less], 0).contains("1 changed, 0 deactivated"));
    stage.app.mark("after-the-command").await;
    assert!(!socket.read_out().await.iter().any(|text| text == "after-the-command"));
    assert_eq!((alice.status("/").await, bob.status("/").await), (200, 403));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_at_once_take_the_word_of_an_operator_who_has_seen_the_file() {
    let names: Vec<String> = (0..20).map(|n| format!("p{n}@corp.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stage = Stage::seeded(invited, &names).await;
    let rows: Vec<String> = names[..10].iter().map(|name| format!("{name},,")).collect();
    let path = file(&stage, "half.csv", &rows.iter().map(String::as_str).collect::<Vec<_>>());
    let said = import(&stage, &[&path, "--full"], 1);
    assert!(
        said.contains(
            "would put out 10 of 20 active people (50 %), and 10 % at once are allowed. Nothing was changed."
        ),
        "{said}"
    );
    let line = said.lines().find(|line| line.contains("--accept-removals")).unwrap();
    let words: Vec<&str> = line.split_once("portcullis import ").unwrap().1.split(' ').collect();
    assert_eq!(stage.visitor(names[19]).status("/").await, 200);
    let other = file(&stage, "other.csv", &["p0@corp.test,,"]);
    import(&stage, &[&other, "--full", "--accept-removals", words.last().unwrap()], 1);
    assert!(import(&stage, &words, 0).contains("10 deactivated"));
    assert_eq!(
        (stage.visitor(names[19]).status("/").await, stage.visitor(names[0]).status("/").await),
        (401, 200)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_problem_changes_nothing_and_a_directory_of_scim_takes_none() {
    let stage = Stage::seeded(invited, &[ALICE]).await;
    let path = file(&stage, "wrong.csv", &["carl@corp.test,,", "\"dora@corp.test,,"]);
    let said = import(&stage, &[&path, "--full"], 1);
    assert!(
        said.contains("line 3: a quote is opened and never closed") && said.contains("Nothing was changed"),
        "{said}"
    );
    let list = printed(&stage.program.command(&["user", "list"]), 0);
    assert!(!list.contains("carl"), "{list}");
    assert_eq!(stage.visitor(ALICE).status("/").await, 200);

    let mut fed = Stage::seeded(|_| {}, &[ALICE]).await;
    let path = file(&fed, "people.csv", &["carl@corp.test,,"]);
    let said = import(&fed, &[&path, "--full"], 1);
    assert!(said.contains("a SCIM client feeds this directory (provisioning: scim)"), "{said}");
    // The file says another thing before the program does: the store knows better.
    fed.stop().await;
    invited(&mut fed.program.settings);
    fed.program.write();
    let said = import(&fed, &[&path], 1);
    assert!(said.contains("Start the program once with provisioning: invited"), "{said}");
    fed.program.begin().await;
    assert!(import(&fed, &[&path], 0).contains("1 created"));
}

/// A drop folder beside the state, with its program.
async fn dropping(more: &str, names: &[&str]) -> (Stage, PathBuf) {
    let place = tempfile::Builder::new().prefix("drop-").tempdir().unwrap().keep();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    let block = format!("import:\n  folder: {}\n{more}", place.display());
    let stage = Stage::seeded(
        |settings| {
            invited(settings);
            settings.more += &block;
        },
        names,
    )
    .await;
    (stage, place)
}

/// Uploads a file as a good client does: under another name, and renamed when it is whole.
fn upload(place: &Path, name: &str, text: &str) {
    let part = place.join(format!("{name}.part"));
    fs::write(&part, text).unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o640)).unwrap();
    fs::rename(part, place.join(name)).unwrap();
}

async fn report(place: &Path, kind: &str, name: &str) -> String {
    let path = place.join(kind).join(format!("{name}.txt"));
    until("the report", || {
        let is_there = path.exists() && place.join(kind).join(name).symlink_metadata().is_ok();
        async move { is_there }
    })
    .await;
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_file_is_imported_once_it_has_its_last_name() {
    let (mut stage, place) = dropping("  full: true\n", &[ALICE, BOB]).await;
    fs::write(place.join("half.csv.part"), format!("{HEADER}\n")).unwrap();
    let bob = stage.visitor(BOB);
    let mut socket = bob.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    // One whose report could not be called after it is left where it is, and said.
    let long = format!("{}.csv", "n".repeat(240));
    fs::write(place.join(&long), format!("{HEADER}\n")).unwrap();
    upload(&place, "people.csv", &format!("{HEADER}\nalice@corp.test,Alice,\ncarl@corp.test,,\n"));
    let said = report(&place, "done", "people.csv").await;
    stage.app.mark("after-the-report").await;
    assert!(said.contains("1 created, 1 changed, 1 deactivated"), "{said}");
    assert!(!socket.read_out().await.iter().any(|text| text == "after-the-report"));
    assert_eq!(bob.status("/").await, 401);
    assert!(!place.join("people.csv").exists() && place.join("half.csv.part").exists());
    stage.program.logged(&["is not taken: its name has more than 200 bytes"]).await;
    assert!(place.join(&long).exists());
    stage.program.logged(&["a file of people was imported", "\"by\":\"drop folder\""]).await;

    // What a program that ended had taken is done by the next one, and no name is written over.
    stage.program.kill();
    // One that was settled and not moved before it ended is only moved: Carl, who is not in it, stays.
    upload(&place, "taken/older.csv.done", &format!("{HEADER}\nalice@corp.test,Alicia,\n"));
    upload(&place, "taken/people.csv", &format!("{HEADER}\nalice@corp.test,Alicia,\ncarl@corp.test,,\n"));
    stage.program.begin().await;
    until("the second file", || {
        let left = fs::read_dir(place.join("taken")).unwrap().count();
        let done = fs::read_dir(place.join("done")).unwrap().count();
        async move { (left, done) == (0, 6) }
    })
    .await;
    assert!(printed(&stage.program.command(&["user", "show", ALICE]), 0).contains("Alicia"));
    assert!(report(&place, "done", "older.csv").await.contains("settled earlier"));
    assert_eq!(stage.program.lines_with("a file of people was imported").len(), 2);
    fs::remove_dir_all(place).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_files_that_are_not_to_be_trusted_are_refused_and_said() {
    let names: Vec<String> = (0..20).map(|n| format!("p{n}@corp.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (stage, place) = dropping("  full: true\n", &names).await;
    let good = format!("{HEADER}\np1@corp.test,,\n");
    upload(&place, "real", &good);
    symlink(place.join("real"), place.join("link.csv")).unwrap();
    assert!(report(&place, "refused", "link.csv").await.contains("it is a symbolic link"));
    let fifo = std::process::Command::new("mkfifo").arg(place.join("pipe.csv")).status().unwrap();
    assert!(fifo.success());
    assert!(report(&place, "refused", "pipe.csv").await.contains("it is no plain file"));
    fs::write(place.join("open.part"), &good).unwrap();
    fs::set_permissions(place.join("open.part"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::rename(place.join("open.part"), place.join("open.csv")).unwrap();
    assert!(report(&place, "refused", "open.csv").await.contains("others may write it (mode 666)"));
    fs::create_dir(place.join("folder.csv")).unwrap();
    stage.program.logged(&["folder.csv is a folder, and no file of people"]).await;
    fs::write(place.join("latin.part"), b"userName\nal\xefce\n").unwrap();
    fs::rename(place.join("latin.part"), place.join("latin.csv")).unwrap();
    assert!(report(&place, "refused", "latin.csv").await.contains("line 2: not UTF-8; perhaps Latin-1"));
    upload(&place, "few.csv", &good);
    let said = report(&place, "refused", "few.csv").await;
    assert!(said.contains("would put out 19 of 20 active people"), "{said}");
    assert_eq!(stage.visitor(names[19]).status("/").await, 200);
    // The command to run is there, and names the file where it waits.
    let line = said.lines().find(|line| line.contains("--accept-removals")).unwrap();
    let words: Vec<&str> = line.split_once("portcullis import ").unwrap().1.split(' ').collect();
    assert!(import(&stage, &words, 0).contains("19 deactivated"));
    assert_eq!(stage.visitor(names[19]).status("/").await, 401);

    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    upload(&place, "late.csv", &good);
    stage.program.logged(&["may be written by everybody: nothing is taken from it"]).await;
    assert!(place.join("late.csv").exists());
    fs::remove_dir_all(place).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_kills_in_the_middle_of_imports_leave_whole_people() {
    survive_kills(Crash { people: 2_000, kills: 2 }).await;
}

/// A file is imported when the disk does not answer: whoever it takes out is out all the same, and the next import finishes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaver_whose_removal_cannot_be_stored_is_on_hold() {
    let stage = Stage::seeded(invited, &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    let mut socket = bob.socket("/ws").await.unwrap();
    socket.echo("mine").await.unwrap();
    assert_eq!(alice.status("/").await, 200);
    let path = file(&stage, "people.csv", &["alice@corp.test,,", "carl@corp.test,,"]);
    let lock = WriteLock::take(&stage.program.database()).await;
    let said = import(&stage, &[&path, "--full"], 1);
    assert!(said.contains("0 created, 0 changed, 0 deactivated"), "only what stands is counted: {said}");
    assert!(said.contains("import the file again"), "{said}");
    socket.read_out().await;
    assert_eq!((bob.status("/").await, alice.status("/").await), (503, 200));
    stage.program.logged(&["the person is out and on hold until a write on this user is committed"]).await;
    lock.release().await;
    let said = import(&stage, &[&path, "--full"], 0);
    assert!(said.contains("1 created, 1 changed, 1 deactivated"), "{said}");
    assert_eq!((bob.status("/").await, alice.status("/").await), (401, 200));
}

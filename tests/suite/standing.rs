//! What the sessions in the store were made under is compared with the configuration by the same rule at a start and at
//! a reload: each test does the same change on both roads.

use crate::needs;
use crate::rig::idp::{Op, finish_sign_in};
use crate::rig::program;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;

/// By which road a changed configuration comes into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    Restart,
    Reload,
}

const BOTH: [Road; 2] = [Road::Restart, Road::Reload];

/// Puts a change in force and waits until it is.
async fn change(stage: &mut Stage, road: Road, change: impl FnOnce(&mut Settings)) {
    match road {
        Road::Restart => {
            stage.stop().await;
            change(&mut stage.program.settings);
            program::write_files(stage.program.folder(), &stage.program.settings);
            stage.program.begin().await;
        }
        Road::Reload => {
            stage.program.reload(change).await;
            stage.program.logged(&["the configuration is in force"]).await;
        }
    }
}

const ALICE: &str = "alice@corp.test";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stays_in_by_an_idp_that_has_another_name_now() {
    for road in BOTH {
        let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
        let alice = stage.visitor(ALICE);
        assert_eq!(alice.status("/").await, 200);
        change(&mut stage, road, |settings| settings.idps = settings.idps.replace("  op:", "  login:")).await;
        assert_eq!(alice.status("/").await, 401, "{road:?}");
        // The people are the same: nobody is linked through what is not configured.
        assert!(stage.program.lines_with("no longer configured").is_empty(), "{road:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stays_in_by_an_issuer_that_is_not_configured_any_more() {
    for road in BOTH {
        let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
        let alice = stage.visitor(ALICE);
        assert_eq!(alice.status("/").await, 200);
        change(&mut stage, road, |settings| {
            let issuer = settings.idp().1;
            settings.idps = settings.idps.replace(&issuer, "http://other.localhost:1");
        })
        .await;
        assert_eq!(alice.status("/").await, 401, "{road:?}");
        let told =
            stage.program.logged(&["1 person is linked through op, which is no longer configured"]).await;
        assert!(told.contains("replaces: op") && told.contains("user relink op"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_ends_nobody_ends_nobody() {
    for road in BOTH {
        let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
        let alice = stage.visitor(ALICE);
        assert_eq!(alice.status("/").await, 200);
        change(&mut stage, road, |settings| settings.idle = "1h").await;
        assert_eq!(alice.status("/").await, 200, "{road:?}");
    }
}

fn invite(settings: &mut Settings) {
    settings.provisioning = "invited";
}

fn no_directory(settings: &mut Settings) {
    settings.provisioning = "none";
}

#[tokio::test(flavor = "multi_thread")]
async fn another_provisioning_ends_every_session_on_both_roads() {
    for road in BOTH {
        let mut stage = Stage::seeded(invite, &[ALICE]).await;
        let alice = stage.visitor(ALICE);
        assert_eq!(alice.status("/").await, 200);
        change(&mut stage, road, no_directory).await;
        assert_eq!(alice.status("/").await, 401, "{road:?}");
    }
    // The listener of SCIM is opened at a start, so this one has no other road.
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    change(&mut stage, Road::Restart, no_directory).await;
    assert_eq!(alice.status("/").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_needs_a_restart_puts_nothing_in_force() {
    let public =
        |settings: &mut Settings| settings.more = "routes:\n  - path: /**\n    allow: public\n".to_owned();
    type Differs = fn(&mut Settings);
    let changes: [(&str, Differs); 4] = [
        ("provisioning", no_directory),
        ("limits", |settings| settings.more.push_str("limits:\n  idle: 70s\n")),
        ("keys", |settings| settings.more.push_str("keys: ${file:{folder}/master}\n")),
        ("listen.health.address", |settings| settings.health = crate::rig::ports::free()),
    ];
    for (key, differs) in changes {
        let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
        std::fs::write(stage.program.folder().join("master"), "ab".repeat(32)).unwrap();
        let folder = stage.program.folder().display().to_string();
        let (alice, stranger) = (stage.visitor(ALICE), stage.stranger());
        stage
            .program
            .reload(|settings| {
                public(settings);
                differs(settings);
                settings.more = settings.more.replace("{folder}", &folder);
            })
            .await;
        let told = stage.program.logged(&["nothing of the file was put in force"]).await;
        assert!(told.contains(&format!("\"keys\":\"{key}\"")), "{key}: {told}");
        assert_eq!(stranger.status("/").await, 401, "{key}: the rules are those from before");
        assert_eq!(alice.status("/").await, 200, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_do_not_share_a_database() {
    let stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let database = stage.program.database();
    let mut other = Settings::new(stage.app.address);
    // By another name too: what counts is the file.
    let link = stage.program.folder().join("link.db");
    std::os::unix::fs::symlink(&database, &link).unwrap();
    for path in [&database, &link] {
        other.more = format!("store:\n  sqlite: {}\n", path.display());
        for words in [&["run"][..], &["user", "list"]] {
            let refused = program::run_to_end(&other, words);
            let text = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(1), "{words:?}: {text}");
            let whose = format!("in use by the process with pid {} on the host ", stage.program.pid());
            assert!(text.contains(&whose), "{words:?}: {text}");
        }
    }
    assert_eq!(stage.visitor(ALICE).status("/").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_that_is_missing_or_another_stops_the_start_and_is_not_made_anew() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    stage.stop().await;
    let key = stage.program.folder().join("state/master.key");
    let right = std::fs::read(&key).unwrap();

    std::fs::remove_file(&key).unwrap();
    let refused = stage.program.command(&["run"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{text}");
    for part in ["master.key is missing", "sessions (1)", "portcullis keys replace"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // And `check` knows: it says the same, with where it stands.
    let checked = said(&stage, &["check"], 78);
    assert!(
        checked.contains(": state: master.key is missing") && checked.contains("keys replace"),
        "{checked}"
    );
    assert!(!key.exists());

    write_key(&key, "ab".repeat(32).as_bytes());
    let checked = said(&stage, &["check"], 78);
    assert!(checked.contains("not the one that this database was written with"), "{checked}");
    let refused = stage.program.command(&["run"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{text}");
    assert!(text.contains("not the one that this database was written with"), "{text}");

    write_key(&key, &right);
    said(&stage, &["check"], 0);
    stage.program.begin().await;
    said(&stage, &["check"], 0);
    assert_eq!(stage.visitor(ALICE).status("/").await, 200);
}

fn write_key(path: &std::path::Path, text: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = std::fs::remove_file(path);
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn said(stage: &Stage, words: &[&str], code: i32) -> String {
    let output = stage.program.command(words);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_is_an_explicit_order_that_first_says_what_it_costs() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let running = said(&stage, &["keys", "replace"], 1);
    assert!(running.contains("in use by the process with pid"), "{running}");
    stage.stop().await;
    assert!(said(&stage, &["keys", "replace"], 1).contains("fits this database"));

    let key = stage.program.folder().join("state/master.key");
    let former = stage.program.folder().join("former.key");
    let other = stage.program.folder().join("other.key");
    std::fs::rename(&key, &former).unwrap();
    write_key(&other, "cd".repeat(32).as_bytes());
    let (former, other) = (former.to_str().unwrap(), other.to_str().unwrap());

    let would = said(&stage, &["keys", "replace", "--former", former], 0);
    for part in ["Sessions that end: 1", "removed or disabled stays out", "Nothing has changed"] {
        assert!(would.contains(part), "{part}: {would}");
    }
    assert!(!key.exists(), "nothing was made");
    let wrong = said(&stage, &["keys", "replace", "--former", other, "--apply"], 1);
    assert!(wrong.contains("not the key that this database was written with"), "{wrong}");
    let lost = said(&stage, &["keys", "replace"], 0);
    assert!(lost.contains("Bars that are made again: 0"), "{lost}");

    // It is done when something is wrong, so perhaps with a file that is.
    let file = stage.program.folder().join("portcullis.yaml");
    let right = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{right}\nheadrs: 1\n")).unwrap();
    said(&stage, &["keys", "replace", "--former", former], 0);
    let state = stage.program.folder().join("state");
    let words = ["keys", "replace", "--state", state.to_str().unwrap(), "--former", former, "--apply"];
    let done = said(&stage, &words, 0);
    assert!(done.contains("The master key is replaced"), "{done}");
    let audit = said(&stage, &["audit", "tail", "-n", "1"], 0);
    assert!(audit.contains("keys.replace"), "{audit}");
    std::fs::write(&file, right).unwrap();
    stage.program.begin().await;
    assert_eq!(stage.visitor(ALICE).status("/").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_moves_the_people_of_a_former_issuer_with_a_program_and_without() {
    for runs in [true, false] {
        let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
        assert!(said(&stage, &["user", "relink", "op"], 0).contains("Nobody is linked through op"));
        change(&mut stage, Road::Restart, |settings| {
            let issuer = settings.idp().1;
            settings.idps = settings.idps.replace(&issuer, "http://other.localhost:1");
        })
        .await;
        if !runs {
            stage.stop().await;
        }
        let checked = said(&stage, &["check"], 0);
        assert!(
            checked.contains("1 person is linked through op, which is no longer configured"),
            "{checked}"
        );
        let listed = said(&stage, &["user", "relink", "op"], 0);
        for part in [ALICE, "http://other.localhost:1", "Nothing has changed"] {
            assert!(listed.contains(part), "{runs} {part}: {listed}");
        }
        let moved = said(&stage, &["user", "relink", "op", "--apply"], 0);
        assert!(moved.contains("Links that have moved: 1."), "{moved}");
        assert!(said(&stage, &["user", "relink", "op"], 0).contains("Nobody is linked"));
        assert!(!said(&stage, &["check"], 0).contains("no longer configured"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_under_way_at_an_idp_that_is_removed_makes_no_session() {
    needs!("op");
    let op = Op::shared();
    let mut stage = Stage::signing_in_by(op).await;
    stage.directory.person(ALICE, ALICE).await;
    let mut browser = stage.program.browser();
    let page = browser.open("/").await;
    // Removed and put back: the same name and issuer, and still the login is one of before.
    let written = stage.program.settings.idps.clone();
    for idps in [written.replace("  op:", "  other:"), written] {
        let before = stage.program.lines_with("the configuration is in force").len();
        stage.program.reload(|settings| settings.idps = idps).await;
        crate::rig::until("the reload to be done", || {
            let after = stage.program.lines_with("the configuration is in force").len();
            async move { after > before }
        })
        .await;
    }
    let page = finish_sign_in(&mut browser, page, ALICE).await;
    assert_ne!(page.status(), 200, "{}", page.text());
    stage.program.logged(&["login refused", "overtaken"]).await;
    assert_eq!(stage.app.count(), 0);
}

/// The answer of a login comes to the name that the IdP had when it began.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_under_way_at_an_idp_that_gets_another_name_starts_over() {
    needs!("op");
    let op = Op::shared();
    let mut stage = Stage::signing_in_by(op).await;
    let mut browser = stage.program.browser();
    let page = browser.look("/start?a=b").await;
    let asked = browser.follow_until(page, &op.issuer).await;
    let (_, state) = asked.query_pairs().find(|(name, _)| name == "state").unwrap();
    let idps = stage.program.settings.idps.replace("  op:", "  other:");
    stage.program.reload(|settings| settings.idps = idps).await;
    stage.program.logged(&["the configuration is in force"]).await;
    let back = browser.look(&format!("/.portcullis/callback/op?state={state}&code=x")).await;
    assert_eq!(back.status(), 303, "{}", back.text());
    assert!(back.location().unwrap().as_str().starts_with(&op.issuer), "{:?}", back.location());
    let forged = browser.look("/.portcullis/callback/op?state=forged&code=x").await;
    assert_eq!(forged.status(), 404);
    assert_eq!(stage.app.count(), 0);
}

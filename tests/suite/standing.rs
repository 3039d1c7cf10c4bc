//! What the sessions in the store were made under is compared with the configuration by the same rule at a start and at
//! a reload: each test does the same change on both roads.

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
        ("listen", |settings| settings.health = crate::rig::ports::free()),
    ];
    for (key, differs) in changes {
        let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
        std::fs::write(stage.program.folder().join("master"), "ab".repeat(32)).unwrap();
        let folder = stage.program.folder().display().to_string();
        let (alice, stranger) = (stage.visitor(ALICE), stage.stranger());
        let health = stage.program.settings.health;
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
        stage.program.settings.health = health;
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
    assert_eq!(refused.status.code(), Some(1), "{text}");
    for part in ["master.key is missing", "1 sessions", "portcullis keys replace"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!key.exists());

    write_key(&key, "ab".repeat(32).as_bytes());
    let refused = stage.program.command(&["run"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("not the one that this database was written with"), "{text}");

    write_key(&key, &right);
    stage.program.begin().await;
    assert_eq!(stage.visitor(ALICE).status("/").await, 200);
}

fn write_key(path: &std::path::Path, text: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = std::fs::remove_file(path);
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

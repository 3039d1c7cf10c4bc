//! Bad input: each kind says what happened, where, and what to do, with the exit code or status that goes with it.

use std::fs;
use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;

use crate::rig::application::Application;
use crate::rig::program::{Program, binary, command, run_to_end, write_files};
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::{must, ports, wire};

fn settings() -> Settings {
    Settings::new(ports::free())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_bad_configuration_exits_78_with_all_its_problems_at_once() {
    let mut settings = settings();
    settings.more = "webhooks: []\nheadrs:\n  user: userName\nlimits:\n  head_time: soon\n".to_owned();
    for words in [["run"], ["check"]] {
        let output = run_to_end(&settings, &words);
        assert_eq!(output.status.code(), Some(78), "{}", said(&output));
        let text = said(&output);
        for part in ["portcullis.yaml:", "webhooks", "not in this version", "headrs", "headers", "head_time"]
        {
            assert!(text.contains(part), "{words:?}: no {part} in:\n{text}");
        }
    }
}

#[test]
fn a_secret_that_is_not_there_exits_78_and_names_the_file() {
    let mut settings = settings();
    settings.idps = settings.idps.replace("{folder}/client-secret", "{folder}/no-such-secret");
    let output = run_to_end(&settings, &["run"]);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("no-such-secret"), "{}", said(&output));
}

#[test]
fn no_configuration_exits_78_and_wrong_words_exit_2() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["run"]);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("portcullis.yaml"), "{}", said(&output));
    let output = binary().arg("runn").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let help = binary().arg("--help").output().unwrap();
    assert!(help.status.success() && said(&help).contains("run"));
}

#[test]
fn check_is_offline_and_finds_nothing_wrong_with_a_good_file() {
    let output = run_to_end(&settings(), &["check"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn urls_prints_what_goes_into_the_idp() {
    let settings = settings();
    let output = run_to_end(&settings, &["urls"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    for address in [settings.callback("op"), settings.scim_base(), settings.logged_out()] {
        assert!(text.contains(&address), "no {address} in:\n{text}");
    }
}

#[test]
fn the_schema_is_json() {
    let output = binary().arg("schema").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["public_url"].is_object(), "{schema}");
}

#[test]
fn a_port_in_use_exits_1_with_its_line_and_who_holds_it() {
    for (key, take) in [
        ("listen.proxy", (|s: &Settings| s.proxy) as fn(&Settings) -> std::net::SocketAddr),
        ("listen.scim", |s: &Settings| s.scim),
        ("listen.health", |s: &Settings| s.health),
    ] {
        let settings = settings();
        let address = take(&settings);
        let _taken = TcpListener::bind(address).unwrap();
        let output = run_to_end(&settings, &["run"]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let yaml = settings.yaml(std::path::Path::new("/x"));
        let line =
            1 + yaml.lines().position(|line| line.contains(&format!("{}: {address}", &key[7..]))).unwrap();
        for part in [
            format!("portcullis.yaml:{line}: {key}: {address} is in use by "),
            format!("(pid {})", std::process::id()),
            "write another port".to_owned(),
        ] {
            assert!(text.contains(&part), "no {part} in:\n{text}");
        }
    }
}

/// What a start would fail at is found by a check, and ends both with 78, so that a unit does not try again and again.
#[test]
fn what_check_finds_on_this_machine_is_78_in_run_too() {
    type Spoilt = (&'static str, fn(&mut Settings), fn(&std::path::Path));
    let spoil: [Spoilt; 6] = [
        (
            "listen.proxy.tls[0].key",
            |settings| settings.scheme = "https",
            |folder| {
                let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
                fs::write(folder.join("tls.key"), other).unwrap();
            },
        ),
        (
            "listen.proxy.client_ca",
            |settings| {
                settings.scheme = "https";
                settings.asks_browsers = true;
            },
            |folder| fs::write(folder.join("clients.pem"), "no certificate").unwrap(),
        ),
        ("log.access", |settings| settings.access = "gone/access.log".into(), |_| {}),
        ("state", |_| {}, |folder| fs::write(folder.join("state"), "").unwrap()),
        ("store", |settings| settings.more = "store:\n  sqlite: gone/p.db\n".into(), |_| {}),
        (
            "state",
            |_| {},
            |folder| {
                let state = folder.join("state");
                fs::create_dir(&state).unwrap();
                fs::write(state.join("master.key"), "0".repeat(64)).unwrap();
                let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
                fs::set_permissions(state.join("master.key"), open).unwrap();
            },
        ),
    ];
    for (key, change, put) in spoil {
        let mut settings = settings();
        change(&mut settings);
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path(), &settings);
        let good = command(folder.path(), &["check"]);
        put(folder.path());
        let told: Vec<String> = ["check", "run"]
            .map(|word| {
                let output = command(folder.path(), &[word]);
                assert_eq!(output.status.code(), Some(78), "{key} {word}: {}", said(&output));
                assert!(said(&output).contains(&format!(" {key}: ")), "{key} {word}: {}", said(&output));
                said(&output)
            })
            .into();
        assert_eq!(told[0], told[1], "the same words");
        // Where a file was put there, it is what was found; a pipeline without the machine finds nothing of it.
        assert_eq!(good.status.success(), !matches!(key, "log.access" | "store"), "{key}: {}", said(&good));
        let elsewhere = command(folder.path(), &["check", "--text-only"]);
        assert!(elsewhere.status.success(), "{key}: {}", said(&elsewhere));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_ends_soon_is_warned_of_told_at_the_start_and_counted() {
    let mut settings = settings();
    settings.scheme = "https";
    let mut program = Program::install(settings);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["app.localhost".to_owned()]).unwrap();
    let ends = std::time::SystemTime::now() + Duration::from_secs((10 * 24 + 1) * 3600);
    params.not_after = ends.into();
    fs::write(program.folder().join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(program.folder().join("tls.key"), key.serialize_pem()).unwrap();
    let checked = program.command(&["check"]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(said(&checked).contains("tls.crt ends in 10 days, on "), "{}", said(&checked));
    program.begin().await;
    program.logged(&["\"level\":\"warn\"", "tls.crt ends in 10 days"]).await;
    let left = program.metric("portcullis_expires_seconds").await.unwrap();
    assert!((10.0..10.1).contains(&(left / 86400.0)), "{left}");
    // A reload finds another one, of the same name, and serves it: what is counted is what is served.
    program.reload(|_| {}).await;
    program.logged(&["the configuration is in force"]).await;
    let left = program.metric("portcullis_expires_seconds").await.unwrap();
    assert!(left / 86400.0 > 100.0, "{left}");
}

#[test]
fn a_store_that_cannot_be_opened_exits_1_and_names_the_file() {
    let settings = settings();
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path(), &settings);
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(
        state.join("portcullis.db"),
        "this is no database, but it is long enough to look like one".repeat(100),
    )
    .unwrap();
    let output = command(folder.path(), &["run"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("portcullis.db"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_says_who_holds_the_state_folder() {
    let program = Program::start(settings()).await;
    let mut other = program.settings.clone();
    (other.proxy, other.scim, other.health) = (ports::free(), ports::free(), ports::free());
    let folder = program.folder();
    let file = folder.join("second.yaml");
    fs::write(&file, other.yaml(folder)).unwrap();
    let output = binary().args(["run", "-c"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&program.pid().to_string()), "{}", said(&output));
    assert_eq!(wire::get(program.settings.health, "localhost", "/readyz").await.unwrap().status, 200);
}

/// What may be wrong on disk, or in the operator's shell, when an order is given by hand.
fn spoil(folder: &std::path::Path, how: &str) {
    let file = folder.join("portcullis.yaml");
    let good = fs::read_to_string(&file).unwrap();
    let bad = match how {
        "a typo" => good.clone() + "headrs:\n  user: email\n",
        "no YAML" => good.clone() + "keys: [\n",
        "a secret that is gone" => good.replace("/client-secret", "/gone"),
        "a variable of another shell" => good.clone() + "keys: ${env:NOT_IN_THIS_SHELL}\n",
        other => panic!("{other}"),
    };
    assert_ne!(good, bad, "{how}");
    fs::write(&file, bad).unwrap();
}

const SPOILT: [&str; 4] = ["a typo", "no YAML", "a secret that is gone", "a variable of another shell"];

#[tokio::test(flavor = "multi_thread")]
async fn orders_by_hand_need_the_state_folder_alone() {
    let mut stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    assert_eq!(alice.status("/").await, 200);
    let folder = stage.program.folder().to_owned();
    let state = folder.join("state");
    let orders = |stage: &Stage| {
        for how in SPOILT {
            write_files(&folder, &stage.program.settings);
            spoil(&folder, how);
            assert_eq!(stage.program.command(&["check"]).status.code(), Some(78), "{how}");
            let listed = stage.program.command(&["user", "list"]);
            assert_eq!(listed.status.code(), Some(0), "{how}: {}", said(&listed));
            assert!(said(&listed).contains("alice@corp.test"), "{how}: {}", said(&listed));
            let put_out = stage.program.command(&["user", "disable", "alice@corp.test"]);
            assert_eq!(put_out.status.code(), Some(0), "{how}: {}", said(&put_out));
            // Nothing is kept under it, and it is the store that says so.
            let asked = stage.program.command(&["ref", "7Q2M-X4KD"]);
            assert_eq!(asked.status.code(), Some(1), "{how}: {}", said(&asked));
            assert!(said(&asked).contains("nothing is kept under 7Q2M-X4KD"), "{how}: {}", said(&asked));
        }
        // Without any configuration the folder is named.
        let elsewhere = tempfile::tempdir().unwrap();
        let mut by_folder = binary();
        by_folder.current_dir(elsewhere.path()).args(["user", "list", "--state"]).arg(&state);
        let listed = by_folder.output().unwrap();
        assert!(listed.status.success() && said(&listed).contains("alice@corp.test"), "{}", said(&listed));
        assert!(said(&listed).contains("disabled"), "{}", said(&listed));
    };
    orders(&stage);
    assert_eq!(alice.status("/").await, 401, "out while the file on disk is wrong");
    stage.program.signal(Signal::TERM);
    stage.program.ended().await;
    orders(&stage);
}

#[test]
fn an_order_makes_no_store_where_none_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let mistyped = folder.path().join("mistyped");
    let order = |words: &[&str]| binary().args(words).arg("--state").arg(&mistyped).output().unwrap();
    for words in [
        &["user", "list"][..],
        &["user", "disable", "alice"],
        &["ref", "7Q2M-X4KD"],
        &["user", "add", "alice"],
    ] {
        let output = order(words);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("mistyped"), "{}", said(&output));
        assert!(!mistyped.exists(), "{words:?}");
    }
    // Where nothing says which folder, the way to say it is named.
    let output = binary().current_dir(folder.path()).args(["user", "list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("--state DIR"), "{}", said(&output));
}

#[test]
fn an_order_on_somebody_elses_state_says_whom_to_be() {
    let folder = tempfile::tempdir().unwrap();
    // Root has it of another user; anybody else finds root's.
    let (state, owner) = if rustix::process::geteuid().is_root() {
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        std::os::unix::fs::chown(&state, Some(4_000_000_001), None).unwrap();
        (state, "sudo -u '#4000000001' ")
    } else {
        ("/".into(), "sudo -u root ")
    };
    let output = binary().args(["user", "disable", "alice", "--state"]).arg(&state).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains(owner) && text.contains(" user disable alice --state "), "{text}");
    assert!(!text.contains("chown"), "{text}");
    assert_eq!(fs::read_dir(folder.path().join("state")).map_or(0, Iterator::count), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_cannot_be_reached_is_502_and_a_slow_one_504_each_with_a_reference() {
    let nowhere = ports::free();
    let stage = Stage::seeded(
        |settings| settings.upstream = format!("\n  url: http://{nowhere}\n  connect_timeout: 1s"),
        &["alice@corp.test"],
    )
    .await;
    let alice = stage.visitor("alice@corp.test");
    let answer = alice.get("/").await;
    assert_eq!(answer.status, 502);
    assert!(
        !answer.text().contains(&nowhere.to_string()),
        "no upstream address on any page: {}",
        answer.text()
    );
    let reference = answer.json()["ref"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned();
    stage.program.logged(&[&reference, "\"status\":502"]).await;
    let line = stage.program.logged(&[&reference, "cannot be reached"]).await;
    assert!(line.contains(&nowhere.to_string()), "the operator is told which: {line}");

    let app = Application::start().await;
    let stage = Stage::seeded(
        |settings| settings.upstream = format!("\n  url: http://{}\n  first_byte_timeout: 1s", app.address),
        &["alice@corp.test"],
    )
    .await;
    let alice = stage.visitor("alice@corp.test");
    let answer = must("the time limit", alice.try_get("/slow")).await.unwrap();
    assert_eq!(answer.status, 504);
    assert!(answer.json()["ref"].is_string(), "{}", answer.text());
    assert_eq!(alice.status("/quick").await, 200);
    // No limit of this kind on what has begun, nor on what was upgraded.
    let mut socket = alice.socket("/ws").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    socket.echo("still here").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idp_that_does_not_answer_never_stops_the_start() {
    // Nobody listens there; nonsense is the suite's own application.
    let app = Application::start().await;
    for issuer in [format!("http://{}", ports::free()), format!("http://{}", app.address)] {
        let stage = Stage::with(|settings| {
            settings.idps = crate::rig::settings::oidc("op", &issuer, "client");
        })
        .await;
        let mut browser = stage.program.browser();
        let page = browser.open("/").await;
        assert_eq!(page.status(), 503, "{}", page.text());
        assert!(!page.text().contains(&issuer), "{}", page.text());
        stage.program.logged(&["\"level\":\"error\"", "\"idp\":\"op\""]).await;
        assert_eq!(stage.program.metric("portcullis_idp_answering").await, Some(0.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_what_runs_come_to_its_end() {
    let mut stage = Stage::seeded(|_| {}, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    let waiting = alice.waiting("/hold");
    stage.app.has_open(1).await;
    stage.program.signal(Signal::TERM);
    crate::rig::until("the end of accepting, or of being ready", || async {
        wire::get(stage.program.settings.health, "localhost", "/readyz")
            .await
            .map_or(true, |answer| answer.status != 200)
    })
    .await;
    stage.app.release();
    let answer = waiting.outcome().await.expect("the answer that was under way");
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "released"));
    let status = stage.program.ended().await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_no_requests_do_not_get_far() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stage = Stage::start().await;
    let host = format!("app.localhost:{}", stage.program.proxy().port());
    let big = "x".repeat(80 * 1024);
    let cases: [(String, &[u16]); 6] = [
        ("\0\0\0\0 nonsense\r\n\r\n".to_owned(), &[400]),
        (format!("GET / HTTP/1.1\r\nhost: {host}\r\nhost: {host}\r\n\r\n"), &[400]),
        (format!("TRACE / HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[405, 401]),
        (format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[405, 400, 401]),
        (format!("GET /{big} HTTP/1.1\r\nhost: {host}\r\n\r\n"), &[414, 431, 400]),
        (format!("GET / HTTP/1.1\r\nhost: {host}\r\nx-big: {big}\r\n\r\n"), &[431, 400]),
    ];
    for (text, statuses) in cases {
        let mut socket = wire::tcp(stage.program.proxy(), None).await.unwrap();
        let _ = socket.write_all(text.as_bytes()).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = must("an answer", socket.read_to_end(&mut answer)).await;
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        let status = line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        // A connection that is closed without a word is as good.
        let good = status.is_none_or(|status| statuses.contains(&status));
        assert!(good, "{}: {line}", text.chars().take(40).collect::<String>());
    }
    assert_eq!(stage.app.count(), 0);
    assert_eq!(wire::get(stage.program.settings.health, "localhost", "/readyz").await.unwrap().status, 200);
}

#[test]
fn output_that_is_lost_is_a_failure_and_a_reader_that_has_gone_away_is_none() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = binary().arg("schema").stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("what was asked for could not be written: No space left"), "{said}");
    let mut gone = binary().arg("schema").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(gone.stdout.take());
    assert_eq!(gone.wait().unwrap().code(), Some(0));
}

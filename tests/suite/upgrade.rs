//! The hand-over: another process takes the place of the one that serves, nobody who asks for anything notices, and a
//! removal is out everywhere before it is answered.

use std::path::Path;
use std::time::Duration;

use http::{Method, Request};
use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpStream;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::idp::{Op, sign_in_until};
use crate::rig::load::Clients;
use crate::rig::program::{Program, binary, bounded};
use crate::rig::raw::RawSocket;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::until;
use crate::rig::visitor::Held;
use crate::rig::wire::{self, Connection, whole};

const ALICE: &str = "alice@corp.test";
const BOB: &str = "bob@corp.test";
const MARK: &str = "written-after-the-answer";

#[tokio::test(flavor = "multi_thread")]
async fn what_has_begun_goes_on_and_hears_a_removal_that_the_next_process_takes() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    let held = Held::open(&alice, &stage.app).await;
    let mut bobs = bob.socket("/ws").await.unwrap();
    let before = stage.program.upgrade().await;
    assert!(!before.is_over() && stage.program.pid() != before.pid);
    assert_eq!((alice.status("/").await, bob.status("/").await), (200, 200));
    assert_eq!(stage.program.metric("portcullis_replaced_processes").await, Some(1.0));
    let mut fresh = alice.socket("/ws").await.unwrap();
    fresh.echo("on the next process").await.unwrap();
    bobs.echo("on the one before").await.unwrap();

    stage.directory.deactivate(stage.id(ALICE)).await;
    stage.app.mark(MARK).await;
    held.ends_without(MARK).await;
    assert!(fresh.read_out().await.is_empty());
    assert_eq!(alice.status("/").await, 401);
    bobs.echo("still here").await.unwrap();
    assert!(!before.is_over());
    drop(bobs);
    before.is_gone().await;
    until("nobody to be followed", || async {
        stage.program.metric("portcullis_replaced_processes").await == Some(0.0)
    })
    .await;
    stage.program.logged(&["every exchange has ended"]).await;
    stage.program.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_does_not_hold_up_a_removal_for_ever_and_carries_nobody() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let held = Held::open(&stage.visitor(ALICE), &stage.app).await;
    let before = stage.program.upgrade().await;
    before.signal(Signal::STOP);
    stage.directory.deactivate(stage.id(ALICE)).await;
    assert!(before.is_over(), "its connections end with it, before the answer");
    stage.app.mark(MARK).await;
    held.ends_without(MARK).await;
    stage.program.logged(&["a process that was replaced is ended", "did not answer within 5 s"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_were_replaced_one_after_another_all_hear_of_a_removal() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
    let (alice, bob) = (stage.visitor(ALICE), stage.visitor(BOB));
    let (mut sockets, mut replaced, mut bobs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let mut socket = alice.socket("/ws").await.unwrap();
        socket.echo("hello").await.unwrap();
        sockets.push(socket);
        bobs.push(bob.socket("/ws").await.unwrap());
        replaced.push(stage.program.upgrade().await);
    }
    stage.directory.deactivate(stage.id(ALICE)).await;
    stage.app.mark(MARK).await;
    for socket in sockets {
        assert!(socket.read_out().await.is_empty());
    }
    for socket in &mut bobs {
        socket.echo("still here").await.unwrap();
    }
    drop(bobs);
    for process in replaced {
        process.is_gone().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_process_that_leads_nobody_is_carried() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let held = Held::open(&stage.visitor(ALICE), &stage.app).await;
    let before = stage.program.upgrade().await;
    stage.program.kill();
    before.is_gone().await;
    stage.app.mark(MARK).await;
    held.ends_without(MARK).await;
    stage.program.logged(&["nobody would hear of a removal"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_ends_what_a_crash_left_behind() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let held = Held::open(&stage.visitor(ALICE), &stage.app).await;
    let before = stage.program.upgrade().await;
    before.signal(Signal::STOP);
    stage.program.kill();
    assert!(!before.is_over(), "it is stopped, and hears nothing");
    stage.program.begin_again().await;
    assert!(before.is_over());
    stage.app.mark(MARK).await;
    held.ends_without(MARK).await;
    stage.program.logged(&["that nobody leads any more, is ended"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_does_not_come_to_serve_changes_nothing() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
    let alice = stage.visitor(ALICE);
    let mut socket = alice.socket("/ws").await.unwrap();
    let pid = stage.program.pid();
    let whole = stage.program.settings.more.clone();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let health = stage.program.settings.health;
    // Before anything is handed over, and when it has everything.
    for (say, expect) in [("session: [no]\n", "session"), ("", "is in use by")] {
        stage.program.settings.more = say.to_owned();
        if say.is_empty() {
            stage.program.settings.health = taken.local_addr().unwrap();
        }
        stage.program.write();
        let output = stage.program.command_beside(&["upgrade"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("the process with pid {pid} serves on, as before")), "{said}");
        assert!(said.contains(expect), "{said}");
        stage.program.settings.more = whole.clone();
        stage.program.settings.health = health;
        socket.echo("as before").await.unwrap();
        assert_eq!(alice.status("/").await, 200);
        // It writes, and hears orders.
        stage.directory.deactivate(stage.id(BOB)).await;
        stage.directory.reactivate(stage.id(BOB)).await;
        assert!(stage.program.command_beside(&["user", "list"]).await.status.success());
    }
    stage.program.write();
    let before = stage.program.upgrade().await;
    stage.directory.deactivate(stage.id(ALICE)).await;
    assert!(socket.read_out().await.is_empty());
    before.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_replaced_goes_by_the_rules_of_the_next_process() {
    let pilots = "version: 1\nroles: [pilots]\nbindings:\n  - group: Pilots\n    role: pilots\n";
    let mut stage = Stage::seeded(|s| s.bindings = Some(pilots.to_owned()), &[ALICE]).await;
    let (alice, stranger) = (stage.visitor(ALICE), stage.stranger());
    let mut socket = alice.socket("/ws").await.unwrap();
    socket.echo("hello").await.unwrap();
    // A reload: nobody but a role that alice has not may go there.
    let before = stage.program.upgrade().await;
    stage
        .program
        .reload(|settings| settings.more = "routes:\n  - path: /ws\n    allow: [pilots]\n".to_owned())
        .await;
    assert!(socket.read_out().await.is_empty());
    before.is_gone().await;
    // And the rules that the next one begins with.
    stage
        .program
        .reload(|settings| settings.more = "routes:\n  - path: /**\n    allow: public\n".to_owned())
        .await;
    let mut open = stranger.socket("/ws").await.unwrap();
    open.echo("hello").await.unwrap();
    stage.program.settings.more = String::new();
    stage.program.write();
    let before = stage.program.upgrade().await;
    assert!(open.read_out().await.is_empty());
    before.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_of_the_program_ends_those_that_it_has_replaced_in_good_order() {
    let mut stage = Stage::seeded(|s| s.more = "stop_grace: 1h\n".to_owned(), &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let waiting = alice.waiting("/hold");
    until("the request at the application", || async { stage.app.count_of("/hold") == 1 }).await;
    let before = stage.program.upgrade().await;
    let next = stage.program.pid();
    stage.program.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!before.is_over(), "it has the time that the configuration gives");
    stage.app.mark(MARK).await;
    assert!(waiting.read(MARK).await, "it was answered in that time");
    before.is_gone().await;
    assert_ne!(next, before.pid);
}

/// Opens two sockets as a service manager does, and becomes the program.
const MANAGER: &str = "
import os, socket, sys
sockets = []
for port in sys.argv[1:3]:
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((\"127.0.0.1\", int(port)))
    opened.listen(64)
    sockets.append(opened)
for place, number in enumerate([os.dup(opened.fileno()) for opened in sockets]):
    os.dup2(number, 3 + place)
os.environ.update(LISTEN_FDS=\"2\", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[3], sys.argv[3:])
";

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_the_service_manager_are_taken_and_handed_on() {
    let app = Application::start().await;
    let mut program = Program::install(Settings::new(app.address));
    let other = crate::rig::ports::free();
    let (proxy, ports) = (program.proxy(), [program.proxy().port(), other.port()]);
    program.begin_below(&["python3", "-c", MANAGER], &ports.map(|port| port.to_string())).await;
    let line = program.logged(&["that the configuration does not name"]).await;
    assert!(line.contains(&other.to_string()), "{line}");
    assert!(TcpStream::connect(other).await.is_err(), "nobody waits on it in vain");
    // Eight at once: one socket, and several threads that take from it.
    let ask = || wire::get(proxy, "app.localhost", "/.portcullis/ping");
    let answers = futures_util::future::join_all((0..8).map(|_| ask())).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().status == 204));
    let before = program.upgrade().await;
    before.is_gone().await;
    assert_eq!(ask().await.unwrap().status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_over_two_hand_overs() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let clients = Clients::start(&stage.visitor(ALICE), &stage.directory);
    let mut replaced = Vec::new();
    for _ in 0..2 {
        clients.answered(400).await;
        replaced.push(stage.program.upgrade().await);
    }
    clients.answered(400).await;
    let (failed, answered) = clients.end().await;
    assert!(failed.is_empty() && answered >= 1200, "{answered} answered; {failed:#?}");
    for process in replaced {
        process.is_gone().await;
    }
    stage.program.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_kept_its_connection_is_answered_on_it() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE, BOB]).await;
    let (socket, scim) = (stage.visitor(ALICE).socket("/ws").await.unwrap(), stage.program.settings.scim);
    let token = stage.program.settings.scim_token.clone();
    let path = |name: &str| format!("/scim/v2/Users/{}", stage.id(name));
    let (alice, bob) = (path(ALICE), path(BOB));
    let ask = |method: Method, uri: &str| {
        let request = Request::builder().method(method).uri(uri).header("host", "localhost");
        request.header("authorization", format!("Bearer {token}")).body(whole("")).unwrap()
    };
    let mut kept = Connection::open(scim).await.unwrap();
    let mut kept_h2 = Connection::open_h2(scim).await.unwrap();
    for (connection, base) in [(&mut kept, ""), (&mut kept_h2, "http://localhost")] {
        let request = ask(Method::GET, &format!("{base}{alice}"));
        assert_eq!(connection.send(request).await.unwrap().status, 200);
    }
    let before = stage.program.upgrade().await;
    // A relayed answer is the next process's own, errors as well.
    let wrong = Request::get(format!("http://localhost{alice}")).header("authorization", "Bearer no");
    let refused = kept_h2.send(wrong.body(whole("")).unwrap()).await;
    assert_eq!(refused.unwrap().status, 401);
    let gone = kept.send(ask(Method::DELETE, &alice)).await.unwrap();
    assert_eq!((gone.status.as_u16(), gone.header("connection")), (204, Some("close")));
    assert!(socket.read_out().await.is_empty());
    let read = kept_h2.send(ask(Method::GET, &format!("http://localhost{bob}"))).await.unwrap();
    assert_eq!((read.status.as_u16(), &read.json()["userName"]), (200, &json!(BOB)));
    drop((kept, kept_h2));
    before.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_began_before_ends_after() {
    needs!("op");
    let op = Op::shared();
    let mut stage = Stage::signing_in_by(op).await;
    stage.directory.person(ALICE, "alice").await;
    let callback = stage.program.settings.callback("op");
    let mut browser = stage.program.browser();
    let answer = sign_in_until(&mut browser, "alice", &callback).await;
    // A page of ours that is asked for on a connection from before is answered on another one.
    let mut kept = RawSocket::connect(stage.program.proxy(), &stage.program.settings.host).await;
    kept.say("GET /.portcullis/ping", &[]).await;
    assert_eq!(kept.answer().await.0.status, 204);
    let before = stage.program.upgrade().await;
    kept.say("POST /.portcullis/logout?a=b", &["Content-Length: 0", "Sec-Fetch-Site: same-origin"]).await;
    let (head, _) = kept.answer().await;
    assert_eq!((head.status, head.field("location")), (307, Some("/.portcullis/logout?a=b")));
    assert_eq!(head.field("connection"), Some("close"));
    let page = browser.open(answer.as_str()).await;
    assert_eq!(page.status(), 200, "{}", page.text());
    before.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_who_serves_and_who_carries_something_still() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let ask = async |stage: &Stage, words: &[&str]| {
        let output = stage.program.command_beside(&[&["status"], words].concat()).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let held = Held::open(&stage.visitor(ALICE), &stage.app).await;
    let before = stage.program.upgrade().await;
    let (pid, version) = (stage.program.pid(), env!("CARGO_PKG_VERSION"));
    let told = format!(
        "The process with pid {pid} serves, version {version}.\nThe one with pid {}, version {version}, was replaced and \
         carries what had begun there to its end.\n",
        before.pid
    );
    assert_eq!(ask(&stage, &[]).await, (Some(0), told, String::new()));
    let (_, json, _) = ask(&stage, &["--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["pid"], &json["replaced"][0]["pid"]), (&json!(pid), &json!(before.pid)));
    // Whatever became of the file meanwhile, the folder is enough.
    std::fs::write(stage.program.folder().join("portcullis.yaml"), "nothing: [").unwrap();
    let state = stage.program.folder().join("state").display().to_string();
    let mut by_folder = binary();
    by_folder.args(["status", "--state", &state]);
    assert_eq!(bounded(by_folder).status.code(), Some(0));
    stage.program.write();
    drop(held);
    // Whoever listens there may say what they like: nothing of it acts on a terminal.
    let elsewhere = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(elsewhere.path().join("admin.sock")).unwrap();
    let told = json["version"].as_str().unwrap().to_owned();
    let forged = json.to_string().replace(&told, "\\u001b[31m\\r\\nThe process with pid 1 serves\\u202e");
    std::thread::spawn(move || {
        let (mut asked, _) = listener.accept().unwrap();
        let _ = std::io::Read::read(&mut asked, &mut [0; 4096]);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", forged.len());
        std::io::Write::write_all(&mut asked, (head + &forged).as_bytes()).unwrap();
    });
    let mut rogue = binary();
    rogue.args(["status", "--state"]).arg(elsewhere.path());
    let said = String::from_utf8(bounded(rogue).stdout).unwrap();
    assert!(said.contains("\\u{1b}[31m\\r\\nThe process") && said.lines().count() == 2, "{said:?}");
    assert!(said.chars().all(|c| c == '\n' || portcullis_policy::is_seen(c)), "{said:?}");
    // Nobody who hangs is said to serve.
    stage.program.signal(Signal::STOP);
    let (code, _, error) = ask(&stage, &[]).await;
    assert!(code == Some(1) && error.contains("did not answer within 5 s"), "{code:?} {error}");
    stage.program.signal(Signal::CONT);
    stage.program.kill();
    let (code, _, error) = ask(&stage, &[]).await;
    assert!(code == Some(1) && error.contains("no program serves with the state folder"), "{code:?} {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_upgraded_is_said() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let folder = stage.program.folder().to_owned();
    let elsewhere = folder.join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    stage.program.settings.more = format!("store:\n  sqlite: {}\n", elsewhere.join("other.db").display());
    std::fs::write(elsewhere.join("other.db"), "").unwrap();
    stage.program.write();
    let output = stage.program.command_beside(&["upgrade"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("has another state folder or database"), "{said}");
    stage.program.settings.more = String::new();
    stage.program.write();
    // By hand there is no line to anybody.
    let output = stage.program.command_beside(&["run", "--take-over"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("is for `portcullis upgrade` alone"), "{said}");
    stage.program.kill();
    let output = stage.program.command_beside(&["upgrade"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no program listens in"), "{said}");
}

/// A secret of the application that takes its time to be read, which is at a start and at each reload.
fn slow_secret(app: &Application, folder: &Path, seconds: f32) -> String {
    let script = folder.join("secret.sh");
    std::fs::write(&script, format!("sleep {seconds}; echo 0123456789abcdef0123456789abcdef\n")).unwrap();
    format!(
        "\n  url: http://{}\n  secret_header:\n    name: X-Gate\n    value: ${{run:sh {}}}\n",
        app.address,
        script.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_comes_meanwhile_is_not_lost() {
    let app = Application::start().await;
    let folder = tempfile::tempdir().unwrap();
    let slow = slow_secret(&app, folder.path(), 1.5);
    let open = "routes:\n  - path: /**\n    allow: public\n";
    let change = |settings: &mut Settings| {
        settings.upstream = slow;
        settings.more = open.to_owned();
    };
    let mut stage = Stage::seeded_before(app, change, &[ALICE]).await;
    let stranger = stage.stranger();
    assert_eq!(stranger.status("/").await, 200);
    let socket = stranger.socket("/ws").await.unwrap();
    let pid = stage.program.pid();
    let upgrading = stage.program.command_beside(&["upgrade"]);
    let tighten = async {
        // The next process has read its file by then, or is about to.
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut settings = stage.program.settings.clone();
        settings.more = String::new();
        crate::rig::program::write_files(stage.program.folder(), &settings);
        stage.program.signal(Signal::HUP);
    };
    let (output, ()) = tokio::join!(upgrading, tighten);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A request that is under way when the public rule goes is cut with it.
    let (proxy, host) = (stage.program.proxy(), stage.program.settings.host.clone());
    let is_closed = async || wire::get(proxy, &host, "/").await.is_ok_and(|answer| answer.status == 401);
    until("the rules of the last file", &is_closed).await;
    assert!(socket.read_out().await.is_empty());
    stage.program.adopt(&output);
    assert_ne!(stage.program.pid(), pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_asked_meanwhile_takes_the_upgrade_back_first() {
    let mut stage = Stage::seeded(|s| s.more = "stop_grace: 1h\n".to_owned(), &[ALICE]).await;
    let (alice, scim) = (stage.visitor(ALICE), stage.directory.clone());
    let waiting = alice.waiting("/hold");
    until("the request at the application", || async { stage.app.count_of("/hold") == 1 }).await;
    // A database that somebody else has: the next process waits for it for five seconds, with everything in its hands.
    let mut other = crate::rig::sqlite_lock::open(&stage.program.database()).await;
    sqlx::query("begin immediate").execute(&mut other).await.unwrap();
    let program = &stage.program;
    let upgrading = program.command_beside(&["upgrade"]);
    let ending = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        program.signal(Signal::TERM);
        tokio::time::sleep(Duration::from_millis(300)).await;
        sqlx::query("rollback").execute(&mut other).await.unwrap();
        // It hears the directory until the last exchange is gone.
        scim.deactivate(stage.id(ALICE)).await;
        assert!(!waiting.read(MARK).await);
    };
    let (output, ()) = tokio::join!(upgrading, ending);
    assert!(!output.status.success());
    assert_eq!(stage.program.ended().await.code(), Some(0));
    stage.program.logged(&["this process was asked to end"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_one_ends_with_the_leader_whatever_holds_up_one_between() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let mut first = alice.socket("/ws").await.unwrap();
    first.echo("hello").await.unwrap();
    let earliest = stage.program.upgrade().await;
    let mut second = alice.socket("/ws").await.unwrap();
    second.echo("hello").await.unwrap();
    let between = stage.program.upgrade().await;
    between.signal(Signal::STOP);
    stage.program.kill();
    earliest.is_gone().await;
    assert!(first.read_out().await.is_empty());
    between.signal(Signal::KILL);
    between.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_has_ended_nobodys_session() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = stage.program.settings.clone();
    settings.health = taken.local_addr().unwrap();
    settings.provisioning = "invited";
    settings.scim_token = String::new();
    crate::rig::program::write_files(stage.program.folder(), &settings);
    let output = stage.program.command_beside(&["upgrade"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("serves on, as before") && said.contains("is in use by"), "{said}");
    assert_eq!(alice.status("/").await, 200);
    stage.program.write();
    let before = stage.program.upgrade().await;
    assert_eq!(alice.status("/").await, 200);
    before.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nothing_is_asked_holds_up_no_end() {
    let mut stage = Stage::seeded(|s| s.more = "stop_grace: 1h\n".to_owned(), &[ALICE]).await;
    let token = stage.program.settings.scim_token.clone();
    let mut kept = Connection::open_h2(stage.program.settings.scim).await.unwrap();
    let request =
        Request::get("http://localhost/scim/v2/Users").header("authorization", format!("Bearer {token}"));
    assert_eq!(kept.send(request.body(whole("")).unwrap()).await.unwrap().status, 200);
    let before = stage.program.upgrade().await;
    let (began, next) = (std::time::Instant::now(), stage.program.pid());
    stage.program.signal(Signal::TERM);
    before.is_gone().await;
    assert_ne!(next, before.pid);
    assert!(began.elapsed() < Duration::from_secs(30), "far below the hour that it might have had");
}

//! Promise: `portcullis doctor` reaches out and says what works and what to change, beside a program and without one. Whatever
//! it asks may be slow, silent or hostile; it changes nothing, and no secret is in what it prints.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::bare;
use crate::rig::idp::Op;
use crate::rig::program::Program;
use crate::rig::saml_idp::SimpleSaml;
use crate::rig::served_provider::ServedProvider;
use crate::rig::settings::Settings;
use crate::rig::sqlite_lock;

const DOCUMENT: &str = "/.well-known/openid-configuration";

/// A program that is installed, with everything around it that works.
struct Scene {
    program: Program,
    op: ServedProvider,
    app: Application,
}

impl Scene {
    async fn install(change: impl FnOnce(&mut Settings)) -> Self {
        let app = Application::start().await;
        let settings = Settings::new(app.address);
        let op = ServedProvider::start(&settings.callback("op")).await;
        let mut settings = settings.with_idp(&op.issuer, &op.client);
        change(&mut settings);
        Self { program: Program::install(settings), op, app }
    }

    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let mut scene = Self::install(change).await;
        scene.program.begin().await;
        scene
    }

    async fn stop(&mut self) {
        self.program.signal(rustix::process::Signal::TERM);
        assert_eq!(self.program.ended().await.code(), Some(0));
    }

    fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = tokio::task::block_in_place(|| self.program.command(words));
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        for text in [&said, &errors] {
            self.program.watch.check("doctor", text);
            assert!(text.chars().all(|c| c == '\n' || portcullis_policy::is_seen(c)), "{text:?}");
        }
        (output.status.code(), said + &errors)
    }

    /// The checks, by subject and id; several of one name are joined.
    fn checks(&self, code: i32) -> BTreeMap<String, (String, String)> {
        let (ended, said) = self.run(&["doctor", "--json"]);
        let read: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(ended, Some(code), "{read:#}");
        let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
        for check in read["checks"].as_array().unwrap() {
            let text = |key: &str| check[key].as_str().unwrap().to_owned();
            assert_eq!(check.as_object().unwrap().len(), 5, "{check}");
            let (state, detail) = (text("state"), text("detail"));
            assert!(["ok", "warn", "fail"].contains(&&*state), "{check}");
            assert!(state != "fail" || !text("remedy").is_empty(), "what fails says what to change: {check}");
            let entry = found.entry(format!("{} {}", text("subject"), text("id"))).or_default();
            *entry = (state, format!("{}{detail}", entry.1));
        }
        found
    }

    /// One of them.
    #[track_caller]
    fn assert_check(&self, code: i32, check: &str, state: &str, detail: &str) {
        let checks = self.checks(code);
        let found = checks.get(check).unwrap_or_else(|| panic!("{check} is not among {checks:#?}"));
        assert!(found.0 == state && found.1.contains(detail), "{check}: {found:?}");
    }
}

/// A user with every attribute that is looked for.
fn whole_user() -> Value {
    serde_json::json!({
        "schemas": [crate::rig::directory::USER], "userName": "mira@corp.test", "externalId": "00u-mira", "active": true,
        "name": { "givenName": "Mira", "familyName": "Ott" }, "emails": [{ "value": "mira@corp.test", "primary": true }],
    })
}

/// Every file below a folder, with what is in it.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let read = |entry: fs::DirEntry| {
        let bytes = fs::read(entry.path()).unwrap_or_default();
        (entry.file_name().to_string_lossy().into_owned(), bytes)
    };
    entries.map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everything_works_every_check_says_so_and_nobody_is_asked_more_than_that() {
    let scene = Scene::start(|settings| {
        settings.upstream = format!("\n  url: {}\n  health: /healthz", settings.upstream);
    })
    .await;
    let directory = scene.program.directory();
    directory.create(&whole_user()).await;
    let before = scene.op.asked().len();
    let checks = scene.checks(0);
    let names: Vec<&str> = checks.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "op client_secret",
            "op clock",
            "op discovery",
            "op keys",
            "op redirect_uri",
            "op scopes",
            "op state",
            "portcullis configuration",
            "portcullis database",
            "portcullis disk",
            "portcullis health",
            "portcullis open_files",
            "portcullis program",
            "portcullis public_url",
            "portcullis state_folder",
            "scim attributes",
            "scim base_url",
            "scim calls",
            "scim changes",
            "scim people",
            "scim state",
            "scim token",
            "upstream connection",
            "upstream health",
            "upstream way_around",
        ]
    );
    let not_fine: Vec<_> = checks.iter().filter(|(_, (state, _))| state != "ok").collect();
    assert_eq!(not_fine.len(), 1, "but that nobody has come in yet: {not_fine:#?}");
    assert_eq!(scene.app.asked(), ["/healthz"], "of the application nothing else is asked");
    let asked = scene.op.asked();
    let (document, keys, authorize, token) = match &asked[before..] {
        [document, keys, authorize, token] => (document, keys, authorize, token),
        more => panic!("{more:#?}"),
    };
    assert!(document == DOCUMENT && keys.starts_with("/jwks") && token == "/token", "{asked:#?}");
    assert!(authorize.starts_with("/authorize?") && authorize.ends_with("&prompt=none"), "{authorize}");

    // The parts are the same checks.
    let (code, scim) = scene.run(&["doctor", "scim"]);
    assert!(code == Some(0) && scim.lines().count() == 8 && scim.contains("Linked"), "{scim}");
    let (code, upstream) = scene.run(&["doctor", "upstream"]);
    assert!(code == Some(0) && upstream.lines().count() == 4 && upstream.contains("connects"), "{upstream}");
    let (code, said) = scene.run(&["doctor", "everything"]);
    assert_eq!(code, Some(2), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_changes_nothing_whether_a_program_runs_or_not() {
    let mut scene = Scene::install(|_| {}).await;
    let state = scene.program.folder().join("state");
    scene.assert_check(0, "portcullis database", "warn", "is not there yet");
    assert!(!state.exists(), "it makes no state folder");

    // Stopped, killed, and with everything in one file: SQLite's own table of readers (-shm) is all that may differ.
    for ending in ["stopped", "killed", "in one file"] {
        if ending == "in one file" {
            let mut database = sqlite_lock::open(&scene.program.database()).await;
            sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut database).await.unwrap();
            sqlx::Connection::close(database).await.unwrap();
        } else {
            scene.program.begin().await;
        }
        match ending {
            "stopped" => scene.stop().await,
            "killed" => scene.program.kill(),
            _ => assert!(!state.join("portcullis.db-wal").exists()),
        }
        let before = contents(&state);
        scene.assert_check(0, "portcullis program", "warn", "does not run with this state folder");
        scene.assert_check(0, "portcullis database", "ok", "opens, with schema");
        let after = contents(&state);
        assert!(before.keys().eq(after.keys()), "{ending}: {:?}", after.keys());
        let mut others = before.iter().filter(|(name, bytes)| after[*name] != **bytes).map(|(name, _)| name);
        assert!(others.all(|name| name == "portcullis.db-shm"), "{ending}: no other byte is another one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_slow_silent_or_hostile_is_said_to_be_so() {
    let scene = Scene::start(|_| {}).await;
    let redirect = |to: &'static str| {
        move || Response::builder().status(302).header("location", to).body(Bytes::new()).unwrap()
    };
    scene.op.say(DOCUMENT, 500, "no");
    scene.assert_check(1, "op discovery", "fail", "got 500 Internal Server Error from http://idp.localhost");
    scene.op.answer(DOCUMENT, redirect("http://idp.localhost/elsewhere"));
    scene.assert_check(1, "op discovery", "fail", "got 302 Found");
    scene.op.say(DOCUMENT, 200, vec![b' '; 1024 * 1024 + 1]);
    scene.assert_check(1, "op discovery", "fail", "is larger than 1048576 bytes");
    scene.op.say(DOCUMENT, 200, "{\"issuer\": \"\\u001b[2J\\u202e\"}");
    scene.assert_check(1, "op discovery", "fail", "got \\u{1b}[2J\\u{202e}");
    let metadata = |change: &dyn Fn(&mut Value)| {
        let issuer = &scene.op.issuer;
        let mut document = serde_json::json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
        });
        change(&mut document);
        document.to_string()
    };
    // It may not send us into a network that is nobody else's.
    scene.op.say(
        DOCUMENT,
        200,
        metadata(&|document| document["token_endpoint"] = "http://169.254.169.254/".into()),
    );
    scene.assert_check(1, "op discovery", "fail", "169.254.169.254");
    scene.op.say(
        DOCUMENT,
        200,
        metadata(&|document| document["authorization_endpoint"] = "https://10.0.0.1/authorize".into()),
    );
    scene.assert_check(
        0,
        "op redirect_uri",
        "warn",
        "was not told: https://10.0.0.1/authorize is no address that is asked from here",
    );
    scene.op.say(DOCUMENT, 200, metadata(&|_| {}));
    scene.op.say("/jwks", 200, "{}");
    scene.assert_check(1, "op keys", "fail", "missing field `keys`");
    scene.op.answer("/jwks", redirect("/elsewhere"));
    scene.assert_check(1, "op keys", "fail", "got 302 Found");
    // What shows nothing proves nothing.
    scene.op.say("/authorize", 200, format!("<form action=\"/authorize?redirect_uri={}\">", scene.op.issuer));
    scene.op.say("/token", 500, "<html>");
    let checks = scene.checks(1);
    for (check, told) in [
        ("op redirect_uri", "cannot be told without a login: the provider answered 200 OK"),
        ("op client_secret", "cannot be told: the provider answered 500 Internal Server Error"),
    ] {
        assert!(checks[check].0 == "warn" && checks[check].1.contains(told), "{checks:#?}");
    }
    scene.op.set_ahead(-45_000);
    let clock = &scene.checks(1)["op clock"];
    assert!(clock.0 == "warn" && clock.1.contains("seconds behind ours"), "{clock:?}");

    let silent = bare::application(|_, socket| async move {
        std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let lost = Scene::install(|settings| {
        let (_, issuer) = settings.idp();
        settings.idps = settings.idps.replace(&issuer, &format!("http://idp.localhost:{}", silent.port()));
    })
    .await;
    lost.assert_check(1, "op discovery", "fail", "idp.localhost did not answer within 5 s");
    let noise = bare::blurt(b"\x16\x03\x01nonsense\r\n\r\n").await;
    let noisy = Scene::install(|settings| {
        let (_, issuer) = settings.idp();
        settings.idps = settings.idps.replace(&issuer, &format!("http://idp.localhost:{}", noise.port()));
    })
    .await;
    noisy.assert_check(1, "op discovery", "fail", "the answer of idp.localhost cannot be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_version_is_told_and_left_alone() {
    let mut scene = Scene::start(|_| {}).await;
    scene.stop().await;
    let change = async |sql: &'static str| {
        let mut database = sqlite_lock::open(&scene.program.database()).await;
        sqlx::query(sql).execute(&mut database).await.unwrap();
        sqlx::Connection::close(database).await.unwrap();
    };
    change("update migration set number = 99, name = 'later' where number = 8").await;
    scene.assert_check(
        1,
        "portcullis database",
        "fail",
        "its schema is number 99 (later) and this release knows 8",
    );
    change("delete from migration where number = 99").await;
    scene.assert_check(0, "portcullis database", "warn", "has schema 7, and this release writes 8");
    scene.assert_check(0, "op state", "warn", "Validating or Active");
    fs::write(scene.program.database(), "no database at all, and long enough to be one").unwrap();
    scene.assert_check(1, "portcullis database", "fail", "portcullis.db");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_key_that_is_another_one_is_found() {
    let mut scene = Scene::start(|_| {}).await;
    scene.stop().await;
    let key = scene.program.folder().join("state/master.key");
    fs::write(&key, "ab".repeat(32)).unwrap();
    scene.assert_check(1, "portcullis database", "fail", "master key");
    assert_eq!(fs::read_to_string(&key).unwrap(), "ab".repeat(32));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_starts_or_hangs_is_told_from_one_that_is_not_there() {
    let mut scene = Scene::start(|_| {}).await;
    scene.stop().await;
    let state = scene.program.folder().join("state");
    let lock = fs::File::options().write(true).open(state.join("lock")).unwrap();
    lock.lock().unwrap();
    let told =
        format!("the process with pid {} has the state folder and does not listen", std::process::id());
    scene.assert_check(0, "portcullis program", "warn", &told);
    drop(lock);
    // Somebody who listens and says nothing.
    let socket = state.join("admin.sock");
    let _ = fs::remove_file(&socket);
    let listening = UnixListener::bind(&socket).unwrap();
    scene.assert_check(1, "portcullis program", "fail", "did not answer within 5 s");
    drop(listening);
    scene.assert_check(0, "portcullis program", "warn", "does not run with this state folder");
    // Another version, which knows no such question; and somebody who talks without end.
    for (answer, state, told) in [
        (
            &b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}"[..],
            "warn",
            "does not tell its condition",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "warn", "may be of another version"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n", "fail", "admin.sock cannot be used"),
    ] {
        fs::remove_file(&socket).unwrap();
        let listening = UnixListener::bind(&socket).unwrap();
        let talking = std::thread::spawn(move || {
            let (mut client, _) = listening.accept().unwrap();
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(answer);
            while state == "fail" && client.write_all(&[b' '; 65536]).is_ok() {}
        });
        let code = i32::from(state == "fail");
        scene.assert_check(code, "portcullis program", state, told);
        talking.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_of_another_user_is_left_to_them() {
    if !rustix::process::geteuid().is_root() {
        return; // nobody else can give a folder away
    }
    let mut scene = Scene::start(|_| {}).await;
    scene.stop().await;
    let state = scene.program.folder().join("state");
    std::os::unix::fs::chown(&state, Some(4_000_000_001), None).unwrap();
    let before = contents(&state);
    scene.assert_check(1, "portcullis state_folder", "fail", "belongs to user id 4000000001");
    scene.assert_check(1, "portcullis database", "warn", "only the owner of the state folder reads it");
    assert_eq!(before, contents(&state));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_cannot_be_reached_is_told_with_what_to_change() {
    let nobody = bare::nobody().await;
    let scene = Scene::install(|settings| settings.upstream = format!("http://{nobody}")).await;
    scene.assert_check(1, "upstream connection", "fail", "could not be reached: Connection refused");
    let plain = Scene::install(|settings| {
        settings.upstream = settings.upstream.replace("http://127.0.0.1", "https://localhost");
    })
    .await;
    let (code, said) = plain.run(&["doctor", "upstream"]);
    assert!(
        code == Some(1) && said.contains("-> It does not speak TLS on that port, but perhaps plain http"),
        "{said}"
    );
    let ill = Scene::install(|settings| {
        settings.upstream = format!("\n  url: {}\n  health: /status/nothing", settings.upstream);
    })
    .await;
    let (code, said) = ill.run(&["doctor", "upstream"]);
    assert!(code == Some(0) && said.contains("/status/nothing answers 200 OK"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_that_leads_elsewhere_is_found() {
    let (scene, other) = (Scene::start(|_| {}).await, Scene::start(|_| {}).await);
    let path = scene.program.folder().join("portcullis.yaml");
    let file = fs::read_to_string(&path).unwrap();
    let lead_to = |address: &str| {
        let changed = file.replace(
            &format!("public_url: {}", scene.program.settings.origin()),
            &format!("public_url: {address}"),
        );
        assert_ne!(changed, file);
        fs::write(&path, changed).unwrap();
    };
    lead_to(&other.program.settings.origin());
    scene.assert_check(
        1,
        "portcullis public_url",
        "fail",
        "the program that runs here did not see the request",
    );
    lead_to(&format!("http://app.localhost:{}", scene.app.address.port()));
    scene.assert_check(
        1,
        "portcullis public_url",
        "fail",
        "answers 200 OK instead of 204: that is not Portcullis",
    );
    lead_to(&format!("http://app.localhost:{}", bare::nobody().await.port()));
    scene.assert_check(1, "portcullis public_url", "fail", "cannot be had from this machine");
    fs::write(&path, file.replace("provisioning: scim", "provisioning: sometimes")).unwrap();
    let (code, said) = scene.run(&["doctor"]);
    assert!(code == Some(78) && said.contains("provisioning"), "{said}");
    // For programs it is a check like others.
    let checks = scene.checks(78);
    assert_eq!(checks.len(), 1, "nothing else is looked at: {checks:?}");
    let (state, detail) = &checks["portcullis configuration"];
    assert!(
        state == "fail" && detail.contains("portcullis.yaml, line ") && detail.contains("provisioning: "),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_whose_certificate_nobody_knows_is_told_in_words() {
    let scene = Scene::start(|settings| settings.scheme = "https").await;
    scene.assert_check(
        1,
        "portcullis public_url",
        "fail",
        "its certificate is of an authority that this machine does not know",
    );
    scene.assert_check(1, "portcullis certificate", "ok", "listen.proxy.tls[0] is good for");
    let known = Scene::start(|settings| {
        settings.scheme = "https";
        settings.more = "http_client:\n  ca_file: clients.pem\n".to_owned();
    })
    .await;
    // The provider has the address without TLS.
    known.assert_check(1, "portcullis public_url", "ok", "leads to the program that runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_nobody_here_wrote_is_understood() {
    needs!("op");
    let (op, app) = (Op::shared(), Application::start().await);
    let settings = Settings::new(app.address);
    let client = op.client(&settings).await;
    let settings = settings.with_idp(&op.issuer, &client);
    let scene = Scene {
        program: Program::start(settings).await,
        op: ServedProvider::start("http://app.localhost/").await,
        app,
    };
    let checks = scene.checks(0);
    for check in ["discovery", "keys", "clock", "redirect_uri", "client_secret"] {
        assert_eq!(checks[&format!("op {check}")].0, "ok", "{checks:#?}");
    }
    // Registered for another address; then another secret, then another client.
    let path = scene.program.folder().join("portcullis.yaml");
    let file = fs::read_to_string(&path).unwrap();
    fs::write(&path, file.replace("  op:", "  other:")).unwrap();
    scene.assert_check(1, "other redirect_uri", "fail", "redirect_uri_mismatch: the provider does not have");
    fs::write(&path, file.replace(&client.id, "nobody")).unwrap();
    scene.assert_check(1, "op redirect_uri", "fail", "invalid_client: the provider knows no client nobody");
    fs::write(&path, &file).unwrap();
    fs::write(scene.program.folder().join("client-secret"), "an-old-secret-of-this-client").unwrap();
    scene.assert_check(
        1,
        "op client_secret",
        "fail",
        "invalid_client: the provider refuses client ID or secret",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_of_saml_that_nobody_here_wrote_is_understood() {
    needs!("simplesamlphp");
    let entity_id = &SimpleSaml::shared().entity_id;
    let scene = Scene::install(|settings| {
        settings.idps = format!(
            "  op:\n    link:\n      claim: NameID\n      to: externalId\n    saml:\n      metadata: {entity_id}\n"
        );
    })
    .await;
    let checks = scene.checks(0);
    assert!(checks["op metadata"].0 == "ok" && checks["op metadata"].1.contains(entity_id), "{checks:#?}");
    assert!(checks["op keys"].1.starts_with("1 signing key, certificate until 2"), "{checks:#?}");
    assert_eq!(checks["op clock"].0, "ok", "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_endpoint_says_of_the_secret_is_told_without_the_secret() {
    let scene = Scene::start(|_| {}).await;
    let secret = scene.program.settings.client_secret.clone();
    scene.op.say("/token", 400, format!(r#"{{"error":"{secret} is not known"}}"#));
    scene.assert_check(0, "op client_secret", "warn", "(not told: it repeats what was sent)");
    scene.op.say("/token", 401, r#"{"error":"unauthorized_client"}"#);
    scene.assert_check(
        1,
        "op client_secret",
        "fail",
        "invalid_client: the provider refuses client ID or secret",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_read_fails_the_directory_too() {
    let scene = Scene::install(|_| {}).await;
    fs::create_dir(scene.program.folder().join("state")).unwrap();
    fs::write(scene.program.database(), [0x5a; 8192]).unwrap();
    let (code, said) = scene.run(&["doctor", "scim"]);
    assert!(code == Some(1) && said.contains("the database cannot be used"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_else_has_the_port_of_health_is_not_the_program() {
    let scene = Scene::install(|_| {}).await;
    scene.assert_check(0, "portcullis health", "warn", "nobody listens, as no program runs");
    let listener = std::net::TcpListener::bind(scene.program.settings.health).unwrap();
    let says: Arc<Mutex<&str>> = Arc::default();
    let said = says.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let _ = socket.read(&mut [0; 1024]);
            let _ = socket.write_all(said.lock().unwrap().as_bytes());
        }
    });
    for (answer, detail) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n", "no program runs with this state folder"),
        ("SSH-2.0-somebody\r\n", "is listened at by something else"),
        ("", "is listened at by something else"),
    ] {
        *says.lock().unwrap() = answer;
        scene.assert_check(1, "portcullis health", "fail", detail);
    }
}

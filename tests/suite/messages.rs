//! `docs/messages.md`: every message of its tables is said here, word for word, in the situation that its row names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::directory::{USER, user};
use crate::rig::idp::{Op, sign_in, sign_in_until};
use crate::rig::journey::{fits, reference_on};
use crate::rig::ports;
use crate::rig::program::{Program, binary, bounded};
use crate::rig::saml_idp::{
    Crewjam, SentNameId, SignedParts, SimpleSaml, SpAtIdp, sign_in_saml, sign_in_saml_until,
};
use crate::rig::settings::{Settings, oidc, rand};
use crate::rig::sqlite_lock;
use crate::rig::stage::Stage;
use crate::rig::wire::{self, whole};

/// Situations that a file alone makes: what stands in it, and what has to be there for this message. An empty first text
/// is the end of the file.
const OF_THE_FILE: &[(&str, &str, &str)] = &[
    ("unknown-key", "", "sesion:\n  idle: 1h\n"),
    ("later-key", "", "webhooks: []\n"),
    ("unit", "", "session:\n  idle: 2 hours\n"),
    ("missing-key", "upstream: http://127.0.0.1:3000\n", ""),
    ("missing-scim", "provisioning: none\n", ""),
    ("plain-http", "https://wiki", "http://wiki"),
    ("secret-in-file", "${file:oidc}", "hunter2"),
    ("secret-file", "file:oidc", "file:nowhere"),
    ("secret-variable", "file:oidc", "env:NOWHERE"),
    ("secret-empty", "file:oidc", "file:empty"),
    ("secret-readable", "file:oidc", "file:readable"),
    ("upstream-itself", ":3000", ":8080"),
    ("two-on-one-port", "", "listen:\n  health: 127.0.0.1:8080\n"),
    (
        "scim-in-the-clear",
        "provisioning: none",
        "listen:\n  scim: 0.0.0.0:8081\nscim:\n  public_url: https://scim.example.com",
    ),
    ("issuer-of-all", "https://example.okta.com", "https://login.microsoftonline.com/common/v2.0"),
    (
        "link-by-address",
        "provisioning: none\nidps:\n  okta:\n",
        "provisioning: invited\nidps:\n  okta:\n    link: { claim: email, to: userName }\n",
    ),
    ("bindings-file", "", "bindings: nowhere.yml\n"),
    ("bindings-conflicts", "", "bindings: two-roles.yml\n"),
    ("bindings-role", "", "bindings: other-role.yml\n"),
    ("route-role", "", "bindings: one-role.yml\nroutes:\n  - path: /**\n    allow: [owner]\n"),
    ("route-without-bindings", "", "routes:\n  - path: /**\n    allow: [owner]\n"),
    ("routes-without-rest", "", "routes:\n  - path: /a/**\n    allow: signed-in\n"),
    (
        "certificate-file",
        "",
        "listen:\n  proxy:\n    tls:\n      - { certificate: nowhere.crt, key: app.key }\n",
    ),
    (
        "certificate-key",
        "",
        "listen:\n  proxy:\n    tls:\n      - { certificate: app.crt, key: other.key }\n",
    ),
    ("certificate-host", "", "listen:\n  proxy:\n    tls:\n      - { certificate: app.crt, key: app.key }\n"),
];

const OF_THE_START: &[&str] = &[
    "no-file",
    "secret-command",
    "port-taken",
    "state-in-use",
    "state-owner",
    "state-open",
    "key-missing",
    "key-other",
    "key-unreadable",
    "database-other-program",
    "database-newer",
    "no-program",
];

const OF_A_LOGIN: &[&str] = &[
    "directory_empty",
    "no_match",
    "inactive",
    "disabled",
    "domain",
    "unverified_email",
    "linked_to_another",
    "oidc_state",
    "oidc_provider_error",
    "no_name",
    "oidc_token_endpoint",
    "oidc_metadata-issuer",
];

const OF_SAML: &[&str] = &["saml_in_response_to", "saml_signature_invalid", "saml_subject", "tries"];

const OF_SHA1: &[&str] = &["saml_signature_policy"];

const OF_WHAT_RUNS: &[&str] = &[
    "oidc_metadata",
    "way-around",
    "reload-refused",
    "reload-problem",
    "reload-restart",
    "role",
    "unknown_host",
    "app-unreachable",
    "app-slow",
    "app-tls",
    "unknown-person",
    "ambiguous-person",
    "directory-person",
    "unknown-reference",
    "unknown-token",
    "token-name-taken",
    "scim-401-none",
    "scim-401",
    "scim-401-log",
    "scim-404",
    "scim-404-place",
    "scim-409",
    "scim-413",
    "scim-429",
];

/// What is said, held against the page.
struct Told {
    rows: BTreeMap<String, String>,
    heard: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Told {
    fn load() -> Self {
        Self { rows: rows(), heard: BTreeSet::new(), wrong: Vec::new() }
    }

    /// Holds what was said in a situation against its row: one of these lines has to be its message.
    fn hear(&mut self, id: &str, said: &str) {
        self.heard.insert(id.to_owned());
        let row = self.rows.get(id).cloned().unwrap_or_default();
        if !said.lines().any(|line| fits(&row, line).is_some()) {
            self.wrong.push(format!("{id}: the page has\n    {row}\n  and it says\n    {said}"));
        }
    }

    /// Takes the line of a log, as its readers do: its message, and what stands beside it.
    fn hear_line(&mut self, id: &str, line: &str) {
        let line: Value = serde_json::from_str(line).unwrap();
        let mut said = line["message"].as_str().unwrap().to_owned();
        for (field, before) in [("keys", ": "), ("cause", ": "), ("limit", ". ")] {
            if let Some(text) = line[field].as_str() {
                said += before;
                said += text;
            }
        }
        self.hear(id, &said);
    }

    fn end(self, situations: &[&str]) {
        assert!(self.wrong.is_empty(), "docs/messages.md is another:\n{}", self.wrong.join("\n"));
        assert_eq!(self.heard, situations.iter().map(|id| (*id).to_owned()).collect());
    }
}

/// The messages of the page by the name of their situation.
fn rows() -> BTreeMap<String, String> {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/messages.md");
    let text = fs::read_to_string(page).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("| `") else { continue };
        let cells: Vec<&str> = rest.split(" | ").collect();
        let [id, _, message, remedy] = cells.as_slice() else { panic!("four cells: {line}") };
        assert!(remedy.trim_end_matches('|').trim().len() > 3, "no remedy: {line}");
        let message =
            message.strip_prefix("`` ").and_then(|rest| rest.strip_suffix(" ``")).unwrap_or(message);
        let message = message.trim_matches('`').replace("\\|", "|");
        let id = id.trim_end_matches('`').to_owned();
        assert!(rows.insert(id.clone(), message).is_none(), "{id} is there twice");
    }
    rows
}

#[test]
fn each_row_has_a_situation_and_each_situation_a_row() {
    let of_the_file = OF_THE_FILE.iter().map(|(id, ..)| *id);
    let others = [OF_THE_START, OF_A_LOGIN, OF_SAML, OF_SHA1, OF_WHAT_RUNS].concat();
    let situations: BTreeSet<String> = of_the_file.chain(others).map(str::to_owned).collect();
    assert_eq!(rows().into_keys().collect::<BTreeSet<_>>(), situations);
}

/// A folder with a configuration, and what it may name.
struct Desk(TempDir);

const SMALLEST: &str = "public_url: https://wiki.example.com
upstream: http://127.0.0.1:3000
provisioning: none
idps:
  okta:
    oidc:
      issuer: https://example.okta.com
      client_id: 0oa1b2c3
      client_secret: ${file:oidc}
state: state
";

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::Builder::new().prefix("portcullis-desk-").tempdir().unwrap());
        let key = rcgen::generate_simple_self_signed(vec!["other.example.com".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["other.example.com".to_owned()]).unwrap();
        let roles = |roles: &str| {
            format!("version: 1\nroles: {roles}\nbindings:\n  - group: Staff\n    role: member\n")
        };
        for (name, text) in [
            ("oidc", "a-secret-of-nobody"),
            ("readable", "a-secret-of-nobody"),
            ("empty", ""),
            ("app.crt", &key.cert.pem()),
            ("app.key", &key.signing_key.serialize_pem()),
            ("other.key", &other.signing_key.serialize_pem()),
            ("one-role.yml", &roles("[member]")),
            ("two-roles.yml", &roles("[member, admin]")),
            ("other-role.yml", &roles("[guest]")),
        ] {
            fs::write(desk.path(name), text).unwrap();
            fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::set_permissions(desk.path("readable"), fs::Permissions::from_mode(0o644)).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What the program says in that folder.
    fn said(&self, words: &[&str]) -> String {
        said(self.0.path(), words)
    }
}

fn said(folder: &Path, words: &[&str]) -> String {
    let mut command = binary();
    command.args(words).current_dir(folder);
    let output = bounded(command);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn what_a_file_can_have_wrong() {
    let (desk, mut told) = (Desk::new(), Told::load());
    for (id, find, put) in OF_THE_FILE {
        assert!(SMALLEST.contains(find), "{id}: {find} is not there");
        let text = if find.is_empty() { format!("{SMALLEST}{put}") } else { SMALLEST.replacen(find, put, 1) };
        fs::write(desk.path("portcullis.yaml"), text).unwrap();
        told.hear(id, &desk.said(&["check"]));
    }
    told.end(&OF_THE_FILE.iter().map(|(id, ..)| *id).collect::<Vec<_>>());
}

/// The messages of a program that does not start.
fn unstarted(desk: &Desk) -> String {
    let said = desk.said(&["run"]);
    let message = |line: &str| {
        let line = serde_json::from_str::<Value>(line).ok()?;
        Some(line["message"].as_str()?.to_owned())
    };
    said.lines().map(|line| message(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_start_can_meet() {
    let (desk, mut told) = (Desk::new(), Told::load());
    let (proxy, health) = (ports::free(), ports::free());
    let whole = format!("{SMALLEST}listen:\n  proxy: {proxy}\n  health: {health}\nlog:\n  format: json\n");
    let write = |text: &str| fs::write(desk.path("portcullis.yaml"), text).unwrap();

    told.hear("no-file", &desk.said(&["check", "-c", "nowhere.yaml"]));
    write(&whole);
    told.hear("no-program", &desk.said(&["user", "list"]));
    write(&whole.replace("file:oidc", "run:false"));
    told.hear("secret-command", &unstarted(&desk));
    write(&whole);
    let taken = TcpListener::bind(proxy).unwrap();
    told.hear("port-taken", &unstarted(&desk));
    drop(taken);
    // The start before got as far as its database.
    let (state, database) = (desk.path("state"), desk.path("state/portcullis.db"));
    assert!(database.exists());

    let lock = fs::File::open(state.join("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    told.hear("state-in-use", &unstarted(&desk));
    drop(lock);
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    told.hear("state-open", &unstarted(&desk));
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    if fs::metadata(&state).unwrap().uid() == 0 {
        chown(&state, Some(65_534), None).unwrap();
        told.hear("state-owner", &unstarted(&desk));
        chown(&state, Some(0), None).unwrap();
    } else {
        // Whoever is not root finds one that is another's.
        write(&whole.replace("state: state", "state: /root"));
        told.hear("state-owner", &unstarted(&desk));
        write(&whole);
    }

    let key = fs::read_to_string(state.join("master.key")).unwrap();
    fs::remove_file(state.join("master.key")).unwrap();
    told.hear("key-missing", &desk.said(&["check"]));
    for (id, text) in [("key-other", "0".repeat(64)), ("key-unreadable", "nothing".to_owned())] {
        fs::write(state.join("master.key"), text).unwrap();
        fs::set_permissions(state.join("master.key"), fs::Permissions::from_mode(0o600)).unwrap();
        told.hear(id, &desk.said(&["check"]));
    }
    fs::write(state.join("master.key"), key).unwrap();

    let mut open = sqlite_lock::open(&database).await;
    sqlx::query("insert into migration (number, name) values (9999, 'a later one')")
        .execute(&mut open)
        .await
        .unwrap();
    told.hear("database-newer", &unstarted(&desk));
    sqlx::query("pragma application_id = 7").execute(&mut open).await.unwrap();
    told.hear("database-other-program", &unstarted(&desk));
    told.end(OF_THE_START);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_login_is_refused() {
    needs!("op");
    let (op, mut told) = (Op::shared(), Told::load());
    let mut stage = Stage::signing_in_by(op).await;
    let (mira, una) = (format!("mira-{:x}", rand()), format!("una-{:x}", rand()));
    let refusal = async |stage: &Stage, reason: &str| {
        stage.program.logged(&["login refused", &format!("\"reason\":\"{reason}\"")]).await
    };
    let goes_wrong = async |stage: &Stage, name: &str| {
        let mut browser = stage.program.browser();
        let page = sign_in(&mut browser, "/", name).await;
        assert_eq!(page.status(), 403, "{}", page.text());
    };

    goes_wrong(&stage, &una).await;
    told.hear_line("directory_empty", &refusal(&stage, "directory_empty").await);
    let id = stage.directory.person("mira@corp.test", &mira).await;
    goes_wrong(&stage, &una).await;
    told.hear_line("no_match", &refusal(&stage, "no_match").await);
    stage.directory.deactivate(&id).await;
    goes_wrong(&stage, &mira).await;
    told.hear_line("inactive", &refusal(&stage, "inactive").await);
    stage.directory.reactivate(&id).await;
    let order = |stage: &Stage, word: &str| {
        assert!(stage.program.command(&["user", word, "mira@corp.test"]).status.success());
    };
    order(&stage, "disable");
    goes_wrong(&stage, &mira).await;
    told.hear_line("disabled", &refusal(&stage, "disabled").await);
    order(&stage, "enable");

    let callback = stage.program.settings.callback("op");
    for (id, find, put) in
        [("oidc_state", "state=", "state=x"), ("oidc_provider_error", "code=", "error=access_denied&x=")]
    {
        let mut browser = stage.program.browser();
        let answer = sign_in_until(&mut browser, &mira, &callback).await;
        assert_eq!(browser.look(&answer.as_str().replace(find, put)).await.status(), 403, "{id}");
        told.hear_line(id, &refusal(&stage, id).await);
    }
    let mut browser = stage.program.browser();
    assert_eq!(sign_in(&mut browser, "/", &mira).await.status(), 200);

    let nameless = format!("bare-{:x}", rand());
    stage.directory.create(&json!({ "schemas": [USER], "userName": "bare", "externalId": nameless })).await;
    stage.program.reload(|settings| settings.more = "headers:\n  user: email\n".to_owned()).await;
    goes_wrong(&stage, &nameless).await;
    told.hear_line("no_name", &refusal(&stage, "no_name").await);
    stage.program.reload(|settings| settings.more = String::new()).await;

    let by_address = |settings: &mut Settings| {
        settings.idps = settings.idps.replace(
            "    oidc:\n",
            "    domains: [corp.test]\n    link: { claim: email, to: userName }\n    oidc:\n",
        );
    };
    stage.program.reload(by_address).await;
    stage.directory.person("una@elsewhere.test", &una).await;
    op.person(&una, json!({ "email": "una@elsewhere.test", "email_verified": true })).await;
    goes_wrong(&stage, &una).await;
    told.hear_line("domain", &refusal(&stage, "domain").await);
    op.person(&una, json!({ "email": "mira@corp.test", "email_verified": false })).await;
    goes_wrong(&stage, &una).await;
    told.hear_line("unverified_email", &refusal(&stage, "unverified_email").await);
    op.person(&una, json!({ "email": "mira@corp.test", "email_verified": true })).await;
    goes_wrong(&stage, &una).await;
    told.hear_line("linked_to_another", &refusal(&stage, "linked_to_another").await);

    stage
        .program
        .reload(|settings| settings.client_secret = "another-secret-than-the-clients".to_owned())
        .await;
    goes_wrong(&stage, &mira).await;
    told.hear_line("oidc_token_endpoint", &refusal(&stage, "oidc_token_endpoint").await);

    // A warning about whoever is linked at the other issuer comes first: the end of the reload is waited for.
    stage.program.settings.idps = stage.program.settings.idps.replace("//idp.localhost", "//127.0.0.1");
    stage.program.write();
    assert!(stage.program.hang_up().await);
    assert_eq!(stage.program.browser().open("/").await.status(), 503);
    told.hear_line("oidc_metadata-issuer", &refusal(&stage, "oidc_metadata").await);
    told.end(OF_A_LOGIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_login_by_saml_is_refused() {
    needs!("simplesamlphp");
    let (idp, mut told) = (SimpleSaml::shared(), Told::load());
    let (stage, mut sp) = crate::saml::stage_at(idp, |_| {}, |sp| sp.sign = SignedParts::Both).await;
    let mira = crate::saml::person(idp, "mira", "mira@corp.test", &[]);
    stage.directory.person("mira@corp.test", &mira).await;

    let mut browser = stage.program.browser();
    let page = sign_in_saml(&mut browser, &idp.unasked(&sp.entity_id, None), &mira).await;
    assert_eq!(page.status(), 403);
    told.hear_line(
        "saml_in_response_to",
        &stage.program.logged(&["\"reason\":\"saml_in_response_to\""]).await,
    );

    let mut browser = stage.program.browser();
    let (page, form) = sign_in_saml_until(&mut browser, "/", &mira).await;
    let forged = crate::saml::with_message(&form, |text| text.replace(&mira, "somebody-else"));
    assert_eq!(browser.submit(&page, &forged).await.status(), 403);
    let line = stage.program.logged(&["\"reason\":\"saml_signature_invalid\""]).await;
    told.hear_line("saml_signature_invalid", &line);

    let mut browser = stage.program.browser();
    let (page, form) = sign_in_saml_until(&mut browser, "/", &mira).await;
    let mut copy = browser.clone();
    assert_eq!(browser.submit(&page, &form).await.status(), 200);
    assert_eq!(copy.submit(&page, &form).await.status(), 503);
    told.hear_line("tries", &stage.program.logged(&["\"reason\":\"tries\""]).await);

    sp.name_id = SentNameId::Transient;
    idp.register(&sp);
    assert_eq!(sign_in_saml(&mut stage.program.browser(), "/", &mira).await.status(), 403);
    told.hear_line("saml_subject", &stage.program.logged(&["\"reason\":\"saml_subject\""]).await);
    told.end(OF_SAML);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_login_by_an_old_signature_is_refused() {
    needs!("crewjam");
    let (idp, mut told) = (Crewjam::start().await, Told::load());
    let mut settings = Settings::new(ports::free());
    settings.idps = crate::saml::saml("corp", "{folder}/idp.xml", "[corp.test]", crate::saml::BY_NAME_ID, "");
    let mut program = Program::install(settings);
    fs::write(program.folder().join("idp.xml"), idp.metadata().await).unwrap();
    program.begin().await;
    let ours = |page: &str| format!("{}/.portcullis/saml/corp/{page}", program.settings.origin());
    idp.register(&SpAtIdp::new(&ours("metadata"), &ours("acs"))).await;
    assert_eq!(sign_in_saml(&mut program.browser(), "/", "alice").await.status(), 403);
    let line = program.logged(&["\"reason\":\"saml_signature_policy\""]).await;
    told.hear_line("saml_signature_policy", &line);
    told.end(OF_SHA1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_while_it_runs() {
    let mut told = Told::load();
    let app = Application::start().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("app.sock");
    crate::upstreams::listen_at(&socket, app.address);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let at = app.address;
    let change = |settings: &mut Settings| {
        settings.upstream = format!("unix:{}", socket.display());
        settings.bindings =
            Some("version: 1\nroles: [admin]\nbindings:\n  - group: Owners\n    role: admin\n".to_owned());
        settings.more = ROUTES.to_owned();
        settings.scim_more = "  rate: { per_second: 1, burst: 30 }\n";
        settings.idps = oidc("op", &format!("http://{}", ports::free()), "nobody");
    };
    let mut stage = Stage::seeded_before(app, change, &["alice@corp.test"]).await;
    let alice = stage.visitor("alice@corp.test");
    told.hear_line("way-around", &stage.program.logged(&["there is a way around"]).await);
    assert_eq!(stage.program.browser().open("/").await.status(), 503);
    told.hear_line("oidc_metadata", &stage.program.logged(&["login refused", "oidc_metadata"]).await);

    let refused = alice.get("/admin/x").await;
    told.hear("role", &detail_of(&stage, refused.json()["ref"].as_str().unwrap()).await);
    let request = http::Request::get("/").header("host", "10.1.2.3:8080").body(whole("")).unwrap();
    let answer = wire::ask(stage.program.proxy(), request).await.unwrap();
    told.hear("unknown_host", &detail_of(&stage, &reference_on(&answer.text()).unwrap()).await);

    let fails = async |stage: &Stage, id: &str, upstream: String, path: &str, status: u16| {
        let answer = alice.get(path).await;
        assert_eq!(answer.status, status, "{id} {upstream}");
        let reference = answer.json()["ref"].as_str().unwrap().to_owned();
        stage.program.logged(&[&format!("\"ref\":\"{reference}\""), "\"cause\""]).await
    };
    for (id, upstream, path, status) in [
        ("app-unreachable", format!("http://{}", ports::free()), "/gone", 502),
        ("app-slow", format!("\n  url: http://{at}\n  first_byte_timeout: 1s"), "/slow", 504),
        ("app-tls", format!("https://{at}"), "/tls", 502),
    ] {
        let put = upstream.clone();
        stage.program.reload(|settings| settings.upstream = put).await;
        let line = fails(&stage, id, upstream, path, status).await;
        told.hear_line(id, &line);
    }

    stage.program.settings.more = "sesion:\n  idle: 1h\n".to_owned();
    stage.program.write();
    assert!(!stage.program.hang_up().await);
    told.hear_line("reload-problem", &stage.program.logged(&["sesion"]).await);
    told.hear_line("reload-refused", &stage.program.logged(&["the configuration has problems"]).await);
    stage.program.settings.more = "limits:\n  idle: 30s\n".to_owned();
    stage.program.write();
    assert!(!stage.program.hang_up().await);
    told.hear_line("reload-restart", &stage.program.logged(&["takes a restart"]).await);
    stage.program.settings.more = ROUTES.to_owned();
    stage.program.write();

    // A name that is somebody else's id.
    let id = stage.id("alice@corp.test").to_owned();
    stage.directory.create(&user(&id, "twin")).await;
    for (id, words) in [
        ("unknown-person", ["user", "disable", "nobody@corp.test"].as_slice()),
        ("ambiguous-person", &["user", "disable", &id]),
        ("directory-person", &["user", "remove", "alice@corp.test"]),
        ("unknown-reference", &["ref", "7Q2M-X4KD"]),
        ("unknown-token", &["token", "revoke", "nobody"]),
    ] {
        told.hear(id, &said(stage.program.folder(), words));
    }
    said(stage.program.folder(), &["token", "new", "--scim", "--name", "okta"]);
    told.hear(
        "token-name-taken",
        &said(stage.program.folder(), &["token", "new", "--scim", "--name", "okta"]),
    );

    scim_answers(&stage, &mut told).await;
    told.end(OF_WHAT_RUNS);
}

const ROUTES: &str =
    "routes:\n  - path: /admin/**\n    allow: [admin]\n  - path: /**\n    allow: signed-in\n";

/// What the record of a refusal has under `detail` and `help`.
async fn detail_of(stage: &Stage, reference: &str) -> String {
    let record = crate::refusals::told(stage, reference).await;
    let field =
        |name: &str| record.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim().to_owned();
    format!("{}; {}", field("detail:"), field("help:"))
}

/// What the directory is answered. It is asked more and more, so this comes last.
async fn scim_answers(stage: &Stage, told: &mut Told) {
    let detail = |answer: wire::Answer| {
        format!("{}: {}", answer.status.as_u16(), answer.json()["detail"].as_str().unwrap())
    };
    let directory = &stage.directory;
    let nobody = directory.clone().with_token("not-the-token-of-anybody-here");
    let bare = wire::get(stage.program.settings.scim, "localhost", "/scim/v2/Users").await;
    told.hear("scim-401-none", &detail(bare.unwrap()));
    told.hear("scim-401", &detail(nobody.send(Method::GET, "/Users", None).await));
    told.hear_line("scim-401-log", &stage.program.logged(&["a SCIM request without a known token"]).await);
    let missing = directory.send(Method::GET, "/Users/00000000-0000-7000-8000-000000000000", None).await;
    told.hear("scim-404", &detail(missing));
    told.hear("scim-404-place", &detail(directory.send(Method::GET, "/Persons", None).await));
    let again = directory.send(Method::POST, "/Users", Some(&user("alice@corp.test", "other"))).await;
    told.hear("scim-409", &detail(again));
    let mut large = user("large@corp.test", "large");
    large["displayName"] = "x".repeat(2 << 20).into();
    told.hear("scim-413", &detail(directory.send(Method::POST, "/Users", Some(&large)).await));
    for _ in 0..200 {
        let answer = directory.send(Method::GET, "/Users?count=0", None).await;
        if answer.status == 429 {
            told.hear("scim-429", &detail(answer));
            break;
        }
    }
}

//! The journeys (`tests/journeys`): what an operator does from an empty folder to the first login, and to the first person
//! who is out, is done here word for word.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use http::Method;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::browser::HeadlessBrowser;
use crate::rig::directory::DirectoryClient;
use crate::rig::idp::{Client, Op, finish_sign_in, sign_in};
use crate::rig::journey::{Journey, Transcript, folder, spans};
use crate::rig::peer::rigs;
use crate::rig::{ports, until, wire};

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_behind_portcullis_and_canaille_beside_it() {
    needs!("curl");
    needs!("radicale");
    needs!("canaille");
    let page = fs::read_to_string(folder().join("radicale-canaille.md")).unwrap();
    for (peer, name) in [("radicale", "radicale=="), ("canaille", "Canaille==")] {
        let pins = fs::read_to_string(rigs().join(peer).join("requirements.txt")).unwrap();
        let pinned = pins.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert!(page.contains(pinned), "it was played with {name}{pinned}, and says another");
    }
    let mut journey = Journey::prepare(Transcript::load("radicale-canaille.md"), &["radicale", "canaille"]);
    journey.follow(async |_, action, words| panic!("nobody knows [{action}] {words:?}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_of_ones_own_for_whom_one_invites() {
    needs!("curl");
    needs!("op");
    needs!("flask");
    let op = Op::start();
    let mut journey = Journey::prepare(Transcript::load("flask-invited.md"), &["flask"]);
    journey.swap("http://idp.localhost:9802", &op.issuer);
    journey
        .follow(async |journey, action, words| match (action, words) {
            ("register", [id, callback, file]) => {
                let client = Client { id: id.clone(), ..Client::drawn() };
                fs::write(journey.folder().join(file), &client.secret).unwrap();
                op.register_at(&client, callback).await;
            }
            _ => panic!("nobody knows [{action}] {words:?}"),
        })
        .await;
}

/// The section of README that a stranger follows.
fn ten_minutes() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("## In front of your own application, in ten minutes\n").nth(1).unwrap();
    section.split("\n## ").next().unwrap().to_owned()
}

/// Its files, without what they are indented by.
fn files_of(section: &str) -> Vec<String> {
    let blocks = section.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let plain = |block: &str| {
        let by = block.len() - block.trim_start_matches(' ').len();
        block.lines().map(|line| line.get(by..).unwrap_or_default().to_owned() + "\n").collect::<String>()
    };
    blocks.map(|block| plain(block).trim_end().to_owned() + "\n").collect()
}

/// Its commands: what stands in backquotes and begins with a program.
fn commands_of(section: &str) -> BTreeSet<String> {
    let prose: String = section.split("```").step_by(2).collect();
    let begins = ["portcullis ", "cargo ", "make ", "umask ", "apt-get ", "openssl ", "curl "];
    spans(&prose).into_iter().filter(|span| begins.iter().any(|begin| span.starts_with(begin))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ten_minutes_of_the_readme() {
    needs!("curl");
    needs!("op");
    let section = ten_minutes();
    let [smallest, directory] = files_of(&section).try_into().expect("two files");
    let page = fs::read_to_string(folder().join("README.md")).unwrap();
    let not_followed = page.split("| Not followed | Why |").nth(1).unwrap();
    let mut commands = commands_of(&section);
    for command in spans(not_followed) {
        assert!(commands.remove(&command) || command.ends_with(".rs"), "README does not say {command}");
    }
    let mut given = BTreeSet::new();

    let (op, app) = (Op::start(), Application::start().await);
    let [proxy, scim, health] = [(); 3].map(|()| ports::free());
    let origin = format!("http://wiki.localhost:{}", proxy.port());
    let client = Client::drawn();
    let mut journey = Journey::prepare(Transcript::parse(&page), &[]);
    let here = journey.folder().display().to_string();
    for (printed, put) in [
        ("https://scim.wiki.example.com", format!("http://{scim}")),
        ("https://wiki.example.com", origin.clone()),
        ("http://127.0.0.1:3000", format!("http://{}", app.address)),
        ("https://example.okta.com", op.issuer.clone()),
        ("0oa1b2c3", client.id.clone()),
        ("/run/secrets/oidc", format!("{here}/oidc")),
        ("/run/secrets/scim", format!("{here}/scim")),
    ] {
        journey.swap(printed, &put);
    }
    let rest = format!("state: state\nlisten:\n  proxy: {proxy}\n  scim: {scim}\n  health: {health}\n");
    let only_proxy = rest.replace(&format!("  scim: {scim}\n"), "");
    let mut give = |journey: &mut Journey, command: &str, behind: &str| {
        given.insert(command.to_owned());
        journey.run(&format!("{command}{behind}"))
    };

    journey.write("portcullis.yaml", &format!("{smallest}{only_proxy}"));
    let urls = give(&mut journey, "portcullis urls", "");
    let callback = urls.lines().find_map(|line| line.strip_prefix("redirect URI:")).expect(&urls).trim();
    op.register_at(&client, callback).await;
    let said = give(&mut journey, "portcullis check", "");
    assert!(said.starts_with("portcullis.yaml:9: ") && said.ends_with("\n1 problem."), "the secret: {said}");
    let secret = journey.folder().join("oidc");
    fs::write(&secret, &client.secret).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let said = give(&mut journey, "portcullis check", "");
    assert!(said.starts_with("portcullis.yaml: fine."), "{said}");
    let ready = async || {
        until("/readyz", || async {
            wire::get(health, "localhost", "/readyz").await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
    };
    give(&mut journey, "portcullis run", " > portcullis.log 2>&1 &");
    ready().await;
    let mut browser = HeadlessBrowser::new(&origin);
    assert_eq!(sign_in(&mut browser, "/home", "mira").await.status(), 200);
    let seen = app.last("/home").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some("mira@example.com"));
    let said = give(&mut journey, "portcullis doctor", "");
    assert!(said.ends_with(": nothing failed, 0 warnings."), "{said}");

    // The directory speaks.
    assert!(section.contains("take `provisioning: none` out and add"));
    let without = smallest.replace("provisioning: none\n", "");
    assert_ne!(without, smallest);
    journey.write("portcullis.yaml", &format!("{without}{directory}{rest}"));
    give(&mut journey, "umask 077; openssl rand -hex 32", " > scim");
    assert_eq!(
        give(&mut journey, "portcullis check", ""),
        "portcullis.yaml: fine. Shape: beside (one app, SQLite on a disk of its own)."
    );
    journey.run("kill %1; wait");
    give(&mut journey, "portcullis run", " >> portcullis.log 2>&1 &");
    ready().await;
    assert_eq!(
        browser.fetch(Method::GET, "/home", &[]).await.status(),
        401,
        "whoever was signed in signs in again"
    );
    let token = fs::read_to_string(journey.folder().join("scim")).unwrap();
    let directory = DirectoryClient::new(scim, token.trim());
    let id = directory.person("mira@example.com", "mira").await;
    let page = browser.open("/home").await;
    let page = finish_sign_in(&mut browser, page, "mira").await;
    assert_eq!(page.status(), 200, "{}", page.text());
    directory.deactivate(&id).await;
    assert_eq!(browser.fetch(Method::GET, "/home", &[]).await.status(), 401);

    assert_eq!(given, commands, "the commands of README");
}

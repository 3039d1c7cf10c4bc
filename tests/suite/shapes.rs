//! The shapes of `examples/` that need nothing in front of them, run as processes: beside one app, as in Compose, in one
//! pod, and two of them on one machine.

use std::net::SocketAddr;

use http::Method;
use rustix::process::Signal;
use serde_json::Value;

use crate::needs;
use crate::rig::application::Application;
use crate::rig::front::SCIM;
use crate::rig::idp::sign_in;
use crate::rig::program::{Program, binary, bounded};
use crate::rig::settings::Settings;
use crate::rig::shape::{
    DirectoryOverTls, client_of, install_text, read_example, replace_each, settings_at, write_certificate,
};
use crate::rig::stream::AnswerStream;
use crate::rig::websocket::WebSocket;
use crate::rig::wire::{self, Dial, whole};
use crate::rig::{ports, until};

const MIRA: &str = "mira@corp.test";

/// Signs somebody in over the program's own TLS, and lets the directory, over TLS too, take them out.
async fn serves_by_itself(
    settings: Settings,
    mut program: Program,
    app: Application,
    redirect: SocketAddr,
) -> Program {
    const MARK: &str = "said after the removal";
    write_certificate(program.folder(), "wiki", &settings.host);
    write_certificate(program.folder(), "scim", SCIM);
    program.begin().await;
    let directory =
        DirectoryOverTls { address: settings.scim, name: SCIM, token: settings.scim_token.clone() };
    let mira = directory.person(MIRA, "00u-mira").await;
    let mut browser = program.browser();
    let page = sign_in(&mut browser, "/page/of/mira", "00u-mira").await;
    assert_eq!(page.status(), 200, "{}", page.text());
    let seen = app.last("/page/of/mira").unwrap();
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some(MIRA));
    let sent_on = wire::get(redirect, &format!("app.localhost:{}", redirect.port()), "/x?y=z").await.unwrap();
    assert_eq!(sent_on.status, 308);
    assert_eq!(sent_on.header("location"), Some(&*format!("{}/x?y=z", settings.origin())));

    let mut socket =
        WebSocket::open(settings.proxy, &settings.origin(), "/ws", &browser.cookies()).await.unwrap();
    socket.echo("hello").await.unwrap();
    directory.deactivate(&mira).await;
    app.mark(MARK).await;
    assert!(!socket.read_out().await.iter().any(|text| text == MARK));
    assert_eq!(browser.fetch(Method::GET, "/", &[]).await.status(), 401);
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_one_app() {
    needs!("op");
    let (app, redirect) = (Application::start().await, ports::free());
    let settings = settings_at(ports::free(), app.address);
    let client = client_of(&settings).await;
    let changes = [
        ("https://scim.wiki.example.com:8443", &*format!("https://{SCIM}:{}", settings.scim.port())),
        ("https://wiki.example.com", &settings.origin()),
        ("http://127.0.0.1:3000", &format!("http://{}", app.address)),
        ("0.0.0.0:443", &settings.proxy.to_string()),
        ("0.0.0.0:80", &redirect.to_string()),
        (
            "  scim:\n    address: 0.0.0.0:8443",
            &format!("  health: {}\n  scim:\n    address: {}", settings.health, settings.scim),
        ),
    ];
    let secrets = "/run/credentials/portcullis.service";
    let program =
        install_text(&read_example("systemd/portcullis.yaml"), settings.clone(), &client, secrets, &changes);
    serves_by_itself(settings, program, app, redirect).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_in_compose() {
    needs!("op");
    let (app, redirect) = (Application::start().await, ports::free());
    let settings = settings_at(ports::free(), app.address);
    let client = client_of(&settings).await;
    let changes = [
        ("https://scim.wiki.example.com:8444", &*format!("https://{SCIM}:{}", settings.scim.port())),
        ("https://wiki.example.com", &settings.origin()),
        ("http://app:3000", &format!("http://{}", app.address)),
        ("0.0.0.0:8443", &settings.proxy.to_string()),
        ("0.0.0.0:8080", &redirect.to_string()),
        ("0.0.0.0:8444", &settings.scim.to_string()),
        ("127.0.0.1:8082", &settings.health.to_string()),
    ];
    let program = install_text(
        &read_example("compose/portcullis.yaml"),
        settings.clone(),
        &client,
        "/run/secrets",
        &changes,
    );
    let program = serves_by_itself(settings.clone(), program, app, redirect).await;

    // The health check of the file, word for word but for the folder.
    let compose: Value = serde_saphyr::from_str(&read_example("compose/compose.yaml")).unwrap();
    let words = compose["services"]["portcullis"]["healthcheck"]["test"].as_array().unwrap();
    let words: Vec<&str> = words.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words[..2], ["CMD", "portcullis"]);
    let state = program.folder().join("state").display().to_string();
    let is_well = || {
        let mut command = binary();
        command.args(words[2..].iter().map(|word| word.replace("/var/lib/portcullis", &state)));
        bounded(command).status.success()
    };
    assert!(is_well());
    drop(program);
    assert!(!is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_pod_it_drains_and_hears_the_directory_until_the_end() {
    needs!("op");
    let manifests: Vec<Value> = serde_saphyr::from_multiple(&read_example("kubernetes/wiki.yaml")).unwrap();
    let map = manifests.iter().find(|manifest| manifest["kind"] == "ConfigMap").unwrap();
    let app = Application::start().await;
    let settings = Settings::new(app.address);
    let client = client_of(&settings).await;
    let changes = [
        ("https://scim.wiki.example.com", &*format!("http://{}", settings.scim)),
        ("https://wiki.example.com", &settings.origin()),
        ("http://127.0.0.1:3000", &format!("http://{}", app.address)),
        ("0.0.0.0:8080", &settings.proxy.to_string()),
        ("0.0.0.0:8081", &settings.scim.to_string()),
        ("0.0.0.0:8082", &settings.health.to_string()),
    ];
    let text = map["data"]["portcullis.yaml"].as_str().unwrap();
    let health = settings.health;
    let mut program = install_text(text, settings, &client, "/run/secrets/portcullis", &changes);
    program.begin().await;
    let directory = program.directory();
    let mira = directory.person(MIRA, "00u-mira").await;
    let mut browser = program.browser();
    assert_eq!(sign_in(&mut browser, "/", "00u-mira").await.status(), 200);
    let request =
        http::Request::get("/download").header("host", format!("app.localhost:{}", program.proxy().port()));
    let request = request.header("cookie", browser.cookies()).body(whole("")).unwrap();
    let mut download = AnswerStream::begin(program.proxy(), Dial::default(), request).await.unwrap();
    download.at_least(64 * 1024).await;

    program.signal(Signal::TERM);
    let status = async |path: &str| wire::get(health, "localhost", path).await.unwrap().status.as_u16();
    until("a drain", || async { status("/readyz").await == 503 }).await;
    assert_eq!(status("/livez").await, 200, "nobody ends it before its time");
    until("a closed port", || async { wire::tcp(program.proxy(), None).await.is_err() }).await;
    download.at_least(download.read + 64 * 1024).await;
    directory.deactivate(&mira).await;
    app.mark("said after the removal").await;
    assert!(!download.read_out("said after the removal").await);
    assert_eq!(program.ended().await.code(), Some(0), "nothing is left to wait for");
}

/// One of two programs on one machine, as its file has them.
async fn one_of_several(app: &Application, name: &str) -> Program {
    let settings = Settings::new(app.address);
    let client = client_of(&settings).await;
    let text = read_example(&format!("several/{name}.yaml"));
    let said: Value = serde_saphyr::from_str(&text).unwrap();
    let mut changes = vec![
        (said["scim"]["public_url"].as_str().unwrap(), format!("http://{}", settings.scim)),
        (said["public_url"].as_str().unwrap(), settings.origin()),
        (said["upstream"].as_str().unwrap(), format!("http://{}", app.address)),
    ];
    for (listener, address) in
        [("proxy", settings.proxy), ("scim", settings.scim), ("health", settings.health)]
    {
        changes.push((said["listen"][listener].as_str().unwrap(), address.to_string()));
    }
    let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
    let secrets = format!("/run/credentials/portcullis@{name}.service");
    let mut program = install_text(&text, settings, &client, &secrets, &changes);
    let bindings = read_example("several/wiki.bindings.yml");
    std::fs::write(program.folder().join("wiki.bindings.yml"), bindings).unwrap();
    program.begin().await;
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn two_on_one_machine_know_nothing_of_each_other() {
    needs!("op");
    let (wiki_app, tickets_app) = (Application::start().await, Application::start().await);
    let wiki = one_of_several(&wiki_app, "wiki").await;
    let tickets = one_of_several(&tickets_app, "tickets").await;
    let mira = wiki.directory().person(MIRA, "00u-mira").await;
    tickets.directory().person(MIRA, "00u-mira").await;
    let (mut in_wiki, mut in_tickets) = (wiki.browser(), tickets.browser());
    assert_eq!(sign_in(&mut in_wiki, "/", "00u-mira").await.status(), 200);
    assert_eq!(sign_in(&mut in_tickets, "/", "00u-mira").await.status(), 200);
    // The session of one is nothing to the other, under either name.
    let answer = async |of: &Program, cookie: &str| {
        let request = http::Request::get("/").header("host", format!("app.localhost:{}", of.proxy().port()));
        let request = request.header("cookie", cookie).body(whole("")).unwrap();
        wire::ask(of.proxy(), request).await.unwrap().status.as_u16()
    };
    assert_eq!(answer(&tickets, &in_tickets.cookies()).await, 200);
    assert_eq!(answer(&tickets, &in_wiki.cookies()).await, 401);
    let name_of = |cookies: &str| cookies.split('=').next().unwrap().to_owned();
    let worn =
        replace_each(&in_wiki.cookies(), &[(&name_of(&in_wiki.cookies()), &name_of(&in_tickets.cookies()))]);
    assert_eq!(answer(&tickets, &worn).await, 401);
    // Paths decide in the one that has rules, and a removal is for the directory's own program.
    assert_eq!(in_wiki.fetch(Method::GET, "/admin/users", &[]).await.status(), 403);
    assert_eq!(in_tickets.fetch(Method::GET, "/admin/users", &[]).await.status(), 200);
    wiki.directory().deactivate(&mira).await;
    assert_eq!(in_wiki.fetch(Method::GET, "/", &[]).await.status(), 401);
    assert_eq!(in_tickets.fetch(Method::GET, "/", &[]).await.status(), 200);
}

#[test]
fn two_on_one_machine_share_no_port_and_no_folder() {
    let files = ["wiki", "tickets"].map(|name| {
        let said: Value = serde_saphyr::from_str(&read_example(&format!("several/{name}.yaml"))).unwrap();
        said
    });
    let of_their_own = |said: &Value| {
        let listen = &said["listen"];
        [
            &listen["proxy"],
            &listen["scim"],
            &listen["health"],
            &said["state"],
            &said["public_url"],
            &said["upstream"],
        ]
        .map(|value| value.as_str().unwrap().to_owned())
    };
    let [wiki, tickets] = files.each_ref().map(of_their_own);
    assert!(wiki.iter().all(|value| !tickets.contains(value)), "{wiki:?} {tickets:?}");
}

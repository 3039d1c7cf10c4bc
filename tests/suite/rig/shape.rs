//! A shape of `examples/`, run as it is written there: its files in the folder of a program, with this machine's addresses,
//! names and secrets in the place of its own, and nothing else changed.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::{Method, Request};
use serde_json::{Value, json};

use super::directory::{patch, user};
use super::idp::{Client, Op};
use super::program::Program;
use super::settings::Settings;
use super::wire::{Answer, Connection, Dial, whole};
use super::{must, tls};

/// The folder of the examples.
pub fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Reads a file of the examples.
pub fn read_example(name: &str) -> String {
    fs::read_to_string(examples().join(name)).unwrap_or_else(|error| panic!("examples/{name}: {error}"))
}

/// Replaces texts, each of which must be there: an example that has changed is not run half as it was.
pub fn replace_each(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in\n{text}");
        text.replace(from, to)
    })
}

/// The settings of a shape that is reached at `front` as `app.localhost`, over https, and whose program listens there
/// itself or behind it.
pub fn settings_at(front: SocketAddr, app: SocketAddr) -> Settings {
    let mut settings = Settings::new(app);
    settings.proxy = front;
    settings.scheme = "https";
    settings
}

/// A client of the provider of this run, for the identity provider `okta` of an example.
pub async fn client_of(settings: &Settings) -> Client {
    let client = Client::drawn();
    Op::shared().register(&client, settings, &["okta"]).await;
    client
}

/// Installs a program whose configuration is that of an example, or of a part of one, with these changes and those that
/// each of them needs: the provider, the secrets, which are looked for in the folder `secrets`, and the state folder.
pub fn install_text(
    example: &str,
    mut settings: Settings,
    client: &Client,
    secrets: &str,
    changes: &[(&str, &str)],
) -> Program {
    settings.client_secret.clone_from(&client.secret);
    let program = Program::install(settings);
    let folder = program.folder();
    let here = folder.display().to_string();
    let text = replace_each(
        example,
        &[
            ("https://example.okta.com", &Op::shared().issuer),
            (&client_id_of(example), &client.id),
            (&format!("{secrets}/oidc"), &format!("{here}/client-secret")),
            (&format!("{secrets}/scim"), &format!("{here}/scim-token")),
            ("state: /var/lib/portcullis", &format!("state: {here}/state")),
        ],
    );
    let text = replace_each(&text, changes);
    // A key of its own, where the example has one; certificates beside it.
    let text = text.replace(&format!("{secrets}/master-key"), &format!("{here}/master-key"));
    let text = text.replace("/etc/portcullis/tls", &here);
    write_secret(&folder.join("master-key"), &"0123456789abcdef".repeat(4));
    fs::write(folder.join("portcullis.yaml"), text).unwrap();
    program
}

/// Writes a certificate and its key, as `NAME.crt` and `NAME.key`, for a host.
pub fn write_certificate(folder: &Path, name: &str, host: &str) {
    let (certificate, key) = tls::pem_files(host);
    for (ending, text) in [("crt", certificate), ("key", key)] {
        write_secret(&folder.join(format!("{name}.{ending}")), &text);
    }
}

fn write_secret(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// A directory that speaks SCIM over TLS, under a name of its own.
pub struct DirectoryOverTls {
    pub address: SocketAddr,
    pub name: &'static str,
    pub token: String,
}

impl DirectoryOverTls {
    /// Makes a user, whose `externalId` is the IdP's subject; gives the id.
    pub async fn person(&self, name: &str, external_id: &str) -> String {
        let made = self.send(Method::POST, "/Users", &user(name, external_id)).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// Says that somebody is not active any more.
    pub async fn deactivate(&self, id: &str) {
        let body = patch(json!([{ "op": "replace", "path": "active", "value": false }]));
        let done = self.send(Method::PATCH, &format!("/Users/{id}"), &body).await;
        assert!(done.status.is_success(), "{} {}", done.status, done.text());
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(format!("/scim/v2{path}"));
        let request = request.header("host", format!("{}:{}", self.name, self.address.port()));
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let request = request.header("content-type", "application/scim+json");
        let request = request.body(whole(body.to_string())).unwrap();
        let how = Dial { tls: Some(self.name), ..Dial::default() };
        let mut line =
            must("a connection of the directory", Connection::dial(self.address, how)).await.unwrap();
        must("the directory's answer", line.send(request)).await.unwrap()
    }
}

fn client_id_of(text: &str) -> String {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("client_id: "));
    line.unwrap_or_else(|| panic!("no client_id in\n{text}")).to_owned()
}

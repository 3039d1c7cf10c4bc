//! Keycloak as a rig: its own copy in a temporary folder, one realm with alice / pw and bob / pw.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::rig::settings::Settings;
use crate::rig::wire::Answer;
use crate::rig::{peer, ports, wire};

/// Alice's `sub`.
pub const ALICE: &str = "6f1d3c1e-6a55-4a35-9c1b-0d6f1f1a0a01";
/// The client's secret.
pub const SECRET: &str = "app-secret-of-keycloak";

/// A running Keycloak.
pub struct Keycloak {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
    pub issuer: String,
    /// One at a time: its start wants all processors.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::const_new(());

impl Keycloak {
    /// Starts one whose client `app` is a program with these settings. Takes a minute.
    pub async fn start(settings: &Settings) -> Self {
        let turn = TURN.lock().await;
        let (address, management) = (ports::free(), ports::free());
        let folder = tempfile::Builder::new().prefix("portcullis-keycloak-").tempdir().unwrap();
        let home = folder.path().join("keycloak");
        copy(&peer::cache().join("keycloak"), &home);
        let realm = std::fs::read_to_string(peer::rigs().join("keycloak/realm.json")).unwrap();
        std::fs::create_dir_all(home.join("data/import")).unwrap();
        std::fs::write(home.join("data/import/rig-realm.json"), realm.replace("APP", &settings.origin()))
            .unwrap();
        let log = std::fs::File::create(folder.path().join("keycloak.log")).unwrap();
        let mut command = Command::new(home.join("bin/kc.sh"));
        command.args(["start-dev", "--import-realm", "--http-host=127.0.0.1"]);
        command.arg(format!("--http-port={}", address.port()));
        command.arg(format!("--http-management-port={}", management.port()));
        command.env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin").env("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin");
        // Its messages from server to server go to the address that people see, and no resolver knows that name.
        let hosts = folder.path().join("hosts");
        std::fs::write(&hosts, format!("127.0.0.1 localhost {}\n", settings.host)).unwrap();
        let options = format!("-XX:TieredStopAtLevel=1 -Djdk.net.hosts.file={}", hosts.display());
        command.env("JAVA_OPTS_APPEND", options);
        // The script starts Java as its child: both are ended, as one group.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut keycloak =
            Self { child, folder, address, issuer: format!("http://{address}/realms/rig"), _turn: turn };
        keycloak.ready(address).await;
        keycloak
    }

    /// Where its metadata of SAML is.
    pub fn saml_metadata(&self) -> String {
        format!("{}/protocol/saml/descriptor", self.issuer)
    }

    /// Registers a service provider of SAML by its own metadata, as its console imports it. Response and assertion are
    /// signed, the assertion is encrypted if `encrypts`, and the groups and the name that people sign in under are
    /// attributes. The client as it was read.
    pub async fn import_sp(&self, metadata: String, encrypts: bool) -> Value {
        let xml = ("application/xml", metadata);
        let read = self.administer(Method::POST, "client-description-converter", Some(xml)).await;
        assert_eq!(read.status, 200, "{}", read.text());
        let mut client = read.json();
        let as_read = client.clone();
        // Without it logouts go through the browser alone, and nothing comes from server to server.
        client["frontchannelLogout"] = false.into();
        for (name, value) in [
            ("saml.server.signature", "true"),
            ("saml.assertion.signature", "true"),
            ("saml.encrypt", if encrypts { "true" } else { "false" }),
            ("saml.signature.algorithm", "RSA_SHA256"),
            ("saml_force_name_id_format", "true"),
            ("saml_name_id_format", "persistent"),
        ] {
            client["attributes"][name] = value.into();
        }
        client["protocolMappers"] = json!([
            { "name": "groups", "protocol": "saml", "protocolMapper": "saml-group-membership-mapper", "config": {
                "attribute.name": "groups", "attribute.nameformat": "Basic", "single": "true", "full.path": "false",
            } },
            property_mapper("username"),
            property_mapper("email"),
        ]);
        let made =
            self.administer(Method::POST, "clients", Some(("application/json", client.to_string()))).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
        as_read
    }

    /// Ends all sessions of somebody, as its console does: every client is told before this is answered.
    pub async fn end_sessions(&self, user: &str) {
        let ended = self.administer(Method::POST, &format!("users/{user}/logout"), None).await;
        assert_eq!(ended.status, StatusCode::NO_CONTENT, "{}", ended.text());
    }

    async fn administer(&self, method: Method, path: &str, body: Option<(&str, String)>) -> Answer {
        let token = "/realms/master/protocol/openid-connect/token";
        let form = "grant_type=password&client_id=admin-cli&username=admin&password=admin".to_owned();
        let form = Some(("application/x-www-form-urlencoded", form));
        let token = self.ask(Method::POST, token, None, form).await.json()["access_token"].clone();
        self.ask(method, &format!("/admin/realms/rig/{path}"), token.as_str(), body).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<(&str, String)>,
    ) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header("host", self.address.to_string());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let (kind, body) = body.unwrap_or(("application/json", String::new()));
        let request = request.header("content-type", kind).body(wire::whole(body)).unwrap();
        wire::ask(self.address, request)
            .await
            .unwrap_or_else(|fault| panic!("{path}: {fault:?}\n{}", self.log()))
    }

    async fn ready(&mut self, address: SocketAddr) {
        for _ in 0..1800 {
            let asked =
                wire::get(address, &address.to_string(), "/realms/rig/.well-known/openid-configuration")
                    .await;
            if asked.is_ok_and(|answer| answer.status == 200) {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "keycloak ended:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("keycloak is not ready:\n{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("keycloak.log")).unwrap_or_default()
    }
}

impl Drop for Keycloak {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn property_mapper(property: &str) -> Value {
    json!({ "name": property, "protocol": "saml", "protocolMapper": "saml-user-property-mapper", "config": {
        "user.attribute": property, "attribute.name": property, "attribute.nameformat": "Basic",
    } })
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "keycloak could not be copied");
}

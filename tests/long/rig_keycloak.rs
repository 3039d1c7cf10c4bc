//! Keycloak as a rig: its own copy in a temporary folder, one realm with alice / pw.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::rig::settings::Settings;
use crate::rig::{peer, ports, wire};

/// Alice's `sub`.
pub const ALICE: &str = "6f1d3c1e-6a55-4a35-9c1b-0d6f1f1a0a01";
/// The client's secret.
pub const SECRET: &str = "app-secret-of-keycloak";

/// A running Keycloak.
pub struct Keycloak {
    child: Child,
    folder: TempDir,
    pub issuer: String,
}

impl Keycloak {
    /// Starts one whose client `app` is a program with these settings. Takes a minute.
    pub async fn start(settings: &Settings) -> Self {
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
        command.env("JAVA_OPTS_APPEND", "-XX:TieredStopAtLevel=1");
        // The script starts Java as its child: both are ended, as one group.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut keycloak = Self { child, folder, issuer: format!("http://{address}/realms/rig") };
        keycloak.ready(address).await;
        keycloak
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

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "keycloak could not be copied");
}

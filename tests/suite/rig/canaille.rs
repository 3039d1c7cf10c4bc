//! Canaille as a rig: its own store in a temporary folder, its own command line, its own SCIM pushes.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::settings::Settings;
use super::{peer, ports, wire};

/// A running Canaille with alice and bob of `staff`.
pub struct Canaille {
    child: Child,
    folder: TempDir,
    pub issuer: String,
}

impl Canaille {
    /// Makes one for a program with these settings, and starts it. Its client is `app` / `app-secret`.
    pub async fn start(settings: &Settings) -> Self {
        let address = ports::free();
        let folder = tempfile::Builder::new().prefix("portcullis-canaille-").tempdir().unwrap();
        let port = address.port().to_string();
        run(&folder, &["setup"], &[&port, &settings.origin(), &settings.scim_base()]).await;
        let log = std::fs::File::create(folder.path().join("serve.log")).unwrap();
        let child = command(&folder, &["serve"], &[&port])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut canaille = Self { child, folder, issuer: format!("http://{address}") };
        canaille.ready(address).await;
        canaille
    }

    async fn ready(&mut self, address: std::net::SocketAddr) {
        let host = address.to_string();
        for _ in 0..600 {
            let asked = wire::get(address, &host, "/.well-known/openid-configuration").await;
            if asked.is_ok_and(|answer| answer.status == 200) {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "canaille ended:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("canaille is not ready:\n{}", self.log());
    }

    /// A command of its own command line. Returns when its pushes were answered.
    pub async fn run(&self, words: &[&str]) {
        run(&self.folder, &["do"], words).await;
    }

    /// Clears the lock date, which its command line cannot.
    pub async fn unlock(&self, name: &str) {
        run(&self.folder, &["unlock"], &[name]).await;
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("serve.log")).unwrap_or_default()
    }
}

impl Drop for Canaille {
    fn drop(&mut self) {
        // Its standard input ends: it ends its own children and itself.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn command(folder: &TempDir, act: &[&str], words: &[&str]) -> Command {
    let python: PathBuf = peer::cache().join("canaille/bin/python");
    let mut command = Command::new(python);
    command.arg(peer::rigs().join("canaille/rig.py")).args(act).arg(folder.path()).args(words);
    command
}

async fn run(folder: &TempDir, act: &[&str], words: &[&str]) {
    let mut command = command(folder, act, words);
    let shown = format!("{words:?}");
    let output =
        tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "canaille {shown}:\n{said}");
}

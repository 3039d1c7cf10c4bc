//! Products that take their users from headers, as a rig: each with a folder of its own, on loopback, and ended with its test.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::rig::{peer, wire};

/// The version that `tests/rigs/install` brings.
pub const SONARQUBE: &str = "25.12.0.117093";

/// A running product. Dropped, it is killed with all that it began.
pub struct Product {
    child: Child,
    folder: TempDir,
    /// One at a time: their starts want all processors.
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::const_new(());

impl Product {
    /// Superset over a folder with its database. `told` is whether its configuration has what makes it take the header's word.
    pub async fn superset(address: SocketAddr, home: &Path, told: bool) -> Self {
        let turn = TURN.lock().await;
        let mut command = superset("gunicorn", home);
        command.env("PORTCULLIS_RIG_TOLD", if told { "1" } else { "0" });
        command.args(["--workers", "1", "--threads", "4", "--bind", &address.to_string()]);
        command.arg("superset.app:create_app()");
        Self::begin("superset", command, folder("superset"), turn).ready(address, "/health", "OK").await
    }

    /// Gitea, which people know under this origin.
    pub async fn gitea(address: SocketAddr, origin: &str) -> Self {
        let turn = TURN.lock().await;
        let folder = folder("gitea");
        let home = peer::cache().join("gitea");
        let written = fs::read_to_string(peer::rigs().join("gitea/app.ini")).unwrap();
        let written = written
            .replace("@FOLDER@", &folder.path().display().to_string())
            .replace("@SOURCE@", &home.display().to_string())
            .replace("@PORT@", &address.port().to_string())
            .replace("@URL@", origin);
        fs::write(folder.path().join("app.ini"), written).unwrap();
        let mut command = as_somebody(&home.join("gitea"));
        command.arg("web").arg("--config").arg(folder.path().join("app.ini")).env("HOME", folder.path());
        Self::begin("gitea", command, folder, turn).ready(address, "/api/healthz", "pass").await
    }

    /// SonarQube without its analysers, with its own database and search. Takes a minute. It listens at three more addresses.
    pub async fn sonarqube(address: SocketAddr, others: [SocketAddr; 3]) -> Self {
        let turn = TURN.lock().await;
        let folder = folder("sonarqube");
        let mut command = as_somebody(Path::new("java"));
        let jar = format!("sonarqube/lib/sonar-application-{SONARQUBE}.jar");
        command.args(["-XX:TieredStopAtLevel=1", "-Xmx64m", "-jar"]).arg(peer::cache().join(jar));
        for (what, port) in [
            ("sonar.web.port", address.port()),
            ("sonar.search.port", others[0].port()),
            ("sonar.es.port", others[1].port()),
            ("sonar.embeddedDatabase.port", others[2].port()),
        ] {
            command.arg(format!("-D{what}={port}"));
        }
        for kind in ["data", "temp", "logs"] {
            let own = folder.path().join(kind);
            fs::create_dir(&own).unwrap();
            command.arg(format!("-Dsonar.path.{kind}={}", own.display()));
        }
        command.args([
            "-Dsonar.web.host=127.0.0.1",
            "-Dsonar.search.host=127.0.0.1",
            "-Dsonar.web.sso.enable=true",
            "-Dsonar.telemetry.enable=false",
            "-Dsonar.updatecenter.activate=false",
            "-Dsonar.search.javaOpts=-Xms256m -Xmx256m -XX:MaxDirectMemorySize=128m -XX:TieredStopAtLevel=1",
            "-Dsonar.search.javaAdditionalOpts=-Dnode.store.allow_mmap=false",
            "-Dsonar.web.javaOpts=-Xms128m -Xmx384m -XX:TieredStopAtLevel=1",
            "-Dsonar.ce.javaOpts=-Xms64m -Xmx256m -XX:TieredStopAtLevel=1",
        ]);
        Self::begin("sonarqube", command, folder, turn).ready(address, "/api/system/status", "\"UP\"").await
    }

    /// MediaWiki with the extension that takes people from `X-Remote-User`, known under this origin.
    pub async fn mediawiki(address: SocketAddr, origin: &str) -> Self {
        let turn = TURN.lock().await;
        let (folder, wiki) = (folder("mediawiki"), peer::cache().join("mediawiki/wiki"));
        let (own, settings) = (folder.path(), folder.path().join("LocalSettings.php"));
        let mut install = Command::new("php");
        install
            .arg(wiki.join("maintenance/install.php"))
            .args(["--dbtype", "sqlite", "--dbname", "wiki", "--dbpath"]);
        install.arg(own).arg("--confpath").arg(own).args(["--server", origin, "--scriptpath", ""]);
        install.args(["--pass", "not-asked-for-here", "Wiki", "operator"]).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || install.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        // As docs/configuration.md has it.
        let told = "wfLoadExtension('Auth_remoteuser');\n\
            $wgAuthRemoteuserUserName = fn() => $_SERVER['HTTP_X_REMOTE_USER'] ?? '';\n";
        let written = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, written + told).unwrap();
        let mut command = Command::new("php");
        command.arg("-S").arg(address.to_string()).current_dir(wiki).env("MW_CONFIG_FILE", settings);
        let known = "/api.php?action=query&meta=siteinfo&format=json";
        Self::begin("mediawiki", command, folder, turn).ready(address, known, "sitename").await
    }

    fn begin(name: &str, mut command: Command, folder: TempDir, turn: MutexGuard<'static, ()>) -> Self {
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { child, folder, _turn: turn }
    }

    /// Waits until a page says so.
    async fn ready(mut self, address: SocketAddr, path: &str, says: &str) -> Self {
        for _ in 0..3000 {
            let asked = wire::get(address, &address.to_string(), path).await;
            if asked.is_ok_and(|answer| answer.text().contains(says)) {
                return self;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "it ended:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it is not ready:\n{}", self.log());
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A folder with the database of a new Superset.
pub async fn superset_home() -> TempDir {
    let _turn = TURN.lock().await;
    let home = folder("superset");
    for words in [["db", "upgrade"].as_slice(), &["init"]] {
        let mut command = superset("superset", home.path());
        command.args(words).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    home
}

fn superset(tool: &str, home: &Path) -> Command {
    let mut command = Command::new(peer::cache().join("superset/bin").join(tool));
    command.env("SUPERSET_CONFIG_PATH", peer::rigs().join("superset/superset_config.py"));
    command.env("SUPERSET_HOME", home).env("FLASK_APP", "superset.app:create_app()");
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(home);
    command
}

fn folder(name: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("portcullis-{name}-")).tempdir().unwrap()
}

/// A program that does not run as root: who is root is somebody else to it, in a namespace of users of its own.
fn as_somebody(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=1000", "--map-group=1000"]).arg(program);
    command
}

//! The example for Compose in containers: Debian's docker-compose brings it up on Podman, with the image that is shipped.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::needs;
use crate::packages::shipped_file;
use crate::rig::shape::{DirectoryOverTls, examples, read_example, replace_each, write_certificate};
use crate::rig::shipped::printed;
use crate::rig::{ports, until, wire};

/// The user of the image.
const USER: u32 = 65532;
/// Under which a directory reaches it.
const SCIM: &str = "scim.wiki.example.com";

/// Podman as a service that speaks Docker's language, with storage of its own that goes with it.
struct Engine {
    folder: TempDir,
    service: Child,
}

impl Engine {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        // Limits are the engine's own wish, and cannot always be raised.
        fs::write(folder.path().join("containers.conf"), "[containers]\ndefault_ulimits = []\n").unwrap();
        // What it mounts is seen by nobody else and goes with it.
        let mut service = Command::new("unshare");
        service.args(["--mount", "--propagation", "private", "podman"]);
        service.args([
            "--root",
            &at("root"),
            "--runroot",
            &at("run"),
            "--network-config-dir",
            &at("networks"),
        ]);
        service.args([
            "--runtime",
            "runc",
            "--cgroup-manager",
            "cgroupfs",
            "system",
            "service",
            "--time",
            "0",
        ]);
        service.arg(format!("unix://{}", at("socket"))).env("CONTAINERS_CONF", at("containers.conf"));
        let log = fs::File::create(folder.path().join("service.log")).unwrap();
        let service = service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let engine = Self { folder, service };
        until("the engine", || async {
            engine.command("podman", &["--remote", "info"]).output().unwrap().status.success()
        })
        .await;
        engine
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command that talks with it, in the folder of the example.
    fn command(&self, program: &str, words: &[&str]) -> Command {
        let socket = format!("unix://{}", self.path().join("socket").display());
        let mut command = Command::new(program);
        command.args(words).env("DOCKER_HOST", &socket).env("CONTAINER_HOST", &socket);
        let example = self.path().join("wiki");
        command.current_dir(if example.exists() { &example } else { self.path() }).stdin(Stdio::null());
        command
    }

    fn podman(&self, words: &[&str]) -> String {
        printed(&mut self.command("podman", &[&["--remote"], words].concat()))
    }

    fn compose(&self, words: &[&str]) -> String {
        printed(&mut self.command("docker-compose", &[&["-p", "wiki"], words].concat()))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.command("docker-compose", &["-p", "wiki", "down", "--volumes"]).output();
        let _ = self.service.kill();
        let _ = self.service.wait();
        // Whoever watches what was run in a container would wait for five minutes more.
        let _ = Command::new("pkill").args(["-KILL", "-f"]).arg(self.path().join("root")).status();
    }
}

/// An application that serves one page, in an image of one program.
fn bring_app(engine: &Engine) {
    let root = engine.path().join("app");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("www")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    fs::write(root.join("www/index.html"), "of the wiki\n").unwrap();
    let archive = engine.path().join("app.tar").display().to_string();
    printed(Command::new("tar").args(["-cf", &archive, "-C"]).arg(&root).arg("."));
    let serves = "CMD [\"/bin/busybox\", \"httpd\", \"-f\", \"-p\", \"3000\", \"-h\", \"/www\"]";
    engine.podman(&["import", "--change", serves, &archive, "wiki:latest"]);
}

/// The example, with ports that are free here, without what is newer than this docker-compose, and without limits that cannot
/// always be raised.
fn bring_example(engine: &Engine, published: [u16; 3]) {
    let folder = engine.path().join("wiki");
    fs::create_dir_all(folder.join("secrets")).unwrap();
    fs::create_dir_all(folder.join("tls")).unwrap();
    fs::copy(examples().join("compose/portcullis.yaml"), folder.join("portcullis.yaml")).unwrap();
    let text = read_example("compose/compose.yaml");
    let build = text.split_once("    build:\n").unwrap().1.split_once("    user:").unwrap().0;
    let build = format!("    build:\n{build}");
    let [proxy, redirect, scim] = published.map(|port| format!("\"127.0.0.1:{port}:"));
    let text = replace_each(
        &text,
        &[
            ("name: wiki\n", "version: \"3.9\"\n"),
            (&build, ""),
            ("    ulimits:\n      nofile: 65536\n", ""),
            ("\"443:", &proxy),
            ("\"80:", &redirect),
            ("\"8444:", &scim),
        ],
    );
    fs::write(folder.join("compose.yaml"), text).unwrap();
    for name in ["oidc", "scim", "master-key"] {
        fs::write(folder.join("secrets").join(name), "0123456789abcdef".repeat(4)).unwrap();
    }
    write_certificate(&folder.join("tls"), "wiki", "wiki.example.com");
    write_certificate(&folder.join("tls"), "scim", SCIM);
    for part in ["secrets", "tls"] {
        let part = folder.join(part);
        let files = fs::read_dir(&part).unwrap().map(|entry| entry.unwrap().path());
        for path in files.chain([part.clone()]) {
            let mode = if path.is_dir() { 0o700 } else { 0o400 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            chown(&path, Some(USER), Some(USER)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_compose_serves_people_and_the_directory_and_keeps_what_it_knows() {
    needs!("packages");
    needs!("containers");
    let engine = Engine::start().await;
    let image = shipped_file("-oci-amd64.tar").display().to_string();
    let loaded = engine.podman(&["load", "-i", &image]);
    assert!(loaded.ends_with(concat!("portcullis:", env!("CARGO_PKG_VERSION"))), "{loaded}");
    bring_app(&engine);
    let [proxy, redirect, scim] = [ports::free(), ports::free(), ports::free()];
    bring_example(&engine, [proxy.port(), redirect.port(), scim.port()]);
    // Not attached: this docker-compose asks to be only once the command has begun, which may have ended by then.
    engine.compose(&["run", "-d", "--no-deps", "--name", "checked", "portcullis", "check"]);
    assert_eq!(engine.podman(&["wait", "checked"]), "0");
    let checked = engine.podman(&["logs", "checked"]);
    assert!(checked.contains("portcullis.yaml: fine."), "{checked}");
    engine.podman(&["rm", "checked"]);

    engine.compose(&["up", "-d"]);
    let is_well =
        || engine.command("podman", &["--remote", "healthcheck", "run", "wiki_portcullis_1"]).output();
    until("a health check", || async { is_well().unwrap().status.success() }).await;
    let sent_on = wire::get(redirect, "wiki.example.com", "/x?y=z").await.unwrap();
    assert_eq!(
        (sent_on.status.as_u16(), sent_on.header("location")),
        (308, Some("https://wiki.example.com/x?y=z"))
    );
    let directory = DirectoryOverTls { address: scim, name: SCIM, token: "0123456789abcdef".repeat(4) };
    let mira = directory.person("mira@corp.test", "00u-mira").await;
    directory.deactivate(&mira).await;
    // By the names of the networks it reaches the application, which nobody else does.
    let told =
        engine.command("docker-compose", &["-p", "wiki", "exec", "-T", "portcullis", "portcullis", "doctor"]);
    let told = { told }.output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("http://app:3000 connects"), "{told}");
    let ports_of = |name: &str| engine.podman(&["port", name]);
    assert_eq!(ports_of("wiki_app_1"), "");
    assert_eq!(ports_of("wiki_portcullis_1").lines().count(), 3);
    // Nothing but its state is written, by nobody's right.
    let of_engine = engine.podman(&["inspect", "wiki_portcullis_1"]);
    let inspected: serde_json::Value = serde_json::from_str(&of_engine).unwrap();
    assert_eq!(inspected[0]["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(inspected[0]["EffectiveCaps"].as_array().map_or(0, Vec::len), 0, "{of_engine}");

    engine.compose(&["stop"]);
    let ended = engine.podman(&["inspect", "--format", "{{.State.ExitCode}}", "wiki_portcullis_1"]);
    assert_eq!(ended, "0", "it left in good order");
    engine.compose(&["up", "-d", "--force-recreate"]);
    until("a health check", || async { is_well().unwrap().status.success() }).await;
    let shown = ["exec", "-T", "portcullis", "portcullis", "user", "show", "mira@corp.test"];
    let shown = engine.compose(&shown);
    assert!(shown.contains("inactive"), "another container knows what was removed: {shown}");
}

//! What is shipped, made by the scripts of `packaging/` and run in a root of its own: with nothing of this machine but its
//! kernel, its network and what was unpacked there.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{peer, ports, until, wire};

/// The folder of the sources.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program that the tests are of.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

/// Runs a command that must be fine, and says what it printed.
pub fn printed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    told(&output, &format!("{command:?}"))
}

fn told(output: &Output, what: &str) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {}\n{error}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap().trim().to_owned()
}

/// A script of `packaging/`, at a time that is always the same.
pub fn script(name: &str) -> Command {
    let mut command = Command::new(sources().join("packaging").join(name));
    command.current_dir(sources()).env("SOURCE_DATE_EPOCH", "1700000000");
    command
}

/// Writes the bill of materials of the program that the tests are of.
pub fn write_bill(file: &Path) {
    let features = if cfg!(feature = "saml") { "saml" } else { "" };
    let mut command = script("sbom");
    printed(command.args(["--version", "of a test", "--features", features, "--out"]).arg(file));
}

/// Asks CycloneDX's schema about a bill of materials, and looks for what must be in it.
pub fn judge_bill(file: &Path) -> Value {
    let python = peer::cache().join("packages/bin/python");
    let judge = peer::rigs().join("packages/judge_bill.py");
    assert_eq!(printed(Command::new(python).arg(judge).arg(file)), "");
    let bill: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let linked: Vec<&str> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|component| component["scope"] == "required")
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    for name in ["pingora", "hyper", "rustls", "ring", "sqlx", "portcullis-proxy", "rust-std"] {
        assert!(linked.contains(&name), "{name} is not in {linked:?}");
    }
    for name in ["criterion", "portcullis-rig", "bindgen"] {
        assert!(!linked.contains(&name), "{name} is not linked in");
    }
    bill
}

/// A configuration that needs nothing but a secret, on ports of its own.
pub struct InRoot {
    pub proxy: SocketAddr,
    pub health: SocketAddr,
}

impl InRoot {
    pub fn new() -> Self {
        Self { proxy: ports::free(), health: ports::free() }
    }

    /// The file that a package brings as a place to begin, with what a test must change: ports, and where the secret is.
    pub fn configuration(&self, secret: &str) -> String {
        let began = fs::read_to_string(sources().join("packaging/portcullis.yaml")).unwrap();
        let (proxy, health) = (self.proxy, self.health);
        began.replace("/run/credentials/portcullis.service/secrets_oidc", secret)
            + &format!(
                "listen:\n  proxy: {{ address: \"{proxy}\" }}\n  health: {{ address: \"{health}\" }}\n"
            )
    }

    /// Runs the program of a root, serves `/livez`, asks it to reload and to end. `shell` comes before, as root; `user`
    /// is who runs it, and only `variables` are set.
    pub async fn serve(
        &self,
        root: &Path,
        shell: &str,
        user: &str,
        words: &[&str],
        variables: &[(&str, &str)],
    ) {
        let mut program = self.start(root, shell, user, words, variables);
        self.see_served(&mut program).await;
        let pid = Pid::from_child(&program);
        kill_process(pid, Signal::HUP).unwrap();
        self.see_reloaded().await;
        kill_process(pid, Signal::TERM).unwrap();
        let mut status = None;
        until("the end of the program", || {
            status = program.try_wait().unwrap();
            let is_over = status.is_some();
            async move { is_over }
        })
        .await;
        assert_eq!(status.unwrap().code(), Some(0), "{words:?} in {}", root.display());
    }

    fn start(
        &self,
        root: &Path,
        shell: &str,
        user: &str,
        words: &[&str],
        variables: &[(&str, &str)],
    ) -> Child {
        // Every step takes the place of the one before, so that a signal reaches the program.
        let script = format!(
            "set -eu; cd \"$1\"; {shell}\nuser=$2; shift 2; exec chroot --userspec=\"$user\" . \"$@\""
        );
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
            .arg(root)
            .arg(user)
            .args(words)
            .env_clear()
            .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_beside(root))
            .spawn()
            .unwrap()
    }

    /// Waits for `/livez`, and sees that nobody passes without a session.
    pub async fn see_served(&self, program: &mut Child) {
        until("/livez", || {
            let status = program.try_wait().unwrap();
            assert!(status.is_none(), "it ended before it was alive: {status:?}");
            self.is_alive()
        })
        .await;
        self.see_closed().await;
    }

    /// Waits until one reload has been applied.
    pub async fn see_reloaded(&self) {
        until("a reload", || async {
            let metrics = wire::get(self.health, "localhost", "/metrics").await.unwrap().text();
            metrics.contains("portcullis_reloads_total{outcome=\"applied\"} 1\n")
        })
        .await;
    }

    /// Whether `/livez` says yes.
    pub async fn is_alive(&self) -> bool {
        wire::get(self.health, "localhost", "/livez").await.is_ok_and(|answer| answer.status == 200)
    }

    /// Sees that nobody passes without a session.
    pub async fn see_closed(&self) {
        assert_eq!(wire::get(self.proxy, "wiki.example.com", "/").await.unwrap().status, 401);
    }
}

/// Where a program of a root writes its log: beside the root.
pub fn log_beside(root: &Path) -> fs::File {
    fs::File::create(root.with_extension("log")).unwrap()
}

/// An image, as its archive says it is, with its files unpacked.
pub struct Image {
    pub config: Value,
    pub root: PathBuf,
}

/// Unpacks an image as a runtime does: by digest, each compared with what it names.
pub fn unpack_image(archive: &Path, folder: &Path) -> Image {
    let layout = folder.join("layout");
    let root = folder.join("root");
    fs::create_dir_all(&layout).unwrap();
    fs::create_dir_all(&root).unwrap();
    printed(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&layout));
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    assert_eq!(read(&layout.join("oci-layout"))["imageLayoutVersion"], "1.0.0");
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        let path = layout.join("blobs/sha256").join(digest);
        let sum = printed(Command::new("sha256sum").arg(&path));
        assert_eq!(sum.split(' ').next(), Some(digest));
        path
    };
    let index = read(&layout.join("index.json"));
    let manifest = read(&blob(&index["manifests"][0]["digest"]));
    let config = read(&blob(&manifest["config"]["digest"]));
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    let older = read(&layout.join("manifest.json"));
    for (named, digest) in
        [(&older[0]["Config"], &manifest["config"]["digest"]), (&older[0]["Layers"][0], &layers[0]["digest"])]
    {
        assert_eq!(layout.join(named.as_str().unwrap()), blob(digest), "the other form has the same blobs");
    }
    let layer = blob(&layers[0]["digest"]);
    let unpacked = printed(Command::new("sh").args(["-c", "gzip -dc \"$0\" | sha256sum"]).arg(&layer));
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", unpacked.split(' ').next().unwrap()));
    printed(
        Command::new("tar")
            .args(["-xzpf"])
            .arg(&layer)
            .args(["--same-owner", "--numeric-owner", "-C"])
            .arg(&root),
    );
    Image { config, root }
}

impl Image {
    /// Runs it as its configuration says, in a root that nobody can write to but for its volume.
    pub async fn serve_read_only(&self) {
        let own = InRoot::new();
        let settings = &self.config["config"];
        let user = settings["User"].as_str().unwrap();
        assert_ne!(user.split(':').next().unwrap().parse::<u32>().unwrap(), 0, "not root");
        fs::write(
            self.root.join("etc/portcullis/portcullis.yaml"),
            own.configuration("/etc/portcullis/oidc"),
        )
        .unwrap();
        fs::write(self.root.join("etc/portcullis/oidc"), "a-secret").unwrap();
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let words = [texts(&settings["Entrypoint"]), texts(&settings["Cmd"])].concat();
        let variables = texts(&settings["Env"]);
        let variables: Vec<(&str, &str)> = variables
            .iter()
            .filter_map(|text| text.split_once('='))
            .filter(|(name, _)| *name != "PATH")
            .collect();
        assert!(settings["Volumes"]["/var/lib/portcullis"].is_object());
        let shell = format!(
            "mount --bind . . && cd \"$1\" && mount -o remount,bind,ro . && \
             mount -t tmpfs -o mode=700,uid={user},gid={user} tmpfs var/lib/portcullis && \
             if touch etc/x 2>/dev/null; then exit 9; fi",
            user = user.split(':').next().unwrap()
        );
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        own.serve(&self.root, &shell, user, &words, &variables).await;
    }
}

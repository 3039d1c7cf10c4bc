//! The program under test: the real binary, as a child, with a configuration of its own on free ports.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

use super::directory::DirectoryClient;
use super::settings::Settings;
use super::watch::Watch;
use super::{NET, must, until, wire};

/// A program, running or about to. Dropped, it is killed, its log is searched for the secrets of the run, and printed if the test fails.
pub struct Program {
    child: Option<Child>,
    /// Those that have taken over from it, the last of them in its place.
    successors: Vec<Process>,
    /// The words of a command that becomes the program.
    below: Vec<String>,
    folder: TempDir,
    pub settings: Settings,
    pub watch: Watch,
    /// Where health and metrics of the one that runs are, whatever its files say meanwhile.
    health: SocketAddr,
}

impl Program {
    /// Starts it and waits until `/readyz` says yes.
    pub async fn start(settings: Settings) -> Self {
        let mut program = Self::install(settings);
        program.begin().await;
        program
    }

    /// Puts the files there and starts nothing.
    pub fn install(settings: Settings) -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-").tempdir().unwrap();
        write_files(folder.path(), &settings);
        let watch = Watch::default();
        watch.secret("the client secret", &settings.client_secret);
        if !settings.scim_token.is_empty() {
            watch.secret("the SCIM token", &settings.scim_token);
        }
        let health = settings.health;
        Self { child: None, successors: Vec::new(), below: Vec::new(), folder, settings, watch, health }
    }

    /// Starts it, for the first time or again on the same state, and waits until `/readyz` says yes.
    pub async fn begin(&mut self) {
        if let Err(status) = self.try_begin().await {
            panic!("the program ended before it was ready: {status}\n{}", self.log());
        }
    }

    /// The same where it may refuse to start.
    pub async fn try_begin(&mut self) -> Result<(), ExitStatus> {
        let log = |name: &str| open_log(self.folder.path(), name).into();
        self.try_begin_into(log("stdout.log"), log("stderr.log")).await
    }

    /// Starts it by a command that becomes the program: what follows these words is the program and its own.
    pub async fn begin_below(&mut self, words: &[&str], more: &[String]) {
        self.below = words.iter().map(|word| (*word).to_owned()).chain(more.iter().cloned()).collect();
        self.begin().await;
    }

    /// The same, with standard output and error somewhere else.
    pub async fn begin_into(&mut self, stdout: Stdio, stderr: Stdio) {
        if let Err(status) = self.try_begin_into(stdout, stderr).await {
            panic!("the program ended before it was ready: {status}");
        }
    }

    async fn try_begin_into(&mut self, stdout: Stdio, stderr: Stdio) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "it runs");
        self.child = Some(spawn(self.folder.path(), self.settings.files, &self.below, stdout, stderr));
        self.health = self.settings.health;
        let health = self.health;
        let ready = async {
            loop {
                if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                    self.child = None;
                    return Err(status);
                }
                if wire::get(health, "localhost", "/readyz").await.is_ok_and(|answer| answer.status == 200) {
                    return Ok(());
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        must("/readyz", ready).await
    }

    /// Has another process take over, by the command, and gives the one that was replaced.
    pub async fn upgrade(&mut self) -> Process {
        let before = Process::of(self.pid());
        let output = self.command_beside(&["upgrade"]).await;
        self.adopt(&output);
        before
    }

    /// Takes the process that the command says has taken over for the one that runs.
    pub fn adopt(&mut self, output: &Output) {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let pid =
            said.split_once("The process with pid ").and_then(|(_, rest)| rest.split_once(" serves now"));
        self.successors.push(Process::of(pid.unwrap().0.parse().unwrap()));
    }

    /// A command of the program while other tasks of the test go on.
    pub async fn command_beside(&self, words: &[&str]) -> Output {
        let (folder, words) = (self.folder.path().to_owned(), words.iter().map(|word| (*word).to_owned()));
        let words: Vec<String> = words.collect();
        let run = move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            command(&folder, &words)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Starts it once more, in a folder that a process which was replaced may still use.
    pub async fn begin_again(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It is reaped by whoever waits for it.
            std::thread::spawn(move || child.wait());
        }
        self.begin().await;
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        if self.successors.pop().is_some() {
            return;
        }
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether it was started and not ended.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.successors.last().map_or_else(|| self.child.as_ref().unwrap().id(), |successor| successor.pid)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        match self.successors.last() {
            Some(successor) => successor.signal(signal),
            None => kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap(),
        }
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let mut status = None;
        until("the end of the program", || {
            status = child.try_wait().unwrap();
            let over = status.is_some();
            async move { over }
        })
        .await;
        status.unwrap()
    }

    /// Writes a changed configuration and tells the program, which takes it within [`super::NET`] or never.
    pub async fn reload(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.write();
        self.hang_up().await;
    }

    /// Writes the settings as they are now, and tells nobody.
    pub fn write(&self) {
        write_files(self.folder.path(), &self.settings);
    }

    /// Tells it to read its files again, and waits until it has: whether it took them.
    pub async fn hang_up(&self) -> bool {
        let before = self.reloads().await;
        self.signal(Signal::HUP);
        let ended = async {
            loop {
                let after = self.reloads().await;
                if after != before {
                    return after.0 > before.0;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        must("the end of a reload", ended).await
    }

    /// How many reloads were taken, and how many were refused.
    async fn reloads(&self) -> (u64, u64) {
        let answer = wire::get(self.health, "localhost", "/metrics").await.unwrap().text();
        let count = |taken: bool| {
            let lines = answer.lines().filter(|line| line.starts_with("portcullis_reloads_total{"));
            let of = lines.filter(|line| line.contains("refused") != taken);
            of.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
        };
        (count(true), count(false))
    }

    /// Everything it wrote so far, standard output and error.
    pub fn log(&self) -> String {
        read_log(self.folder.path())
    }

    /// The lines of the log that hold a text.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// Waits for a line of the log that holds all of these.
    pub async fn logged(&self, parts: &[&str]) -> String {
        let find = || {
            self.log().lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned)
        };
        until(&format!("a log line with {parts:?}"), || {
            let found = find().is_some();
            async move { found }
        })
        .await;
        find().unwrap()
    }

    /// The address of the proxy.
    pub fn proxy(&self) -> SocketAddr {
        self.settings.proxy
    }

    /// Its directory, with its token.
    pub fn directory(&self) -> DirectoryClient {
        DirectoryClient::new(self.settings.scim, &self.settings.scim_token)
    }

    /// The folder of the test: configuration, secrets, and `state`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("state/portcullis.db")
    }

    /// Runs a command of the command line with this program's configuration.
    pub fn command(&self, words: &[&str]) -> Output {
        command(self.folder.path(), words)
    }

    /// Asserts that the database keeps every rule. Of a large one that takes longer than other commands may.
    pub fn assert_sound(&self) {
        let mut command = binary();
        command.arg("-c").arg(self.folder().join("portcullis.yaml")).args(["store", "check"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The value of one metric line, summed over its labels; `None` where there is no such line.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = wire::get(self.health, "localhost", "/metrics").await.unwrap();
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let values: Vec<f64> = answer
            .text()
            .lines()
            .filter(of_name)
            .filter_map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()))
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}

/// A process of the program that may be no child of the test. Dropped, it is killed: a test that fails leaves none behind.
pub struct Process {
    pub pid: u32,
    process: OwnedFd,
}

impl Process {
    fn of(pid: u32) -> Self {
        let named = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        Self { pid, process: pidfd_open(named, PidfdFlags::empty()).unwrap() }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.process, signal).unwrap();
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        let mut look = [PollFd::new(&self.process, PollFlags::IN)];
        poll(&mut look, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    /// Waits until it has.
    pub async fn is_gone(&self) {
        until("the end of a process", || async { self.is_over() }).await;
    }

    fn wait_dead(&self) {
        let mut look = [PollFd::new(&self.process, PollFlags::IN)];
        poll(&mut look, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.process, Signal::KILL); // it may have ended
        self.wait_dead();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.successors.clear();
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = self.log();
        if std::thread::panicking() {
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("the program's last words:");
            tail.iter().rev().for_each(|line| eprintln!("  {}", line.chars().take(600).collect::<String>()));
        } else {
            self.watch.check("the log", &log);
            assert!(!log.contains("panicked at"), "the program panicked:\n{log}");
        }
    }
}

/// Runs the program with a configuration until it ends by itself: for what must be refused.
pub fn run_to_end(settings: &Settings, words: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path(), settings);
    command(folder.path(), words)
}

/// The program's command line in a folder of a test.
pub fn command(folder: &Path, words: &[&str]) -> Output {
    let mut command = binary();
    command.args(words).arg("-c").arg(folder.join("portcullis.yaml")).current_dir(folder);
    bounded(command)
}

/// Runs a command that must end by itself.
pub fn bounded(mut command: Command) -> Output {
    let shown = format!("{command:?}");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (over, ended) = std::sync::mpsc::channel::<()>();
    // Somebody must end it if it does not: the pipes below are read to their end.
    let guard = std::thread::spawn(move || {
        let timed_out = ended.recv_timeout(NET) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if timed_out {
            let _ = kill_process(pid, Signal::KILL);
        }
        timed_out
    });
    let mut stderr = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut stderr, &mut read).map(|_| read)
    });
    let mut stdout = Vec::new();
    std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut stdout).unwrap();
    let stderr = errors.join().unwrap().unwrap();
    let status = child.wait().unwrap();
    drop(over);
    assert!(!guard.join().unwrap(), "{shown} did not end by itself:\n{}", String::from_utf8_lossy(&stderr));
    Output { status, stdout, stderr }
}

/// The program, with nothing of the machine's own environment that could change what it does. Another build of it, where
/// `PORTCULLIS_TEST_PROGRAM` names one: so what is shipped passes the suite too.
pub fn binary() -> Command {
    let other = std::env::var_os("PORTCULLIS_TEST_PROGRAM");
    without_settings(Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_portcullis").into())))
}

/// A command without what the machine's environment says to the program.
pub fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTCULLIS_") || name == "RUST_LOG" || name == "NO_COLOR" {
            command.env_remove(name);
        }
    }
    command
}

/// Writes the configuration and what it names. Replaces files as an operator's tool would: by renaming.
pub fn write_files(folder: &Path, settings: &Settings) {
    let write = |name: &str, text: &str| {
        let fresh = folder.join(format!("{name}.new"));
        fs::write(&fresh, text).unwrap();
        // Secrets are nobody else's, and what is none may stand beside them.
        fs::set_permissions(&fresh, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::rename(fresh, folder.join(name)).unwrap();
    };
    write("client-secret", &settings.client_secret);
    write("scim-token", &settings.scim_token);
    if let Some(bindings) = &settings.bindings {
        write("bindings.yml", bindings);
    }
    if settings.scheme == "https" {
        let (certificate, key) = super::tls::pem_files(&settings.host);
        write("tls.crt", &certificate);
        write("tls.key", &key);
        write("clients.pem", &super::tls::authority_pem());
    }
    write("portcullis.yaml", &settings.yaml(folder));
}

/// A file of the test's folder that standard output or error goes to.
pub fn open_log(folder: &Path, name: &str) -> File {
    File::options().append(true).create(true).open(folder.join(name)).unwrap()
}

/// The socket in the program's folder on which a test plays the service manager.
pub const MANAGER: &str = "notify.sock";

fn spawn(folder: &Path, files: Option<u32>, below: &[String], stdout: Stdio, stderr: Stdio) -> Child {
    let mut command = binary();
    let limited = files.map(|files| {
        ["sh", "-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")].map(str::to_owned).to_vec()
    });
    if let [first, rest @ ..] = &limited.unwrap_or_else(|| below.to_vec())[..] {
        let program = std::mem::replace(&mut command, Command::new(first));
        command.args(rest).arg(program.get_program());
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
    }
    // Who listens there plays the service manager.
    let manager = folder.join(MANAGER);
    if manager.exists() {
        command.env("NOTIFY_SOCKET", manager);
    }
    command.arg("run").arg("-c").arg(folder.join("portcullis.yaml")).current_dir(folder);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap()
}

fn read_log(folder: &Path) -> String {
    let read =
        |name: &str| String::from_utf8_lossy(&fs::read(folder.join(name)).unwrap_or_default()).into_owned();
    read("stderr.log") + &read("stdout.log")
}

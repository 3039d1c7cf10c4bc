//! Portcullis in front of the same application, with people signed in.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::load::{AT_ONCE, HOST};
use crate::rig::directory::DirectoryClient;
use crate::rig::process::Process;
use crate::rig::program::{self, Program};
use crate::rig::seed::Seed;
use crate::rig::settings::Settings;
use crate::rig::wire;
use crate::server::{Setup, Under};

const ALICE: &str = "alice@corp.test";

/// The program, its directory, and the sessions of its people, one for each connection of the load. The first of them
/// is the one that is taken out.
pub(crate) struct Gate {
    program: Program,
    /// The program, where the rig did not start it.
    apart: Option<Process>,
    directory: DirectoryClient,
    id: String,
    pub(crate) cookies: Vec<String>,
}

impl Gate {
    /// Starts it with `log.access` off, or written to a file.
    pub(crate) async fn start(setup: Setup<'_>, access: &str) -> Self {
        Self::of(setup, access, None).await
    }

    /// The same with another build of it.
    pub(crate) async fn of(setup: Setup<'_>, access: &str, build: Option<&Path>) -> Self {
        let mut settings = Settings::new(setup.app);
        settings.access = access.to_owned();
        Self::with_settings(setup, settings, build).await
    }

    /// The same with settings of one's own.
    pub(crate) async fn with_settings(
        setup: Setup<'_>,
        mut settings: Settings,
        build: Option<&Path>,
    ) -> Self {
        settings.level = "error";
        // A connection waits for its next turn while all others have theirs.
        settings.more += "limits:\n  idle: 1h\n";
        if setup.protocol.is_tls() {
            settings.scheme = "https";
        }
        let mut program = Program::install(settings);
        let seed = Seed::open(program.folder(), &program.settings).await;
        let names: Vec<String> = (1..AT_ONCE).map(|n| format!("person{n}@corp.test")).collect();
        let names: Vec<&str> = [ALICE].into_iter().chain(names.iter().map(String::as_str)).collect();
        let people = seed.people(&names).await;
        seed.close().await;
        let id = people.0[ALICE].0.clone();
        let cookies = names.iter().map(|name| people.0[*name].1.clone()).collect();
        let mut apart = None;
        match (setup.under, build) {
            (Under::Nothing, None) => program.begin().await,
            (under, build) => apart = Some(begin_apart(&program, under, build).await),
        }
        let directory = program.directory();
        Self { program, apart, directory, id, cookies }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.program.settings.proxy
    }

    pub(crate) fn pid(&self) -> u32 {
        self.apart.as_ref().map_or_else(|| self.program.pid(), Process::pid)
    }

    /// The folder that its state is in.
    pub(crate) fn folder(&self) -> &Path {
        self.program.folder()
    }

    /// Has the directory read the person, as directories do before they change somebody: what is prepared at a first
    /// request after a start is prepared then.
    pub(crate) async fn read(&self) {
        assert!(self.directory.read(&self.id).await.status.is_success());
    }

    /// Has the directory take the person out.
    pub(crate) async fn deactivate(&self) {
        self.directory.deactivate(&self.id).await;
    }

    /// Signs the person in again. The program is ended and started for it.
    pub(crate) async fn again(&mut self) {
        self.directory.reactivate(&self.id).await;
        self.program.signal(rustix::process::Signal::TERM);
        self.program.ended().await;
        let seed = Seed::open(self.program.folder(), &self.program.settings).await;
        self.cookies[0] = seed.session(ALICE).await;
        seed.close().await;
        self.program.begin().await;
    }

    /// Asks the program that was started apart to end, and waits for it.
    pub(crate) fn end(mut self) {
        if let Some(process) = self.apart.take() {
            process.end(rustix::process::Signal::TERM);
        }
    }
}

/// Starts it as the rig would, but another build of it, or under something that makes it slow.
async fn begin_apart(program: &Program, under: Under<'_>, build: Option<&Path>) -> Process {
    let binary = program::binary();
    let mut command = under.command(build.unwrap_or(Path::new(binary.get_program())));
    for (name, _) in binary.get_envs() {
        command.env_remove(name);
    }
    command.arg("run").arg("-c").arg(program.folder().join("portcullis.yaml"));
    let process =
        Process::spawn(command.current_dir(program.folder()).stdout(Stdio::null()).stderr(Stdio::null()));
    let health = program.settings.health;
    for _ in 0..600 {
        if wire::get(health, HOST, "/readyz").await.is_ok_and(|answer| answer.status == 200) {
            return process;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("/readyz: did not come");
}

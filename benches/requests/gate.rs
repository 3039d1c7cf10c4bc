//! Portcullis in front of the same upstream, with people signed in.

use std::net::SocketAddr;
use std::time::Duration;

use crate::load;
use crate::rig::directory::Directory;
use crate::rig::program::Program;
use crate::rig::seed::Seed;
use crate::rig::settings::Settings;

const ALICE: &str = "alice@corp.test";

/// How many people are signed in.
const PEOPLE: usize = 64;

/// The program, its directory, and the sessions of its people. The first of them is the one that is taken out.
pub(crate) struct Gate {
    program: Program,
    directory: Directory,
    id: String,
    pub(crate) cookies: Vec<String>,
}

impl Gate {
    /// With the access log off, as the promise is stated, or written to a file.
    pub(crate) async fn start(upstream: SocketAddr, access: &str) -> Self {
        let mut settings = Settings::new(upstream);
        settings.access = access.to_owned();
        settings.level = "error";
        let mut program = Program::install(settings);
        let seed = Seed::open(program.folder(), &program.settings).await;
        let names: Vec<String> = (1..PEOPLE).map(|n| format!("person{n}@corp.test")).collect();
        let names: Vec<&str> = [ALICE].into_iter().chain(names.iter().map(String::as_str)).collect();
        let people = seed.people(&names).await;
        seed.close().await;
        let id = people.0[ALICE].0.clone();
        let cookies = names.iter().map(|name| people.0[*name].1.clone()).collect();
        program.begin().await;
        let directory = Directory::new(&program);
        Self { program, directory, id, cookies }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.program.settings.proxy
    }

    pub(crate) fn cpu(&self) -> Duration {
        load::cpu(self.program.pid())
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
}

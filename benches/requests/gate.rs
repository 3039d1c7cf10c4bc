//! Portcullis in front of the same upstream, with one person signed in.

use std::net::SocketAddr;
use std::time::Duration;

use crate::load;
use crate::rig::directory::Directory;
use crate::rig::program::Program;
use crate::rig::seed::Seed;
use crate::rig::settings::Settings;

const ALICE: &str = "alice@corp.test";

/// The program, its directory, and the session of one person.
pub(crate) struct Gate {
    program: Program,
    directory: Directory,
    id: String,
    pub(crate) cookie: String,
}

impl Gate {
    /// With the access log off, as the promise is stated, or written to a file.
    pub(crate) async fn start(upstream: SocketAddr, access: &str) -> Self {
        let mut settings = Settings::new(upstream);
        settings.access = access.to_owned();
        settings.level = "error";
        let mut program = Program::install(settings);
        let seed = Seed::open(program.folder(), &program.settings).await;
        let people = seed.people(&[ALICE]).await;
        seed.close().await;
        let (id, cookie) = people.0[ALICE].clone();
        program.begin().await;
        let directory = Directory::new(&program);
        Self { program, directory, id, cookie }
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
        self.cookie = seed.session(ALICE).await;
        seed.close().await;
        self.program.begin().await;
    }
}

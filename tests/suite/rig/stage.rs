//! A program with an application behind it and a directory beside it: what nearly every test starts with.

use super::application::Application;
use super::directory::DirectoryClient;
use super::idp::Op;
use super::program::Program;
use super::seed::{Seed, Seeded};
use super::settings::Settings;
use super::visitor::Visitor;

/// All of it, running.
pub struct Stage {
    pub program: Program,
    pub app: Application,
    pub directory: DirectoryClient,
    people: Seeded,
}

impl Stage {
    /// As the shortest configuration has it.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With a change of the settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let app = Application::start().await;
        let mut settings = Settings::new(app.address);
        change(&mut settings);
        Self::of(app, settings).await
    }

    /// With these settings, and this application behind it.
    pub async fn of(app: Application, settings: Settings) -> Self {
        let program = Program::start(settings).await;
        let directory = program.directory();
        Self { program, app, directory, people: Seeded::default() }
    }

    /// Where people sign in by a provider that runs, of which it is a client of its own.
    pub async fn signing_in_by(op: &Op) -> Self {
        let app = Application::start().await;
        let settings = Settings::new(app.address);
        let client = op.client(&settings).await;
        Self::of(app, settings.with_idp(&op.issuer, &client)).await
    }

    /// With people in the directory, each with a session, before the program starts. A person's name is also their
    /// address and `externalId`.
    pub async fn seeded(change: impl FnOnce(&mut Settings), names: &[&str]) -> Self {
        Self::seeded_before(Application::start().await, change, names).await
    }

    /// The same before an application that is there already.
    pub async fn seeded_before(app: Application, change: impl FnOnce(&mut Settings), names: &[&str]) -> Self {
        let mut settings = Settings::new(app.address);
        change(&mut settings);
        let mut program = Program::install(settings);
        let seed = Seed::open(program.folder(), &program.settings).await;
        let people = seed.people(names).await;
        seed.close().await;
        for (_, cookie) in people.0.values() {
            program.watch.secret("a session cookie", cookie.split_once('=').unwrap().1);
        }
        program.begin().await;
        let directory = program.directory();
        Self { program, app, directory, people }
    }

    /// Somebody who was seeded, with their session.
    pub fn visitor(&self, name: &str) -> Visitor {
        Visitor::new(&self.program.settings, &self.people.0[name].1)
    }

    /// The SCIM `id` of somebody who was seeded.
    pub fn id(&self, name: &str) -> &str {
        &self.people.0[name].0
    }

    /// One more session of somebody who was seeded. The program must not run while it is made.
    pub async fn another_session(&mut self, name: &str) -> Visitor {
        let runs = self.program.is_running();
        if runs {
            self.stop().await;
        }
        let seed = Seed::open(self.program.folder(), &self.program.settings).await;
        let cookie = seed.session(name).await;
        seed.close().await;
        self.program.watch.secret("a session cookie", cookie.split_once('=').unwrap().1);
        if runs {
            self.program.begin().await;
        }
        Visitor::new(&self.program.settings, &cookie)
    }

    /// Ends the program in good order and starts it again: nothing is in its memory then.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.program.begin().await;
    }

    /// Ends the program in good order.
    pub async fn stop(&mut self) {
        self.program.signal(rustix::process::Signal::TERM);
        let status = self.program.ended().await;
        assert_eq!(status.code(), Some(0), "SIGTERM ends it in good order");
    }

    /// Somebody without a session.
    pub fn stranger(&self) -> Visitor {
        Visitor::new(&self.program.settings, "")
    }
}

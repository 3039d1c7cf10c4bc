//! What is at hand before anything is judged: the configuration, the database at a glance, the program that runs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::{Environment, File, Loaded, Problem, Problems};
use portcullis_keys::Keyring;
use portcullis_policy::{DirectoryId, OrgId, Timestamp};
use portcullis_sso::Fetch;
use portcullis_store::{DatabaseGlance, GlancedPart, OpenError, glance_at};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::super::reach::{self, ReachError};
use super::check::DoctorCheck;
use crate::condition::ProgramCondition;
use crate::fetch;
use crate::foreign::Foreign;
use crate::keyring;
use crate::settings;
use crate::terminal::{Exit, config_path, print_error};

/// The time that a look at the database may take.
const GLANCE: Duration = Duration::from_secs(10);

/// Everything that checks are made of.
pub(super) struct Checkup {
    pub(super) file: File,
    pub(super) warnings: Vec<Problem>,
    pub(super) fetch: Fetch,
    pub(super) program: Result<Option<ProgramCondition>, ReachError>,
    pub(super) database: Glanced,
    runtime: Runtime,
}

/// Reasons why nothing is examined.
pub(super) enum NoCheckup {
    /// The configuration has problems, of which nobody was told yet.
    Configuration(Problems),
    /// The reason was printed; the code to end with.
    Failed(Exit),
}

/// The database, as far as it could be looked at.
pub(super) enum Glanced {
    /// It was looked at.
    Seen(Box<DatabaseGlance>),
    /// There is none yet.
    Missing,
    /// The state folder is another user's: whoever looks would leave files behind that are theirs.
    Foreign,
    /// It took too long.
    Slow,
    /// It cannot be used.
    Unusable(OpenError),
}

impl Checkup {
    /// Reads the configuration and looks at what lies here.
    ///
    /// # Errors
    /// [`NoCheckup`].
    pub(super) fn prepare(config: Option<&Path>) -> Result<Self, NoCheckup> {
        let loaded = config_path(config)
            .and_then(|path| portcullis_config::load_file(&path, &Environment::of_process()));
        let Loaded { file, warnings, .. } = loaded.map_err(NoCheckup::Configuration)?;
        let runtime = reach::build_runtime().map_err(|error| NoCheckup::Failed(print_error(&error)))?;
        let fetch = fetch::build_client(settings::fetch_reach(&file), file.http_client.ca_file.clone());
        let fetch = fetch.map_err(|error| {
            print_error(&error);
            NoCheckup::Failed(Exit::Config)
        })?;
        let (program, database) = runtime.block_on(async {
            (reach::ask_program(&file.state, "/condition").await, glance_at_database(&file).await)
        });
        Ok(Self { file, warnings, fetch, program, database, runtime })
    }

    /// Waits for looks that ask somebody.
    pub(super) fn wait_for<T>(&self, looks: impl Future<Output = T>) -> T {
        self.runtime.block_on(looks)
    }

    /// The database, where it could be looked at.
    pub(super) fn glance(&self) -> Option<&DatabaseGlance> {
        match &self.database {
            Glanced::Seen(seen) => Some(seen),
            _ => None,
        }
    }

    /// The condition of the program, where one runs and answers.
    pub(super) fn condition(&self) -> Option<&ProgramCondition> {
        self.program.as_ref().ok().and_then(Option::as_ref)
    }

    /// Says how far an identity provider has got: `has_metadata` where its metadata can be read.
    pub(super) fn describe_idp_state(
        &self,
        name: &str,
        issuer: Option<&str>,
        has_metadata: bool,
    ) -> DoctorCheck {
        if !has_metadata {
            return DoctorCheck::fail(
                "state",
                name,
                "Draft: there is no metadata of it that can be read",
                "See above what came in its place",
            );
        }
        let Some(seen) = self.glance().filter(|seen| seen.directory.is_some()) else {
            return DoctorCheck::warn(
                "state",
                name,
                "Validating or Active: the database, which knows whether somebody has come in by it, was not read",
                "",
            );
        };
        if seen.came_in.iter().any(|known| Some(known.as_str()) == issuer) {
            return DoctorCheck::ok("state", name, "Active: people have come in by it");
        }
        DoctorCheck::warn(
            "state",
            name,
            "Validating: nobody has come in by it yet",
            "Sign in once. If that is refused, portcullis ref tells why, by the number on the page",
        )
    }
}

async fn glance_at_database(file: &File) -> Glanced {
    if !matches!(Foreign::of_folder(&file.state), Ok(None)) && file.state.exists() {
        return Glanced::Foreign;
    }
    if !file.database.exists() {
        return Glanced::Missing;
    }
    // One that cannot be read is told with the state folder.
    let keys: Option<Arc<Keyring>> =
        keyring::read_keyring(file.keys.as_ref(), &file.state).ok().flatten().map(Arc::new);
    let part = GlancedPart {
        org: OrgId::ONLY,
        directory: DirectoryId::ONLY,
        keys: keys.as_deref(),
        now: Timestamp::now(),
    };
    match timeout(GLANCE, glance_at(&file.database, part)).await {
        Ok(Ok(seen)) => Glanced::Seen(Box::new(seen)),
        Ok(Err(error)) => Glanced::Unusable(error),
        Err(_) => Glanced::Slow,
    }
}

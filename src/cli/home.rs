//! Where an order by hand goes: the state folder.
//!
//! Orders are given when something is wrong. So they ask the configuration for the state folder alone, however wrong
//! the rest of it is, and take `--state DIR` where even that cannot be told.

use std::path::{Path, PathBuf};

use crate::terminal::{Exit, config_path, tell_problems};
use clap::Args;
use portcullis_config::{Environment, Home};

/// Names the state folder.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct StateFolder {
    /// The state folder. Without it the configuration is asked for it, and for nothing else.
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
}

impl StateFolder {
    /// Tells whether it was named on the command line.
    pub(super) fn is_said(&self) -> bool {
        self.state.is_some()
    }

    /// Finds the state folder. What else is wrong with the configuration is no matter.
    pub(super) fn home(&self, config: Option<&Path>) -> Result<Home, Exit> {
        if let (Some(state), None) = (&self.state, config) {
            return Ok(Home::in_folder(state));
        }
        let path = config_path(config).map_err(|problems| {
            let exit = tell_problems(&problems);
            eprintln!("An order needs only the state folder of the program: --state DIR.");
            exit
        })?;
        portcullis_config::read_home(&path, self.state.as_deref(), &Environment::of_process())
            .map_err(|problems| tell_problems(&problems))
    }
}

//! `check` and `urls`: what the configuration alone can tell.

use std::path::Path;

use clap::Args;
use portcullis_config::{Checked, Environment};

use super::{Exit, config_path, print, table, tell};

/// Checks a configuration.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Check {
    /// Look at the file and its bindings alone: secrets and certificates are on another machine.
    #[arg(long)]
    text_only: bool,
}

impl Check {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        // It reaches out to nothing: a vault's client is left alone even where it is named.
        let environment = match self.text_only {
            true => Environment::system().text_only(),
            false => Environment::system().without_commands(),
        };
        match checked(config, &environment) {
            Ok((path, Checked { warnings, .. })) => {
                for warning in &warnings {
                    eprintln!("{warning}");
                }
                let count = match warnings.len() {
                    0 => String::new(),
                    1 => " 1 warning.".to_owned(),
                    more => format!(" {more} warnings."),
                };
                print(&format!(
                    "{path}: fine. Shape: beside (one app, SQLite on a disk of its own).{count}\n"
                ));
                Exit::Fine
            }
            Err(exit) => exit,
        }
    }
}

pub(super) fn urls(config: Option<&Path>) -> Exit {
    match checked(config, &Environment::system().text_only()) {
        Ok((_, Checked { urls, .. })) => {
            let rows: Vec<[String; 2]> =
                urls.into_iter().map(|(word, url)| [format!("{word}:"), url]).collect();
            print(&table(&rows));
            Exit::Fine
        }
        Err(exit) => exit,
    }
}

fn checked(config: Option<&Path>, environment: &Environment) -> Result<(String, Checked), Exit> {
    let path = config_path(config).map_err(|problems| tell(&problems))?;
    let checked = portcullis_config::check(&path, environment).map_err(|problems| tell(&problems))?;
    Ok((path.display().to_string(), checked))
}

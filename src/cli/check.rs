//! `check` and `urls`: what the configuration alone can tell.

use std::path::Path;

use clap::Args;
use portcullis_config::{Checked, Environment, Problems};
use portcullis_policy::OrgId;

use super::{Exit, config_path, print, table, tell};
use crate::ground::{self, Asked};

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
            Ok((path, checked)) => {
                let mut warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
                if !self.text_only {
                    let found = ground::look(&checked.lines, &checked.opens, Asked::ByCheck);
                    if let Some(problems) = Problems::of(found.problems) {
                        return tell(&problems);
                    }
                    warnings.extend(found.warnings.iter().map(ToString::to_string));
                    warnings.extend(stranded(&path, &checked));
                }
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

/// People whom the database links through an identity provider that the file does not configure. Read only, and only
/// by the folder's owner; where there is no database, or it cannot be read, there is nothing to say.
fn stranded(path: &str, checked: &Checked) -> Vec<String> {
    if !matches!(super::home::Foreign::of(&checked.opens.state), Ok(None)) || !checked.opens.database.exists()
    {
        return Vec::new();
    }
    let Ok(runtime) = super::reach::runtime() else { return Vec::new() };
    let found = runtime
        .block_on(portcullis_store::stranded_in(&checked.opens.database, OrgId::ONLY, &[&checked.issuer]))
        .unwrap_or_default();
    found.iter().map(|stranded| format!("{path}: idps: {}.", stranded.sentence())).collect()
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

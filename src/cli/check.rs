//! `check` and `urls`: what the configuration alone can tell.

use std::path::Path;

use clap::Args;
use portcullis_config::{Checked, Environment, Problem, Problems};
use portcullis_policy::{DirectoryId, OrgId, Timestamp};

use crate::foreign::Foreign;
use crate::ground::{self, Inquirer};
use crate::keyring::{self, MASTER};
use crate::saml;
use crate::terminal::{Exit, config_path, format_table, print_text, tell_problems};

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
            true => Environment::of_process().text_only(),
            false => Environment::of_process().without_commands(),
        };
        match check_config(config, &environment) {
            Ok((path, checked)) => {
                let mut warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
                if !self.text_only {
                    let mut found =
                        ground::look_at_machine(&checked.lines, &checked.opens, Inquirer::ByCheck);
                    found.problems.extend(master_key(&checked));
                    let saml = saml::look_at_files(&checked.idps, &checked.opens.state);
                    found.problems.extend(
                        saml.iter().map(|(key, fault)| {
                            checked.lines.problem_at(key, fault.trim_end_matches('.'), "")
                        }),
                    );
                    if let Some(problems) = Problems::from_list(found.problems) {
                        return tell_problems(&problems);
                    }
                    warnings.extend(found.warnings.iter().map(ToString::to_string));
                    warnings.extend(stranded_people(&path, &checked));
                    warnings.extend(missing_token(&checked).iter().map(ToString::to_string));
                    let mut ahead = saml::look_ahead(&checked.idps, Timestamp::now());
                    ahead.extend(unbelieved_keys(&checked));
                    warnings.extend(
                        ahead
                            .iter()
                            .map(|(key, what)| checked.lines.problem_at(key, what.as_str(), "").to_string()),
                    );
                }
                for warning in &warnings {
                    eprintln!("{warning}");
                }
                let count = match warnings.len() {
                    0 => String::new(),
                    1 => " 1 warning.".to_owned(),
                    more => format!(" {more} warnings."),
                };
                let not_run = match checked.not_run.as_slice() {
                    [] => String::new(),
                    some => format!(" Commands are not run here, so not looked at: {}.", some.join(", ")),
                };
                print_text(&format!(
                    "{path}: fine. Shape: beside (one app, SQLite on a disk of its own).{count}{not_run}\n"
                ));
                Exit::Fine
            }
            Err(exit) => exit,
        }
    }
}

/// Tells whether the database may be looked at: read only, and only by the folder's owner. Where there is none, or it
/// cannot be read, there is nothing to say.
fn has_database(checked: &Checked) -> bool {
    matches!(Foreign::of_folder(&checked.opens.state), Ok(None)) && checked.opens.database.exists()
}

/// A master key that is missing, or is not the database's: nothing would start.
fn master_key(checked: &Checked) -> Option<Problem> {
    let opens = &checked.opens;
    if !has_database(checked) || opens.keys.as_ref().is_some_and(|keys| !keys.is_read()) {
        return None;
    }
    // One that cannot be used was told already.
    let keys = keyring::read_keyring(opens.keys.as_ref(), &opens.state).ok()?;
    let looking = portcullis_store::keys_fault_in(&opens.database, keys.as_ref(), Timestamp::now());
    let fault = super::reach::build_runtime().ok()?.block_on(looking).ok()??;
    let key = if opens.keys.is_some() { "keys" } else { "state" };
    let missing = if keys.is_none() { format!("{MASTER} is missing. ") } else { String::new() };
    Some(checked.lines.problem_at(key, format!("{missing}{fault}"), ""))
}

/// Reads what is kept of the signing keys of identity providers; nothing where there is no database.
///
/// # Errors
/// It is there, and cannot be read.
#[cfg(feature = "saml")]
pub(super) fn look_at_idp_keys(
    checked: &Checked,
) -> Result<portcullis_store::KeptIdpKeys, Box<dyn std::error::Error>> {
    if !has_database(checked) {
        return Ok(portcullis_store::KeptIdpKeys::default());
    }
    let looking = portcullis_store::idp_keys_in(&checked.opens.database, OrgId::ONLY);
    Ok(super::reach::build_runtime()?.block_on(looking)?)
}

/// Keys that metadata has and that nobody signs in by: distrusted, or waiting for an operator.
#[cfg(feature = "saml")]
fn unbelieved_keys(checked: &Checked) -> Vec<(String, String)> {
    // An earlier version kept none.
    let kept = look_at_idp_keys(checked).unwrap_or_default();
    saml::list_unbelieved(&checked.idps, &checked.opens.state, &crate::idp_keys::read_book(kept))
}

#[cfg(not(feature = "saml"))]
fn unbelieved_keys(_: &Checked) -> Vec<(String, String)> {
    Vec::new()
}

/// A directory without a token: it could not write.
fn missing_token(checked: &Checked) -> Option<Problem> {
    // In a folder that is another user's there may be one.
    if !checked.lacks_scim_token || !matches!(Foreign::of_folder(&checked.opens.state), Ok(None)) {
        return None;
    }
    let looking = portcullis_store::tokens_in(&checked.opens.database, OrgId::ONLY, DirectoryId::ONLY);
    let now = Timestamp::now();
    let is_live = |token: &portcullis_store::TokenRow| token.revoked.is_none() && now < token.expires;
    // An earlier version kept none.
    let kept = match has_database(checked) {
        true => super::reach::build_runtime().ok()?.block_on(looking).unwrap_or_default(),
        false => Vec::new(),
    };
    let is_missing = !kept.iter().any(is_live);
    is_missing.then(|| {
        let what = "there is no SCIM token, so the directory would be answered 401";
        checked.lines.problem_at("scim", what, "Make one: portcullis token new --scim --name okta")
    })
}

/// People whom the database links through an identity provider that the file does not configure.
fn stranded_people(path: &str, checked: &Checked) -> Vec<String> {
    if !has_database(checked) {
        return Vec::new();
    }
    let Ok(runtime) = super::reach::build_runtime() else { return Vec::new() };
    let issuers: Option<Vec<String>> =
        checked.idps.iter().map(|idp| saml::known_issuer(&checked.opens.state, idp)).collect();
    // One whose name for itself is not known yet may be whoever is linked.
    let Some(issuers) = issuers else { return Vec::new() };
    let issuers: Vec<&str> = issuers.iter().map(String::as_str).collect();
    let found = runtime
        .block_on(portcullis_store::stranded_in(&checked.opens.database, OrgId::ONLY, &issuers))
        .unwrap_or_default();
    found.iter().map(|stranded| format!("{path}: idps: {}.", stranded.sentence())).collect()
}

pub(super) fn print_urls(config: Option<&Path>) -> Exit {
    match check_config(config, &Environment::of_process().text_only()) {
        Ok((_, Checked { urls, .. })) => {
            let rows: Vec<[String; 2]> =
                urls.into_iter().map(|(word, url)| [format!("{word}:"), url]).collect();
            print_text(&format_table(&rows));
            Exit::Fine
        }
        Err(exit) => exit,
    }
}

fn check_config(config: Option<&Path>, environment: &Environment) -> Result<(String, Checked), Exit> {
    let path = config_path(config).map_err(|problems| tell_problems(&problems))?;
    let checked =
        portcullis_config::check_file(&path, environment).map_err(|problems| tell_problems(&problems))?;
    Ok((path.display().to_string(), checked))
}

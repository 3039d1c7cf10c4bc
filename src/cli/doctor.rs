//! `doctor`: reaches out, and says check by check what works and what to change.
//!
//! It asks the identity providers, the application, the public address and the program that runs, each with a limit of time
//! and size, and looks at the state folder and the database without writing to either. It changes nothing, anywhere, and no
//! secret is in what it prints. A start needs none of it: what it finds is told, and nothing is concluded.

mod app;
#[cfg(feature = "saml")]
mod capture;
mod check;
mod checkup;
#[cfg(feature = "saml")]
mod diagnosis;
mod directory;
mod machine;
mod oidc;
mod public;
#[cfg(feature = "saml")]
mod saml_capture;
#[cfg(feature = "saml")]
mod saml_idp;

use std::path::Path;

use clap::{Args, Subcommand};
use futures_util::future::join_all;
use portcullis_config::{IdpEntry, IdpProtocol, Problems};

use self::check::{Checks, DoctorCheck};
use self::checkup::{Checkup, NoCheckup};
use crate::terminal::{Exit, print_error, print_text, tell_problems};

/// The look that is asked for: at everything, unless a part is named.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Doctor {
    /// Print one JSON object instead of a line a check.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    part: Option<DoctorPart>,
}

/// A part to look into.
#[derive(Debug, Subcommand)]
pub(crate) enum DoctorPart {
    /// Look into the directory alone: tokens, calls, people who lack attributes, changes and leavers that never come.
    #[command(after_help = "Example: portcullis doctor scim --json")]
    Scim(PartOutput),
    /// Look into the way to the application alone: whether it connects, what its health check says, a way around.
    #[command(after_help = "Example: portcullis doctor upstream")]
    Upstream(PartOutput),
    /// Look into a SAML response that was captured: check by check what passes, what fails and which setting to change.
    ///
    /// Nothing is stored and nobody is asked. Exit codes: 0 accepted, 1 refused, 2 not looked at, 78 bad configuration.
    #[cfg(feature = "saml")]
    #[command(
        after_help = "Example: portcullis doctor saml response.txt --idp okta --at 2026-01-31T12:00:00Z"
    )]
    Saml(saml_capture::SamlCapture),
}

/// The form of what is printed of a part.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PartOutput {
    /// Print one JSON object instead of a line a check.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Does it. `config` is what `-c` named.
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let examine = |json, look: fn(&Checkup) -> Checks| match Checkup::prepare(config) {
            Ok(checkup) => tell_checks(&look(&checkup), json),
            Err(NoCheckup::Configuration(problems)) => tell_unfit(&problems, json),
            Err(NoCheckup::Failed(exit)) => exit,
        };
        match self.part {
            None => examine(self.json, look_at_everything),
            Some(DoctorPart::Scim(output)) => examine(output.json, look_at_scim),
            Some(DoctorPart::Upstream(output)) => {
                examine(output.json, |checkup| Checks::of_list(checkup.wait_for(app::look_at_app(checkup))))
            }
            #[cfg(feature = "saml")]
            Some(DoctorPart::Saml(capture)) => capture.answer(config),
        }
    }
}

fn look_at_everything(checkup: &Checkup) -> Checks {
    let mut found = machine::look_at_machine(checkup);
    checkup.wait_for(async {
        found.extend(public::look_at_listeners(checkup).await);
        found.extend(app::look_at_app(checkup).await);
        let idps = checkup.file.idps.iter().map(|idp| look_at_idp(checkup, idp));
        found.extend(join_all(idps).await.into_iter().flatten());
    });
    found.extend(directory::look_at_directory(checkup));
    Checks::of_list(found)
}

/// What is not known of a directory has its reason in the machine.
fn look_at_scim(checkup: &Checkup) -> Checks {
    let is_read = checkup.glance().is_some();
    let mut found = if is_read { Vec::new() } else { machine::look_at_machine(checkup) };
    found.extend(directory::look_at_directory(checkup));
    Checks::of_list(found)
}

async fn look_at_idp(checkup: &Checkup, idp: &IdpEntry) -> Vec<DoctorCheck> {
    match &idp.protocol {
        IdpProtocol::Oidc(entry) => oidc::look_at_provider(checkup, idp, entry).await,
        #[cfg(feature = "saml")]
        IdpProtocol::Saml(entry) => saml_idp::look_at_provider(checkup, idp, entry).await,
        #[cfg(not(feature = "saml"))]
        IdpProtocol::Saml(_) => vec![DoctorCheck::fail(
            "metadata",
            &idp.name,
            "this build of Portcullis has no SAML",
            "Take one with the feature saml, which is the default",
        )],
    }
}

/// Says what is wrong with a configuration that nothing can be looked at by: for programs as failed checks.
fn tell_unfit(problems: &Problems, json: bool) -> Exit {
    if !json {
        return tell_problems(problems);
    }
    tell_checks(&Checks::of_list(machine::list_problems(problems)), json);
    Exit::Config
}

fn tell_checks(checks: &Checks, json: bool) -> Exit {
    if json {
        match serde_json::to_string(checks) {
            Ok(text) => print_text(&format!("{text}\n")),
            Err(error) => return print_error(&error),
        }
    } else {
        print_text(&checks.to_text());
    }
    if checks.has_failed() { Exit::Failed } else { Exit::Fine }
}

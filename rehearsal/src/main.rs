//! A rehearsal of the whole product on one machine, with nothing to install.
//!
//! It stands up a rehearsal IdP and a small legacy app, writes a configuration and starts `portcullis run` with it, as
//! an operator would, and plays a scripted timeline against it with real clients. Then, on a terminal, it stays, so
//! that one can play on in a browser. It listens on loopback only, makes its secrets afresh each time, and has no door
//! into the program that an operator would not have.

mod app;
mod chain;
mod directory;
mod end;
mod held;
mod idp;
mod person;
mod places;
mod program;
mod push;
mod rehearsal;
mod screen;
mod script;
mod step;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use portcullis_keys::Random;

use chain::error_chain;
use places::Folder;
use rehearsal::{RehearsalFault, rehearse_in};
use screen::print_fault;

/// Plays a scripted rehearsal on this machine, then stays for your browser.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "portcullis-rehearsal",
    version,
    after_help = "Example: portcullis-rehearsal --script\n\n\
                  Exit codes: 0 every step came out as it should, 1 one did not, 2 used wrongly."
)]
struct Args {
    /// Ends after the script, also on a terminal, with exit code 0 if every step came out as it should.
    #[arg(long)]
    script: bool,
    /// Stays after the script until Ctrl-C or SIGTERM, also without a terminal.
    #[arg(long, conflicts_with = "script")]
    stay: bool,
    /// Keeps configuration, store and logs in this folder, which must be new or empty. Without it they lie in the
    /// temporary folder and go at the end.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Starts this program. Without it: the `portcullis` beside this executable.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

/// Runs the rehearsal: 0 when the script came out and, on a terminal, Ctrl-C was pressed; else 1.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let Args { script, stay, state, program } = Args::parse();
    let binary = match program::find_binary(program) {
        Ok(binary) => binary,
        Err(fault) => {
            print_fault(&error_chain(&fault).to_string());
            return ExitCode::FAILURE;
        }
    };
    let mut random = Random::from_system();
    let folder = match Folder::open(state.as_deref(), &mut random) {
        Ok(folder) => folder,
        Err(cause) => {
            let named = state.unwrap_or_else(std::env::temp_dir);
            print_fault(&format!(
                "the folder {} cannot be used: {cause}. Name a new one with --state.",
                named.display()
            ));
            return ExitCode::FAILURE;
        }
    };
    let stays = stay || (!script && io::stdout().is_terminal());
    match rehearse_in(&folder, &binary, random, stays).await {
        Ok(()) => {
            folder.leave();
            ExitCode::SUCCESS
        }
        Err(fault @ RehearsalFault::Interrupted) => {
            print_fault(&fault.to_string());
            folder.leave();
            ExitCode::FAILURE
        }
        Err(fault) => {
            print_fault(&error_chain(&fault).to_string());
            print_fault(&format!("configuration, store and logs are kept in {}", folder.path().display()));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_agree_with_each_other() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["portcullis-rehearsal", "--script", "--stay"]).is_err());
    }
}

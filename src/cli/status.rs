//! `status`: whether a program serves with this state folder. It asks that one alone, so a container can ask every few
//! seconds.

use std::path::{Path, PathBuf};

use clap::Args;

use super::home::StateFolder;
use super::reach::{ReachError, ask_program, build_runtime, too_long};
use crate::condition::ProgramCondition;
use crate::listeners::admin::SOCKET;
use crate::lock;
use crate::terminal::{Exit, fit_for_terminal, print_error, print_text};

/// Tells whether the program serves.
#[derive(Args, Clone, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    named: StateFolder,
    /// Print what the program knows of itself as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Reasons why nobody is said to serve.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("no program serves with the state folder {}. Start one: portcullis run", .0.display())]
    NoProgram(PathBuf),
    #[error(
        "the process with pid {pid} has the state folder {} and nobody listens at the {SOCKET} in it{}: it is starting or leaving. \
         Ask again in a moment. Where it stays so, the socket was taken away from it: restart that process",
        .state.display(), too_long(.state)
    )]
    Elsewhere { pid: u32, state: PathBuf },
}

impl Status {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let home = match self.named.home(config) {
            Ok(home) => home,
            Err(exit) => return exit,
        };
        let asked = build_runtime().map_err(StatusError::Reach).and_then(|runtime| {
            let asked = ask_program::<ProgramCondition>(&home.state, "/condition");
            runtime.block_on(asked)?.ok_or_else(|| match lock::find_holder(&home.state) {
                Some(pid) => StatusError::Elsewhere { pid, state: home.state.clone() },
                None => StatusError::NoProgram(home.state.clone()),
            })
        });
        match asked {
            Ok(condition) if self.json => {
                print_text(&format!("{}\n", serde_json::json!(condition)));
                Exit::Fine
            }
            Ok(condition) => {
                print_text(&status_text(&condition));
                Exit::Fine
            }
            Err(error) => print_error(&error),
        }
    }
}

fn status_text(condition: &ProgramCondition) -> String {
    let (pid, version) = (condition.pid, fit_for_terminal(&condition.version));
    let mut text = format!("The process with pid {pid} serves, version {version}.\n");
    for former in &condition.replaced {
        let line = format!(
            "The one with pid {}, version {}, was replaced and carries what had begun there to its end.\n",
            former.pid,
            fit_for_terminal(&former.version)
        );
        text.push_str(&line);
    }
    text
}

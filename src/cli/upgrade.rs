//! `upgrade`: the next process takes the place of the one that serves, and nobody who asks for anything notices.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use http::{Method, Request};

use super::home::StateFolder;
use super::reach::{ReachError, StoreReach, WithoutDatabase, ask_program, build_runtime};
use crate::condition::ProgramCondition;
use crate::handover::{UpgradeBegun, UpgradeState};
use crate::lock;
use crate::terminal::{Exit, fit_for_terminal, print_error, print_text};

/// Has the next process take over.
#[derive(Args, Clone, Debug)]
pub(crate) struct Upgrade {
    #[command(flatten)]
    named: StateFolder,
}

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The time that all of it may take: more than the program itself allows the next one.
const LIMIT: Duration = Duration::from_secs(200);
/// The time for which nobody may be there.
const PARTED: Duration = Duration::from_secs(2);

/// Reasons why nothing has changed.
#[derive(Debug, thiserror::Error)]
enum UpgradeError {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("no program listens in {}: there is nothing to upgrade. Start one: portcullis run", .0.display())]
    NoProgram(std::path::PathBuf),
    #[error("the process with pid {pid} serves on, as before: {why}")]
    Failed { pid: u32, why: String },
    #[error(
        "the process with pid {0} has ended, and nobody serves with this state folder: look at the log of the program, and start it"
    )]
    Ended(u32),
    #[error("after {} s nobody says what became of it: look at the log of the program", LIMIT.as_secs())]
    Unknown,
}

impl Upgrade {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let home = match self.named.home(config) {
            Ok(home) => home,
            Err(exit) => return exit,
        };
        let upgraded = build_runtime().map_err(UpgradeError::Reach).and_then(|runtime| {
            runtime.block_on(async {
                if ask_program::<ProgramCondition>(&home.state, "/condition").await?.is_none() {
                    return Err(UpgradeError::NoProgram(home.state.clone()));
                }
                let reach = StoreReach::open_home(&home, WithoutDatabase::Refuse).await?;
                let request = Request::builder().method(Method::POST).uri("/upgrade");
                let begun = reach.ask_store::<UpgradeBegun>(request, None).await;
                reach.leave().await;
                wait_for_next(&home.state, begun?.pid).await
            })
        });
        match upgraded {
            Ok((pid, condition)) => {
                print_text(&upgraded_text(pid, &condition));
                Exit::Fine
            }
            Err(error) => print_error(&error),
        }
    }
}

/// Asks until another process answers, or this one says that it serves on.
async fn wait_for_next(state: &Path, pid: u32) -> Result<(u32, ProgramCondition), UpgradeError> {
    let began = Instant::now();
    let mut gone: Option<Instant> = None;
    while began.elapsed() < LIMIT {
        if has_ended(pid)
            && gone.get_or_insert_with(Instant::now).elapsed() > PARTED
            && lock::find_holder(state).is_none()
        {
            return Err(UpgradeError::Ended(pid));
        }
        // In between nobody answers for a moment.
        if let Ok(Some(condition)) = ask_program::<ProgramCondition>(state, "/condition").await {
            match &condition.upgrade {
                UpgradeState::UnderWay => {}
                _ if condition.pid != pid => return Ok((pid, condition)),
                UpgradeState::Failed { error } => {
                    return Err(UpgradeError::Failed { pid, why: error.clone() });
                }
                UpgradeState::None => {}
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(UpgradeError::Unknown)
}

/// Tells whether a process has ended, whether or not somebody has taken note of it.
fn has_ended(pid: u32) -> bool {
    let process = i32::try_from(pid).ok().and_then(|pid| procfs::process::Process::new(pid).ok());
    process.and_then(|process| process.stat().ok()).is_none_or(|stat| stat.state == 'Z')
}

fn upgraded_text(pid: u32, condition: &ProgramCondition) -> String {
    let version = fit_for_terminal(&condition.version);
    let mut text = format!("The process with pid {} serves now, version {version}.\n", condition.pid);
    let carries = condition.replaced.iter().any(|former| former.pid == pid);
    if carries {
        let line = format!(
            "The one with pid {pid} carries what had begun there to its end, and hears every removal until then.\n"
        );
        text.push_str(&line);
    }
    let others = condition.replaced.iter().filter(|former| former.pid != pid).count();
    text.push_str(&match others {
        0 => String::new(),
        1 => "1 more that was replaced before does so too.\n".to_owned(),
        more => format!("{more} more that were replaced before do so too.\n"),
    });
    text
}

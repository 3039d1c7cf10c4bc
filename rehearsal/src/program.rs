//! The program under rehearsal: the binary `portcullis`, started, asked and ended as an operator does it.

use std::env;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use http::StatusCode;
use portcullis_rig::wire;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use crate::chain::error_chain;
use crate::end::EndSignal;

/// The time that the program may take to become ready: its first start makes a database.
const START: Duration = Duration::from_secs(30);

/// The time that the program may take to end. A browser may still hold a connection open.
const GRACE: Duration = Duration::from_secs(5);

/// The time in which the end of a process is seen, once its connections have ended.
const MOMENT: Duration = Duration::from_millis(500);

/// The pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(20);

/// The program as a child process. Dropped, it is killed: it outlives the rehearsal only where that is killed itself by a
/// signal that nobody hears.
pub(crate) struct Program {
    child: Child,
}

/// Reasons why there is no program, or none any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramFault {
    #[error("the folder of this executable is not known: name the program with --program PATH")]
    Nowhere(#[source] io::Error),
    #[error(
        "there is no program at {}: build it with `cargo build -p portcullis`, or name it with --program PATH",
        .0.display()
    )]
    Missing(PathBuf),
    #[error("{} could not be started", path.display())]
    Spawn {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the program was not ready within {} s: {said}", START.as_secs())]
    Late { said: String },
    #[error("the program ended by itself ({0}); what it said stands above")]
    Ended(ExitStatus),
    #[error("the program cannot be looked after")]
    Lost(#[source] io::Error),
}

/// Gives the binary to start: the one that was named, else the one beside this executable.
///
/// # Errors
/// There is none.
pub(crate) fn find_binary(named: Option<PathBuf>) -> Result<PathBuf, ProgramFault> {
    let path = match named {
        Some(path) => path,
        None => env::current_exe().map_err(ProgramFault::Nowhere)?.with_file_name("portcullis"),
    };
    if path.is_file() {
        std::path::absolute(path).map_err(ProgramFault::Nowhere)
    } else {
        Err(ProgramFault::Missing(path))
    }
}

impl Program {
    /// Starts `portcullis run` with a configuration. Its log goes where ours goes: what a person should look at belongs
    /// on the screen.
    ///
    /// # Errors
    /// The system does not start it.
    pub(crate) fn start(binary: &Path, configuration: &Path) -> Result<Self, ProgramFault> {
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // A terminal sends Ctrl-C to a whole group. The program is ended by us, once and in our turn.
        command.process_group(0);
        match command.spawn() {
            Ok(child) => Ok(Self { child }),
            Err(cause) => Err(ProgramFault::Spawn { path: binary.to_owned(), cause }),
        }
    }

    /// Waits until it ends by itself, and says so.
    pub(crate) async fn wait_fault(&mut self) -> ProgramFault {
        match self.wait_end().await {
            Ok(status) => ProgramFault::Ended(status),
            Err(fault) => fault,
        }
    }

    /// Gives the fault of a program that has just ended by itself; `None` where it runs.
    pub(crate) async fn find_fault(&mut self) -> Option<ProgramFault> {
        timeout(MOMENT, self.wait_fault()).await.ok()
    }

    /// Asks it to end, and kills it once its time is up or somebody asks again.
    ///
    /// # Errors
    /// It did not end well.
    pub(crate) async fn stop(mut self, end: &mut EndSignal) -> Result<(), ProgramFault> {
        // One that has ended already is not there to be asked; its end is seen below.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let ended = tokio::select! {
            ended = timeout(GRACE, self.wait_end()) => ended,
            () = end.wait() => return Ok(()),
        };
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(ProgramFault::Ended(status)),
            Ok(Err(fault)) => Err(fault),
            // Not a fault: it waits for those who are connected.
            Err(_) => Ok(()),
        }
    }

    async fn wait_end(&mut self) -> Result<ExitStatus, ProgramFault> {
        loop {
            if let Some(status) = self.child.try_wait().map_err(ProgramFault::Lost)? {
                return Ok(status);
            }
            sleep(PAUSE).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the program says on its health port that it is ready.
///
/// # Errors
/// It does not within [`START`].
pub(crate) async fn wait_ready(health: u16, state: &Path) -> Result<(), ProgramFault> {
    let mut said = "it does not listen".to_owned();
    let ready = async {
        // The last that it listens on. Before it is there, somebody else may answer on a port that ours did not get.
        while !state.join("admin.sock").exists() {
            sleep(PAUSE).await;
        }
        while let Err(other) = ask_ready(health).await {
            said = other;
            sleep(PAUSE).await;
        }
    };
    match timeout(START, ready).await {
        Ok(()) => Ok(()),
        Err(_) => Err(ProgramFault::Late { said }),
    }
}

/// Asks `/readyz` once. Any other answer comes back as it was said.
async fn ask_ready(health: u16) -> Result<(), String> {
    match wire::get((Ipv4Addr::LOCALHOST, health).into(), "127.0.0.1", "/readyz").await {
        Ok(answer) if answer.status == StatusCode::OK => Ok(()),
        Ok(answer) => Err(format!("{} {}", answer.status, answer.text().trim())),
        Err(fault) => Err(error_chain(&fault).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::test_kill_process;

    use super::*;

    #[test]
    fn a_panic_does_not_leave_the_program_behind() {
        let stand_in = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand-in"));
        let program = Program::start(stand_in, Path::new("portcullis.yaml")).unwrap();
        let pid = Pid::from_child(&program.child);
        assert!(test_kill_process(pid).is_ok());

        let panicked = std::panic::catch_unwind(move || {
            let _program = program;
            panic!("a fault of ours");
        });
        assert!(panicked.is_err());
        assert!(test_kill_process(pid).is_err());
    }

    #[test]
    fn the_program_is_looked_for_beside_this_executable() {
        let Err(ProgramFault::Missing(path)) = find_binary(None) else {
            panic!("found one beside the tests")
        };
        assert_eq!(path, env::current_exe().unwrap().with_file_name("portcullis"));
        assert!(find_binary(Some("/".into())).is_err(), "a folder is no program");
    }
}

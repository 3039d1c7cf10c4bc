//! The side of the process that takes over: it was started by the one that serves, with a line to it as its standard
//! input.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::File;
use rustix::net::sockopt::socket_domain;
use tokio::time::timeout;

use super::Predecessors;
use super::line::{HandoverLine, send_blocking};
use super::predecessors::KnownProcess;
use super::sockets::InheritedSockets;
use super::words::{Demand, Former, Numbered, Reply, Successor, WORDS};

/// The time that the process which serves has to stop to write, and to hand over.
const HAND_OVER: Duration = Duration::from_secs(60);

/// Reasons why nothing was taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeOverError {
    /// It was started by hand.
    #[error(
        "--take-over is for `portcullis upgrade` alone, which has the process that serves start the next one"
    )]
    NoLine,
    /// The state folder or the database is not where it says.
    #[error("{} cannot be looked at", .0.display())]
    Place(std::path::PathBuf, #[source] io::Error),
    /// The process that serves does not hand over.
    #[error("the process that serves does not hand over: {0}")]
    Refused(String),
    /// It broke off.
    #[error("the process that serves broke off")]
    Line(#[source] io::Error),
    /// It did not answer.
    #[error("the process that serves did not hand over within {} s", HAND_OVER.as_secs())]
    Late,
}

/// The line to the process that is to be replaced, until it has handed over.
#[derive(Debug)]
pub(crate) struct Succession(UnixStream);

/// Everything that is handed over. Of a start that replaces nobody: nothing, or the sockets of the service manager.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    /// The lock of the state folder.
    pub(crate) state_lock: Option<OwnedFd>,
    /// The lock of the database.
    pub(crate) database_lock: Option<OwnedFd>,
    pub(crate) sockets: InheritedSockets,
    /// Those that were replaced, the last of them by this process.
    known: Vec<KnownProcess>,
}

impl Inheritance {
    /// Of a start that replaces nobody.
    pub(crate) fn of_sockets(sockets: InheritedSockets) -> Self {
        Self { sockets, ..Self::default() }
    }

    /// The processes that were replaced, by number.
    pub(crate) fn known_pids(&self) -> Vec<u32> {
        self.known.iter().map(|known| known.former.pid).collect()
    }

    /// The process that is replaced; `None` where none is.
    pub(crate) fn replaced(&self) -> Option<u32> {
        self.known.last().map(|known| known.former.pid)
    }

    /// Begins to talk with those that were replaced. Before it nothing may be written.
    ///
    /// # Errors
    /// One of them cannot be watched.
    pub(crate) fn attach(&mut self, predecessors: &Arc<Predecessors>) -> io::Result<()> {
        self.known.drain(..).try_for_each(|known| predecessors.attach(known))
    }
}

impl Succession {
    /// Takes the line from standard input.
    ///
    /// # Errors
    /// [`TakeOverError::NoLine`].
    pub(crate) fn of_process() -> Result<Self, TakeOverError> {
        let stdin = io::stdin();
        if socket_domain(stdin.as_fd()) != Ok(rustix::net::AddressFamily::UNIX) {
            return Err(TakeOverError::NoLine);
        }
        let line = stdin.as_fd().try_clone_to_owned().map_err(TakeOverError::Line)?;
        // A second end of it would hide that this process leads no more, once it was replaced itself.
        let nothing = std::fs::File::open("/dev/null").map_err(TakeOverError::Line)?;
        rustix::stdio::dup2_stdin(nothing).map_err(|error| TakeOverError::Line(error.into()))?;
        Ok(Self(UnixStream::from(line)))
    }

    /// The same line, for word of a failure.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Says that this process has not come to serve, and why.
    pub(crate) fn tell_failure(&self, error: &str) {
        // The other end may have given up.
        let _ = self.0.set_nonblocking(false);
        let failed = Numbered { number: 0, says: Demand::Failed { error: error.to_owned() } };
        let _ = send_blocking(&self.0, &failed);
    }

    /// Asks for everything, and takes it.
    ///
    /// # Errors
    /// [`TakeOverError`]; the other process serves on.
    pub(crate) async fn take_over(self, file: &File) -> Result<Inheritance, TakeOverError> {
        let mut line = HandoverLine::from_fd(self.0.into()).map_err(TakeOverError::Line)?;
        let place =
            |path: &Path| path.canonicalize().map_err(|error| TakeOverError::Place(path.to_owned(), error));
        let successor = Successor {
            words: WORDS,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            state: place(&file.state)?,
            database: place(&file.database)?,
        };
        let ask = Numbered { number: 0, says: Demand::HandOver(successor) };
        line.send(&ask, &[]).await.map_err(TakeOverError::Line)?;
        let answer = timeout(HAND_OVER, line.receive::<Numbered<Reply>>()).await;
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "the line is closed");
        let (answer, descriptors) = answer
            .map_err(|_| TakeOverError::Late)?
            .and_then(|answer| answer.ok_or_else(closed))
            .map_err(TakeOverError::Line)?;
        let (version, pid, sockets, former) = match answer.says {
            Reply::HandedOver { version, pid, sockets, former } => (version, pid, sockets, former),
            Reply::Refused { why } => return Err(TakeOverError::Refused(why)),
            _ => return Err(TakeOverError::Line(io::ErrorKind::InvalidData.into())),
        };
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().ok_or_else(|| TakeOverError::Line(closed()));
        let process = next()?;
        let (state_lock, database_lock) = (Some(next()?), Some(next()?));
        let mut inherited = InheritedSockets::default();
        for _ in 0..sockets {
            inherited.add(next()?).map_err(TakeOverError::Line)?;
        }
        let mut known = Vec::new();
        for former in former {
            known.push(KnownProcess { former, line: next()?, process: next()? });
        }
        let own = line.duplicate().map_err(TakeOverError::Line)?;
        known.push(KnownProcess { former: Former { pid, version }, line: own, process });
        Ok(Inheritance { state_lock, database_lock, sockets: inherited, known })
    }
}

//! The side of the process that serves: it starts its successor, stops to write, hands over, and follows.
//!
//! Until the successor serves everything can be taken back: where it does not come to serve, whatever the reason, this
//! process goes on as if nothing had been asked. Its sockets are open all the while, and so are its locks, so whoever
//! connects waits for a moment, and nobody else gets in between.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use portcullis_proxy::Parting;
use portcullis_store::{NotLocked, OpenError, Store};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockWriteGuard, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::follow::{LeaderWord, follow_leader};
use super::line::HandoverLine;
use super::predecessors::KnownProcess;
use super::strays::ReplacedMark;
use super::words::{Demand, Numbered, Reply, Successor, WORDS};
use crate::log::error_chain;
use crate::notify::ServiceManager;
use crate::reload::ReloadRole;
use crate::running::{Running, once_true};
use crate::start::settle_search;
use crate::ticks;

/// The time that a successor has to read its configuration and to ask.
const START: Duration = Duration::from_secs(60);
/// The time that answers may take which are under way; those that take longer are on their own.
const ANSWERS: Duration = Duration::from_secs(5);
/// The time that writes may take which are on the road.
const WRITES: Duration = Duration::from_secs(10);
/// The time that a successor has to serve once it has everything: it may have to bring the database to its release.
/// Meanwhile whoever signs in, and the directory, wait.
const SERVE: Duration = Duration::from_secs(60);
/// After so long of it the log says what is waited for.
const TELL: Duration = Duration::from_secs(5);
/// The time in which the last word of a process that has ended is heard.
const LAST_WORD: Duration = Duration::from_millis(500);
/// The interval at which a database that does not let itself be opened again is tried.
const AGAIN: Duration = Duration::from_secs(1);

/// The program that is started as the successor: the file of this one, whatever it is by then.
#[derive(Debug)]
pub(crate) struct SuccessorProgram {
    program: PathBuf,
    words: Vec<OsString>,
}

impl SuccessorProgram {
    /// Of the file of this process, which must be asked early, for a package may exchange it.
    pub(crate) fn of_file(program: PathBuf, config: &Path) -> Self {
        let words = ["-c".into(), config.into(), "run".into(), "--take-over".into()];
        Self { program, words: words.into() }
    }
}

/// Reasons why this process was not replaced. It serves on, but for [`HandOverError::Lost`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandOverError {
    /// Its end would be the end of the container.
    #[error(
        "this process is the first of its container, which ends with it, so another one cannot take its place: start another \
         container"
    )]
    First,
    /// Something that takes access away is not stored.
    #[error(
        "a removal, or another order that takes access away, holds in this process alone, since it could not be stored, and \
         the next process would not know it: look at the store, and repeat it"
    )]
    Holds,
    /// A file is imported.
    #[error("a file of people is being imported: ask again once it is")]
    Imports,
    /// Something that is needed could not be made.
    #[error("the next process could not be started ({program})", program = .0.display())]
    Start(PathBuf, #[source] io::Error),
    /// It ended, or said why it does not serve.
    #[error("the next process did not come to serve: {0}")]
    Successor(String),
    /// This process is to end.
    #[error("this process was asked to end")]
    Ending,
    /// It took too long.
    #[error("the next process did not {what} within {} s, and was ended", limit.as_secs())]
    Late { what: &'static str, limit: Duration },
    /// It is no successor.
    #[error("the next process {0}")]
    Unfit(String),
    /// Something does not end.
    #[error("writes that are under way did not end within {} s: look at the store, and ask again", WRITES.as_secs())]
    Writes,
    /// The mark of a process that was replaced could not be made.
    #[error("the state folder cannot be written")]
    Mark(#[source] io::Error),
    /// What is needed for it could not be had.
    #[error("what is to be handed over could not be had")]
    Descriptors(#[source] io::Error),
    /// It was tried, and this process cannot go on either.
    #[error("{why}. This process cannot go on: {fault}")]
    Lost { why: String, fault: String },
}

/// A process that has handed over: what it still hears, and what it keeps to its end.
pub(crate) struct ReplacedProcess {
    words: mpsc::Receiver<LeaderWord>,
    _mark: ReplacedMark,
}

impl ReplacedProcess {
    /// Waits until nobody leads any more, and says why.
    pub(crate) async fn wait_unled(&mut self) -> String {
        loop {
            match self.words.recv().await {
                Some(LeaderWord::Gone(why) | LeaderWord::Failed(why)) => return why,
                // Once more, by one after it.
                Some(LeaderWord::Serving(done)) => drop(done.send(())),
                None => return "nobody listens to the process that took over".to_owned(),
            }
        }
    }
}

/// Has the next process take the place of this one, unless it is `given_up` before that serves.
///
/// # Errors
/// [`HandOverError`]: this process serves as before.
pub(crate) async fn hand_over(
    running: &mut Running,
    program: &SuccessorProgram,
    manager: &ServiceManager,
    given_up: watch::Receiver<bool>,
) -> Result<ReplacedProcess, HandOverError> {
    let core = running.reload.core.clone();
    if std::process::id() == 1 {
        return Err(HandOverError::First);
    }
    let imports = core.imports.clone().try_lock_owned().map_err(|_| HandOverError::Imports)?;
    // The next process reads the files that are in force here, and none after it: a reload that comes meanwhile waits, and
    // is then the next one's.
    let mut reloads = running.reload.turn.clone().lock_owned().await;
    let (mut line, mut heir) = start_successor(program)?;
    let successor = tokio::select! {
        successor = wait_for_asking(&mut line, &mut heir.child) => successor?,
        () = once_true(given_up.clone()) => return Err(HandOverError::Ending),
    };
    fits(running, &successor)?;
    // Those that were replaced before may take their time to answer.
    ticks::save_seen(&core).await;

    let (quiet, mark) = match Quiet::make(running, imports).await {
        Ok(made) => made,
        Err((quiet, error)) => return Err(take_back(running, *quiet, heir, error).await),
    };
    let (words, mut heard) = mpsc::channel(4);
    let following = match give_everything(running, &quiet, line, words).await {
        Ok(following) => following,
        Err(error) => {
            drop(mark);
            return Err(take_back(running, quiet, heir, error).await);
        }
    };
    let serving = tokio::select! {
        serving = timeout(SERVE, wait_for_serving(&mut heard)) => {
            serving.unwrap_or(Err(HandOverError::Late { what: "come to serve", limit: SERVE }))
        }
        () = tell_wait(successor.pid) => Err(HandOverError::Ending),
        ended = heir.child.wait() => {
            // It may have said why.
            let said = timeout(LAST_WORD, wait_for_serving(&mut heard)).await;
            Err(match said {
                Ok(Err(error)) => error,
                Ok(Ok(_)) | Err(_) => HandOverError::Successor(said_by_end(ended)),
            })
        }
        () = once_true(given_up) => Err(HandOverError::Ending),
    };
    let done = match serving {
        Ok(done) => done,
        Err(error) => {
            following.abort();
            drop(mark);
            return Err(take_back(running, quiet, heir, error).await);
        }
    };
    heir.serves = true;
    let leads = successor_process(&heir).map_err(HandOverError::Descriptors);
    *reloads = match leads {
        Ok(process) => ReloadRole::Follows(process),
        // It has ended this very moment: its line says so next.
        Err(_) => ReloadRole::default(),
    };
    core.turn.leave();
    running.parting.send_replace(Parting::Yield(running.upgrade_grace()));
    manager.tell_main_process(successor.pid);
    core.store.leave_lock().await;
    let _ = done.send(());
    tracing::info!(
        pid = successor.pid,
        version = successor.version,
        "another process has taken over: this one carries what has begun to its end"
    );
    tokio::spawn(async move { heir.child.wait().await }); // that no name without a process is left
    // Whoever waited to write learns now that another process leads.
    drop(quiet);
    Ok(ReplacedProcess { words: heard, _mark: mark })
}

fn successor_process(heir: &Heir) -> io::Result<OwnedFd> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let pid = heir.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    Ok(pidfd_open(pid.ok_or_else(gone)?, PidfdFlags::empty())?)
}

fn start_successor(program: &SuccessorProgram) -> Result<(HandoverLine, Heir), HandOverError> {
    let failed = |error| HandOverError::Start(program.program.clone(), error);
    let (here, there) = UnixStream::pair().map_err(failed)?;
    let line = HandoverLine::from_fd(here.into()).map_err(failed)?;
    let mut command = Command::new(&program.program);
    command.args(&program.words).stdin(Stdio::from(OwnedFd::from(there)));
    Ok((line, Heir { child: command.spawn().map_err(failed)?, serves: false }))
}

/// The next process, which ends with this value unless it has come to serve.
struct Heir {
    child: Child,
    serves: bool,
}

impl Drop for Heir {
    fn drop(&mut self) {
        if !self.serves {
            let _ = self.child.start_kill(); // it may have ended
        }
    }
}

/// Waits until it has read its configuration.
async fn wait_for_asking(line: &mut HandoverLine, child: &mut Child) -> Result<Successor, HandOverError> {
    let asked = async {
        match line.receive::<Numbered<Demand>>().await {
            Ok(Some((Numbered { says: Demand::HandOver(successor), .. }, _))) => Ok(successor),
            Ok(Some((Numbered { says: Demand::Failed { error }, .. }, _))) => {
                Err(HandOverError::Successor(error))
            }
            Ok(Some(_)) => Err(HandOverError::Unfit("asks for something else first".to_owned())),
            Ok(None) => Err(HandOverError::Successor(said_by_end(child.wait().await))),
            Err(error) => Err(HandOverError::Unfit(format!("is not understood: {error}"))),
        }
    };
    timeout(START, asked).await.unwrap_or(Err(HandOverError::Late { what: "ask", limit: START }))
}

fn said_by_end(ended: io::Result<std::process::ExitStatus>) -> String {
    match ended {
        Ok(status) => format!("it ended with {status}; the log may say more"),
        Err(error) => error.to_string(),
    }
}

/// Tells whether it would lead with the same state.
fn fits(running: &Running, successor: &Successor) -> Result<(), HandOverError> {
    if successor.words != WORDS {
        let what =
            format!("is of version {}, to which this one cannot hand over: restart", successor.version);
        return Err(HandOverError::Unfit(what));
    }
    let live = running.reload.live.in_force();
    let (state, database) = live.fixed.places();
    for (there, here) in [(&successor.state, state), (&successor.database, database)] {
        let here = here.canonicalize().unwrap_or(here);
        if *there != here {
            let what = format!(
                "has another state folder or database ({} for {}), which takes a restart",
                there.display(),
                here.display()
            );
            return Err(HandOverError::Unfit(what));
        }
    }
    Ok(())
}

async fn wait_for_serving(
    heard: &mut mpsc::Receiver<LeaderWord>,
) -> Result<oneshot::Sender<()>, HandOverError> {
    match heard.recv().await {
        Some(LeaderWord::Serving(done)) => Ok(done),
        Some(LeaderWord::Failed(why) | LeaderWord::Gone(why)) => Err(HandOverError::Successor(why)),
        None => Err(HandOverError::Successor("its line is closed".to_owned())),
    }
}

/// The turn of whoever imports files.
type ImportsTurn = OwnedMutexGuard<Vec<portcullis_policy::ResourceId>>;

/// Says what is waited for, and goes on for ever.
async fn tell_wait(pid: u32) {
    tokio::time::sleep(TELL).await;
    tracing::warn!(
        pid,
        "the next process has everything and does not serve yet: logins and the directory wait for it, {} s in all at most",
        SERVE.as_secs()
    );
    std::future::pending().await
}

/// A process that writes nothing and takes no orders, until it goes on or has handed over.
struct Quiet {
    imports: ImportsTurn,
    /// The store writes nothing.
    rests: bool,
    road: Option<OwnedRwLockWriteGuard<()>>,
    known: Vec<KnownProcess>,
}

impl Quiet {
    /// Makes this process one, and marks it as one that is replaced.
    ///
    /// # Errors
    /// [`HandOverError`], with how far it came: that is to be taken back.
    async fn make(
        running: &mut Running,
        imports: ImportsTurn,
    ) -> Result<(Self, ReplacedMark), (Box<Self>, HandOverError)> {
        let mut quiet = Self { imports, rests: false, road: None, known: Vec::new() };
        match quiet.become_quiet(running).await {
            Ok(mark) => Ok((quiet, mark)),
            Err(error) => Err((Box::new(quiet), error)),
        }
    }

    async fn become_quiet(&mut self, running: &mut Running) -> Result<ReplacedMark, HandOverError> {
        let core = running.reload.core.clone();
        running.lead.pause();
        core.turn.move_away(ANSWERS).await;
        self.road =
            Some(timeout(WRITES, core.revocation.close_road()).await.map_err(|_| HandOverError::Writes)?);
        // Nothing more can come to be held.
        if !core.sessions.holds().is_empty() || core.idp_keys.has_holds() || core.tokens.has_holds() {
            return Err(HandOverError::Holds);
        }
        ticks::save_token_uses(&core).await;
        self.rests = true;
        core.store.rest().await;
        let predecessors = core.revocation.predecessors();
        self.known = predecessors.detach().await.map_err(HandOverError::Descriptors)?;
        ReplacedMark::make(running.state()).map_err(|error| match error {
            NotLocked::Io(error) => HandOverError::Mark(error),
            NotLocked::Held(_) => HandOverError::Mark(io::ErrorKind::WouldBlock.into()),
        })
    }
}

/// Hands everything over, and follows from there on.
async fn give_everything(
    running: &Running,
    quiet: &Quiet,
    mut line: HandoverLine,
    words: mpsc::Sender<LeaderWord>,
) -> Result<AbortHandle, HandOverError> {
    let process = pidfd_open(getpid(), PidfdFlags::empty())
        .map_err(|error| HandOverError::Descriptors(error.into()))?;
    let core = &running.reload.core;
    let locks = [
        running.lock.duplicate().map_err(HandOverError::Descriptors)?,
        core.store.duplicate_lock().await.map_err(HandOverError::Descriptors)?,
    ];
    let lead = running.lead.sockets().iter().map(OwnedFd::as_fd);
    let sockets: Vec<BorrowedFd<'_>> =
        running.sockets.iter().map(|socket| socket.as_fd()).chain(lead).collect();
    let known = quiet.known.iter().flat_map(|known| [known.line.as_fd(), known.process.as_fd()]);
    let descriptors: Vec<BorrowedFd<'_>> = [process.as_fd(), locks[0].as_fd(), locks[1].as_fd()]
        .into_iter()
        .chain(sockets.iter().copied())
        .chain(known)
        .collect();
    let answer = Numbered {
        number: 0,
        says: Reply::HandedOver {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            sockets: sockets.len(),
            former: quiet.known.iter().map(|known| known.former.clone()).collect(),
        },
    };
    let sent = timeout(WRITES, line.send(&answer, &descriptors)).await;
    sent.map_err(|_| HandOverError::Late { what: "take what was handed over", limit: WRITES })?
        .map_err(|error| HandOverError::Successor(error.to_string()))?;
    let following = follow_leader(line, running.reload.clone(), running.parting.clone(), words);
    Ok(tokio::spawn(following).abort_handle())
}

/// Goes on as before. The successor is dead before anything is written.
async fn take_back(
    running: &mut Running,
    quiet: Quiet,
    mut heir: Heir,
    error: HandOverError,
) -> HandOverError {
    let fault = go_on(running, quiet, &mut heir.child).await.err();
    match fault {
        None => error,
        Some(fault) => HandOverError::Lost {
            why: error_chain(&error).to_string(),
            fault: error_chain(&*fault).to_string(),
        },
    }
}

/// Has the store write again, if need be later: until then a removal that is not stored is held, as ever.
///
/// # Errors
/// The other process has brought the database to a release that this one does not know.
async fn wake_store(store: &Arc<Store>) -> Result<(), OpenError> {
    match store.wake().await {
        Ok(()) => return Ok(()),
        Err(error @ OpenError::TooNew { .. }) => return Err(error),
        Err(error) => tracing::error!(
            error = %error_chain(&error),
            "the database cannot be written after an upgrade that failed: it is tried each second. Look at the store"
        ),
    }
    let store = store.clone();
    tokio::spawn(async move {
        while store.wake().await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
        tracing::info!("the database is written again");
    });
    Ok(())
}

async fn go_on(
    running: &mut Running,
    quiet: Quiet,
    child: &mut Child,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let core = running.reload.core.clone();
    let _ = child.start_kill(); // it may have ended
    child.wait().await?;
    let Quiet { imports, rests, road, known } = quiet;
    if rests {
        if let Err(error) = running.lock.sign() {
            // It is for people to read.
            tracing::warn!(%error, "the lock of the state folder does not say whose it is");
        }
        wake_store(&core.store).await?;
        // The other one may have had other extensions.
        if let Err(error) = settle_search(&core.store).await {
            tracing::error!(error = %error_chain(&error), "what users are found by may not be what is declared: restart");
        }
    }
    for known in known {
        core.revocation.predecessors().attach(known)?;
    }
    drop((imports, road));
    core.turn.stay();
    running.lead.go_on();
    Ok(())
}

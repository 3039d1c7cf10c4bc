//! The life of the program: from the command line to its exit code, with the signals that end it or have it reload.
//!
//! The core runtime has the store, the IdP client, SCIM, health and the admin socket; the data plane has threads of its
//! own. How it starts is in `start.rs`.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use portcullis_config::{Environment, File, KeyLines, Loaded, Problems};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::ground::{self, Inquirer};
use crate::handover::{
    HandOverError, Inheritance, InheritedSockets, ReplacedProcess, Succession, SuccessorProgram, hand_over,
};
use crate::limits::Limits;
use crate::log::{Log, error_chain};
use crate::notify::ServiceManager;
use crate::reload::Reload;
use crate::running::{Running, ServiceEnd};
use crate::settings;
use crate::start::{StartError, start_program};
use crate::terminal::{self, Exit};

/// Builds the core runtime.
///
/// # Errors
/// The system gives no threads.
fn core_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CORE_THREADS)
        .thread_name("core")
        .enable_all()
        .build()
}

/// Threads of the core runtime.
const CORE_THREADS: usize = 2;

/// `portcullis run`: 0 after an orderly end, 1 where the start failed, 78 for a configuration that cannot work.
/// With `take_over` it takes the place of the process that has started it.
pub(crate) fn main(named: Option<&Path>, limits: &Limits, take_over: bool) -> Exit {
    // Early: nothing of this process may take their place.
    let sockets = match InheritedSockets::of_service_manager() {
        Ok(sockets) => sockets,
        Err(error) => {
            eprintln!("portcullis: a socket of the service manager (LISTEN_FDS) cannot be used: {error}");
            return Exit::Failed;
        }
    };
    // As early: a package may exchange it.
    let program = std::env::current_exe();
    let succession = match take_over.then(Succession::of_process).transpose() {
        Ok(succession) => succession,
        Err(error) => return terminal::print_error(&error),
    };
    let told = succession.as_ref().and_then(|succession| succession.duplicate().ok());
    let fail = |problems: &Problems| {
        if let Some(told) = &told {
            told.tell_failure(&problems.to_string());
        }
        terminal::tell_problems(problems)
    };
    let loaded = terminal::config_path(named).and_then(|path| {
        let loaded = portcullis_config::load_file(&path, &Environment::of_process())?;
        Ok((path, loaded))
    });
    let (path, mut loaded) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => return fail(&problems),
    };
    let found = ground::look_at_machine(&loaded.lines, &loaded.file.opens(), Inquirer::ByRun);
    if let Some(problems) = Problems::from_list(found.problems) {
        return fail(&problems);
    }
    // No end of the line is kept that nobody needs: it would hide that this process leads no more.
    drop(told);
    loaded.warnings.extend(found.warnings);
    let log = match Log::start(settings::log_format(&loaded.file), settings::log_level(&loaded.file)) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("portcullis: {error}");
            return Exit::Failed;
        }
    };
    log.tell_panics();
    let origin = match succession {
        Some(succession) => StartOrigin::Succeeds(succession),
        None => StartOrigin::Begins(sockets),
    };
    let program = program.map(|program| SuccessorProgram::of_file(program, &path));
    let exit = run_logged(&path, &loaded, limits, log.clone(), origin, program);
    log.flush();
    exit
}

/// Where a process comes from.
enum StartOrigin {
    /// It replaces nobody; perhaps sockets were opened for it.
    Begins(InheritedSockets),
    /// It takes the place of another one.
    Succeeds(Succession),
}

/// The rest of a run, whose last lines are still to be written when it is back.
fn run_logged(
    path: &Path,
    loaded: &Loaded,
    limits: &Limits,
    log: Log,
    origin: StartOrigin,
    program: std::io::Result<SuccessorProgram>,
) -> Exit {
    let Loaded { file, warnings, lines, .. } = loaded;
    limits.log_limits();
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let core = match core_runtime() {
        Ok(core) => core,
        Err(error) => {
            tracing::error!(%error, "the core runtime could not be started");
            return Exit::Failed;
        }
    };
    let exit = core.block_on(serve_until_signal(path, file, lines, log, origin, program));
    core.shutdown_timeout(Duration::from_secs(1));
    exit
}

/// Serves until a signal says otherwise: SIGTERM and SIGINT end, and a second one ends the wait; SIGHUP reloads. No
/// signal waits for what another one has begun.
async fn serve_until_signal(
    path: &Path,
    file: &File,
    lines: &KeyLines,
    log: Log,
    origin: StartOrigin,
    program: std::io::Result<SuccessorProgram>,
) -> Exit {
    let signals =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(hangup)) = signals else {
        tracing::error!("signals cannot be listened for");
        return Exit::Failed;
    };
    let mut asked = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let told = match &origin {
        StartOrigin::Succeeds(succession) => succession.duplicate().ok(),
        StartOrigin::Begins(_) => None,
    };
    let starting = async {
        let inheritance = match origin {
            StartOrigin::Succeeds(succession) => succession.take_over(file).await?,
            StartOrigin::Begins(sockets) => Inheritance::of_sockets(sockets),
        };
        start_program(path, file, log, inheritance).await
    };
    let succeeds = told.is_some();
    let started = tokio::select! {
        biased; // one that has taken over ends in good order
        started = starting => started,
        () = asked() => {
            tracing::info!("asked to end before the start was done");
            return Exit::Fine;
        }
    };
    let mut running = match started {
        Ok(running) => running,
        Err(error) => {
            let text = match &error {
                StartError::Listen(error) => error.as_problem(lines).to_string(),
                error => error_chain(error).to_string(),
            };
            tracing::error!("{text}");
            if let Some(told) = told {
                told.tell_failure(&text);
            }
            return error.exit();
        }
    };
    let manager = ServiceManager::of_process();
    manager.tell_ready();
    drop(told);
    if succeeds {
        let reload = running.reload();
        tokio::spawn(async move { reload.tell_predecessors().await });
    }
    let (leave, leaving) = oneshot::channel();
    let reloading = tokio::spawn(reload_at_hangup(hangup, running.reload(), manager.clone(), leaving));
    let end = loop {
        if let Some(end) = running.wait_end(asked()).await {
            break end;
        }
        let (give_up, given_up) = watch::channel(false);
        let upgrading = {
            let mut upgrading = pin!(upgrade(&mut running, &program, &manager, given_up));
            loop {
                tokio::select! {
                    upgrading = &mut upgrading => break upgrading,
                    () = asked() => drop(give_up.send(true)),
                }
            }
        };
        let is_asked = *give_up.borrow();
        match upgrading {
            Ok(replaced) => {
                drop(leave);
                running.finish_replaced(replaced, asked, is_asked).await;
                return Exit::Fine;
            }
            Err(HandOverError::Lost { .. }) => break ServiceEnd::Failed,
            Err(_) if is_asked => break ServiceEnd::Asked,
            Err(_) => {}
        }
    };
    drop(leave);
    manager.tell_stopping();
    if end == ServiceEnd::Asked {
        let seconds = running.stop_grace().as_secs();
        tracing::info!("asked to end: no new requests, those in flight may take {seconds} s");
    }
    let (hurry, hurried) = watch::channel(false);
    let mut shutdown = pin!(running.shutdown(hurried, reloading));
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            () = asked() => {
                tracing::warn!("asked again to end: nothing more is waited for");
                let _ = hurry.send(true);
            }
        }
    }
    match end {
        ServiceEnd::Asked => Exit::Fine,
        ServiceEnd::Failed => Exit::Failed,
    }
}

/// Has the next process take the place of this one, and says in the log and to whoever asks what became of it.
async fn upgrade(
    running: &mut Running,
    program: &std::io::Result<SuccessorProgram>,
    manager: &ServiceManager,
    given_up: watch::Receiver<bool>,
) -> Result<ReplacedProcess, HandOverError> {
    tracing::info!("an upgrade is asked: the next process is started");
    let done = match program {
        Ok(program) => hand_over(running, program, manager, given_up).await,
        Err(error) => Err(HandOverError::Start("/proc/self/exe".into(), std::io::Error::from(error.kind()))),
    };
    done.inspect_err(|error| {
        let text = error_chain(error).to_string();
        match error {
            HandOverError::Lost { .. } => tracing::error!("the upgrade failed: {text}"),
            _ => tracing::error!("the upgrade failed, and this process serves on: {text}"),
        }
        running.upgrades.note_failure(text);
    })
}

/// Reloads at each SIGHUP, one after another; those that come meanwhile are one. A reload that fails by a fault of ours
/// is not the last one. Once `leaving` is dropped it begins none, and is over with the one under way.
async fn reload_at_hangup(
    mut hangup: Signal,
    reload: Reload,
    manager: ServiceManager,
    mut leaving: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            _ = &mut leaving => return,
            Some(()) = hangup.recv() => {}
            else => return,
        }
        manager.tell_reloading();
        let reload = reload.clone();
        if let Err(error) = tokio::spawn(async move { reload.reload().await }).await {
            tracing::error!(%error, "the reload failed: send SIGHUP again");
        }
        if leaving.try_recv() == Err(oneshot::error::TryRecvError::Closed) {
            return;
        }
        manager.tell_ready();
    }
}

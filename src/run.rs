//! The life of the program: settings before sockets, sockets before the first request, and the way back.
//!
//! The core runtime has the store, the IdP client, SCIM, health and the admin socket; the data plane has threads of its
//! own. A start that fails says at what and what to change, and nothing is left behind.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use portcullis_config::{Environment, File, Loaded};
use portcullis_policy::Timestamp;
use portcullis_proxy::{self as proxy, AccessLog, Gate, Server};
use portcullis_scim::Schemas;
use portcullis_session::Sessions;
use portcullis_store::{OpenError, Store};
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::admin;
use crate::cli::{self, Exit};
use crate::desk::{self, Desk};
use crate::fetch::{self, Renewable};
use crate::health::{self, Health};
use crate::keyring::{self, KeyringError};
use crate::limits::Limits;
use crate::listen::{self, ListenError};
use crate::load;
use crate::lock::{Lock, LockError};
use crate::log::{Log, chain};
use crate::metrics::{Metrics, Seen};
use crate::operator::Operator;
use crate::own::{self, Own};
use crate::refusals::Refusals;
use crate::reload::{Reload, Started};
use crate::revocation::Revocation;
use crate::settings;
use crate::standing::{self, StandingError};
use crate::ticks::{self, Ticks};

/// How many sessions are kept in memory without an exchange.
const CACHED: u64 = 200_000;

/// Why the program did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The configuration cannot work.
    #[cfg(feature = "demo")]
    #[error("{0}")]
    Config(portcullis_config::Problems),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Keys(#[from] KeyringError),
    #[error(transparent)]
    Standing(#[from] StandingError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Fetch(#[from] fetch::ClientError),
    #[error(transparent)]
    Settings(#[from] settings::DataPlaneError),
    #[error("log.access cannot be written")]
    AccessLog(#[from] proxy::LogError),
    #[error("listen.proxy: the data plane cannot start")]
    DataPlane(#[from] proxy::StartError),
}

/// A program that serves.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    reload: Reload,
    server: JoinHandle<Result<proxy::Drained, proxy::Stopped>>,
    listeners: Vec<JoinHandle<()>>,
    /// Held for the life of the process.
    _lock: Lock,
}

/// Reads a configuration and starts, for the rehearsal.
///
/// # Errors
/// [`StartError`]; nothing is served then.
#[cfg(feature = "demo")]
pub(crate) async fn start(path: &Path) -> Result<Running, StartError> {
    let Loaded { file, warnings, .. } =
        portcullis_config::load(path, &Environment::system()).map_err(StartError::Config)?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    start_with(path, &file, None).await
}

/// Starts everything on the current runtime, which becomes the core runtime. Returns once requests are served. `log`
/// is the log whose level a reload sets.
///
/// # Errors
/// [`StartError`]; nothing is served then.
pub(crate) async fn start_with(path: &Path, file: &File, log: Option<Log>) -> Result<Running, StartError> {
    let core = Handle::current();
    let lock = Lock::take(&file.state)?;
    let schemas = Arc::new(Schemas::core());
    let store = Arc::new(Store::open(&file.database, schemas.clone()).await?);
    let keys = Arc::new(keyring::open(file, &store).await?);
    let fetch = Renewable::new(fetch::client(settings::reach(file), file.http_client.ca_file.clone())?);

    let policy = settings::policy(file, FIRST);
    let sessions = Sessions::new(CACHED, settings::ms(file.session.idle), policy.clone());
    let revocation = Revocation::new(sessions.clone(), store.clone());
    // Before anything listens: nobody is served by what is not configured any more.
    standing::settle(file, &store, &revocation, "start").await?;
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    let refusals = Refusals::start(&core, store.clone());
    let own = Arc::new(Own {
        core: core.clone(),
        keys: keys.clone(),
        sessions: sessions.clone(),
        store: store.clone(),
        revocation: revocation.clone(),
        metrics: metrics.clone(),
        refusals: refusals.clone(),
        site: ArcSwap::from_pointee(settings::site(file, fetch.fetch())?),
        new_site: Notify::new(),
    });
    let desk = settings::clients(file, &keys).map(|clients| {
        Arc::new(Desk {
            core: core.clone(),
            store: store.clone(),
            sessions: sessions.clone(),
            revocation: revocation.clone(),
            metrics: metrics.clone(),
            schemas: schemas.clone(),
            keys: keys.clone(),
            clients: ArcSwap::from_pointee(clients),
        })
    });
    let (target, format) = settings::access_log(file);
    let access_log = AccessLog::start(&target, format)?;
    let gate = Gate::new(
        proxy::Parts {
            rules: settings::rules(file, policy)?,
            sessions: sessions.clone(),
            keys,
            load: load::load(core.clone(), sessions.clone(), store.clone()),
            pages: own::seam(own.clone()),
            log: access_log.clone(),
            references: Some(refusals.of_the_data_plane(&core)),
            idle: file.limits.idle,
        },
        &mut registry,
    );
    let health = Arc::new(Health {
        look: look(own.clone()),
        store: answers(store.clone()),
        draining: false.into(),
        app: ArcSwapOption::new(settings::app_health(file).map(Arc::new)),
        metrics: metrics.clone(),
        registry,
    });

    // Everything is bound before anything is served.
    let server = Server::bind(gate.clone(), &settings::listeners(file), settings::limits(file), None)?;
    let mut bound = vec![(
        listen::tcp("listen.health", file.listen.health.address).await?,
        health::router(health.clone()),
    )];
    if let Some(desk) = &desk {
        bound.push((listen::tcp("listen.scim", file.listen.scim.address).await?, desk::router(desk.clone())));
    }
    let operator = Arc::new(Operator {
        core: core.clone(),
        store: store.clone(),
        revocation: revocation.clone(),
        invites: settings::invites(file).into(),
    });
    bound.push((listen::unix("state", &file.state.join(admin::SOCKET))?, admin::router(operator.clone())));
    let (stop, stopping) = watch::channel(false);
    let listeners = bound.into_iter().map(|(bound, router)| bound.serve(router, stopping.clone())).collect();
    let mut draining = stopping.clone();
    let server = tokio::spawn(server.run(async move { drop(draining.wait_for(|stop| *stop).await) }, DRAIN));
    Ticks {
        sessions: sessions.clone(),
        store: store.clone(),
        revocation: revocation.clone(),
        own: own.clone(),
        desk: desk.clone(),
    }
    .start(stopping);
    let reload = Reload {
        path: path.to_owned(),
        version: Arc::new(FIRST.into()),
        started: Arc::new(Started::of(file)),
        gate,
        sessions,
        store,
        revocation,
        own,
        desk,
        operator,
        health,
        metrics,
        fetch,
        log,
        access_log,
    };
    tell(file);
    Ok(Running { stop, reload, server, listeners, _lock: lock })
}

/// The number of the configuration that a start reads.
const FIRST: u64 = 1;
/// How long exchanges in flight may take once the process leaves.
const DRAIN: Duration = Duration::from_secs(30);

impl Running {
    /// What a reload needs.
    pub(crate) fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Leaves: no new requests, those in flight may end, then everything is written down and closed.
    pub(crate) async fn shutdown(self) {
        let Self { stop, reload, server, listeners, _lock } = self;
        reload.health.draining.store(true, Ordering::Release);
        let _ = stop.send(true);
        match server.await {
            Ok(Ok(proxy::Drained { left: 0 })) => tracing::info!("every exchange has ended"),
            Ok(Ok(proxy::Drained { left })) => tracing::warn!(left, "exchanges were broken off"),
            Ok(Err(error)) => tracing::error!(error = %chain(&error), "the data plane has stopped"),
            Err(error) => tracing::error!(%error, "the data plane has failed"),
        }
        for listener in listeners {
            let _ = listener.await;
        }
        ticks::save(&reload.sessions, &reload.store).await;
        reload.store.close().await;
    }
}

/// What `/metrics` looks up.
fn look(own: Arc<Own>) -> health::Look {
    Arc::new(move || {
        let own = own.clone();
        Box::pin(async move {
            let idp = own.site.load().idp.clone();
            Seen {
                sessions: own.store.sessions(Timestamp::now()).await.ok(),
                figures: own.sessions.figures(),
                holds: own.sessions.holds().len(),
                idps: vec![(idp.name().to_owned(), idp.is_answering())],
            }
        })
    })
}

/// Whether the store answers.
fn answers(store: Arc<Store>) -> health::Check {
    Arc::new(move || {
        let store = store.clone();
        Box::pin(async move { store.ping().await.map_err(|error| chain(&error).to_string()) })
    })
}

/// Says what is served where.
fn tell(file: &File) {
    let scim = matches!(file.provisioning, portcullis_config::Provisioning::Scim(_));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        public_url = format!("{}{}/", file.public_url.origin(), file.public_url.path()),
        upstream = file.upstream.url.authority(),
        proxy = %file.listen.proxy.address,
        scim = scim.then(|| file.listen.scim.address.to_string()),
        health = %file.listen.health.address,
        state = %file.state.display(),
        "Portcullis serves"
    );
}

/// Builds the core runtime.
///
/// # Errors
/// The system gives no threads.
pub(crate) fn core_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CORE_THREADS)
        .thread_name("core")
        .enable_all()
        .build()
}

/// Threads of the core runtime.
const CORE_THREADS: usize = 2;

/// `portcullis run`: 0 after an orderly end, 1 where the start failed, 78 for a configuration that cannot work.
pub(crate) fn main(named: Option<&Path>, limits: &Limits) -> Exit {
    let loaded = cli::config_path(named).and_then(|path| {
        let loaded = portcullis_config::load(&path, &Environment::system())?;
        Ok((path, loaded))
    });
    let (path, Loaded { file, warnings, .. }) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => return cli::tell(&problems),
    };
    let log = match Log::start(settings::format(&file), settings::level(&file)) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("portcullis: {error}");
            return Exit::Failed;
        }
    };
    limits.tell();
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let core = match core_runtime() {
        Ok(core) => core,
        Err(error) => {
            tracing::error!(%error, "the core runtime could not be started");
            return Exit::Failed;
        }
    };
    let exit = core.block_on(serve(&path, &file, log));
    core.shutdown_timeout(Duration::from_secs(1));
    exit
}

/// Serves until a signal says otherwise: SIGTERM and SIGINT end, SIGHUP reloads.
async fn serve(path: &Path, file: &File, log: Log) -> Exit {
    let signals =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        tracing::error!("signals cannot be listened for");
        return Exit::Failed;
    };
    let running = match start_with(path, file, Some(log)).await {
        Ok(running) => running,
        Err(error) => {
            tracing::error!("{}", chain(&error));
            return Exit::Failed;
        }
    };
    let reload = running.reload();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload.reload().await,
        }
    }
    tracing::info!("asked to end: no new requests, those in flight may take {} s", DRAIN.as_secs());
    running.shutdown().await;
    Exit::Fine
}

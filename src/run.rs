//! The life of the program: settings before sockets, sockets before the first request, and the way back.
//!
//! The core runtime has the store, the IdP client, SCIM, health and the admin socket; the data plane has threads of its
//! own. A start that fails says at what and what to change, and nothing is left behind.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use portcullis_config::{Environment, Expiry, File, Lines, Loaded, Problems};
use portcullis_policy::Timestamp;
use portcullis_proxy::{self as proxy, AccessLog, Gate, Server};
use portcullis_scim::Schemas;
use portcullis_session::Sessions;
use portcullis_store::{KeysError, OpenError, Store};
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use crate::admin;
use crate::cli::{self, Exit};
use crate::desk::{self, Desk};
use crate::fetch::{self, Renewable};
use crate::ground::{self, Asked};
use crate::health::{self, Health};
use crate::keyring::{self, KeyringError};
use crate::limits::{Limits, Shares};
use crate::listen::{self, ListenError, Port};
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
use crate::strangers::Strangers;
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
    #[error("log.access cannot be written")]
    AccessLog(#[from] proxy::LogError),
    #[error("listen.proxy: the data plane cannot start")]
    DataPlane(#[source] proxy::StartError),
}

impl From<proxy::StartError> for StartError {
    fn from(error: proxy::StartError) -> Self {
        match error {
            proxy::StartError::Bind { address, cause } => {
                Self::Listen(ListenError::of("listen.proxy", address, cause))
            }
            other => Self::DataPlane(other),
        }
    }
}

impl StartError {
    /// 78 for what a restart does not mend: a master key that does not fit the database, and what `check` finds too,
    /// should it have come about since it was looked for.
    fn exit(&self) -> Exit {
        use proxy::StartError::{Certificate, Key, NoCertificate, Pair};
        match self {
            #[cfg(feature = "demo")]
            Self::Config(_) => Exit::Config,
            Self::Lock(LockError::Held { .. }) => Exit::Failed,
            Self::Lock(_) | Self::Keys(KeyringError::Key(_)) | Self::Fetch(_) => Exit::Config,
            Self::Keys(
                KeyringError::Fit(KeysError::DoNotFit { .. })
                | KeyringError::Missing { source: KeysError::DoNotFit { .. }, .. },
            ) => Exit::Config,
            Self::Store(OpenError::NetworkFileSystem { .. }) => Exit::Config,
            Self::AccessLog(proxy::LogError::Open(..)) => Exit::Config,
            Self::DataPlane(Certificate(..) | NoCertificate(..) | Key(..) | Pair { .. }) => Exit::Config,
            Self::Keys(_)
            | Self::Standing(_)
            | Self::Store(_)
            | Self::Listen(_)
            | Self::AccessLog(_)
            | Self::DataPlane(_) => Exit::Failed,
        }
    }
}

/// A program that serves.
pub(crate) struct Running {
    /// Has the data plane take no more, and says how long what is in flight may take.
    drain: oneshot::Sender<Duration>,
    /// The data plane's time is up.
    hurry: Arc<Notify>,
    /// Ends everything else: not before the last exchange is gone.
    stop: watch::Sender<bool>,
    reload: Reload,
    /// `None` once it has ended.
    server: Option<DataPlane>,
    listeners: Vec<JoinHandle<()>>,
    /// Held for the life of the process.
    _lock: Lock,
}

type DataPlane = JoinHandle<Result<proxy::Drained, proxy::Stopped>>;

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
        site: ArcSwap::from_pointee(settings::site(file, fetch.fetch())),
        admitting: tokio::sync::RwLock::default(),
        under_way: crate::own::UnderWay::default(),
        new_site: Notify::new(),
        strangers: Strangers::at_most(crate::own::STRANGERS_LINES),
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
            strangers: Strangers::at_most(1),
        })
    });
    let (target, format) = settings::access_log(file);
    let access_log = AccessLog::start(&target, format)?;
    if let Some(log) = &log {
        log.register(&mut registry);
    }
    let gate = Gate::new(
        proxy::Parts {
            rules: settings::rules(file, policy),
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
        look: look(own.clone(), file.expires.clone()),
        store: answers(store.clone()),
        draining: false.into(),
        app: ArcSwapOption::new(settings::app_health(file).map(Arc::new)),
        metrics: metrics.clone(),
        registry,
    });

    // Everything is bound before anything is served.
    let shares = Shares::now();
    let limits = settings::limits(file, shares.proxy);
    let server = Server::bind(gate.clone(), &settings::listeners(file), limits, None)?;
    let mut bound = vec![(
        listen::tcp("listen.health", file.listen.health.address).await?,
        health::router(health.clone()),
        Port::new("health", shares.health, &metrics),
    )];
    if let Some(desk) = &desk {
        bound.push((
            listen::tcp("listen.scim", file.listen.scim.address).await?,
            desk::router(desk.clone()),
            Port::new("scim", shares.scim, &metrics),
        ));
    }
    let operator = Arc::new(Operator {
        core: core.clone(),
        store: store.clone(),
        revocation: revocation.clone(),
        serves: true,
        relink_to: ArcSwapOption::new(Some(settings::relink_to(file))),
        terms: ArcSwap::from_pointee(settings::terms(file)),
    });
    bound.push((
        listen::unix("state", &file.state.join(admin::SOCKET))?,
        admin::router(operator.clone()),
        Port::new("admin", shares.admin, &metrics),
    ));
    let (stop, stopping) = watch::channel(false);
    let listeners =
        bound.into_iter().map(|(bound, router, port)| bound.serve(router, port, stopping.clone())).collect();
    let (drain, asked) = oneshot::channel();
    let hurry = Arc::new(Notify::new());
    let hurried = hurry.clone();
    // Where nobody is left who could ask, nobody waits either.
    let server = tokio::spawn(
        server.run(async move { asked.await.unwrap_or_default() }, async move { hurried.notified().await }),
    );
    Ticks {
        sessions: sessions.clone(),
        store: store.clone(),
        revocation: revocation.clone(),
        own: own.clone(),
        metrics: metrics.clone(),
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
        grace: Arc::new(settings::grace(file).into()),
    };
    tell(file);
    Ok(Running { drain, hurry, stop, reload, server: Some(server), listeners, _lock: lock })
}

/// The number of the configuration that a start reads.
const FIRST: u64 = 1;
impl Running {
    /// What a reload needs.
    pub(crate) fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// How long exchanges in flight may take once the process leaves: `stop_grace`, as the last reload has it.
    fn grace(&self) -> Duration {
        Duration::from_millis(self.reload.grace.load(Ordering::Relaxed))
    }

    /// Waits until the program is to end.
    async fn ended(&mut self, asked: impl Future<Output = ()>) -> End {
        let Some(server) = &mut self.server else { return End::Failed };
        let end = until_ended(server, asked).await;
        if end == End::Failed {
            self.server = None;
        }
        end
    }

    /// Leaves: no new requests, those in flight may end, then everything is written down and closed. SCIM, the admin
    /// socket and health answer until the last exchange is gone, so that a removal in that time is heard, and enforced.
    /// Whatever is still waited for once `hurried` says so is given up.
    pub(crate) async fn shutdown(self, hurried: watch::Receiver<bool>) {
        let Self { drain, hurry, stop, reload, server, listeners, _lock } = self;
        reload.health.draining.store(true, Ordering::Release);
        let _ = drain.send(Duration::from_millis(reload.grace.load(Ordering::Relaxed)));
        if let Some(mut server) = server {
            let ended = tokio::select! {
                ended = &mut server => ended,
                () = once_true(hurried.clone()) => {
                    hurry.notify_one();
                    server.await
                }
            };
            drained(ended);
        }
        let _ = stop.send(true);
        for mut listener in listeners {
            tokio::select! {
                _ = &mut listener => {}
                () = once_true(hurried.clone()) => listener.abort(),
            }
        }
        // A disk that does not answer holds up no end either: what was acknowledged is on it.
        let closing = async {
            ticks::save(&reload.sessions, &reload.store).await;
            reload.store.close().await;
        };
        if tokio::time::timeout(CLOSE, closing).await.is_err() {
            tracing::warn!(
                "the database was not closed within {} s: it is left as a crash would",
                CLOSE.as_secs()
            );
        }
    }
}

/// How long the last writes may take.
const CLOSE: Duration = Duration::from_secs(5);

/// What ends the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Somebody asked for it.
    Asked,
    /// The data plane has ended by itself: whoever started the process must know.
    Failed,
}

/// Waits for the end: asked for, or of the data plane.
async fn until_ended(server: &mut DataPlane, asked: impl Future<Output = ()>) -> End {
    tokio::select! {
        ended = server => {
            drained(ended.map(|ended| ended.and_then(|_| Err(proxy::Stopped::by_itself()))));
            End::Failed
        }
        () = asked => End::Asked,
    }
}

/// Says how the data plane ended.
fn drained(ended: Result<Result<proxy::Drained, proxy::Stopped>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(proxy::Drained { silent: 0, left: 0 })) => tracing::info!("every exchange has ended"),
        Ok(Ok(proxy::Drained { silent, left: 0 })) => {
            tracing::info!(silent, "only streams were left on which nothing passed: they are ended");
        }
        Ok(Ok(proxy::Drained { left, .. })) => tracing::warn!(left, "exchanges were broken off"),
        Ok(Err(error)) => tracing::error!(error = %chain(&error), "the data plane has stopped"),
        Err(error) => tracing::error!(%error, "the data plane has failed"),
    }
}

/// Waits until it is said; never, where nobody can say it any more.
async fn once_true(mut said: watch::Receiver<bool>) {
    if said.wait_for(|said| *said).await.is_err() {
        std::future::pending().await
    }
}

/// What `/metrics` looks up.
fn look(own: Arc<Own>, expires: Vec<Expiry>) -> health::Look {
    Arc::new(move || {
        let own = own.clone();
        let now = Timestamp::now().seconds();
        let left = |expiry: &Expiry| (expiry.kind, expiry.name.clone(), expiry.at - now);
        let expires = expires.iter().map(left).collect();
        Box::pin(async move {
            let idp = own.site.load().idp.clone();
            Seen {
                figures: own.sessions.figures(),
                holds: own.sessions.holds().len(),
                idps: vec![(idp.name().to_owned(), idp.is_answering())],
                expires,
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
        upstream = %file.upstream.url.host_port(),
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
    let (path, mut loaded) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => return cli::tell(&problems),
    };
    let found = ground::look(&loaded.lines, &loaded.file.opens(), Asked::ByRun);
    if let Some(problems) = Problems::of(found.problems) {
        return cli::tell(&problems);
    }
    loaded.warnings.extend(found.warnings);
    let log = match Log::start(settings::format(&loaded.file), settings::level(&loaded.file)) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("portcullis: {error}");
            return Exit::Failed;
        }
    };
    log.tell_panics();
    let exit = logged(&path, &loaded, limits, log.clone());
    log.flush();
    exit
}

/// The rest of a run, whose last lines are still to be written when it is back.
fn logged(path: &Path, loaded: &Loaded, limits: &Limits, log: Log) -> Exit {
    let Loaded { file, warnings, lines, .. } = loaded;
    limits.tell();
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let core = match core_runtime() {
        Ok(core) => core,
        Err(error) => {
            tracing::error!(%error, "the core runtime could not be started");
            return Exit::Failed;
        }
    };
    let exit = core.block_on(serve(path, file, lines, log));
    core.shutdown_timeout(Duration::from_secs(1));
    exit
}

/// Serves until a signal says otherwise: SIGTERM and SIGINT end, and a second one ends the wait; SIGHUP reloads. No
/// signal waits for what another one has begun.
async fn serve(path: &Path, file: &File, lines: &Lines, log: Log) -> Exit {
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
    let started = tokio::select! {
        started = start_with(path, file, Some(log)) => started,
        () = asked() => {
            tracing::info!("asked to end before the start was done");
            return Exit::Fine;
        }
    };
    let mut running = match started {
        Ok(running) => running,
        Err(error) => {
            match &error {
                StartError::Listen(error) => tracing::error!("{}", error.problem(lines)),
                error => tracing::error!("{}", chain(error)),
            }
            return error.exit();
        }
    };
    let reloading = tokio::spawn(reloads(hangup, running.reload()));
    let end = running.ended(asked()).await;
    if end == End::Asked {
        let seconds = running.grace().as_secs();
        tracing::info!("asked to end: no new requests, those in flight may take {seconds} s");
    }
    let (hurry, hurried) = watch::channel(false);
    let mut shutdown = pin!(running.shutdown(hurried));
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            () = asked() => {
                tracing::warn!("asked again to end: nothing more is waited for");
                let _ = hurry.send(true);
            }
        }
    }
    reloading.abort();
    match end {
        End::Asked => Exit::Fine,
        End::Failed => Exit::Failed,
    }
}

/// Reloads at each SIGHUP, one after another; those that come meanwhile are one. A reload that fails by a fault of ours
/// is not the last one.
async fn reloads(mut hangup: Signal, reload: Reload) {
    while hangup.recv().await.is_some() {
        let reload = reload.clone();
        if let Err(error) = tokio::spawn(async move { reload.reload().await }).await {
            tracing::error!(%error, "the reload failed: send SIGHUP again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn the_end_of_the_data_plane_is_a_failure_however_it_ends() {
        let by_itself = tokio::spawn(async { Err(proxy::Stopped::by_itself()) });
        let in_good_order = tokio::spawn(async { Ok(proxy::Drained { silent: 0, left: 0 }) });
        let by_a_panic = tokio::spawn(async { panic!("a fault of ours") });
        for mut server in [by_itself, in_good_order, by_a_panic] {
            assert_eq!(until_ended(&mut server, pending()).await, End::Failed);
        }
        let mut serving = tokio::spawn(pending());
        assert_eq!(until_ended(&mut serving, async {}).await, End::Asked);
    }

    #[tokio::test]
    async fn what_nobody_can_say_is_never_said() {
        let (say, said) = watch::channel(false);
        drop(say);
        let waited = tokio::time::timeout(Duration::from_millis(10), once_true(said)).await;
        assert!(waited.is_err());
    }
}

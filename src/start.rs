//! The start: the store and the keys are opened, then everything is bound, and only then anything is served. A start
//! that fails says at what and what to change, and nothing is left behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use portcullis_config::File;
use portcullis_policy::Timestamp;
use portcullis_proxy::{self as proxy, AccessLog, ClientAuthorities, Gate, ListenerTls, Parting, Server};
use portcullis_scim::Schemas;
use portcullis_session::Sessions;
use portcullis_store::{KeysError, OpenError, Store, StoreError};
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::application::{self, AppWays};
use crate::assertion_keys::{AssertionKeys, AssertionKeysError};
use crate::certificates::ServedCertificates;
use crate::core::Core;
use crate::fetch::{self, Renewable};
use crate::handover::{
    self, Inheritance, InheritedSockets, RELAY_SOCKET, StillThere, Stray, TakeOverError, Turn, Upgrades,
};
use crate::idp_keys::IdpKeys;
use crate::import::turn::Imports;
use crate::keyring::{self, KeyringError};
use crate::lead::{Lead, LeadPort};
use crate::limits::Shares;
use crate::listeners::{self, ListenError, Port, admin, health, redirect, scim};
use crate::live::{Current, Live};
use crate::load;
use crate::lock::{Lock, LockError};
use crate::log::{Log, error_chain};
use crate::metrics::Metrics;
use crate::operator::Operator;
use crate::own::{self, Own, relayed};
use crate::refusals::Refusals;
use crate::reload::{Reload, ReloadTurn};
use crate::revocation::Revocation;
use crate::running::Running;
use crate::saml;
use crate::settings;
use crate::standing::{self, StandingError};
use crate::terminal::Exit;
use crate::ticks;
use crate::tokens::TokenBook;

/// The number of sessions that are kept in memory without an exchange.
const CACHED: u64 = 200_000;
/// The number of the configuration that a start reads.
const FIRST: u64 = 1;

/// Reasons why the program did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Keys(#[from] KeyringError),
    #[error(transparent)]
    Saml(#[from] saml::SamlError),
    #[error("what was distrusted could not be read, so nobody may be let in")]
    IdpKeys(#[source] StoreError),
    #[error("the tokens of the directory could not be read, so nobody knows which were revoked")]
    Tokens(#[source] StoreError),
    #[error(
        "scim.extensions differ from those of the last start, and what is found by them could not be made anew"
    )]
    Search(#[source] StoreError),
    #[error(transparent)]
    AssertionKeys(#[from] AssertionKeysError),
    #[error(transparent)]
    Standing(#[from] StandingError),
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("listen: a certificate cannot be served")]
    Certificates(#[from] proxy::CertificateError),
    #[error("listen: the authorities of clients (client_ca) cannot be used")]
    Authorities(#[from] proxy::AuthoritiesError),
    #[error("upstream: the application cannot be spoken to over TLS")]
    Upstream(#[from] proxy::AppTlsError),
    #[error("listen.scim.tls: SCIM cannot be listened for over TLS")]
    ScimTls(#[from] rustls::Error),
    #[error(transparent)]
    Fetch(#[from] fetch::ClientError),
    #[error("log.access cannot be written")]
    AccessLog(#[from] proxy::AccessLogError),
    #[error("listen.proxy: the data plane cannot start")]
    DataPlane(#[source] proxy::StartError),
    #[error("the sockets that were opened could not be kept")]
    Sockets(#[source] std::io::Error),
    #[error(transparent)]
    Stray(#[from] Stray),
    #[error(transparent)]
    StillThere(#[from] StillThere),
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
}

impl From<proxy::StartError> for StartError {
    fn from(error: proxy::StartError) -> Self {
        match error {
            proxy::StartError::Bind { address, cause } => {
                Self::Listen(ListenError::of_address("listen.proxy", address, cause))
            }
            other => Self::DataPlane(other),
        }
    }
}

impl StartError {
    /// 78 for what a restart does not mend: a master key that does not fit the database, and what `check` finds too,
    /// should it have come about since it was looked for.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Lock(LockError::Held { .. }) => Exit::Failed,
            Self::Lock(_)
            | Self::Keys(KeyringError::Key(_))
            | Self::Fetch(_)
            | Self::Saml(_)
            | Self::Certificates(_)
            | Self::Authorities(_)
            | Self::Upstream(_)
            | Self::ScimTls(_) => Exit::Config,
            Self::Keys(
                KeyringError::Fit(KeysError::DoNotFit { .. })
                | KeyringError::Missing { source: KeysError::DoNotFit { .. }, .. },
            ) => Exit::Config,
            Self::Store(OpenError::NetworkFileSystem { .. }) => Exit::Config,
            Self::AccessLog(proxy::AccessLogError::Open(..)) => Exit::Config,
            Self::Keys(_)
            | Self::IdpKeys(_)
            | Self::Tokens(_)
            | Self::Search(_)
            | Self::AssertionKeys(_)
            | Self::Standing(_)
            | Self::Store(_)
            | Self::Listen(_)
            | Self::AccessLog(_)
            | Self::DataPlane(_)
            | Self::Sockets(_)
            | Self::Stray(_)
            | Self::StillThere(_)
            | Self::TakeOver(_) => Exit::Failed,
        }
    }
}

/// Starts everything on the current runtime, which becomes the core runtime. Returns once requests are served. `log`
/// is the log whose level a reload sets.
///
/// # Errors
/// [`StartError`]; nothing is served then.
pub(crate) async fn start_program(
    path: &Path,
    file: &File,
    log: Log,
    mut inheritance: Inheritance,
) -> Result<Running, StartError> {
    let mut registry = Registry::default();
    log.register(&mut registry);
    let replaced = inheritance.replaced();
    let opened = open_parts(file, &mut registry, &mut inheritance).await?;
    let plane = build_plane(file, &opened, &mut registry)?;
    let draining = Arc::new(AtomicBool::new(false));
    let (upgrades, upgrading) = Upgrades::new(replaced.is_some());
    let upgrades = Arc::new(upgrades);
    let operators = live_operators(&opened.core, &opened.live, &upgrades);
    let doors = Doors {
        registry,
        draining: &draining,
        operators: &operators,
        inherited: inheritance.sockets,
        is_succession: replaced.is_some(),
    };
    let bound = bind_ports(file, &opened, plane.gate.clone(), doors).await?;
    settle_store(file, &opened).await?;

    let sockets = bound.server.duplicate_sockets().map_err(StartError::Sockets)?;
    let (parting, hurry, server) = serve_plane(bound.server);
    let OpenedParts { lock, core, live, own, fetch, .. } = opened;
    ticks::expire_sessions(core.revocation.clone());
    let lead = Lead::begin(&core, &live, operators, bound.ports).map_err(StartError::Sockets)?;
    let version = Arc::new(FIRST.into());
    let (gate, access_log) = (plane.gate, plane.access_log);
    live.in_force().warn_without_token(&core.tokens, Timestamp::now());
    let (path, turn) = (path.to_owned(), ReloadTurn::default());
    let reload = Reload { path, version, core, live, gate, own, fetch, log, access_log, turn };
    if let Some(replaced) = replaced {
        reload.core.revocation.predecessors().tell_serving(replaced).await?;
        upgrades.note_taken();
    }
    tell_addresses(file);
    Ok(Running {
        parting,
        hurry,
        draining,
        reload,
        server: Some(server),
        sockets,
        lead,
        lock,
        state: file.state.clone(),
        upgrades,
        upgrading,
    })
}

/// Brings the store to what the file says, once all else is there: a start that fails has changed nothing, and a process
/// that it was to replace goes on. Before anything is served: nobody is by what is not configured any more.
async fn settle_store(file: &File, opened: &OpenedParts) -> Result<(), StartError> {
    let Core { store, revocation, assertion_keys, .. } = &*opened.core;
    settle_search(store).await.map_err(StartError::Search)?;
    standing::end_unconfigured(file, &opened.core, "start").await?;
    let settled = assertion_keys.settle(store, revocation, Timestamp::now()).await;
    let site = opened.live.in_force().site.clone();
    if let Err(error) = settled {
        // Who is to be told by a signature is told nothing without a key; all else does not hang on it.
        if site.signs && !assertion_keys.can_sign() {
            return Err(error.into());
        }
        tracing::error!(error = %error_chain(&error), "the keys of the signed header stay as they are: it is tried again in a minute");
    }
    saml::settle_keys(site.idps.iter().map(|entry| &*entry.idp));
    for entry in &site.idps {
        saml::note_changes(&opened.core, &entry.idp).await;
    }
    Ok(())
}

/// The parts that are there before anything is bound.
struct OpenedParts {
    lock: Lock,
    core: Arc<Core>,
    live: Arc<Current>,
    own: Arc<Own>,
    fetch: Renewable,
    schemas: Arc<Schemas>,
    ways: AppWays,
}

/// Takes the state folder, opens the store and the keys, and makes the core with the first configuration.
async fn open_parts(
    file: &File,
    registry: &mut Registry,
    inheritance: &mut Inheritance,
) -> Result<OpenedParts, StartError> {
    let runtime = Handle::current();
    let lock = Lock::take_handed(&file.state, inheritance.state_lock.take())?;
    handover::end_strays(&file.state, &inheritance.known_pids())?;
    let schemas = Arc::new(settings::scim_schemas(file));
    let handed = inheritance.database_lock.take();
    let store = Arc::new(Store::open_handed(&file.database, schemas.clone(), handed).await?);
    let keys = Arc::new(keyring::open_keyring(file, &store).await?);
    let fetch =
        Renewable::new(fetch::build_client(settings::fetch_reach(file), file.http_client.ca_file.clone())?);
    let idp_keys = Arc::new(IdpKeys::load_kept(&store).await.map_err(StartError::IdpKeys)?);
    let tokens = Arc::new(TokenBook::load_kept(&store).await.map_err(StartError::Tokens)?);
    let saml_keys = saml::open_files(file, &idp_keys, Timestamp::now())?;
    let certificates = ServedCertificates::open(file)?;
    let ways = application::read_ways(file)?;
    let live = Live::from_file(file, &keys, saml_keys.as_ref(), fetch.fetch(), &ways, None);
    let live = Arc::new(Current::new(live));

    let sessions =
        Sessions::new(CACHED, settings::to_ms(file.session.idle), settings::compile_policy(file, FIRST));
    let core = Arc::new(Core {
        revocation: Revocation::new(runtime.clone(), sessions.clone(), store.clone()),
        metrics: Arc::new(Metrics::register(registry)),
        refusals: Refusals::start(&runtime, store.clone()),
        runtime,
        store,
        sessions,
        assertion_keys: Arc::new(AssertionKeys::new(keys.clone())),
        keys,
        idp_keys,
        tokens,
        certificates,
        imports: Imports::default(),
        turn: Turn::default(),
    });
    // From here on whatever takes access away is enforced there too.
    inheritance.attach(core.revocation.predecessors()).map_err(StartError::Sockets)?;
    let own = Arc::new(Own::new(core.clone(), live.clone()));
    Ok(OpenedParts { lock, core, live, own, fetch, schemas, ways })
}

/// Users are told of in the log after each so many.
const TOLD_EACH: u64 = 2_000;

/// Makes what is found agree with the extensions that are declared, before anybody can search or write.
pub(crate) async fn settle_search(store: &Store) -> Result<(), StoreError> {
    let mut next = TOLD_EACH;
    let settled = store.settle_search(|users| {
        if users >= next {
            tracing::info!(users, "scim.extensions have changed: what users are found by is being made anew");
            next = users + TOLD_EACH;
        }
    });
    if let Some(users) = settled.await? {
        tracing::info!(users, "scim.extensions have changed: what users are found by agrees with them now");
    }
    Ok(())
}

/// The data plane before it is bound.
struct Plane {
    gate: Arc<Gate>,
    access_log: AccessLog,
}

fn build_plane(file: &File, opened: &OpenedParts, registry: &mut Registry) -> Result<Plane, StartError> {
    let OpenedParts { core, live, own, ways, .. } = opened;
    let (target, format) = settings::access_log(file);
    let access_log = AccessLog::start_writer(&target, format)?;
    let pages = own::pages_seam(own.clone(), &live.in_force());
    let parts = proxy::Parts {
        rules: settings::proxy_rules(file, core.sessions.policy(), pages, ways),
        sessions: core.sessions.clone(),
        keys: core.keys.clone(),
        signer: core.assertion_keys.signer().clone(),
        load: load::session_loader(core.clone()),
        log: access_log.clone(),
        references: Some(core.refusals.of_the_data_plane(&core.runtime)),
        idle: file.limits.idle,
    };
    Ok(Plane { gate: Gate::new(parts, registry), access_log })
}

/// Everything that listens, bound and not served yet.
struct BoundPorts {
    server: Server,
    ports: Vec<LeadPort>,
}

/// What is served behind the ports, and the sockets that are there already.
struct Doors<'a> {
    registry: Registry,
    draining: &'a Arc<AtomicBool>,
    operators: &'a admin::Operators,
    inherited: InheritedSockets,
    /// True where a process was replaced, which may hand on what it is asked.
    is_succession: bool,
}

/// Binds everything before anything is served.
async fn bind_ports(
    file: &File,
    opened: &OpenedParts,
    gate: Arc<Gate>,
    Doors { registry, draining, operators, mut inherited, is_succession }: Doors<'_>,
) -> Result<BoundPorts, StartError> {
    let OpenedParts { core, live, schemas, .. } = opened;
    let shares = Shares::of_process();
    let limits = settings::proxy_limits(file, shares.proxy);
    let clients = |file: &Option<PathBuf>| file.as_deref().map(ClientAuthorities::load).transpose();
    let heard = clients(&file.listen.proxy.client_ca)?;
    let tls = core.certificates.proxy().map(|certificates| ListenerTls { certificates, clients: heard });
    let listener = proxy::Listener {
        address: file.listen.proxy.address,
        tls,
        proxy_protocol: file.listen.proxy.proxy_protocol,
    };
    let exemplars = gate.exemplars();
    let server = Server::bind_listeners(gate, &[listener], limits, None, inherited.tcp())?;
    let mut ports = vec![LeadPort {
        pauses: false,
        bound: listeners::bind_tcp("listen.health", file.listen.health.address, &mut inherited).await?,
        router: health::health_router(core, live, (registry, exemplars), draining.clone()),
        port: Port::new("health", shares.health, &core.metrics),
    }];
    if live.in_force().scim.is_some() {
        let listener = listeners::bind_tcp("listen.scim", file.listen.scim.address, &mut inherited).await?;
        let listener = match core.certificates.scim() {
            Some(shown) => {
                let clients = clients(&file.listen.scim.client_ca)?;
                listener.over_tls(listeners::acceptor(shown, clients.as_ref())?)
            }
            None => listener,
        };
        ports.push(LeadPort {
            pauses: true,
            bound: listener,
            router: scim::scim_router(core.clone(), live.clone(), schemas.clone()),
            port: Port::new("scim", shares.scim, &core.metrics),
        });
    }
    if let Some(address) = file.listen.proxy.redirect {
        ports.push(LeadPort {
            pauses: true,
            bound: listeners::bind_tcp("listen.proxy.redirect", address, &mut inherited).await?,
            router: redirect::redirect_router(live.clone()),
            port: Port::new("redirect", shares.scim, &core.metrics),
        });
    }
    ports.push(LeadPort {
        pauses: true,
        bound: listeners::bind_unix("state", &file.state.join(admin::SOCKET), &mut inherited)?,
        router: admin::admin_router(operators.clone()),
        port: Port { times: admin::TIMES, ..Port::new("admin", shares.admin, &core.metrics) },
    });
    for port in ports.iter_mut().filter(|port| port.pauses) {
        let router = std::mem::take(&mut port.router);
        port.router = handover::answer_in_turn(router, port.port.name, core.turn.clone(), &file.state);
    }
    if is_succession {
        let relayed = ports.iter().map(|port| (port.port.name, port.router.clone()));
        let back_channel = (relayed::PORT, relayed::back_channel_router(opened.own.clone()));
        let relayed = relayed.chain([back_channel]).collect();
        ports.push(LeadPort {
            pauses: true,
            bound: listeners::bind_unix("state", &file.state.join(RELAY_SOCKET), &mut inherited)?,
            router: handover::relay_router(relayed),
            port: Port { times: admin::TIMES, ..Port::new("relay", shares.scim, &core.metrics) },
        });
    }
    for address in inherited.left() {
        tracing::warn!(
            address,
            "a socket was opened for this process that the configuration does not name: it is closed, and whoever waits on it is turned away"
        );
    }
    Ok(BoundPorts { server, ports })
}

/// Operators of a program that serves, each by the configuration that is in force when an order comes.
fn live_operators(core: &Arc<Core>, live: &Arc<Current>, upgrades: &Arc<Upgrades>) -> admin::Operators {
    let (core, live, upgrades) = (core.clone(), live.clone(), upgrades.clone());
    admin::Operators::new(move || {
        Arc::new(Operator {
            store: core.store.clone(),
            revocation: core.revocation.clone(),
            idp_keys: core.idp_keys.clone(),
            tokens: core.tokens.clone(),
            assertion_keys: Some(core.assertion_keys.clone()),
            terms: live.in_force().terms.clone(),
            serves: true,
            imports: core.imports.clone(),
            metrics: Some(core.metrics.clone()),
            upgrades: Some(upgrades.clone()),
        })
    })
}

/// The handle on the data plane: the channel that tells it how to go, the signal that its time is up, and how it ended.
type PlaneHandle = (watch::Sender<Parting>, Arc<Notify>, JoinHandle<Result<proxy::Drained, proxy::Stopped>>);

fn serve_plane(server: Server) -> PlaneHandle {
    let (parting, told) = watch::channel(Parting::Stay);
    let hurry = Arc::new(Notify::new());
    let hurried = hurry.clone();
    let serving = server.run(told, async move { hurried.notified().await });
    (parting, hurry, tokio::spawn(serving))
}

/// Says what is served where.
fn tell_addresses(file: &File) {
    let scim = matches!(file.provisioning, portcullis_config::UserSource::Scim(_));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        commit = crate::build_info::COMMIT,
        public_url = format!("{}{}/", file.public_url.origin(), file.public_url.path()),
        upstream = %file.upstream.url,
        proxy = %file.listen.proxy.address,
        scim = scim.then(|| file.listen.scim.address.to_string()),
        health = %file.listen.health.address,
        state = %file.state.display(),
        "Portcullis serves"
    );
}

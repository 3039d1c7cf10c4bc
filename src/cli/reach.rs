//! How a command reaches the store: through the program that runs, else by itself.
//!
//! A running program holds the lock of the state folder and everything that must hear of a change, so it is asked on
//! its admin socket. Where none runs, the command takes the lock, opens the store and asks the same router in its own
//! process: the same code answers, and what it writes goes through the same log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use portcullis_config::{Environment, File, Home, HomePeople, LONGEST_SOCKET};
use portcullis_policy::{Bindings, IdentityHeaders, Policy, RulesVersion, UserFrom};
use portcullis_proxy::LogDetail;
use portcullis_scim::Schemas;
use portcullis_session::Sessions;
use portcullis_store::{LockHolder, OpenError, Store, StoreError};
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::net::UnixStream;
use tokio::runtime::{Handle, Runtime};
use tower::ServiceExt as _;

use crate::assertion_keys::AssertionKeys;
use crate::foreign::Foreign;
use crate::idp_keys::IdpKeys;
use crate::import::turn::Imports;
use crate::listeners::admin::{self, Failure, Operators, SOCKET};
use crate::lock::{Lock, LockError};
use crate::operator::{Operator, Terms};
use crate::person::People;
use crate::revocation::Revocation;
use crate::settings;
use crate::terminal::{Exit, config_path, print_error, tell_problems};
use crate::tokens::TokenBook;

/// A way to the store.
pub(super) struct StoreReach(StoreWay);

enum StoreWay {
    /// A program runs and listens here.
    Program(PathBuf),
    /// This process has the store, and the lock until the end.
    Here { router: Router, operator: Arc<ArcSwap<Operator>>, store: Arc<Store>, _lock: Lock },
}

/// Reasons why an order did not get there, or was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    /// The answer of the program, or of the store.
    #[error("{0}")]
    Said(String),
    /// Somebody holds the lock and does not listen: it is starting or leaving, or it is another command.
    #[error(
        "{} has the state folder {}, and nobody listens at the {SOCKET} in it{}. Try again in a moment. Where it stays so, the \
         socket was taken away from it: restart that process",
        .holder, .state.display(), too_long(.state)
    )]
    Elsewhere { holder: LockHolder, state: PathBuf },
    /// The state folder is another user's.
    #[error(transparent)]
    Foreign(Foreign),
    /// No program was ever started with this state folder.
    #[error(
        "no program listens in {}, and there is no database at {}. Name the state folder of the program with \
         --state DIR, or its configuration with -c FILE",
        .state.display(), .database.display()
    )]
    Nothing { state: PathBuf, database: PathBuf },
    /// Nobody says whether people come by hand.
    #[error(
        "whether people are invited is not known: no program listens in {}, and `provisioning` was not read. Name \
         the configuration with -c FILE",
        .state.display()
    )]
    Unsaid { state: PathBuf },
    /// The state folder is not ours to use.
    #[error(transparent)]
    Lock(LockError),
    /// The master key is not the database's.
    #[error(transparent)]
    Keyring(#[from] crate::keyring::KeyringError),
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database was opened and cannot be read.
    #[error("the database cannot be read")]
    Kept(#[source] StoreError),
    /// It listens and says nothing.
    #[error("the program that listens at {} did not answer within {} s", .socket.display(), ASKED.as_secs())]
    Silent { socket: PathBuf },
    /// The socket is there and cannot be used.
    #[error("{} cannot be used", .socket.display())]
    Socket { socket: PathBuf, source: io::Error },
    /// The program went away, or spoke something else.
    #[error("the program that listens at {} broke off", .socket.display())]
    Broken { socket: PathBuf, source: hyper::Error },
    /// An answer that this version does not understand.
    #[error("the answer was not understood: the program that runs may be of another version")]
    Answer(#[source] serde_json::Error),
    /// The order cannot be written as a request.
    #[error("the name cannot be asked for")]
    Request(#[from] http::Error),
    /// The system gives no event loop.
    #[error("the command could not be started")]
    Runtime(#[source] io::Error),
}

/// Says of a state folder that its path is longer than that of any socket in it may be; nothing of another.
pub(super) fn too_long(state: &Path) -> &'static str {
    let is_long = state.join(SOCKET).as_os_str().len() > LONGEST_SOCKET;
    if is_long { ": the path is too long for a socket, so name the folder by a shorter one" } else { "" }
}

/// A runtime for one command.
///
/// # Errors
/// [`ReachError::Runtime`].
pub(super) fn build_runtime() -> Result<Runtime, ReachError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ReachError::Runtime)
}

impl StoreReach {
    /// Gets to the store, asks once and leaves.
    ///
    /// # Errors
    /// [`ReachError`].
    pub(super) fn ask_once<T: DeserializeOwned>(
        home: &Home,
        missing: WithoutDatabase,
        request: http::request::Builder,
        body: Option<serde_json::Value>,
    ) -> Result<T, ReachError> {
        build_runtime()?.block_on(async {
            let reach = Self::open_home(home, missing).await?;
            let answer = reach.ask_store(request, body).await;
            reach.leave().await;
            answer
        })
    }

    /// Reaches the store that is there for one command, which prints what it finds, and lets go of it.
    pub(super) fn serve_command(home: &Home, command: impl AsyncFnOnce(&Self) -> Exit) -> Exit {
        let runtime = match build_runtime() {
            Ok(runtime) => runtime,
            Err(error) => return print_error(&error),
        };
        runtime.block_on(async {
            let reach = match Self::open_home(home, WithoutDatabase::Refuse).await {
                Ok(reach) => reach,
                Err(error) => return print_error(&error),
            };
            let exit = command(&reach).await;
            reach.leave().await;
            exit
        })
    }

    /// Finds the program that runs, else opens the store.
    ///
    /// # Errors
    /// [`ReachError::Elsewhere`] where the store is taken by somebody who does not listen, [`ReachError::Foreign`]
    /// where it is another user's, [`ReachError::Silent`] where the program hangs.
    pub(super) async fn open_home(home: &Home, missing: WithoutDatabase) -> Result<Self, ReachError> {
        let Home { state, database, .. } = home;
        let socket = state.join(SOCKET);
        // A change may take its time; whether anybody is there to make it shows at once.
        match ask_program::<IgnoredAny>(state, "/condition").await {
            Ok(None) => {}
            Err(error @ (ReachError::Silent { .. } | ReachError::Socket { .. } | ReachError::Foreign(_))) => {
                return Err(error);
            }
            // It is there. What it makes of the order, it says.
            Ok(Some(_)) | Err(_) => return Ok(Self(StoreWay::Program(socket))),
        }
        // Whoever is not the owner would leave files behind that the program cannot open, root above all.
        if let Ok(Some(foreign)) = Foreign::of_folder(state) {
            return Err(ReachError::Foreign(foreign));
        }
        // A folder that was not meant has no store, and gets none.
        if missing == WithoutDatabase::Refuse && !database.try_exists().unwrap_or(true) {
            return Err(ReachError::Nothing { state: state.clone(), database: database.clone() });
        }
        if missing == WithoutDatabase::Make && home.people.is_none() {
            return Err(ReachError::Unsaid { state: state.clone() });
        }
        let lock = Lock::take_folder(state).map_err(|error| match error {
            LockError::Held { holder, state } => ReachError::Elsewhere { holder, state },
            other => ReachError::Lock(other),
        })?;
        let schemas = home.extensions.as_ref().map_or_else(Schemas::core_schemas, settings::declared_schemas);
        let store = Arc::new(Store::open(database, Arc::new(schemas)).await?);
        // Nobody is in, in this process: what is enforced here is what the store says from now on.
        let identity = IdentityHeaders::x_forwarded(UserFrom::UserName);
        let policy =
            Arc::new(Policy::new(RulesVersion::default(), Vec::new(), home.bindings.clone(), identity));
        let idp_keys = IdpKeys::load_kept(&store).await.map_err(ReachError::Kept)?;
        let tokens = TokenBook::load_kept(&store).await.map_err(ReachError::Kept)?;
        let operator = Operator {
            store: store.clone(),
            idp_keys: Arc::new(idp_keys),
            tokens: Arc::new(tokens),
            assertion_keys: None,
            revocation: Revocation::new(Handle::current(), Sessions::new(0, IDLE_MS, policy), store.clone()),
            serves: false,
            imports: Imports::default(),
            metrics: None,
            upgrades: None,
            terms: Terms {
                people: home.people.map(people_of_home),
                address: home.address.as_ref().map(|address| format!("{}/", address.trim_end_matches('/'))),
                log: LogDetail::default(), // this process has no log
                relink_to: Vec::new(),
                knows_headers: false,
            },
        };
        let operator = Arc::new(ArcSwap::from_pointee(operator));
        let asked = operator.clone();
        let router = admin::admin_router(Operators::new(move || asked.load_full()));
        Ok(Self(StoreWay::Here { router, operator, store, _lock: lock }))
    }

    /// Reads the whole configuration for an order in this process, where one that runs has it.
    ///
    /// # Errors
    /// The code to end with, once the reason was printed.
    pub(super) async fn read_config_if_here(&self, config: Option<&Path>) -> Result<(), Exit> {
        if !matches!(self.0, StoreWay::Here { .. }) {
            return Ok(());
        }
        let loaded = config_path(config)
            .and_then(|path| portcullis_config::load_file(&path, &Environment::of_process()));
        let file = loaded.map_err(|problems| tell_problems(&problems))?.file;
        self.configure_if_here(&file).await.map_err(|error| print_error(&error))
    }

    /// Tells an order in this process how people are told to the application.
    pub(super) fn know_headers_if_here(&self, bindings: &Bindings, identity: IdentityHeaders) {
        if let StoreWay::Here { operator, .. } = &self.0 {
            let before = operator.load();
            let policy = Arc::new(Policy::new(RulesVersion(1), Vec::new(), bindings.clone(), identity));
            // Nobody is in, so nobody is cut.
            drop(before.revocation.sessions().review(policy));
            let terms = Terms { knows_headers: true, ..before.terms.clone() };
            operator.store(Arc::new(Operator { terms, ..(**before).clone() }));
        }
    }

    /// Gives an order in this process what it needs of a configuration: the master key, and the identity providers.
    ///
    /// # Errors
    /// [`ReachError::Keyring`].
    pub(super) async fn configure_if_here(&self, file: &File) -> Result<(), ReachError> {
        if let StoreWay::Here { operator, store, .. } = &self.0 {
            let keys = Arc::new(crate::keyring::open_keyring(file, store).await?);
            let assertion_keys = Some(Arc::new(AssertionKeys::new(keys)));
            let relink_to = settings::relink_to(file);
            let before = operator.load();
            let terms = Terms { relink_to, knows_headers: true, ..before.terms.clone() };
            // Nobody is in, so nobody is cut.
            let policy = Arc::new(file.compile_policy(RulesVersion(1)));
            drop(before.revocation.sessions().review(policy));
            operator.store(Arc::new(Operator { terms, assertion_keys, ..(**before).clone() }));
        }
        Ok(())
    }

    /// Asks, and understands the answer.
    ///
    /// # Errors
    /// [`ReachError::Said`] has the sentence of whoever refused.
    pub(super) async fn ask_store<T: DeserializeOwned>(
        &self,
        request: http::request::Builder,
        body: Option<serde_json::Value>,
    ) -> Result<T, ReachError> {
        let body = Bytes::from(body.map(|body| body.to_string()).unwrap_or_default());
        self.ask_with(request.header(header::CONTENT_TYPE, "application/json"), body).await
    }

    /// Asks with a body of any kind.
    ///
    /// # Errors
    /// As [`ask_store`](Self::ask_store).
    pub(super) async fn ask_with<T: DeserializeOwned>(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<T, ReachError> {
        let request = request.header(header::HOST, "localhost").body(Full::new(body))?;
        let (status, body) = match &self.0 {
            StoreWay::Program(socket) => send_request(socket, request).await?,
            StoreWay::Here { router, .. } => {
                let answer = match router.clone().oneshot(request.map(Body::new)).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                };
                let (head, body) = answer.into_parts();
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                (head.status, body)
            }
        };
        if !status.is_success() {
            let said = serde_json::from_slice::<Failure>(&body).map(|failure| failure.error);
            return Err(ReachError::Said(said.unwrap_or_else(|_| format!("the program answered {status}"))));
        }
        serde_json::from_slice(&body).map_err(ReachError::Answer)
    }

    /// Closes what was opened.
    pub(super) async fn leave(self) {
        if let StoreWay::Here { store, .. } = &self.0 {
            store.close().await;
        }
    }
}

/// Asks the program that runs, and nobody else: `None` where none listens with this state folder. The answer is bounded in time
/// and size.
///
/// # Errors
/// [`ReachError::Foreign`] where the folder is another user's.
pub(super) async fn ask_program<T: DeserializeOwned>(
    state: &Path,
    path: &str,
) -> Result<Option<T>, ReachError> {
    let socket = state.join(SOCKET);
    let request = Request::get(path).header(header::HOST, "localhost").body(Full::new(Bytes::new()))?;
    let asking = async {
        match connect_socket(&socket).await {
            Ok(stream) => send_over(&socket, stream, request, LARGEST).await.map(Some),
            Err(error) if nobody_listens(&error) => Ok(None),
            Err(source) => {
                let foreign = Foreign::of_folder(state).ok().flatten();
                let socket = socket.clone();
                Err(foreign.map_or(ReachError::Socket { socket, source }, ReachError::Foreign))
            }
        }
    };
    let answer = tokio::time::timeout(ASKED, asking).await;
    let Some((status, body)) = answer.map_err(|_| ReachError::Silent { socket: socket.clone() })?? else {
        return Ok(None);
    };
    if !status.is_success() {
        return Err(ReachError::Said(format!("the program answered {status}: it may be of another version")));
    }
    serde_json::from_slice(&body).map(Some).map_err(ReachError::Answer)
}

/// The time that a program has which is only asked how it is.
const ASKED: Duration = Duration::from_secs(5);
/// The most bytes of its answer.
const LARGEST: usize = 1024 * 1024;

/// The most bytes of the answer to an order: everything that is listed of a million people, and no end of whoever listens
/// there and is no program.
const LARGEST_ANSWER: usize = 512 * 1024 * 1024;

/// The course of a command where there is no database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WithoutDatabase {
    /// The order is refused.
    Refuse,
    /// It is made: people may be invited before the first start.
    Make,
}

fn people_of_home(people: HomePeople) -> People {
    match people {
        HomePeople::Directory => People::Directory,
        HomePeople::Invited => People::Invited,
        HomePeople::Login => People::Login,
    }
}

/// Nothing idles in a process without sessions.
const IDLE_MS: i64 = i64::MAX;

/// Connects as soon as there is room: whoever serves many at once has a queue, and a full one is no fault.
async fn connect_socket(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(full) if full.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(PAUSE).await,
            connected => return connected,
        }
    }
}

/// The time between two tries where the queue of a socket is full.
const PAUSE: Duration = Duration::from_millis(20);

/// Tells whether an error of connecting says that nobody serves there: none was started, one ended without tidying up, or
/// the path is longer than any socket's, so that none ever listened at it.
fn nobody_listens(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, InvalidInput, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused | InvalidInput)
}

/// One request over the socket, the answer read whole.
async fn send_request(
    socket: &Path,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), ReachError> {
    let failed = |source| ReachError::Socket { socket: socket.to_owned(), source };
    let stream = connect_socket(socket).await.map_err(failed)?;
    send_over(socket, stream, request, LARGEST_ANSWER).await
}

/// The same over a connection that is there; a larger answer ends in [`ReachError::Socket`].
async fn send_over(
    socket: &Path,
    stream: UnixStream,
    request: Request<Full<Bytes>>,
    largest: usize,
) -> Result<(StatusCode, Bytes), ReachError> {
    let at = || socket.to_owned();
    let broken = |source| ReachError::Broken { socket: at(), source };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let asking = async {
        let answer: Response<hyper::body::Incoming> = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        match Limited::new(answer.into_body(), largest).collect().await {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(source) => Err(ReachError::Socket { socket: at(), source: io::Error::other(source) }),
        }
    };
    tokio::select! {
        answer = asking => answer,
        Err(error) = connection => Err(broken(error)),
    }
}

#[cfg(test)]
mod tests;

//! Identify: from a cookie to a session that has let this exchange in.
//!
//! It alone opens cookies and looks up sessions. An exchange is enrolled before anything is believed (rules R3, R4):
//! a session in memory enrols and checks in one step; anything else takes the cold road, which reads after the
//! enrolment and is given one second in all. What cannot be read is refused, never guessed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use portcullis_keys::Keyring;
use portcullis_policy::{App, AppId, HeaderFault, Principal, SessionHash, Timestamp};
use portcullis_session::{Ended, Enrolment, InFlight, Session, Sessions};
use tokio::time::Instant;

use crate::answer::RequestRefusal;
use crate::cookies;
use crate::metrics::{Counter, Metrics};
use crate::request::GateRequest;
use crate::rooms::accept::Head;
use crate::rules::AppRules;

/// The cold road: reads a session, its account and the epochs after enrolling the exchange, on the core runtime.
/// `None` where there is no such session. Dropped, it stops: how long it may take is for whoever asks to say.
pub type Load = Arc<
    dyn Fn(SessionHash, AppId, InFlight) -> BoxFuture<'static, Result<Option<Enrolment>, LoadError>>
        + Send
        + Sync,
>;

/// The reason why the cold road led nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The session is not good.
    #[error("the session is over: {0}")]
    Ended(Ended),
    /// The session is good, but nothing can be said of the person to the application.
    #[error("nothing can be said of the person: {0}")]
    Untold(HeaderFault),
    /// The store does not answer.
    #[error("the session cannot be read now")]
    Unavailable,
}

/// The longest time a request waits for reads, over all its rounds.
const PATIENCE: Duration = Duration::from_secs(1);

/// The search of a request for its session, in one round.
#[derive(Debug, Default)]
pub(crate) struct SessionSearch {
    /// The session in memory is of no use: its account has to be read again.
    pub(crate) cold: bool,
    /// The reason why the person it found is nobody to the application.
    pub(crate) untold: Option<HeaderFault>,
    until: Option<Instant>,
}

/// The room that opens cookies and looks sessions up.
pub(crate) struct Identify {
    sessions: Arc<Sessions>,
    keys: Arc<Keyring>,
    load: Load,
    /// Sessions found in memory, and sessions that had to be read.
    warm: Counter,
    cold: Counter,
}

impl Identify {
    pub(crate) fn new(sessions: Arc<Sessions>, keys: Arc<Keyring>, load: Load, metrics: &Metrics) -> Self {
        Self { sessions, keys, load, warm: metrics.warm.clone(), cold: metrics.cold.clone() }
    }

    /// The session that a cookie speaks of. Nobody has looked whether it is good.
    pub(crate) fn spoken_of(&self, headers: &HeaderMap, place: &AppRules) -> Option<SessionHash> {
        let value = cookies::find_cookie(headers, &place.site().cookie)?;
        self.keys.open_cookie(place.app().id, value)
    }

    /// The session this request shows, with the exchange in its register. `None`: nobody.
    pub(crate) async fn find_session(
        &self,
        head: &Head<'_>,
        place: &AppRules,
        request: &GateRequest<'_>,
        search: &mut SessionSearch,
        now: Timestamp,
    ) -> Result<Option<Enrolment>, RequestRefusal> {
        let app = place.app();
        let Some(value) = cookies::find_cookie(head.headers, &place.site().cookie) else { return Ok(None) };
        let shown = request.peer.find_session(app.id, value).filter(|_| !search.cold);
        if let Some(session) = shown {
            return self.enter_session(&session, app, request.exchange, now);
        }
        let Some(hash) = self.keys.open_cookie(app.id, value) else { return Ok(None) };
        if !search.cold
            && let Some(session) = self.sessions.find_session(&hash)
        {
            request.peer.keep_session(app.id, value, &session);
            return self.enter_session(&session, app, request.exchange, now);
        }
        self.read_session(hash, app, request.exchange, search).await
    }

    /// Finds who is signed in by a session, checked like any exchange, and until when. For our own pages, which are
    /// handed it and look up nothing.
    pub(crate) async fn find_person(
        &self,
        hash: SessionHash,
        app: &App,
    ) -> Option<(Arc<Principal>, Timestamp)> {
        let (exchange, mut search) = (InFlight::new(), SessionSearch::default());
        let warm = match self.sessions.find_session(&hash) {
            Some(session) => self.enter_session(&session, app, &exchange, Timestamp::now()).ok()?,
            None => None,
        };
        let enrolment = match warm {
            Some(enrolment) if enrolment.current_principal().is_ok() => enrolment,
            _ => self.read_session(hash, app, &exchange, &mut search).await.ok()??,
        };
        let expires = enrolment.session().expires()?;
        Some((enrolment.current_principal().ok()?, expires))
    }

    /// The cold road, within what is left of the request's second.
    async fn read_session(
        &self,
        hash: SessionHash,
        app: &App,
        exchange: &InFlight,
        search: &mut SessionSearch,
    ) -> Result<Option<Enrolment>, RequestRefusal> {
        self.cold.inc();
        let until = *search.until.get_or_insert_with(|| Instant::now() + PATIENCE);
        match tokio::time::timeout_at(until, (self.load)(hash, app.id, exchange.clone())).await {
            Ok(Ok(enrolment)) => Ok(enrolment.filter(|found| found.session().org() == app.org)),
            Ok(Err(LoadError::Ended(ended))) => Err(RequestRefusal::Ended(ended)),
            Ok(Err(LoadError::Untold(fault))) => {
                search.untold = Some(fault);
                Err(RequestRefusal::Ended(Ended::Forbidden))
            }
            Ok(Err(LoadError::Unavailable)) => Err(RequestRefusal::Unproven),
            Err(_) => {
                tracing::error!("a session was not read within 1 s: its request is refused with 503");
                Err(RequestRefusal::Unproven)
            }
        }
    }

    /// The warm road: a session in memory lets the exchange in, or says why not.
    fn enter_session(
        &self,
        session: &Arc<Session>,
        app: &App,
        exchange: &InFlight,
        now: Timestamp,
    ) -> Result<Option<Enrolment>, RequestRefusal> {
        self.warm.inc();
        if session.org() != app.org {
            return Ok(None);
        }
        session.enter(app.id, exchange, now).map(Some).map_err(RequestRefusal::Ended)
    }
}

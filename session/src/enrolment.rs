//! A place in the register of exchanges in flight: warm, from a session in memory, or cold, before anything is read.

use std::sync::Arc;

use portcullis_policy::{AppId, Pass, Principal, SessionHash, Timestamp};

use crate::registry::{AccountHolder, StaleAccount};
use crate::session::Session;
use crate::{Ended, InFlight};

/// A place in the register. The exchange leaves it when this is dropped.
#[derive(Debug)]
pub struct Enrolment {
    seat: RegisterSeat,
    who: Result<Arc<Principal>, u64>,
}

/// The place itself, of an exchange checked or not.
#[derive(Debug)]
struct RegisterSeat {
    session: Arc<Session>,
    exchange: InFlight,
    key: usize,
}

impl Drop for RegisterSeat {
    fn drop(&mut self) {
        self.session.holder().account.leave(self.key);
    }
}

impl Enrolment {
    pub(crate) fn warm(
        session: &Arc<Session>,
        app: AppId,
        exchange: &InFlight,
        now: Timestamp,
    ) -> Result<Self, Ended> {
        let AccountHolder { shared, account } = session.holder();
        let (key, verdict) = {
            let mut state = account.state.lock();
            let key = state.enrol(account, session, exchange);
            (key, session.check(&state, app, now).map(|()| state.current_principal(shared.rules_version())))
        };
        let seat = RegisterSeat { session: session.clone(), exchange: exchange.clone(), key };
        let who = verdict?;
        session.touch(now);
        Ok(Self { seat, who })
    }

    /// The principal as read at the check.
    ///
    /// # Errors
    /// [`StaleAccount`] where the account has to be read again: the request takes the cold road (R3).
    pub fn current_principal(&self) -> Result<Arc<Principal>, StaleAccount> {
        match &self.who {
            Ok(principal) => Ok(principal.clone()),
            Err(known) => Err(StaleAccount { holder: self.seat.session.holder().clone(), known: *known }),
        }
    }

    /// Puts the exchange on its pass. False when it was cut, or when roles or rules moved since `who` was read:
    /// decide again (R4).
    pub fn stands_on(&self, pass: &Pass, who: &Arc<Principal>) -> bool {
        let AccountHolder { shared, account } = self.seat.session.holder();
        account.state.lock().stand(self.seat.key, pass, who, shared.rules_version())
    }

    /// The exchange becomes a stream (an upgrade, an event stream, gRPC). Called before its response head is passed on.
    ///
    /// # Errors
    /// Why it must be cut instead: it is over, or the headers it carried would say something else now (R8).
    pub fn become_stream(&self) -> Result<(), Ended> {
        self.seat.session.holder().account.state.lock().become_stream(self.seat.key)
    }

    /// Bytes came from the client: the session is not idle.
    pub fn touch(&self, now: Timestamp) {
        self.seat.session.touch(now);
    }

    /// The session it belongs to.
    pub fn session(&self) -> &Arc<Session> {
        &self.seat.session
    }

    /// The exchange.
    pub fn exchange(&self) -> &InFlight {
        &self.seat.exchange
    }
}

/// An exchange enrolled before its session is read (R3). Whatever is read from here on may be believed.
#[derive(Debug)]
pub struct Cold {
    seat: RegisterSeat,
    known: u64,
}

impl AccountHolder {
    /// Enrols an exchange under a session that is still to be read; its object is made here if there is none (R1).
    pub fn enrol(&self, hash: SessionHash, exchange: &InFlight) -> Cold {
        let fresh = Arc::new(Session::unread(hash, self.clone()));
        let (session, key, known) = {
            let mut state = self.account.state.lock();
            let session = match state.sessions.get(&hash).and_then(std::sync::Weak::upgrade) {
                Some(session) => session,
                None => {
                    state.sessions.insert(hash, Arc::downgrade(&fresh));
                    fresh.clone()
                }
            };
            let key = state.enrol(&self.account, &session, exchange);
            (session, key, state.stale_count())
        };
        Cold { seat: RegisterSeat { session, exchange: exchange.clone(), key }, known }
    }
}

impl Cold {
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.seat.session
    }

    pub(crate) fn known(&self) -> u64 {
        self.known
    }

    pub(crate) fn admit(self, who: Result<Arc<Principal>, u64>) -> Enrolment {
        Enrolment { seat: self.seat, who }
    }
}

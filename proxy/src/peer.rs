//! Peer: who is at the other end of a client's socket, and what need not be found out again for each of its requests.
//!
//! What lives as long as the socket is counted by the one core that serves it. The configuration, the recorder and the
//! like are everybody's: a request that took a handle of each would wait for the other cores ten times.
//!
//! Most sockets carry one browser, which shows the same cookie again and again; the session it found last is kept
//! here, so that neither its tag is computed nor the cache is asked. Nothing is believed for being kept: the session
//! enrols each exchange and checks it (rule R4), and it is found by the whole value only, compared in constant time,
//! since a proxy before us may carry a stranger's request on the same socket.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use portcullis_keys::{Secret, equal_bytes};
use portcullis_policy::AppId;
use portcullis_session::Session;

use crate::networks::{Networks, X_FORWARDED_FOR};
use crate::rooms::recorder::Recorder;
use crate::rules::{AppRules, Rules};
use crate::told::Told;

/// The other end of a client's socket.
pub struct Peer {
    address: IpAddr,
    text: HeaderValue,
    /// False where it passes on a client that it does not name: what is said of the way is that client's then.
    speaks: bool,
    /// `X-Forwarded-For`, where no trusted proxy says more.
    told: Told,
    recorder: Arc<Recorder>,
    place: Mutex<Option<AppRules>>,
    shown: Mutex<Option<CookieMemo>>,
}

/// A cookie that was opened, and the session it leads to.
struct CookieMemo {
    app: AppId,
    cookie: Secret,
    session: Arc<Session>,
}

impl Peer {
    /// An IPv4 address that came as IPv6 is the IPv4 address.
    pub(crate) fn new(address: IpAddr, recorder: Arc<Recorder>) -> Self {
        let address = address.to_canonical();
        let text = HeaderValue::from_maybe_shared(bytes::Bytes::from(address.to_string()));
        #[allow(clippy::expect_used, reason = "an address is written in digits, letters, dots and colons")]
        let text = text.expect("plain text");
        let mut told = Told::new();
        told.add_field(&X_FORWARDED_FOR, &text);
        Self { address, speaks: true, text, told, recorder, place: Mutex::new(None), shown: Mutex::new(None) }
    }

    /// The same of a proxy that passes bytes on and does not say whose: nobody is trusted for its address.
    pub(crate) fn of_unnamed_client(mut self) -> Self {
        self.speaks = false;
        self
    }

    /// Tells whether what it says of the way of a request is believed.
    pub(crate) fn is_trusted(&self, trusted: &Networks) -> bool {
        self.speaks && trusted.contains(self.address)
    }

    /// The client's address, as far as the proxies before us are believed.
    pub(crate) fn client_address(&self, trusted: &Networks, headers: &HeaderMap) -> IpAddr {
        if self.speaks { trusted.client_address(self.address, headers) } else { self.address }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The address as fields write it.
    pub(crate) fn address_text(&self) -> &HeaderValue {
        &self.text
    }

    /// What the application is told of its address.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// The recorder that the records of its requests are written to.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The place of a host under these rules; `None` where it is nobody's.
    pub(crate) fn find_place(&self, rules: &Arc<Rules>, host: &str) -> Option<AppRules> {
        let mut kept = self.place.lock();
        if let Some(place) = kept.as_ref().filter(|place| place.is_of(rules, host)) {
            return Some(place.clone());
        }
        let place = AppRules::of_host(rules, host)?;
        *kept = Some(place.clone());
        Some(place)
    }

    /// The session that this very cookie led to when it was shown last.
    pub(crate) fn find_session(&self, app: AppId, cookie: &[u8]) -> Option<Arc<Session>> {
        let shown = self.shown.lock();
        let found = shown
            .as_ref()
            .filter(|shown| shown.app == app && equal_bytes(shown.cookie.expose().as_bytes(), cookie))?;
        Some(found.session.clone())
    }

    /// Keeps what a cookie led to, in the place of what was kept before.
    pub(crate) fn keep_session(&self, app: AppId, cookie: &[u8], session: &Arc<Session>) {
        let Ok(cookie) = std::str::from_utf8(cookie) else { return };
        let shown = CookieMemo { app, cookie: Secret::new(cookie), session: session.clone() };
        let before = self.shown.lock().replace(shown);
        drop(before); // perhaps a session's last owner: not under the lock
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({})", self.address)
    }
}

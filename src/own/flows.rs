//! Login state in the browser's own cookies: sealed, one a flow, ten minutes, five at most, the oldest out.
//!
//! Nothing is stored on our side until an answer of the IdP has been verified. A value that does not open with the
//! key of this app was not made here and is as good as none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::{HeaderMap, HeaderValue, header};
use portcullis_keys::{Keyring, Purpose, Random, equal};
use portcullis_policy::{AppId, Timestamp};
use portcullis_sso::{FLOW_MS, Pending};
use serde::{Deserialize, Serialize};

/// What every flow cookie's name starts with; the data plane never passes such cookies on.
const PREFIX: &str = portcullis_proxy::FLOW_COOKIE;
/// How many logins a browser may have under way.
const MOST: usize = 5;
/// How long after a login another one counts as a further round of the same, in milliseconds.
const ROUND_MS: i64 = 30_000;

/// What a flow cookie holds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sealed {
    /// A login under way.
    Pending(Pending),
    /// A login that has just succeeded, and the how-manieth in a row it was.
    Landed { at: i64, rounds: u8 },
}

/// The flow cookies a request brought.
pub(crate) struct Flows<'a> {
    keys: &'a Keyring,
    app: AppId,
    found: Vec<(String, Sealed)>,
}

impl<'a> Flows<'a> {
    /// Opens what the request brought for this app; the rest is not ours.
    pub(crate) fn of(headers: &HeaderMap, keys: &'a Keyring, app: AppId) -> Self {
        let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let ours = pairs.filter(|(name, _)| name.starts_with(PREFIX)).take(32);
        let opened = ours.filter_map(|(name, value)| {
            let plain = keys.open(Purpose::Login, &context(app, name), &BASE64.decode(value).ok()?)?;
            Some((name.to_owned(), serde_json::from_slice(&plain).ok()?))
        });
        Self { keys, app, found: opened.collect() }
    }

    /// The login that an answer's `state` belongs to, and the name of its cookie.
    pub(crate) fn take(&mut self, state: &str) -> Option<(String, Pending)> {
        let belongs = |sealed: &Sealed| matches!(sealed, Sealed::Pending(pending) if equal(pending.state().as_bytes(), state.as_bytes()));
        let at = self.found.iter().position(|(_, sealed)| belongs(sealed))?;
        match self.found.swap_remove(at) {
            (name, Sealed::Pending(pending)) => Some((name, pending)),
            (_, Sealed::Landed { .. }) => None,
        }
    }

    /// How many rounds the browser has just gone through without staying signed in.
    pub(crate) fn rounds(&self, now: Timestamp) -> u8 {
        let recent = |sealed: &Sealed| match sealed {
            Sealed::Landed { at, rounds } if (0..ROUND_MS).contains(&now.since_ms(Timestamp(*at))) => {
                Some(*rounds)
            }
            _ => None,
        };
        self.found.iter().filter_map(|(_, sealed)| recent(sealed)).max().unwrap_or(0)
    }

    /// The cookies that begin a flow: the new one, and the removal of what is over or too much.
    pub(crate) fn begin(&self, pending: Pending, random: &mut Random, now: Timestamp) -> Vec<HeaderValue> {
        let mut open: Vec<(i64, &str)> = Vec::new();
        let mut cookies = Vec::new();
        for (name, sealed) in &self.found {
            match sealed {
                Sealed::Pending(other) if (0..FLOW_MS).contains(&now.since_ms(other.started())) => {
                    open.push((other.started().0, name));
                }
                Sealed::Pending(_) => cookies.extend(removal(name)),
                Sealed::Landed { .. } => {}
            }
        }
        open.sort_unstable();
        let too_many = (open.len() + 1).saturating_sub(MOST);
        cookies.extend(open[..too_many].iter().filter_map(|(_, name)| removal(name)));
        let name = format!("{PREFIX}{}", hex(random.bytes::<8>()));
        cookies.extend(self.seal(&name, &Sealed::Pending(pending), FLOW_MS / 1000, random));
        cookies
    }

    /// The cookie that remembers a login that has just succeeded.
    pub(crate) fn land(&self, rounds: u8, random: &mut Random, now: Timestamp) -> Option<HeaderValue> {
        let landed = Sealed::Landed { at: now.0, rounds: rounds.saturating_add(1) };
        self.seal(&format!("{PREFIX}landed"), &landed, ROUND_MS / 1000, random)
    }

    fn seal(&self, name: &str, value: &Sealed, seconds: i64, random: &mut Random) -> Option<HeaderValue> {
        let plain = serde_json::to_vec(value).ok()?;
        let sealed = self.keys.seal(Purpose::Login, &context(self.app, name), &plain, random);
        set(name, &BASE64.encode(sealed), Some(seconds))
    }
}

/// The removal of the cookie that remembers a recent login: after a logout the next login is a first one.
pub(crate) fn forget_landing() -> Option<HeaderValue> {
    removal(&format!("{PREFIX}landed"))
}

/// A cookie of ours: host-only, for https, unseen by scripts, sent with navigations (RFC 6265bis §4.1).
pub(crate) fn set(name: &str, value: &str, seconds: Option<i64>) -> Option<HeaderValue> {
    let mut cookie = cookie::Cookie::build((name, value))
        .path("/")
        .secure(true)
        .http_only(true)
        .same_site(cookie::SameSite::Lax);
    if let Some(seconds) = seconds {
        cookie = cookie.max_age(cookie::time::Duration::seconds(seconds));
    }
    HeaderValue::try_from(cookie.build().to_string()).ok()
}

/// The same cookie taken away.
pub(crate) fn removal(name: &str) -> Option<HeaderValue> {
    set(name, "", Some(0))
}

/// A value sealed for one cookie of one app opens in no other.
fn context(app: AppId, name: &str) -> Vec<u8> {
    [&app.0.to_be_bytes(), name.as_bytes()].concat()
}

fn hex(bytes: [u8; 8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Login state in the browser's own cookies: sealed, one a flow, ten minutes, five at most, the oldest out.
//!
//! Nothing is stored on our side until an answer of the IdP has been verified. A value that does not open with the
//! key of this app was not made here and is as good as none, and hides none that was.
//!
//! The state itself is sealed too and says where its tab was going: a tab whose cookie was pushed out by others, or has
//! run out, starts over by itself. It proves nothing else; without the cookie no answer is taken.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use http::{HeaderMap, HeaderValue};
use portcullis_keys::{Keyring, Purpose, Random, equal_bytes};
use portcullis_policy::{AppId, Timestamp};
use portcullis_proxy::cookies;
use portcullis_sso::{FLOW_MS, Pending};
use serde::{Deserialize, Serialize};

use super::set_cookie::{remove_cookie, set_cookie, set_cross_site_cookie};

/// The beginning of every flow cookie's name; the data plane never passes such cookies on.
pub(super) const PREFIX: &str = portcullis_proxy::FLOW_COOKIE;
/// The most logins that a browser may have under way.
const MOST: usize = 5;
/// The time after a login within which another one counts as a further round of the same, in milliseconds.
const ROUND_MS: i64 = 30_000;

/// The content of a flow cookie, before it is sealed.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FlowCookie {
    /// A login under way.
    Pending(Pending),
    /// A login that has just succeeded, and the how-manieth in a row it was.
    Landed { at: i64, rounds: u8 },
    /// A logout that was sent to an IdP: the ID of the request, which the answer must name.
    Leaving { id: String, at: i64 },
    /// A response that nobody here asked for: the number under which it is kept until its browser comes back.
    Arrived { id: String, at: i64 },
}

/// The flow cookies a request brought.
pub(crate) struct Flows<'a> {
    keys: &'a Keyring,
    app: AppId,
    found: Vec<FoundCookie>,
}

struct FoundCookie {
    name: String,
    /// The bytes of the head that it takes.
    bytes: usize,
    sealed: FlowCookie,
}

/// The tab that a state was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tab {
    /// The page it was going to: short, see `Own::short_way`.
    #[serde(rename = "w")]
    pub(crate) way: String,
    /// The number of times it has started over.
    #[serde(rename = "n")]
    pub(crate) restarts: u8,
}

impl Tab {
    /// A state nobody can guess: it is sealed, and a sealed value has 28 random bytes in front.
    pub(crate) fn seal(&self, keys: &Keyring, app: AppId, random: &mut Random) -> String {
        let plain = serde_json::to_vec(self).unwrap_or_default();
        BASE64.encode(keys.seal(Purpose::Login, &cookie_context(app, STATE), &plain, random))
    }

    /// The tab of a state that was made here, however long ago.
    pub(crate) fn open_state(state: &str, keys: &Keyring, app: AppId) -> Option<Self> {
        let plain = keys.open(Purpose::Login, &cookie_context(app, STATE), &BASE64.decode(state).ok()?)?;
        serde_json::from_slice(&plain).ok()
    }
}

/// The context of a state: no cookie has that name.
const STATE: &str = "state";
/// A cookie's value is at most this long: browsers drop cookies above 4096 bytes with name and flags (RFC 6265bis
/// §5.6).
const MOST_VALUE: usize = 3800;

impl<'a> Flows<'a> {
    /// Opens what the request brought for this app; the rest is not ours.
    pub(crate) fn from_headers(headers: &HeaderMap, keys: &'a Keyring, app: AppId) -> Self {
        let ours = cookies(headers).filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok().filter(|name| name.starts_with(PREFIX))?;
            let plain = keys.open(Purpose::Login, &cookie_context(app, name), &BASE64.decode(value).ok()?)?;
            let sealed = serde_json::from_slice(&plain).ok()?;
            Some(FoundCookie { name: name.to_owned(), bytes: name.len() + value.len() + 3, sealed })
        });
        Self { keys, app, found: ours.collect() }
    }

    /// The login that an answer's `state` belongs to, and the name of its cookie.
    pub(crate) fn take_login(&mut self, state: &str) -> Option<(String, Pending)> {
        let belongs = |found: &FoundCookie| matches!(&found.sealed, FlowCookie::Pending(pending) if equal_bytes(pending.state().as_bytes(), state.as_bytes()));
        let at = self.found.iter().position(belongs)?;
        let found = self.found.swap_remove(at);
        match found.sealed {
            FlowCookie::Pending(pending) => Some((found.name, pending)),
            FlowCookie::Landed { .. } | FlowCookie::Leaving { .. } | FlowCookie::Arrived { .. } => None,
        }
    }

    #[cfg(feature = "saml")]
    /// Tells whether a login at this IdP is under way whose answer comes by form.
    pub(crate) fn awaits_form(&self, idp: &str) -> bool {
        self.waiting_for(idp).next().is_some()
    }

    #[cfg(feature = "saml")]
    /// The only login at this IdP whose answer comes by form, and the name of its cookie: for an IdP that loses our state.
    /// Its answer must name it all the same.
    pub(crate) fn take_only_login(&mut self, idp: &str) -> Option<(String, Pending)> {
        let mut waiting = self.waiting_for(idp);
        let state = waiting.next()?.state().to_owned();
        if waiting.next().is_some() {
            return None;
        }
        drop(waiting);
        self.take_login(&state)
    }

    #[cfg(feature = "saml")]
    fn waiting_for(&self, idp: &str) -> impl Iterator<Item = &Pending> {
        self.found.iter().filter_map(move |found| match &found.sealed {
            FlowCookie::Pending(pending) if pending.is_answered_by_form() && pending.idp() == idp => {
                Some(pending)
            }
            _ => None,
        })
    }

    #[cfg(feature = "saml")]
    /// The logout request that this browser was sent away with, ten minutes ago at most.
    pub(crate) fn leaving(&self, now: Timestamp) -> Option<&str> {
        self.found.iter().find_map(|found| match &found.sealed {
            FlowCookie::Leaving { id, at } if (0..FLOW_MS).contains(&now.since_ms(Timestamp(*at))) => {
                Some(id.as_str())
            }
            _ => None,
        })
    }

    /// The cookie that remembers a logout request.
    pub(crate) fn leaving_cookie(
        &self,
        id: String,
        random: &mut Random,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let name = leaving_name();
        let value = self.seal_cookie(&name, FlowCookie::Leaving { id, at: now.0 }, random)?;
        set_cross_site_cookie(&name, &value, FLOW_MS / 1000)
    }

    #[cfg(feature = "saml")]
    /// The number of the response that this browser has just brought from its provider unasked.
    pub(crate) fn arrived_number(&self, now: Timestamp) -> Option<&str> {
        self.found.iter().find_map(|found| match &found.sealed {
            FlowCookie::Arrived { id, at } if (0..FLOW_MS).contains(&now.since_ms(Timestamp(*at))) => {
                Some(id.as_str())
            }
            _ => None,
        })
    }

    #[cfg(feature = "saml")]
    /// The cookie that remembers such a response. Where another site posts, a browser keeps it and brings it from here on.
    pub(crate) fn arrived_cookie(
        &self,
        id: String,
        random: &mut Random,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let name = arrived_name();
        let value = self.seal_cookie(&name, FlowCookie::Arrived { id, at: now.0 }, random)?;
        set_cookie(&name, &value, Some(FLOW_MS / 1000))
    }

    /// Counts the rounds that the browser has just gone through without staying signed in.
    pub(crate) fn count_rounds(&self, now: Timestamp) -> u8 {
        let recent = |sealed: &FlowCookie| match sealed {
            FlowCookie::Landed { at, rounds } if (0..ROUND_MS).contains(&now.since_ms(Timestamp(*at))) => {
                Some(*rounds)
            }
            _ => None,
        };
        self.found.iter().filter_map(|found| recent(&found.sealed)).max().unwrap_or(0)
    }

    /// The cookies that begin a flow: the new one, and the removal of what is over or too much. Together they stay below
    /// `most` bytes, so that they never fill the head of a request. `short` is the way back where the whole of it does
    /// not fit the cookie.
    pub(crate) fn login_cookie(
        &self,
        mut pending: Pending,
        short: &str,
        most: usize,
        random: &mut Random,
        now: Timestamp,
    ) -> Vec<HeaderValue> {
        let name = format!("{PREFIX}{}", to_hex(random.draw_bytes::<8>()));
        let limit = MOST_VALUE.min(most / 2);
        let crosses_sites = pending.is_answered_by_form();
        let mut value = self.seal_cookie(&name, FlowCookie::Pending(pending.clone()), random);
        if value.as_ref().is_some_and(|value| value.len() > limit) {
            pending.go_back_to(short);
            value = self.seal_cookie(&name, FlowCookie::Pending(pending), random);
        }
        let mut open: Vec<(i64, &FoundCookie)> = Vec::new();
        let mut cookies = Vec::new();
        for found in &self.found {
            match &found.sealed {
                FlowCookie::Pending(other) if (0..FLOW_MS).contains(&now.since_ms(other.started())) => {
                    open.push((other.started().0, found));
                }
                FlowCookie::Pending(_) => cookies.extend(remove_cookie(&found.name)),
                FlowCookie::Landed { .. } | FlowCookie::Leaving { .. } | FlowCookie::Arrived { .. } => {}
            }
        }
        // The newest stay, as many as there is room for.
        open.sort_unstable_by_key(|(started, _)| std::cmp::Reverse(*started));
        let mut bytes = name.len() + value.as_ref().map_or(0, String::len) + 3;
        for (nth, (_, found)) in open.iter().enumerate() {
            bytes += found.bytes;
            if nth + 2 > MOST || bytes > most {
                cookies.extend(remove_cookie(&found.name));
            }
        }
        cookies.extend(value.and_then(|value| match crosses_sites {
            true => set_cross_site_cookie(&name, &value, FLOW_MS / 1000),
            false => set_cookie(&name, &value, Some(FLOW_MS / 1000)),
        }));
        cookies
    }

    /// The cookie that remembers a login that has just succeeded.
    pub(crate) fn landed_cookie(
        &self,
        rounds: u8,
        random: &mut Random,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let landed = FlowCookie::Landed { at: now.0, rounds: rounds.saturating_add(1) };
        let name = format!("{PREFIX}landed");
        set_cookie(&name, &self.seal_cookie(&name, landed, random)?, Some(ROUND_MS / 1000))
    }

    fn seal_cookie(&self, name: &str, value: FlowCookie, random: &mut Random) -> Option<String> {
        let plain = serde_json::to_vec(&value).ok()?;
        Some(BASE64.encode(self.keys.seal(Purpose::Login, &cookie_context(self.app, name), &plain, random)))
    }
}

/// The name of the cookie that remembers a logout request.
pub(crate) fn leaving_name() -> String {
    format!("{PREFIX}leaving")
}

/// The name of the cookie that remembers a response that nobody here asked for.
#[cfg(feature = "saml")]
pub(super) fn arrived_name() -> String {
    format!("{PREFIX}arrived")
}

/// The removal of the cookie that remembers a recent login: after a logout the next login is a first one.
pub(crate) fn forget_landing() -> Option<HeaderValue> {
    remove_cookie(&format!("{PREFIX}landed"))
}

/// A value sealed for one cookie of one app opens in no other.
fn cookie_context(app: AppId, name: &str) -> Vec<u8> {
    [&app.0.to_be_bytes(), name.as_bytes()].concat()
}

fn to_hex(bytes: [u8; 8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use portcullis_sso::Ask;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_900_000_000_000);
    const HEAD: usize = 16 * 1024;

    fn keys() -> Keyring {
        Keyring::from_master(&[7; 32])
    }

    fn pending(number: i64, return_to: &str) -> Pending {
        let ask = Ask {
            app: AppId::ONLY,
            state: format!("state-{number}"),
            return_to: return_to.to_owned(),
            rounds: 0,
            epochs: [0; 3],
            replaces: None,
        };
        Pending::of_oidc("op", "https://op.test", &ask, &mut Random::from_seed(1), NOW.plus_ms(number))
    }

    /// A browser: what it is told to keep, in a jar.
    fn keep(jar: &mut Vec<(String, String)>, cookies: Vec<HeaderValue>) {
        for cookie in cookies {
            let text = cookie.to_str().unwrap().to_owned();
            assert!(text.len() <= 4096, "a browser drops it: {}", text.len());
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            jar.retain(|(known, _)| known != name);
            if !text.contains("Max-Age=0") {
                jar.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn headers(jar: &[(String, String)]) -> HeaderMap {
        let pairs: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_str(&pairs.join("; ")).unwrap());
        headers
    }

    #[test]
    fn flows_stay_within_their_number_and_their_room() {
        let keys = keys();
        for (way, most) in [(10, HEAD), (2000, HEAD), (2000, 2048), (16_000, HEAD)] {
            let way = format!("/p?{}", "x".repeat(way));
            let mut jar = Vec::new();
            for number in 0..20 {
                let headers = headers(&jar);
                let flows = Flows::from_headers(&headers, &keys, AppId::ONLY);
                keep(
                    &mut jar,
                    flows.login_cookie(
                        pending(number, &way),
                        "/p",
                        most,
                        &mut Random::from_system(),
                        NOW.plus_ms(number),
                    ),
                );
                let bytes: usize = jar.iter().map(|(name, value)| name.len() + value.len() + 3).sum();
                assert!(jar.len() <= MOST && bytes <= most, "{} cookies, {bytes} bytes", jar.len());
                let headers = self::headers(&jar);
                let (_, found) = Flows::from_headers(&headers, &keys, AppId::ONLY)
                    .take_login(&format!("state-{number}"))
                    .unwrap();
                let is_whole = way.len() <= 2100 && most == HEAD;
                assert_eq!(found.return_to(), if is_whole { way.as_str() } else { "/p" });
            }
        }
    }

    #[test]
    fn junk_beside_the_cookie_hides_nothing() {
        let keys = keys();
        let flows = Flows::from_headers(&HeaderMap::new(), &keys, AppId::ONLY);
        let mut jar: Vec<(String, String)> =
            (0..200).map(|n| (format!("{PREFIX}{n:016x}"), "A".repeat(100))).collect();
        keep(&mut jar, flows.login_cookie(pending(1, "/"), "/", HEAD, &mut Random::from_system(), NOW));
        let mut headers = headers(&jar);
        headers.append(COOKIE, HeaderValue::from_bytes(b"odd=\xff\xfe").unwrap());
        assert!(Flows::from_headers(&headers, &keys, AppId::ONLY).take_login("state-1").is_some());
        // One of the same name, planted in front of it.
        let (name, _) = jar.last().unwrap();
        let mut twice = HeaderMap::new();
        twice.append(COOKIE, HeaderValue::from_str(&format!("{name}=AAAA")).unwrap());
        twice.extend(headers);
        assert!(Flows::from_headers(&twice, &keys, AppId::ONLY).take_login("state-1").is_some());
    }

    #[test]
    fn a_state_knows_its_tab_and_no_other_key_does() {
        let tab = Tab { way: "/deep?a=b".into(), restarts: 1 };
        let state = tab.seal(&keys(), AppId::ONLY, &mut Random::from_system());
        assert_eq!(Tab::open_state(&state, &keys(), AppId::ONLY), Some(tab));
        assert_eq!(Tab::open_state(&state, &Keyring::from_master(&[8; 32]), AppId::ONLY), None);
        assert_eq!(Tab::open_state(&state, &keys(), AppId(7)), None);
        assert!(!state.contains("deep"));
    }

    proptest! {
        #[test]
        fn no_state_from_outside_is_a_tab(state in "[A-Za-z0-9_-]{0,200}|\\PC{0,40}") {
            prop_assert_eq!(Tab::open_state(&state, &keys(), AppId::ONLY), None);
        }

        #[test]
        fn no_cookie_from_outside_is_a_flow(bytes in prop::collection::vec((0x20..=0xff_u8).prop_filter("a header", |b| *b != 0x7f), 0..200)) {
            let mut headers = HeaderMap::new();
            headers.append(COOKIE, HeaderValue::from_bytes(&[b"__Host-pcflow-1=".as_slice(), &bytes].concat()).unwrap());
            prop_assert!(Flows::from_headers(&headers, &keys(), AppId::ONLY).found.is_empty());
        }
    }
}

//! A login under way: what was asked, so that the answer can be compared with it.
//!
//! It is sealed into the browser's own cookie and lives ten minutes; nothing of it is stored. State binds the answer
//! to this browser, the nonce binds the ID token to this login, the verifier (PKCE) binds the code to it.

use std::fmt;

use portcullis_keys::{Random, equal_bytes};
use portcullis_policy::{AppId, Timestamp};
use serde::{Deserialize, Serialize};

use super::AuthorizationResponse;
use crate::{Class, LoginRefusal};

/// The time that a login may take, in milliseconds.
pub const FLOW_MS: i64 = 10 * 60 * 1000;

/// A browser's wish: a login for an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The app.
    pub app: AppId,
    /// The state: unguessable, and made by whoever will know it again.
    pub state: String,
    /// The page to go to afterwards: a path of the app, checked by the caller.
    pub return_to: String,
    /// The number of rounds that this browser has made without success.
    pub rounds: u8,
    /// The epochs it begins under: what was ended since then, the answer must not bring back.
    pub epochs: [u64; 3],
}

/// A login that has been sent to the provider.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pending {
    idp: String,
    issuer: String,
    state: String,
    nonce: String,
    verifier: String,
    return_to: String,
    app: u32,
    started: i64,
    rounds: u8,
    epochs: [u64; 3],
}

impl Pending {
    /// A login that begins now at this provider. [`crate::Idp::begin_login`] makes the address to go with it.
    pub fn new(idp: &str, issuer: &str, ask: &Ask, random: &mut Random, now: Timestamp) -> Self {
        Self {
            idp: idp.into(),
            issuer: issuer.into(),
            state: ask.state.clone(),
            nonce: random.draw_token().expose().into(),
            verifier: random.draw_token().expose().into(),
            return_to: ask.return_to.clone(),
            app: ask.app.0,
            started: now.0,
            rounds: ask.rounds,
            epochs: ask.epochs,
        }
    }

    /// The identity provider that was asked, by its name in the configuration.
    pub fn idp(&self) -> &str {
        &self.idp
    }

    /// The state: it names the flow.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Gives the page to go to afterwards.
    pub fn return_to(&self) -> &str {
        &self.return_to
    }

    /// Goes somewhere else afterwards.
    pub fn go_back_to(&mut self, way: &str) {
        self.return_to = way.to_owned();
    }

    /// The app it is for.
    pub fn app(&self) -> AppId {
        AppId(self.app)
    }

    /// Gives the time it started.
    pub fn started(&self) -> Timestamp {
        Timestamp(self.started)
    }

    /// Gives the number of rounds that came before it.
    pub fn rounds(&self) -> u8 {
        self.rounds
    }

    /// The epochs it began under: of the deployment, the organization, the provider.
    pub fn epochs(&self) -> [u64; 3] {
        self.epochs
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    pub(super) fn verifier(&self) -> &str {
        &self.verifier
    }

    /// Checks that an answer may be the one to this login: asked of this provider, in time, with our state.
    pub(super) fn check_answer(
        &self,
        idp: &str,
        issuer: &str,
        answer: &AuthorizationResponse,
        now: Timestamp,
    ) -> Result<(), LoginRefusal> {
        let refuse = |expected: &str, got: &str| {
            Err(LoginRefusal::new(
                Class::OidcState,
                expected,
                got,
                "Nothing to set. Start again from the application.",
            ))
        };
        if self.idp != idp || self.issuer != issuer {
            return refuse(&format!("an answer of {}", self.idp), idp);
        }
        if !(-FLOW_MS..FLOW_MS).contains(&now.since_ms(self.started())) {
            return refuse("an answer within 10 minutes", "a later one");
        }
        match &answer.state {
            Some(state) if equal_bytes(state.as_bytes(), self.state.as_bytes()) => Ok(()),
            Some(_) => refuse("the state of this login", "another one"),
            None => refuse("the state of this login", "none"),
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending(idp {}, started {}, rounds {})", self.idp, self.started, self.rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000_000);

    fn pending() -> Pending {
        let ask = Ask {
            app: AppId(1),
            state: "s".repeat(22),
            return_to: "/wiki".into(),
            rounds: 1,
            epochs: [1, 2, 3],
        };
        Pending::new("okta", "https://op.test", &ask, &mut Random::from_seed(1), START)
    }

    fn answer(state: &str) -> AuthorizationResponse {
        AuthorizationResponse { state: Some(state.into()), ..AuthorizationResponse::default() }
    }

    #[test]
    fn it_comes_back_from_the_cookie_as_it_went() {
        let before = pending();
        let text = serde_json::to_string(&before).unwrap();
        let after: Pending = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&after).unwrap(), text);
        assert_eq!((after.return_to(), after.app(), after.rounds()), ("/wiki", AppId(1), 1));
        assert_eq!(after.epochs(), [1, 2, 3]);
        let debug = format!("{after:?}");
        for secret in [&after.state, &after.nonce, &after.verifier] {
            assert!(!debug.contains(secret.as_str()));
        }
    }

    #[test]
    fn an_answer_fits_one_login_only() {
        let pending = pending();
        let good = answer(pending.state());
        let fits = |idp: &str, issuer: &str, answer: &AuthorizationResponse, after_ms: i64| {
            pending
                .check_answer(idp, issuer, answer, START.plus_ms(after_ms))
                .map_err(|refusal| refusal.class)
        };
        assert_eq!(fits("okta", "https://op.test", &good, 0), Ok(()));
        assert_eq!(fits("okta", "https://op.test", &good, FLOW_MS - 1), Ok(()));
        for (idp, issuer, answer, after) in [
            ("okta", "https://op.test", &good, FLOW_MS),
            ("okta", "https://op.test", &good, -FLOW_MS - 1),
            ("entra", "https://op.test", &good, 0),
            ("okta", "https://new.test", &good, 0),
            ("okta", "https://op.test", &answer(""), 0),
            ("okta", "https://op.test", &answer("other"), 0),
            ("okta", "https://op.test", &AuthorizationResponse::default(), 0),
        ] {
            assert_eq!(fits(idp, issuer, answer, after), Err(Class::OidcState), "{idp} {issuer} {after}");
        }
    }
}

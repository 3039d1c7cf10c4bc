//! A login under way: what was asked, so that the answer can be compared with it.
//!
//! It is sealed into the browser's own cookie and lives ten minutes; nothing of it is stored. State binds the answer
//! to this browser; what binds it to this login is the protocol's: [`Proof`].

use std::fmt;

use portcullis_keys::Random;
use portcullis_policy::{AppId, SessionHash, Timestamp};
use serde::{Deserialize, Serialize};

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
    /// The session that the browser has now.
    pub replaces: Option<SessionHash>,
}

/// A login that has been sent to the identity provider.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pending {
    idp: String,
    issuer: String,
    state: String,
    proof: Proof,
    return_to: String,
    app: u32,
    started: i64,
    rounds: u8,
    epochs: [u64; 3],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<[u8; 32]>,
}

/// The secrets of a login, by protocol: its answer proves with them that it answers this one.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Proof {
    Oidc(OidcProof),
    /// The state is the ID of the AuthnRequest, which the response must answer.
    Saml,
}

/// The nonce binds the ID token to this login, the verifier (PKCE) binds the code to it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct OidcProof {
    pub(crate) nonce: String,
    pub(crate) verifier: String,
}

impl OidcProof {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self { nonce: random.draw_token().expose().into(), verifier: random.draw_token().expose().into() }
    }
}

impl Pending {
    /// A login that begins now at this identity provider.
    pub(crate) fn new(idp: &str, issuer: &str, ask: &Ask, proof: Proof, now: Timestamp) -> Self {
        Self {
            idp: idp.into(),
            issuer: issuer.into(),
            state: ask.state.clone(),
            proof,
            return_to: ask.return_to.clone(),
            app: ask.app.0,
            started: now.0,
            rounds: ask.rounds,
            epochs: ask.epochs,
            replaces: ask.replaces.as_ref().map(|hash| hash.0),
        }
    }

    /// A login of OpenID Connect that begins now. [`crate::OidcIdp::begin_login`] makes the address to go with it.
    pub fn of_oidc(idp: &str, issuer: &str, ask: &Ask, random: &mut Random, now: Timestamp) -> Self {
        Self::new(idp, issuer, ask, Proof::Oidc(OidcProof::draw(random)), now)
    }

    /// A login that nobody here asked for, as if it had begun when its response arrived: the state is ours, and no answer
    /// names it.
    pub fn of_unsolicited(idp: &str, issuer: &str, ask: &Ask, now: Timestamp) -> Self {
        Self::new(idp, issuer, ask, Proof::Saml, now)
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

    /// The session that the browser had when it began: it ends with the login.
    pub fn replaces(&self) -> Option<SessionHash> {
        self.replaces.map(SessionHash)
    }

    /// Tells whether its answer comes from another site by form, without the cookies that browsers keep from those.
    pub fn is_answered_by_form(&self) -> bool {
        matches!(self.proof, Proof::Saml)
    }

    /// The epochs it began under: of the deployment, the organization, the provider.
    pub fn epochs(&self) -> [u64; 3] {
        self.epochs
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Checks that it was this identity provider that was asked, ten minutes ago at most.
    ///
    /// # Errors
    /// The value that would have been right, and the one that came.
    pub(crate) fn check_asked<'a>(
        &self,
        idp: &'a str,
        issuer: &str,
        now: Timestamp,
    ) -> Result<(), (String, &'a str)> {
        if self.idp != idp || self.issuer != issuer {
            return Err((format!("an answer of {}", self.idp), idp));
        }
        if !(-FLOW_MS..FLOW_MS).contains(&now.since_ms(self.started())) {
            return Err(("an answer within 10 minutes".to_owned(), "a later one"));
        }
        Ok(())
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
            replaces: Some(SessionHash([7; 32])),
        };
        Pending::of_oidc("okta", "https://op.test", &ask, &mut Random::from_seed(1), START)
    }

    #[test]
    fn it_comes_back_from_the_cookie_as_it_went() {
        let before = pending();
        let text = serde_json::to_string(&before).unwrap();
        let after: Pending = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&after).unwrap(), text);
        assert_eq!((after.return_to(), after.app(), after.rounds()), ("/wiki", AppId(1), 1));
        assert_eq!((after.epochs(), after.replaces()), ([1, 2, 3], Some(SessionHash([7; 32]))));
        let debug = format!("{after:?}");
        let Proof::Oidc(OidcProof { nonce, verifier }) = after.proof() else {
            panic!("it was OpenID Connect's")
        };
        for secret in [&after.state, nonce, verifier] {
            assert!(!debug.contains(secret.as_str()));
        }
    }

    #[test]
    fn it_is_of_one_identity_provider_and_ten_minutes() {
        let asked = |idp: &str, issuer: &str, after_ms: i64| {
            pending().check_asked(idp, issuer, START.plus_ms(after_ms)).is_ok()
        };
        assert!(asked("okta", "https://op.test", 0));
        assert!(asked("okta", "https://op.test", FLOW_MS - 1));
        for (idp, issuer, after) in [
            ("okta", "https://op.test", FLOW_MS),
            ("okta", "https://op.test", -FLOW_MS - 1),
            ("entra", "https://op.test", 0),
            ("okta", "https://new.test", 0),
        ] {
            assert!(!asked(idp, issuer, after), "{idp} {issuer} {after}");
        }
    }
}

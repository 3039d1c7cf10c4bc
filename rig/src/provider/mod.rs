//! One OpenID provider: small, strict where the standard is, and bent where a test wants it bent.
//!
//! Authorization code with PKCE (S256 only), one client. It refuses a redirect URI that is not the registered one
//! byte for byte, and never redirects there; a code that was used before (what it gave is taken back, RFC 6749
//! §4.1.2); a verifier that does not fit. Every answer names the issuer (RFC 9207). Nothing is kept beyond memory.
//! It asks for no password: who signs in is for whoever stands before it to say.
//!
//! `authorization` is what a browser asks, `token` what the client fetches, `logout` the way out; `endpoints` answers
//! HTTP for those that no person sees. `bends` is what a test may bend, `signer` the keys.

mod authorization;
mod bends;
mod client;
mod endpoints;
mod logout;
mod metadata;
mod pairs;
mod pkce;
mod profile;
mod recent;
mod signer;
#[cfg(test)]
mod tests;
mod token;

use std::sync::{Mutex, MutexGuard, PoisonError};

use portcullis_keys::{Random, Secret};
use portcullis_policy::Timestamp;

use authorization::Code;
use recent::RecentTable;
use token::AccessToken;

pub use authorization::{AskError, AuthorizationRequest};
pub use bends::Bends;
pub use client::OidcClient;
pub use pairs::Pairs;
pub use profile::Profile;
pub use signer::{Signer, hs256, sign_token};
pub use token::TokenError;

/// The provider.
pub struct OpenIdProvider {
    issuer: String,
    client: OidcClient,
    bends: Mutex<Bends>,
    desk: Mutex<ProviderState>,
}

struct ProviderState {
    random: Random,
    codes: RecentTable<Code>,
    tokens: RecentTable<AccessToken>,
    browsers: RecentTable<ProviderLogin>,
    /// ID tokens given out, and the sign-in each belongs to: a logout hint must be one of them.
    hints: RecentTable<String>,
}

/// A browser that is signed in at the provider.
#[derive(Clone)]
pub struct ProviderLogin {
    pub profile: Profile,
    /// The name of the sign-in in tokens (`sid`).
    sid: String,
    since: Timestamp,
}

impl OpenIdProvider {
    /// A provider at `issuer` (no slash at its end) for one client, that signs with this key.
    pub fn new(issuer: &str, client: OidcClient, signer: Signer, random: Random) -> Self {
        let desk = ProviderState {
            random,
            codes: RecentTable::new(),
            tokens: RecentTable::new(),
            browsers: RecentTable::new(),
            hints: RecentTable::new(),
        };
        let bends = Mutex::new(Bends::none(signer));
        Self { issuer: issuer.to_owned(), client, bends, desk: Mutex::new(desk) }
    }

    /// Gives the bends, to look at and to change.
    pub fn bends(&self) -> MutexGuard<'_, Bends> {
        self.bends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs a browser in: the value of its cookie.
    pub fn sign_in(&self, profile: Profile, now: Timestamp) -> Secret {
        let mut desk = self.desk();
        let (cookie, sid) = (desk.random.draw_token(), desk.random.draw_reference());
        desk.browsers.insert(cookie.expose(), ProviderLogin { profile, sid, since: now });
        cookie
    }

    /// The browser a cookie belongs to.
    pub fn browser(&self, cookie: &str) -> Option<ProviderLogin> {
        self.desk().browsers.get(cookie).cloned()
    }

    fn desk(&self) -> MutexGuard<'_, ProviderState> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! One identity provider, of whichever protocol: what the program does alike with both.

use portcullis_keys::Random;
use portcullis_policy::Timestamp;

use crate::{Ask, Fetch, LoginRefusal, LogoutHint, OidcIdp, OidcSettings, Pending};

/// One identity provider.
pub enum Idp {
    /// OpenID Connect.
    Oidc(OidcIdp),
}

/// The settings that an identity provider is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdpSettings {
    /// OpenID Connect.
    Oidc(OidcSettings),
}

impl Idp {
    /// An identity provider that has not been asked anything yet.
    pub fn new(settings: IdpSettings, fetch: Fetch) -> Self {
        match settings {
            IdpSettings::Oidc(settings) => Self::Oidc(OidcIdp::new(settings, fetch)),
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        match self {
            Self::Oidc(idp) => idp.name(),
        }
    }

    /// Its own name for itself, which its statements carry: with a subject, the key of a link.
    pub fn issuer(&self) -> &str {
        match self {
            Self::Oidc(idp) => &idp.settings().issuer,
        }
    }

    /// Tells whether it was made from exactly these settings.
    pub fn is_made_from(&self, settings: &IdpSettings) -> bool {
        match (self, settings) {
            (Self::Oidc(idp), IdpSettings::Oidc(settings)) => idp.settings() == settings,
        }
    }

    /// Tells whether it answered the last time it was asked for anything; false before the first time.
    pub fn is_answering(&self) -> bool {
        match self {
            Self::Oidc(idp) => idp.is_answering(),
        }
    }

    /// Asks for metadata and keys; called at the start and every few minutes. What was known before stays where this
    /// fails.
    ///
    /// # Errors
    /// The class of metadata, where it does not answer or answers nonsense.
    pub async fn refresh_metadata(&self, now: Timestamp) -> Result<(), LoginRefusal> {
        match self {
            Self::Oidc(idp) => idp.refresh_metadata(now).await,
        }
    }

    /// Starts a login: what to remember, to be sealed into the browser's cookie, and where to send the browser.
    ///
    /// # Errors
    /// The class of metadata, where it does not answer.
    pub async fn begin_login(
        &self,
        ask: &Ask,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<(Pending, String), LoginRefusal> {
        match self {
            Self::Oidc(idp) => idp.begin_login(ask, random, now).await,
        }
    }

    /// Makes the address to send a browser to, to be signed out there too, after our own session has ended. `None`
    /// where it offers no such place, or is not known yet.
    pub fn logout_url(&self, hint: Option<&LogoutHint>, back_to: &str, state: &str) -> Option<String> {
        match self {
            Self::Oidc(idp) => {
                let id_token = hint.map(|LogoutHint::Oidc { id_token }| id_token);
                idp.logout_url(id_token, back_to, state)
            }
        }
    }

    /// The origin of [`Self::logout_url`], for the policy of the page whose button leads there.
    pub fn logout_origin(&self) -> Option<String> {
        match self {
            Self::Oidc(idp) => idp.logout_origin(),
        }
    }
}

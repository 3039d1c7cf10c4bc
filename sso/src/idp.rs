//! One identity provider, of whichever protocol: what the program does alike with both.

use portcullis_policy::Timestamp;

#[cfg(feature = "saml")]
use crate::SamlIdp;
use crate::{LoginRefusal, OidcIdp};

/// One identity provider.
pub enum Idp {
    /// OpenID Connect.
    Oidc(OidcIdp),
    /// SAML 2.0.
    #[cfg(feature = "saml")]
    Saml(SamlIdp),
}

impl Idp {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        match self {
            Self::Oidc(idp) => idp.name(),
            #[cfg(feature = "saml")]
            Self::Saml(idp) => idp.name(),
        }
    }

    /// The provider of OpenID Connect, where it is one.
    pub fn as_oidc(&self) -> Option<&OidcIdp> {
        match self {
            Self::Oidc(idp) => Some(idp),
            #[cfg(feature = "saml")]
            Self::Saml(_) => None,
        }
    }

    /// The provider of SAML, where it is one.
    #[cfg(feature = "saml")]
    pub fn as_saml(&self) -> Option<&SamlIdp> {
        match self {
            Self::Saml(idp) => Some(idp),
            Self::Oidc(_) => None,
        }
    }

    /// Its own name for itself, which its statements carry: with a subject, the key of a link. `None` where its metadata
    /// has not been read yet.
    pub fn issuer(&self) -> Option<String> {
        match self {
            Self::Oidc(idp) => Some(idp.settings().issuer.clone()),
            #[cfg(feature = "saml")]
            Self::Saml(idp) => idp.issuer(),
        }
    }

    /// Tells whether it is made from the same settings as another.
    pub fn is_made_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Oidc(one), Self::Oidc(two)) => one.settings() == two.settings(),
            #[cfg(feature = "saml")]
            (Self::Saml(one), Self::Saml(two)) => one.settings() == two.settings(),
            #[cfg(feature = "saml")]
            _ => false,
        }
    }

    /// Tells whether it answered the last time it was asked for anything; false before the first time.
    pub fn is_answering(&self) -> bool {
        match self {
            Self::Oidc(idp) => idp.is_answering(),
            #[cfg(feature = "saml")]
            Self::Saml(idp) => idp.is_answering(),
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
            #[cfg(feature = "saml")]
            Self::Saml(idp) => idp.refresh_metadata(now).await.map(drop),
        }
    }

    /// The origin that a logout leads to, for the policy of the page whose button does.
    pub fn logout_origin(&self) -> Option<String> {
        match self {
            Self::Oidc(idp) => idp.logout_origin(),
            #[cfg(feature = "saml")]
            Self::Saml(idp) => idp.logout_origin(),
        }
    }
}

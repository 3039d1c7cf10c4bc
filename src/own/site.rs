//! The app as its pages need it: one file's word on it.

use std::sync::Arc;

use portcullis_sso::{Idp, OidcSettings};

use super::admission::Admission;
use crate::pages::Links;

/// An app as its pages need it.
pub(crate) struct OwnSite {
    /// The host of `public_url`, as people know it.
    pub(crate) host: String,
    /// Scheme, host and port of `public_url`: what `Origin` must be.
    pub(crate) origin: String,
    /// The path of the front page, with its final slash.
    pub(crate) home: String,
    /// The path of our own pages, without a final slash.
    pub(crate) ours: String,
    /// The name of the session cookie.
    pub(crate) cookie: String,
    /// The most bytes of a request's head that the cookies of logins under way may take.
    pub(crate) flow_bytes: usize,
    pub(crate) idp: Arc<Idp>,
    /// The settings that the IdP was made from.
    pub(crate) oidc: OidcSettings,
    pub(crate) admission: Admission,
}

impl OwnSite {
    /// Keeps the IdP of another site where nothing of it has changed, with the keys it has read.
    pub(crate) fn with_idp_of(self, before: &OwnSite) -> Self {
        if self.oidc == before.oidc { Self { idp: before.idp.clone(), ..self } } else { self }
    }

    pub(super) fn page_links(&self) -> Links<'_> {
        Links { app: &self.host, home: &self.home, ours: &self.ours }
    }

    /// A path of this app, or its front page: nothing that could lead to another origin.
    pub(crate) fn local_path(&self, path: &str) -> String {
        let base = self.home.trim_end_matches('/');
        portcullis_proxy::way_back(path, base, &self.ours).unwrap_or(&self.home).to_owned()
    }
}

//! The app as its pages need it: one file's word on it.

use std::ops::Deref;
use std::sync::Arc;

use http::HeaderMap;
use portcullis_config::{IdpInitiated, Support};
use portcullis_policy::fold;
use portcullis_sso::Idp;
use portcullis_store::EmailDomains;

use super::admission::Admission;
use crate::pages::{Language, Links};

/// An app as its pages need it.
pub(crate) struct OwnSite {
    /// Its name for people.
    pub(crate) name: String,
    /// The help that its pages name.
    pub(crate) support: Option<Support>,
    /// The host of `public_url`, by which a browser knows its cookies.
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
    /// True where applications are told who is there in a header that is signed.
    pub(crate) signs: bool,
    /// The identity providers, in the order of the file; at least one.
    pub(crate) idps: Vec<Arc<SiteIdp>>,
}

/// An identity provider, and the terms on which its word lets somebody in.
pub(crate) struct SiteIdp {
    pub(crate) idp: Arc<Idp>,
    pub(crate) admission: Admission,
    /// What becomes of a response that nobody here asked for.
    #[cfg_attr(not(feature = "saml"), expect(dead_code, reason = "no other protocol knows them"))]
    pub(crate) unsolicited: IdpInitiated,
}

impl SiteIdp {
    pub(crate) fn name(&self) -> &str {
        self.idp.name()
    }
}

/// An app, as somebody asks for one of its pages.
#[derive(Clone)]
pub(crate) struct AskedSite {
    site: Arc<OwnSite>,
    language: Language,
}

impl AskedSite {
    /// Notes what a request says of its sender.
    pub(super) fn new(site: Arc<OwnSite>, headers: &HeaderMap) -> Self {
        Self { site, language: Language::asked_for(headers) }
    }

    pub(super) fn page_links(&self) -> Links<'_> {
        Links {
            app: &self.name,
            host: &self.host,
            home: &self.home,
            ours: &self.ours,
            has_choice: self.idps.len() > 1,
            language: self.language,
            support: self.support.as_ref(),
        }
    }
}

impl Deref for AskedSite {
    type Target = OwnSite;

    fn deref(&self) -> &OwnSite {
        &self.site
    }
}

impl OwnSite {
    /// Keeps each IdP of another site of which nothing has changed, with the keys it has read.
    pub(crate) fn with_idps_of(mut self, before: &OwnSite) -> Self {
        for entry in &mut self.idps {
            let known = before.find_idp(entry.name()).filter(|known| known.idp.is_made_alike(&entry.idp));
            if let (Some(known), Some(entry)) = (known, Arc::get_mut(entry)) {
                entry.idp = known.idp.clone();
            }
        }
        self
    }

    /// Finds an IdP by its name in the configuration.
    pub(crate) fn find_idp(&self, name: &str) -> Option<&Arc<SiteIdp>> {
        self.idps.iter().find(|entry| entry.name() == name)
    }

    /// The only IdP, where there is one.
    pub(crate) fn only_idp(&self) -> Option<&Arc<SiteIdp>> {
        match self.idps.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Finds the IdP that an e-mail address belongs to: the one that lists its domain, else the one for any.
    pub(crate) fn idp_of_address(&self, address: &str) -> Option<&Arc<SiteIdp>> {
        let domain = fold::email_domain(address)?;
        let lists = |entry: &&Arc<SiteIdp>| matches!(&entry.admission.domains, EmailDomains::Only(listed) if listed.contains(&domain));
        let takes_any = |entry: &&Arc<SiteIdp>| matches!(entry.admission.domains, EmailDomains::AnyBut(_));
        self.idps.iter().find(lists).or_else(|| self.idps.iter().find(takes_any))
    }

    /// A path of this app, or its front page: nothing that could lead to another origin.
    pub(crate) fn local_path(&self, path: &str) -> String {
        let base = self.home.trim_end_matches('/');
        portcullis_proxy::way_back(path, base, &self.ours).unwrap_or(&self.home).to_owned()
    }
}

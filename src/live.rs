//! The live configuration: everything that one file says to the core, as one value.
//!
//! A reload makes a whole new one and puts it in the place of the old; whoever answers a request takes one and keeps it.
//! The data plane has its own half, [`portcullis_proxy::Rules`], to which the pages of the same file belong.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use portcullis_config::{File, ImportBlock, UpstreamUrl};
use portcullis_keys::Keyring;
use portcullis_policy::Timestamp;
use portcullis_sso::Fetch;
use tokio::sync::Notify;

use crate::app_health::AppHealth;
use crate::application::AppWays;
use crate::needs_restart::Fixed;
use crate::operator::Terms;
use crate::own::OwnSite;
use crate::saml;
use crate::scim_clients::ScimClients;
use crate::settings;
use crate::tokens::TokenBook;

/// The configuration in force.
pub(crate) struct Current {
    live: ArcSwap<Live>,
    replaced: Notify,
}

impl Current {
    /// Begins with this one.
    pub(crate) fn new(live: Live) -> Self {
        Self { live: ArcSwap::from_pointee(live), replaced: Notify::new() }
    }

    /// Takes the one that is in force now.
    pub(crate) fn in_force(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Puts another in force.
    pub(crate) fn replace(&self, live: Arc<Live>) {
        self.live.store(live);
        self.replaced.notify_one();
    }

    /// Waits until another is in force. One task waits, no more.
    pub(crate) async fn wait_replaced(&self) {
        self.replaced.notified().await;
    }
}

/// Everything that one configuration says to the core.
pub(crate) struct Live {
    /// The app as its own pages need it.
    pub(crate) site: Arc<OwnSite>,
    /// The clients that may write to the directory; `None` where there is none.
    pub(crate) scim: Option<Arc<ScimClients>>,
    /// The terms of an operator's orders.
    pub(crate) terms: Terms,
    /// The folder into which files of people are dropped.
    pub(crate) import: Option<ImportBlock>,
    /// The addresses of the app and of those that rules lead to.
    pub(crate) upstreams: Vec<UpstreamUrl>,
    /// The health check of the app.
    pub(crate) app_health: Option<Arc<AppHealth>>,
    /// The time that exchanges in flight may take once the process leaves.
    pub(crate) stop_grace: Duration,
    /// The time for which this process may carry what has begun once another one has taken over.
    pub(crate) upgrade_grace: Duration,
    /// The scheme and authority of the application, as browsers write them.
    pub(crate) public_origin: String,
    /// Settings that only a start reads.
    pub(crate) fixed: Fixed,
}

impl Live {
    /// Warns where a directory is to write here, and has no token by which it could.
    pub(crate) fn warn_without_token(&self, book: &TokenBook, now: Timestamp) {
        if self.scim.as_ref().is_some_and(|scim| scim.tokens.is_empty() && !book.has_live(now)) {
            tracing::warn!(
                "there is no SCIM token: the directory is answered 401 until there is one. Make it: portcullis token new --scim --name okta"
            );
        }
    }

    /// Makes it of a file. What the one `before` it has found out is kept: the keys of IdPs of which nothing has changed.
    pub(crate) fn from_file(
        file: &File,
        keys: &Keyring,
        saml_keys: Option<&Arc<saml::SamlKeys>>,
        fetch: Fetch,
        ways: &AppWays,
        before: Option<&Self>,
    ) -> Self {
        let site = settings::own_site(file, fetch, saml_keys);
        let site = match before {
            Some(before) => site.with_idps_of(&before.site),
            None => site,
        };
        Self {
            site: Arc::new(site),
            scim: settings::scim_clients(file, keys).map(Arc::new),
            terms: settings::order_terms(file),
            import: file.import.clone(),
            upstreams: settings::upstream_urls(file),
            app_health: settings::app_health(file, ways).map(Arc::new),
            stop_grace: file.stop_grace,
            upgrade_grace: file.upgrade_grace,
            public_origin: file.public_url.origin().to_owned(),
            fixed: Fixed::from_file(file),
        }
    }
}

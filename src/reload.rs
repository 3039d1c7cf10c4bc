//! A new configuration for a running program. A file with a problem changes nothing and says so; a good one is in
//! force on everything that runs before it is reported as done.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_config::{Environment, File, Loaded};
use portcullis_policy::{OrgId, Timestamp};
use portcullis_proxy::{AccessLog, Gate};
use portcullis_session::Sessions;
use portcullis_sso::Fetch;
use portcullis_store::{Origin, Store, Which};

use crate::desk::Desk;
use crate::health::Health;
use crate::log::{Log, chain};
use crate::metrics::Metrics;
use crate::operator::Operator;
use crate::own::Own;
use crate::revocation::Revocation;
use crate::settings;

/// What a reload replaces.
#[derive(Clone)]
pub(crate) struct Reload {
    pub(crate) path: PathBuf,
    pub(crate) version: Arc<AtomicU64>,
    /// What only a start reads, as the running program was started with it.
    pub(crate) started: Arc<Started>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Arc<Store>,
    pub(crate) revocation: Revocation,
    pub(crate) own: Arc<Own>,
    pub(crate) desk: Option<Arc<Desk>>,
    pub(crate) operator: Arc<Operator>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) fetch: Fetch,
    pub(crate) log: Option<Log>,
    pub(crate) access_log: AccessLog,
}

/// What of a configuration needs a restart, as text to compare.
pub(crate) struct Started(Vec<(&'static str, String)>);

impl Started {
    /// Takes it down.
    pub(crate) fn of(file: &File) -> Self {
        Self(vec![
            ("listen", format!("{:?}", file.listen)),
            ("state", format!("{:?}", file.state)),
            ("store", format!("{:?}", file.database)),
            ("limits", format!("{:?}", file.limits)),
            ("http_client", format!("{:?}", file.http_client)),
            ("log.access", format!("{:?}", file.log.access)),
            ("log.format", format!("{:?}", file.log.format)),
            ("scim", matches!(file.provisioning, portcullis_config::Provisioning::Scim(_)).to_string()),
        ])
    }

    fn differs(&self, other: &Started) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(before, after)| before != after).map(|(before, _)| before.0).collect()
    }
}

impl Reload {
    /// Reads the file again and puts it in force.
    pub(crate) async fn reload(&self) {
        // Whoever rotates logs sends the same signal, whatever the configuration says.
        self.access_log.reopen();
        let applied = self.apply().await;
        self.metrics.reloaded(applied);
    }

    async fn apply(&self) -> bool {
        let file = match portcullis_config::load(&self.path, &Environment::system()) {
            Ok(Loaded { file, warnings, .. }) => {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                file
            }
            Err(problems) => {
                for problem in problems.iter() {
                    tracing::error!("{problem}");
                }
                tracing::error!(
                    "the configuration has problems: nothing was changed, the old one stays in force"
                );
                return false;
            }
        };
        for key in self.started.differs(&Started::of(&file)) {
            tracing::warn!(key, "a change of this key takes a restart: the old value stays in force");
        }
        // Numbers of files that turn out unusable are not used again.
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let policy = settings::policy(&file, version);
        let (rules, site) = match (
            settings::rules(&file, policy.clone()),
            settings::site(&file, self.fetch.clone()),
        ) {
            (Ok(rules), Ok(site)) => (rules, site),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(error = %chain(&error), "the configuration could not be put in force: nothing was changed");
                return false;
            }
        };
        self.put_in_force(&file, policy, rules, site).await
    }

    /// The data plane first, then everything that stands on the old rules is looked through (R4).
    async fn put_in_force(
        &self,
        file: &File,
        policy: Arc<portcullis_policy::Policy>,
        rules: portcullis_proxy::Rules,
        site: crate::own::Site,
    ) -> bool {
        if let Some(log) = &self.log {
            log.set_level(settings::level(file));
        }
        if let (Some(desk), Some(clients)) = (&self.desk, settings::clients(file, &self.own.keys)) {
            desk.clients.store(Arc::new(clients));
        }
        self.operator.invites.store(settings::invites(file), Ordering::Relaxed);
        self.health.app.store(settings::app_health(file).map(Arc::new));
        self.sessions.idle_after(settings::ms(file.session.idle));
        self.gate.replace(rules);
        let before = self.own.site.load_full();
        self.own.site.store(Arc::new(site.with_idp_of(&before)));
        self.own.new_site.notify_one();
        let reviewed = self.revocation.reload(policy).await;
        let removed =
            before.oidc.name != file.idp.name || before.oidc.issuer != file.idp.oidc.issuer.as_str();
        let ended = !removed || self.end_all_of(before.idp.name()).await;
        match reviewed {
            Ok(()) if ended => {
                tracing::info!("the configuration is in force, on everything that runs");
                true
            }
            _ => {
                tracing::error!("the configuration is in force, but not everything it forbids has ended yet");
                false
            }
        }
    }

    /// Whoever a removed IdP signed in is out.
    async fn end_all_of(&self, idp: &str) -> bool {
        let which = Which::Idp(OrgId::ONLY, idp.into());
        match self.store.end(which, &Origin::of("reload"), Timestamp::now()).await {
            Ok(ended) => self.revocation.enforce(ended).await.is_ok(),
            Err(error) => {
                tracing::error!(idp, error = %chain(&error), "the sessions of an IdP that was removed could not be ended: reload again");
                false
            }
        }
    }
}

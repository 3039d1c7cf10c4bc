//! A new configuration for a running program. A file with a problem changes nothing and says so; a good one is in
//! force on everything that runs before it is reported as done.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portcullis_config::{Environment, File, Loaded};
use portcullis_policy::{Policy, Timestamp};
use portcullis_proxy::{AccessLog, AppTlsError, Gate, Rules};
use portcullis_sso::Fetch;
use rustix::process::{Signal, pidfd_send_signal};

use crate::application;
use crate::core::Core;
use crate::fetch::{self, Renewable};
use crate::live::{Current, Live};
use crate::log::{Log, error_chain};
use crate::metrics::Reloaded;
use crate::needs_restart::Fixed;
use crate::own::{self, Own};
use crate::saml;
use crate::settings;
use crate::standing;

/// The parts that a reload replaces, and what it needs for that.
#[derive(Clone)]
pub(crate) struct Reload {
    pub(crate) path: PathBuf,
    pub(crate) version: Arc<AtomicU64>,
    pub(crate) core: Arc<Core>,
    pub(crate) live: Arc<Current>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) own: Arc<Own>,
    pub(crate) fetch: Renewable,
    pub(crate) log: Log,
    pub(crate) access_log: AccessLog,
    /// Held by a reload to its end, and by a hand-over.
    pub(crate) turn: ReloadTurn,
}

/// The turn of reloads: one after another, and none while a process takes over.
pub(crate) type ReloadTurn = Arc<tokio::sync::Mutex<ReloadRole>>;

/// The parts that a configuration comes to, made before anything is replaced.
struct Parts {
    rules: Rules,
    client: Fetch,
    live: Arc<Live>,
}

/// Reasons why a good file cannot be put in force.
#[derive(Debug, thiserror::Error)]
enum UnusableError {
    #[error(transparent)]
    Client(#[from] fetch::ClientError),
    #[error(transparent)]
    Saml(#[from] saml::SamlError),
    #[error("upstream: the application cannot be spoken to over TLS")]
    Upstream(#[from] AppTlsError),
}

/// The process that reads its files again.
#[derive(Debug, Default)]
pub(crate) enum ReloadRole {
    /// It leads.
    #[default]
    Leads,
    /// It was replaced by the process of this descriptor (pidfd_open(2)).
    Follows(OwnedFd),
}

/// The time that files and secrets of a new configuration may take to be read.
const LOAD: Duration = Duration::from_secs(60);
/// The time that logins which the old configuration admitted may take to be committed.
const ADMIT: Duration = Duration::from_secs(2);

impl Reload {
    /// Goes by the files of the process that leads, in one that was replaced. What takes a restart is that one's.
    ///
    /// # Errors
    /// Why it cannot: what runs here stands on rules that are not in force any more.
    pub(crate) async fn follow_leader(&self) -> Result<(), String> {
        let turn = self.turn.lock().await;
        match self.apply_file(&turn).await {
            Reloaded::Applied => Ok(()),
            Reloaded::Incomplete => {
                Err("something that the new configuration forbids has not ended".to_owned())
            }
            Reloaded::Refused => {
                Err("it cannot go by the configuration that the other one goes by".to_owned())
            }
        }
    }

    /// Reads the file again and puts it in force.
    pub(crate) async fn reload(&self) {
        // Whoever rotates logs sends the same signal, whatever the configuration says.
        self.reopen_logs();
        let turn = self.turn.lock().await;
        if let ReloadRole::Follows(leader) = &*turn {
            let told = pidfd_send_signal(leader, Signal::HUP).is_ok();
            tracing::info!(told, "this process was replaced: the signal is the one's that has taken over");
            return;
        }
        self.core.revocation.predecessors().reopen_logs().await;
        let applied = self.apply_file(&turn).await;
        self.core.metrics.count_reload(applied);
    }

    /// Opens the access log anew.
    pub(crate) fn reopen_logs(&self) {
        self.access_log.reopen();
    }

    /// Has those that were replaced go by the configuration that is in force here.
    pub(crate) async fn tell_predecessors(&self) {
        let _turn = self.turn.lock().await;
        if let Err(error) = self.core.revocation.predecessors().reload().await {
            tracing::error!("{error}");
        }
    }

    async fn apply_file(&self, role: &ReloadRole) -> Reloaded {
        // Files may be on a disk that does not answer, and secrets come from commands: nobody who serves waits for them.
        let path = self.path.clone();
        let loading = tokio::task::spawn_blocking(move || {
            portcullis_config::load_file(&path, &Environment::of_process())
        });
        let Ok(Ok(loaded)) = tokio::time::timeout(LOAD, loading).await else {
            tracing::error!(
                "the configuration was not read within {} s: nothing was changed, the old one stays in force. Look at its \
                 files, and at the commands of its secrets",
                LOAD.as_secs()
            );
            return Reloaded::Refused;
        };
        let file = match loaded {
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
                return Reloaded::Refused;
            }
        };
        let needs_restart = self.live.in_force().fixed.changed_keys(&Fixed::from_file(&file));
        if matches!(role, ReloadRole::Leads) && !needs_restart.is_empty() {
            // Half a configuration is one that nobody wrote.
            tracing::error!(
                keys = needs_restart.join(", "),
                "a change of these keys takes a restart: nothing of the file was put in force, the old one stays"
            );
            return Reloaded::Refused;
        }
        // Numbers of files that turn out unusable are not used again.
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let policy = settings::compile_policy(&file, version);
        let parts = match self.make_parts(&file, policy.clone()) {
            Ok(parts) => parts,
            Err(error) => {
                tracing::error!(error = %error_chain(&error), "the configuration could not be put in force: nothing was changed");
                return Reloaded::Refused;
            }
        };
        self.put_in_force(&file, policy, parts, role).await
    }

    /// Everything that can fail, before anything is replaced.
    fn make_parts(&self, file: &File, policy: Arc<Policy>) -> Result<Parts, UnusableError> {
        let before = self.live.in_force();
        let saml_keys = saml::open_files(file, &self.core.idp_keys, Timestamp::now())?;
        let ways = application::read_ways(file)?;
        let (keys, fetch) = (&self.core.keys, self.fetch.fetch());
        let live = Arc::new(Live::from_file(file, keys, saml_keys.as_ref(), fetch, &ways, Some(&before)));
        let client = fetch::build_client(settings::fetch_reach(file), file.http_client.ca_file.clone())?;
        Ok(Parts {
            rules: settings::proxy_rules(file, policy, own::pages_seam(self.own.clone(), &live), &ways),
            client,
            live,
        })
    }

    /// The data plane first, then everything that stands on the old rules is looked through (R4).
    async fn put_in_force(
        &self,
        file: &File,
        policy: Arc<Policy>,
        parts: Parts,
        role: &ReloadRole,
    ) -> Reloaded {
        let Parts { rules, client, live } = parts;
        saml::settle_keys(live.site.idps.iter().map(|entry| &*entry.idp));
        self.log.set_level(settings::log_level(file));
        self.core.sessions.idle_after(settings::to_ms(file.session.idle));
        self.gate.replace_rules(rules);
        self.fetch.replace_client(client);
        self.live.replace(live);
        self.core.certificates.take_file(file);
        // Logins that go by the one before are committed now, so what follows finds their sessions.
        let admitted = tokio::time::timeout(ADMIT, self.own.admitting.write()).await.map(drop);
        if admitted.is_err() {
            tracing::error!(
                "logins that began under the old configuration are not committed yet: reload again"
            );
        }
        self.live.in_force().warn_without_token(&self.core.tokens, Timestamp::now());
        let reviewed = self.core.revocation.reload_policy(policy).await;
        let settled = match role {
            ReloadRole::Leads => standing::end_unconfigured(file, &self.core, "reload").await,
            // Whoever leads has seen to it, and this process has heard of it.
            ReloadRole::Follows(_) => Ok(()),
        };
        if let Err(error) = &settled {
            tracing::error!(error = %error_chain(error), "reload again");
        }
        match reviewed {
            Ok(()) if settled.is_ok() && admitted.is_ok() => {
                tracing::info!("the configuration is in force, on everything that runs");
                Reloaded::Applied
            }
            _ => {
                tracing::error!("the configuration is in force, but not everything it forbids has ended yet");
                Reloaded::Incomplete
            }
        }
    }
}

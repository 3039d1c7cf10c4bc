//! What happens by the clock: sessions that are over, last-seen times, holds that stand, old rows, the IdP's keys.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::{DirectoryId, OrgId, Timestamp};
use portcullis_sso::Idp;
use portcullis_store::{Retention, TokenWarning};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::core::Core;
use crate::live::Current;
use crate::log::error_chain;
use crate::person::format_rfc3339;
use crate::revocation::Revocation;
use crate::saml;

/// Live exchanges end within a second of the clock's word (R9).
const EXPIRE: Duration = Duration::from_millis(500);
/// The last-seen times that a crash may forget.
const SAVE: Duration = Duration::from_secs(15);
const REMIND: Duration = Duration::from_secs(60);
const TIDY: Duration = Duration::from_secs(600);
/// The greatest age of the number of stored sessions that the metrics show.
const COUNT: Duration = Duration::from_secs(60);
/// The greatest age of what is kept of the use of tokens.
const TOKENS: Duration = Duration::from_secs(60);
/// The interval at which it is looked whether another key signs.
const ASSERTION_KEYS: Duration = Duration::from_secs(60);
/// The interval at which discovery and keys are read again, while the IdP answers.
const IDP: Duration = Duration::from_secs(300);
/// The same interval, while the IdP does not answer.
const IDP_DOWN: Duration = Duration::from_secs(10);

/// Everything that ticks in the process that leads.
pub(crate) struct Ticks {
    pub(crate) core: Arc<Core>,
    pub(crate) live: Arc<Current>,
}

/// Ends what is over by the clock, in every process that carries exchanges and to its end.
pub(crate) fn expire_sessions(revocation: Revocation) {
    tokio::spawn(async move {
        let mut ticks = interval(EXPIRE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            revocation.end_expired(Timestamp::now());
        }
    });
}

impl Ticks {
    /// Starts the ticks of the process that leads on the current runtime; they end when `stop` says so.
    pub(crate) fn start(self, stop: watch::Receiver<bool>) {
        let ticks = Arc::new(self);
        let ticking = ticks.clone();
        tick_every(SAVE, stop.clone(), move || ticking.clone().save_seen());
        let revocation = ticks.core.revocation.clone();
        tick_every(REMIND, stop.clone(), move || {
            revocation.log_holds();
            std::future::ready(())
        });
        let ticking = ticks.clone();
        tick_every(TIDY, stop.clone(), move || ticking.clone().tidy_store());
        let ticking = ticks.clone();
        tick_every(COUNT, stop.clone(), move || ticking.clone().count_sessions());
        tokio::spawn(ticks.clone().count_sessions());
        let ticking = ticks.clone();
        tick_every(ASSERTION_KEYS, stop.clone(), move || ticking.clone().settle_assertion_keys());
        let ticking = ticks.clone();
        tick_every(TOKENS, stop.clone(), move || ticking.clone().mind_tokens());
        tokio::spawn(ticks.clone().mind_tokens());
        tokio::spawn(ask_idps(ticks.core.clone(), ticks.live.clone(), stop));
    }

    async fn save_seen(self: Arc<Self>) {
        save_seen(&self.core).await;
    }

    /// Counted now and then, not where somebody asks: it grows with the store.
    async fn count_sessions(self: Arc<Self>) {
        self.core.metrics.count_stored(self.core.store.count_sessions(Timestamp::now()).await.ok());
    }

    async fn settle_assertion_keys(self: Arc<Self>) {
        let Core { store, revocation, assertion_keys, .. } = &*self.core;
        if let Err(error) = assertion_keys.settle(store, revocation, Timestamp::now()).await {
            tracing::warn!(error = %error_chain(&error), "the keys of the signed header stay as they were: it is tried again in a minute");
        }
    }

    async fn mind_tokens(self: Arc<Self>) {
        save_token_uses(&self.core).await;
        warn_of_tokens(&self.core, Timestamp::now()).await;
    }

    async fn tidy_store(self: Arc<Self>) {
        let Core { store, sessions, .. } = &*self.core;
        if let Err(error) = store.tidy(Timestamp::now(), Retention::new(sessions.idle_ms())).await {
            tracing::warn!(error = %error_chain(&error), "old rows could not be removed: they are tried again in ten minutes");
        }
    }
}

/// Writes down when clients were last heard.
pub(crate) async fn save_seen(core: &Core) {
    let mut heard = core.sessions.take_heard();
    heard.extend(core.revocation.predecessors().take_heard().await);
    if heard.is_empty() {
        return;
    }
    if let Err(error) = core.store.save_seen(heard).await {
        tracing::warn!(error = %error_chain(&error), "last-seen times could not be written: after a restart sessions may idle out early");
    }
}

/// Writes down which tokens were used since this was last done.
pub(crate) async fn save_token_uses(core: &Core) {
    let tokens = core.tokens.list_tokens();
    let uses: Vec<_> =
        tokens.iter().filter_map(|token| Some((token.clone(), token.unsaved_use()?))).collect();
    if uses.is_empty() {
        return;
    }
    match core.store.save_token_uses(uses.iter().map(|(token, used)| (token.id, *used)).collect()).await {
        Ok(()) => uses.iter().for_each(|(token, used)| token.note_saved(*used)),
        Err(error) => tracing::warn!(
            error = %error_chain(&error), "the times at which SCIM tokens were used could not be written: they are tried again in a minute"
        ),
    }
}

/// Tells of tokens that end: once before it, once a day where one is used afterwards.
async fn warn_of_tokens(core: &Core, now: Timestamp) {
    for (token, warning) in core.tokens.due_warnings(now) {
        let (store, id) = (core.store.clone(), token.id);
        let write =
            async move { store.warn_of_token(OrgId::ONLY, DirectoryId::ONLY, id, warning, now).await };
        if let Err(error) = core.carry_out(write).wait_done().await {
            tracing::warn!(%error, actor = %token.actor, "an event about a token could not be written: it is tried again in a minute");
            continue;
        }
        token.note_warning(now);
        let expires = format_rfc3339(token.expires());
        match warning {
            TokenWarning::Expiring => tracing::warn!(
                actor = %token.actor, expires,
                "a SCIM token ends soon, and then the directory can only take access away. Make the next one: portcullis token rotate {}", token.name
            ),
            TokenWarning::UsedExpired => tracing::warn!(
                actor = %token.actor, expires,
                "a SCIM token has ended and is used all the same: it only takes access away, and that for 30 days. Enter a new one at the identity provider: portcullis token rotate {}", token.name
            ),
        }
    }
}

/// Keeps discovery and keys of every IdP fresh, each in a task of its own: one that is slow holds up no other. After a
/// reload those that are new are asked at once, and one of which nothing has changed is not asked sooner.
async fn ask_idps(core: Arc<Core>, live: Arc<Current>, mut stop: watch::Receiver<bool>) {
    let mut asking: Vec<(Arc<Idp>, JoinHandle<()>)> = Vec::new();
    loop {
        let site = live.in_force().site.clone();
        let stays = |known: &Arc<Idp>| site.idps.iter().any(|entry| Arc::ptr_eq(&entry.idp, known));
        asking.retain(|(known, task)| {
            stays(known) || {
                task.abort();
                false
            }
        });
        for entry in &site.idps {
            if !asking.iter().any(|(known, _)| Arc::ptr_eq(known, &entry.idp)) {
                asking.push((entry.idp.clone(), tokio::spawn(ask_idp(core.clone(), entry.idp.clone()))));
            }
        }
        drop(site);
        tokio::select! {
            () = wait_stopped(&mut stop) => break,
            () = live.wait_replaced() => {}
        }
    }
    asking.iter().for_each(|(_, task)| task.abort());
}

/// Asks one IdP again and again. One that is down stops new logins by it and nobody else; this says so once.
async fn ask_idp(core: Arc<Core>, idp: Arc<Idp>) {
    let mut answering = None;
    loop {
        let read = idp.refresh_metadata(Timestamp::now()).await;
        match &read {
            Ok(()) if answering != Some(true) => tracing::info!(idp = idp.name(), "the IdP answers"),
            Err(refusal) if answering != Some(false) => {
                tracing::error!(
                    idp = idp.name(),
                    reason = refusal.class.log_word(),
                    "the IdP does not answer: nobody new can sign in by it, whoever is in stays in. {refusal}"
                );
            }
            _ => {}
        }
        answering = Some(read.is_ok());
        saml::note_changes(&core, &idp).await;
        tokio::time::sleep(if read.is_ok() { IDP } else { IDP_DOWN }).await;
    }
}

fn tick_every<F>(
    period: Duration,
    mut stop: watch::Receiver<bool>,
    mut act: impl FnMut() -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                () = wait_stopped(&mut stop) => return,
                _ = ticks.tick() => act().await,
            }
        }
    });
}

async fn wait_stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

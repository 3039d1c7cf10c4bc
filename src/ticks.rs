//! What happens by the clock: sessions that are over, last-seen times, holds that stand, old rows, the IdP's keys.

use std::sync::Arc;
use std::time::Duration;

use portcullis_policy::Timestamp;
use portcullis_store::Retention;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::core::Core;
use crate::live::Current;
use crate::log::chain;

/// Live exchanges end within a second of the clock's word (R9).
const EXPIRE: Duration = Duration::from_millis(500);
/// What a crash may forget of last-seen times.
const SAVE: Duration = Duration::from_secs(15);
const REMIND: Duration = Duration::from_secs(60);
const TIDY: Duration = Duration::from_secs(600);
/// How old the number of stored sessions may be that the metrics show.
const COUNT: Duration = Duration::from_secs(60);
/// How often discovery and keys are read again while the IdP answers, and while it does not.
const IDP: Duration = Duration::from_secs(300);
const IDP_DOWN: Duration = Duration::from_secs(10);

/// Everything that ticks.
pub(crate) struct Ticks {
    pub(crate) core: Arc<Core>,
    pub(crate) live: Arc<Current>,
}

impl Ticks {
    /// Starts the ticks on the current runtime; they end when `stop` says so.
    pub(crate) fn start(self, stop: watch::Receiver<bool>) {
        let ticks = Arc::new(self);
        let revocation = ticks.core.revocation.clone();
        every(EXPIRE, stop.clone(), move || {
            revocation.expire(Timestamp::now());
            std::future::ready(())
        });
        let ticking = ticks.clone();
        every(SAVE, stop.clone(), move || ticking.clone().save());
        let revocation = ticks.core.revocation.clone();
        every(REMIND, stop.clone(), move || {
            revocation.remind();
            std::future::ready(())
        });
        let ticking = ticks.clone();
        every(TIDY, stop.clone(), move || ticking.clone().tidy());
        let ticking = ticks.clone();
        every(COUNT, stop.clone(), move || ticking.clone().count());
        tokio::spawn(ticks.clone().count());
        tokio::spawn(ask_idp(ticks.live.clone(), stop));
    }

    async fn save(self: Arc<Self>) {
        save(&self.core).await;
    }

    /// Counted now and then, not where somebody asks: it grows with the store.
    async fn count(self: Arc<Self>) {
        self.core.metrics.stored(self.core.store.sessions(Timestamp::now()).await.ok());
    }

    async fn tidy(self: Arc<Self>) {
        let Core { store, sessions, .. } = &*self.core;
        if let Err(error) = store.tidy(Timestamp::now(), Retention::new(sessions.idle_ms())).await {
            tracing::warn!(error = %chain(&error), "old rows could not be removed: they are tried again in ten minutes");
        }
    }
}

/// Writes down when clients were last heard.
pub(crate) async fn save(core: &Core) {
    let heard = core.sessions.take_heard();
    if heard.is_empty() {
        return;
    }
    if let Err(error) = core.store.seen(heard).await {
        tracing::warn!(error = %chain(&error), "last-seen times could not be written: after a restart sessions may idle out early");
    }
}

/// Keeps discovery and keys fresh. An IdP that is down stops new logins and nobody else; this says so once.
async fn ask_idp(live: Arc<Current>, mut stop: watch::Receiver<bool>) {
    let mut answering = None;
    loop {
        let idp = live.take().site.idp.clone();
        let read = idp.refresh(Timestamp::now()).await;
        match &read {
            Ok(()) if answering != Some(true) => tracing::info!(idp = idp.name(), "the IdP answers"),
            Err(refusal) if answering != Some(false) => {
                tracing::error!(
                    idp = idp.name(),
                    reason = refusal.class.word(),
                    "the IdP does not answer: nobody new can sign in, whoever is in stays in. {refusal}"
                );
            }
            _ => {}
        }
        answering = Some(read.is_ok());
        let pause = if read.is_ok() { IDP } else { IDP_DOWN };
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = live.replaced() => answering = None,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn every<F>(period: Duration, mut stop: watch::Receiver<bool>, mut act: impl FnMut() -> F + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return,
                _ = ticks.tick() => act().await,
            }
        }
    });
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

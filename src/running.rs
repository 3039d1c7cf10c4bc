//! A program that serves, and how it leaves.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_proxy::{self as proxy, Parting};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::handover::{ReplacedProcess, Upgrades};
use crate::lead::Lead;
use crate::listeners::ListenerCourse;
use crate::lock::Lock;
use crate::log::error_chain;
use crate::reload::Reload;
use crate::ticks;

/// A program that serves.
pub(crate) struct Running {
    /// Has the data plane take no more, and says how it goes.
    pub(crate) parting: watch::Sender<Parting>,
    /// The data plane's time is up.
    pub(crate) hurry: Arc<Notify>,
    /// True once the process has begun to leave, for health.
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) reload: Reload,
    /// `None` once it has ended.
    pub(crate) server: Option<DataPlane>,
    /// The sockets of the data plane once more, for the process that takes over.
    pub(crate) sockets: Vec<TcpListener>,
    pub(crate) lead: Lead,
    /// Held for the life of the process, or until another one has taken over.
    pub(crate) lock: Lock,
    pub(crate) state: PathBuf,
    pub(crate) upgrades: Arc<Upgrades>,
    /// Hears where an upgrade is asked.
    pub(crate) upgrading: mpsc::Receiver<()>,
}

type DataPlane = JoinHandle<Result<proxy::Drained, proxy::Stopped>>;

impl Running {
    /// Gives what a reload needs.
    pub(crate) fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Gives the time that exchanges in flight may take once the process leaves: `stop_grace`, as the last reload has
    /// it.
    pub(crate) fn stop_grace(&self) -> Duration {
        self.reload.live.in_force().stop_grace
    }

    /// Gives the time for which it may carry what has begun once another process has taken over.
    pub(crate) fn upgrade_grace(&self) -> Duration {
        self.reload.live.in_force().upgrade_grace
    }

    /// The state folder.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Waits until the program is to end; `None` where an upgrade is asked.
    pub(crate) async fn wait_end(&mut self, asked: impl Future<Output = ()>) -> Option<ServiceEnd> {
        let Some(server) = &mut self.server else { return Some(ServiceEnd::Failed) };
        let end = tokio::select! {
            end = until_ended(server, asked) => end,
            Some(()) = self.upgrading.recv() => return None,
        };
        if end == ServiceEnd::Failed {
            self.server = None;
        }
        Some(end)
    }

    /// Carries what has begun to its end, now that another process has taken over. Whoever is `asked` to end has
    /// `stop_grace` more (`is_asked`: they were already), and asked again none; without a process that leads there is none either.
    pub(crate) async fn finish_replaced(
        self,
        mut replaced: ReplacedProcess,
        mut asked: impl AsyncFnMut(),
        is_asked: bool,
    ) {
        let grace = self.stop_grace();
        let Self { parting, hurry, reload, server, sockets, mut lead, lock, .. } = self;
        // Everything that the other process has now. Nothing of it is undone: it is the other one's.
        lead.leave_sockets();
        drop((sockets, lock));
        let Some(server) = server else { return };
        let (course, mut told, led) = (lead.course(), parting.subscribe(), Notify::new());
        let carried = async {
            log_drained(server.await);
            // A directory that keeps its connection may ask on it once more, while somebody leads.
            tokio::select! {
                _ = tokio::time::timeout(STAY, lead.wait_left()) => {}
                () = led.notified() => return,
            }
            course.send_replace(ListenerCourse::Ends);
            let _ = tokio::time::timeout(CLOSE, lead.wait_left()).await;
        };
        let mut carried = pin!(carried);
        let mut is_leaving = is_asked;
        if is_asked {
            course.send_replace(ListenerCourse::Ends);
            parting.send_replace(Parting::Leave(grace));
        }
        loop {
            tokio::select! {
                () = &mut carried => break,
                () = asked() => {
                    if is_leaving {
                        hurry.notify_one();
                    }
                    is_leaving = true;
                    course.send_replace(ListenerCourse::Ends);
                    parting.send_replace(Parting::Leave(grace));
                }
                why = replaced.wait_unled() => {
                    tracing::error!("{why}: nobody would hear of a removal, so everything that this process carries is ended");
                    hurry.notify_one();
                    led.notify_one();
                    let _ = tokio::time::timeout(CLOSE, carried).await;
                    break;
                }
                _ = told.wait_for(|told| matches!(told, Parting::Leave(_))), if !is_leaving => {
                    is_leaving = true;
                    course.send_replace(ListenerCourse::Ends);
                }
            }
        }
        reload.core.store.close().await;
    }

    /// Leaves: no new requests, those in flight may end, then everything is written down and closed. SCIM, the admin
    /// socket and health answer until the last exchange is gone, so that a removal in that time is heard, and enforced.
    /// A reload that is under way, `reloading`, ends before the database is closed. Whatever is still waited for once
    /// `hurried` says so is given up.
    pub(crate) async fn shutdown(self, hurried: watch::Receiver<bool>, reloading: JoinHandle<()>) {
        let grace = self.stop_grace();
        let Self { parting, hurry, draining, reload, server, sockets, lead, lock: _lock, upgrading, .. } =
            self;
        drop(upgrading); // nobody takes the place of who leaves
        draining.store(true, Ordering::Release);
        drop(sockets); // nobody connects any more
        parting.send_replace(Parting::Leave(grace));
        let predecessors = reload.core.revocation.predecessors().clone();
        let leaving = predecessors.leave(grace);
        if let Some(mut server) = server {
            let ended = tokio::select! {
                ended = async { tokio::join!(&mut server, leaving).0 } => ended,
                () = once_true(hurried.clone()) => {
                    hurry.notify_one();
                    server.await
                }
            };
            log_drained(ended);
        }
        lead.end(once_true(hurried.clone())).await;
        tokio::select! {
            // What it had not yet ended is ended by the next start, by the same file.
            ended = tokio::time::timeout(CLOSE, reloading) => if ended.is_err() {
                tracing::warn!("a reload is still under way after {} s: it is not waited for", CLOSE.as_secs());
            },
            () = once_true(hurried.clone()) => {}
        }
        // A disk that does not answer holds up no end either: what was acknowledged is on it.
        let closing = async {
            ticks::save_seen(&reload.core).await;
            ticks::save_token_uses(&reload.core).await;
            reload.core.store.close().await;
        };
        if tokio::time::timeout(CLOSE, closing).await.is_err() {
            tracing::warn!(
                "the database was not closed within {} s: it is left as a crash would",
                CLOSE.as_secs()
            );
        }
    }
}

/// The time for which a process that was replaced waits, behind everything else, for connections of a directory or an
/// operator on which nothing is asked: longer than they may be idle.
const STAY: Duration = Duration::from_secs(80);
/// The time that a reload may take to end, and the last writes.
const CLOSE: Duration = Duration::from_secs(5);

/// Events that end the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceEnd {
    /// Somebody asked for it.
    Asked,
    /// The data plane has ended by itself: whoever started the process must know.
    Failed,
}

/// Waits for the end: asked for, or of the data plane.
async fn until_ended(server: &mut DataPlane, asked: impl Future<Output = ()>) -> ServiceEnd {
    tokio::select! {
        ended = server => {
            log_drained(ended.map(|ended| ended.and_then(|_| Err(proxy::Stopped::by_itself()))));
            ServiceEnd::Failed
        }
        () = asked => ServiceEnd::Asked,
    }
}

/// Says how the data plane ended.
fn log_drained(ended: Result<Result<proxy::Drained, proxy::Stopped>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(proxy::Drained { silent: 0, left: 0 })) => tracing::info!("every exchange has ended"),
        Ok(Ok(proxy::Drained { silent, left: 0 })) => {
            tracing::info!(silent, "only streams were left on which nothing passed: they are ended");
        }
        Ok(Ok(proxy::Drained { left, .. })) => tracing::warn!(left, "exchanges were broken off"),
        Ok(Err(error)) => tracing::error!(error = %error_chain(&error), "the data plane has stopped"),
        Err(error) => tracing::error!(%error, "the data plane has failed"),
    }
}

/// Waits until it is said; never, where nobody can say it any more.
pub(crate) async fn once_true(mut said: watch::Receiver<bool>) {
    if said.wait_for(|said| *said).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn the_end_of_the_data_plane_is_a_failure_however_it_ends() {
        let by_itself = tokio::spawn(async { Err(proxy::Stopped::by_itself()) });
        let in_good_order = tokio::spawn(async { Ok(proxy::Drained { silent: 0, left: 0 }) });
        let by_a_panic = tokio::spawn(async { panic!("a fault of ours") });
        for mut server in [by_itself, in_good_order, by_a_panic] {
            assert_eq!(until_ended(&mut server, pending()).await, ServiceEnd::Failed);
        }
        let mut serving = tokio::spawn(pending());
        assert_eq!(until_ended(&mut serving, async {}).await, ServiceEnd::Asked);
    }

    #[tokio::test]
    async fn what_nobody_can_say_is_never_said() {
        let (say, said) = watch::channel(false);
        drop(say);
        let waited = tokio::time::timeout(Duration::from_millis(10), once_true(said)).await;
        assert!(waited.is_err());
    }
}

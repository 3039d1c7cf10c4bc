//! What only the process that leads does: the directory, operators and whoever asks for health are listened to, and
//! what happens by the clock is written down.
//!
//! A hand-over pauses it. Its sockets stay open, so that whoever connects meanwhile waits in the kernel, until another
//! process takes them or this one goes on.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use axum::Router;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::certificates;
use crate::core::Core;
use crate::import::drop_folder;
use crate::listeners::admin::Operators;
use crate::listeners::{BoundListener, Port};
use crate::live::Current;
use crate::ticks::Ticks;
use crate::way_around;

/// A listener that is bound, and what it serves.
pub(crate) struct LeadPort {
    pub(crate) bound: BoundListener,
    pub(crate) router: Router,
    pub(crate) port: Port,
}

/// The work of the process that leads.
pub(crate) struct Lead {
    core: Arc<Core>,
    live: Arc<Current>,
    operators: Operators,
    ports: Vec<LeadPort>,
    /// True ends what runs.
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
}

impl Lead {
    /// Begins.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn begin(
        core: &Arc<Core>,
        live: &Arc<Current>,
        operators: Operators,
        ports: Vec<LeadPort>,
    ) -> io::Result<Self> {
        let (core, live) = (core.clone(), live.clone());
        let mut lead =
            Self { core, live, operators, ports, stop: watch::Sender::new(true), listeners: Vec::new() };
        lead.go_on()?;
        Ok(lead)
    }

    /// Does its work, for the first time or after a pause.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn go_on(&mut self) -> io::Result<()> {
        let (stop, stopping) = watch::channel(false);
        let serve = |LeadPort { bound, router, port }: &LeadPort| {
            Ok(bound.duplicate()?.serve(router.clone(), port.clone(), stopping.clone()))
        };
        self.listeners = self.ports.iter().map(serve).collect::<io::Result<_>>()?;
        self.stop = stop;
        let (core, live) = (&self.core, &self.live);
        Ticks { core: core.clone(), live: live.clone() }.start(stopping.clone());
        certificates::watch_files(core.certificates.clone(), stopping.clone());
        tokio::spawn(way_around::watch_way_around(core.clone(), live.clone(), stopping.clone()));
        drop_folder::watch_folder(self.operators.clone(), live.clone(), stopping);
        Ok(())
    }

    /// Stops, and waits until what was asked is answered, for some seconds.
    pub(crate) async fn pause(&mut self) {
        let _ = self.stop.send(true);
        for listener in self.listeners.drain(..) {
            let _ = listener.await;
        }
    }

    /// The sockets once more, for the process that takes over.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub(crate) fn duplicate_sockets(&self) -> io::Result<Vec<OwnedFd>> {
        self.ports.iter().map(|port| port.bound.duplicate_socket()).collect()
    }

    /// Ends without a word, now that the sockets are another process's.
    pub(crate) fn leave_sockets(self) {
        let _ = self.stop.send(true);
    }

    /// Ends for good: nobody connects any more. Whatever is still waited for once `hurried` is ready is given up.
    pub(crate) async fn end(mut self, hurried: impl Future<Output = ()>) {
        let _ = self.stop.send(true);
        self.ports.drain(..).for_each(|port| port.bound.tidy());
        let mut hurried = std::pin::pin!(hurried);
        for mut listener in self.listeners.drain(..) {
            tokio::select! {
                _ = &mut listener => {}
                () = &mut hurried => listener.abort(),
            }
        }
    }
}

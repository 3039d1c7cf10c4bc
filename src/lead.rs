//! What only the process that leads does: the directory, operators and whoever asks for health are listened to, and
//! what happens by the clock is written down.
//!
//! A hand-over pauses it. Its sockets stay open, so that whoever connects meanwhile waits in the kernel, until another
//! process takes them or this one goes on.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::certificates;
use crate::core::Core;
use crate::import::drop_folder;
use crate::listeners::admin::Operators;
use crate::listeners::{BoundListener, ListenerCourse, Port};
use crate::live::Current;
use crate::ticks::Ticks;
use crate::way_around;

/// A listener that is bound, and what it serves.
pub(crate) struct LeadPort {
    pub(crate) bound: BoundListener,
    pub(crate) router: Router,
    pub(crate) port: Port,
    /// False where it answers while a hand-over is decided as well: what only tells how this process is.
    pub(crate) pauses: bool,
}

/// The work of the process that leads.
pub(crate) struct Lead {
    core: Arc<Core>,
    live: Arc<Current>,
    operators: Operators,
    /// The sockets once more, for the process that takes over.
    sockets: Vec<OwnedFd>,
    /// Those of them that are in the file system.
    paths: Vec<PathBuf>,
    course: watch::Sender<ListenerCourse>,
    /// The same for listeners that do not pause.
    steady: watch::Sender<ListenerCourse>,
    listeners: Vec<JoinHandle<()>>,
    /// True ends what happens by the clock.
    rest: watch::Sender<bool>,
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
        let sockets = ports.iter().map(|port| port.bound.duplicate_socket()).collect::<io::Result<_>>()?;
        let paths = ports.iter().filter_map(|port| port.bound.path().map(PathBuf::from)).collect();
        let (course, told) = watch::channel(ListenerCourse::Takes);
        let (steady, steadily) = watch::channel(ListenerCourse::Takes);
        let serve = |LeadPort { bound, router, port, pauses }: LeadPort| {
            bound.serve(router, port, if pauses { told.clone() } else { steadily.clone() })
        };
        let listeners = ports.into_iter().map(serve).collect();
        let (core, live, rest) = (core.clone(), live.clone(), watch::Sender::new(true));
        let mut lead = Self { core, live, operators, sockets, paths, course, steady, listeners, rest };
        lead.go_on();
        Ok(lead)
    }

    /// Does its work, for the first time or after a pause.
    pub(crate) fn go_on(&mut self) {
        self.course.send_replace(ListenerCourse::Takes);
        let (rest, resting) = watch::channel(false);
        self.rest = rest;
        let (core, live) = (&self.core, &self.live);
        Ticks { core: core.clone(), live: live.clone() }.start(resting.clone());
        certificates::watch_files(core.certificates.clone(), resting.clone());
        tokio::spawn(way_around::watch_way_around(core.clone(), live.clone(), resting.clone()));
        drop_folder::watch_folder(self.operators.clone(), live.clone(), resting);
    }

    /// Pauses: whoever connects waits, and nothing happens by the clock.
    pub(crate) fn pause(&self) {
        self.course.send_replace(ListenerCourse::Waits);
        self.rest.send_replace(true);
    }

    /// The sockets once more, for the process that takes over.
    pub(crate) fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }

    /// Leaves the sockets to the process that has taken over.
    pub(crate) fn leave_sockets(&mut self) {
        self.course.send_replace(ListenerCourse::Leaves);
        self.steady.send_replace(ListenerCourse::Ends);
        self.sockets.clear();
        self.paths.clear();
    }

    /// The way to end what is waited for there.
    pub(crate) fn course(&self) -> watch::Sender<ListenerCourse> {
        self.course.clone()
    }

    /// Waits until whoever is connected has gone, after the sockets were left.
    pub(crate) async fn wait_left(&mut self) {
        join_all(&mut self.listeners).await;
        self.listeners.clear();
    }

    /// Ends for good: nobody connects any more. Whatever is still waited for once `hurried` is ready is given up.
    pub(crate) async fn end(mut self, hurried: impl Future<Output = ()>) {
        self.course.send_replace(ListenerCourse::Ends);
        self.steady.send_replace(ListenerCourse::Ends);
        self.rest.send_replace(true);
        self.sockets.clear();
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
        let ended = join_all(&mut self.listeners);
        tokio::select! {
            _ = ended => {}
            () = hurried => self.listeners.iter().for_each(JoinHandle::abort),
        }
    }
}

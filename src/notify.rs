//! What the service manager is told: that the program serves, reads its files again, or leaves (`sd_notify`(3)).
//!
//! Where nobody asks, nothing is said; where it cannot be said, the program goes on.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

/// The variable in which the service manager says where it listens.
const WHERE: &str = "NOTIFY_SOCKET";

/// The way to the service manager; to nobody where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceManager(Option<Arc<UnixDatagram>>);

impl ServiceManager {
    /// Finds it in the environment.
    pub(crate) fn of_process() -> Self {
        let Some(place) = std::env::var_os(WHERE) else { return Self::default() };
        let address = match place.as_bytes() {
            // A name that is in no file system.
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(Path::new(&place)),
        };
        let connected = address.and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            // A manager that does not read holds up nothing.
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => Self(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!(%error, "the service manager ({WHERE}) cannot be told that the program serves");
                Self::default()
            }
        }
    }

    /// Requests are served.
    pub(crate) fn tell_ready(&self) {
        self.tell("READY=1\nSTATUS=Serves");
    }

    /// Another process has taken the place of this one. It is still this one's to say.
    pub(crate) fn tell_main_process(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}\nREADY=1\nSTATUS=Serves"));
    }

    /// Files are read again; [`tell_ready`](Self::tell_ready) follows, whether they were taken or not.
    pub(crate) fn tell_reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reads its files again"));
    }

    /// No more requests are taken.
    pub(crate) fn tell_stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Lets end what is in flight");
    }

    fn tell(&self, message: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(message.as_bytes())
        {
            tracing::warn!(%error, "the service manager did not take a message");
        }
    }
}

//! The way around: whether the application can be reached beside us, so that nobody would be asked for a session.
//!
//! Told, never acted on: a firewall may close what the system shows as open. Only what is on this machine is looked at.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::UpstreamUrl;
use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::Process;
use tokio::sync::watch;

use crate::core::Core;
use crate::live::Current;

/// The interval at which it is looked: applications start later than we do.
const LOOK: Duration = Duration::from_secs(60);

/// A way to the application that does not lead through here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WayAround {
    /// It listens where others than this machine's own programs can connect.
    Port(SocketAddr),
    /// Its socket is every user's.
    Socket(PathBuf),
}

impl fmt::Display for WayAround {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(open) => write!(
                f,
                "the application listens on {open}: whoever reaches that port is let in without a session, and can say in \
                 a header who they are. Have it listen on 127.0.0.1:{}, or on a unix: socket; or close the port to others \
                 by a firewall",
                open.port()
            ),
            Self::Socket(path) => write!(
                f,
                "every user of this machine can connect to {}, is let in without a session, and can say in a header who \
                 they are. Make it the application's and ours alone: chmod o= on it or on its folder",
                path.display()
            ),
        }
    }
}

/// Looks for one. `None` too where the system does not tell, or the application is on another machine.
pub(crate) fn find_way_around(upstream: &UpstreamUrl) -> Option<WayAround> {
    let (host, port) = match upstream {
        UpstreamUrl::Unix(path) => return is_everybodys(path).then(|| WayAround::Socket(path.clone())),
        UpstreamUrl::Http { .. } | UpstreamUrl::Https { .. } => upstream.tcp()?,
    };
    let process = Process::myself().ok()?;
    let sockets = [process.tcp(), process.tcp6()].into_iter().flatten().flatten();
    let listening = sockets.filter(|socket| socket.state == TcpState::Listen);
    open_port(
        listening.map(|TcpNetEntry { local_address, .. }| local_address),
        host.ip(),
        host.is_loopback(),
        port,
    )
}

/// Of what listens on this machine, what is the application's and open to others.
fn open_port(
    listening: impl Iterator<Item = SocketAddr>,
    ip: Option<IpAddr>,
    is_loopback: bool,
    port: u16,
) -> Option<WayAround> {
    let is_here = |open: &SocketAddr| is_loopback || ip == Some(open.ip().to_canonical());
    let is_open = |open: &SocketAddr| !open.ip().to_canonical().is_loopback();
    listening
        .filter(|open| open.port() == port)
        .find(|open| is_open(open) && is_here(open))
        .map(WayAround::Port)
}

/// Tells whether anybody may connect: it takes the right to write to the socket (unix(7)), and to pass its folder.
fn is_everybodys(path: &Path) -> bool {
    let mode = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.permissions().mode());
    let folder = path.parent().map(mode);
    matches!((mode(path), folder), (Ok(socket), Some(Ok(folder))) if socket & 0o002 != 0 && folder & 0o001 != 0)
}

/// Looks now and then, and tells where that has changed.
pub(crate) async fn watch_way_around(core: Arc<Core>, live: Arc<Current>, mut stop: watch::Receiver<bool>) {
    let mut known = None;
    loop {
        let upstreams = live.in_force().upstreams.clone();
        // The table of a busy machine's sockets is long.
        let looking = tokio::task::spawn_blocking(move || upstreams.iter().find_map(find_way_around));
        let found = looking.await.unwrap_or_default();
        core.metrics.note_way_around(found.is_some());
        if found != known {
            match &found {
                Some(way) => tracing::warn!("there is a way around Portcullis: {way}"),
                None => tracing::info!("the way around Portcullis that was open is closed"),
            }
            known = found;
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_open_where_others_reach_it() {
        let found = |ip: &str, listening: &[&str]| {
            let ip: Option<IpAddr> = ip.parse().ok();
            let is_loopback = ip.is_none_or(|ip| ip.is_loopback());
            let listening = listening.iter().map(|address| address.parse().unwrap());
            open_port(listening, ip, is_loopback, 3000).map(|way| match way {
                WayAround::Port(open) => open.to_string(),
                WayAround::Socket(_) => unreachable!(),
            })
        };
        assert_eq!(found("127.0.0.1", &["127.0.0.1:3000", "0.0.0.0:3001"]), None);
        assert_eq!(found("127.0.0.1", &["[::ffff:127.0.0.1]:3000", "[::1]:3000"]), None);
        assert_eq!(found("127.0.0.1", &["0.0.0.0:3000"]).as_deref(), Some("0.0.0.0:3000"));
        assert_eq!(found("::1", &["127.0.0.1:3000", "[::]:3000"]).as_deref(), Some("[::]:3000"));
        assert_eq!(found("127.0.0.1", &["10.0.0.7:3000"]).as_deref(), Some("10.0.0.7:3000"));
        // Of another machine's address nothing is known here; of our own it is.
        assert_eq!(found("10.0.0.8", &["0.0.0.0:3000"]), None);
        assert_eq!(found("10.0.0.7", &["10.0.0.7:3000"]).as_deref(), Some("10.0.0.7:3000"));
    }

    #[test]
    fn what_listens_is_found_where_the_system_says_so() {
        let bound = |address: &str| std::net::TcpListener::bind(address).unwrap();
        let url = |port: u16| UpstreamUrl::Http {
            at: portcullis_policy::HostPort::new("localhost", Some(port)).unwrap(),
            base: String::new(),
        };
        let closed = bound("127.0.0.1:0");
        assert_eq!(find_way_around(&url(closed.local_addr().unwrap().port())), None);
        let other = bound("127.0.0.2:0");
        assert_eq!(
            find_way_around(&url(other.local_addr().unwrap().port())),
            None,
            "that is this machine too"
        );
    }

    #[test]
    fn a_socket_is_everybodys_where_it_and_its_folder_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let _listening = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
        };
        for (socket, around, open) in
            [(0o777, 0o755, true), (0o770, 0o755, false), (0o777, 0o750, false), (0o775, 0o755, false)]
        {
            set(&path, socket);
            set(folder.path(), around);
            let found = find_way_around(&UpstreamUrl::Unix(path.clone()));
            assert_eq!(found.is_some(), open, "{socket:o} in {around:o}");
        }
        assert_eq!(find_way_around(&UpstreamUrl::Unix("/no/such.sock".into())), None);
    }
}

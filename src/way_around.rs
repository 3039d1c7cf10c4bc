//! The way around: whether the application can be reached beside us, so that nobody would be asked for a session.
//!
//! Told, never acted on: a firewall may close what the system shows as open. Only what is on this machine is looked at.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
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
        UpstreamUrl::Http { .. } | UpstreamUrl::H2c { .. } | UpstreamUrl::Https { .. } => upstream.tcp()?,
    };
    let asked = match host.ip() {
        Some(ip) => vec![ip],
        None if host.is_loopback() => vec![Ipv4Addr::LOCALHOST.into()],
        None => (host.host(), port).to_socket_addrs().ok()?.map(|found| found.ip()).collect(),
    };
    let here: Vec<IpAddr> = asked.into_iter().filter(|ip| is_of_this_machine(*ip)).collect();
    if here.is_empty() {
        return None;
    }
    let process = Process::myself().ok()?;
    let sockets = [process.tcp(), process.tcp6()].into_iter().flatten().flatten();
    let listening = sockets.filter(|socket| socket.state == TcpState::Listen);
    open_port(listening.map(|TcpNetEntry { local_address, .. }| local_address), &here, port)
}

/// Of what listens on this machine, what takes our connections to the application, and others' too. Who listens on one other
/// address is somebody else as far as can be seen here.
fn open_port(listening: impl Iterator<Item = SocketAddr>, here: &[IpAddr], port: u16) -> Option<WayAround> {
    let is_open = |open: &SocketAddr| {
        let ip = open.ip().to_canonical();
        ip.is_unspecified() || (!ip.is_loopback() && here.iter().any(|here| here.to_canonical() == ip))
    };
    listening.filter(|open| open.port() == port).find(is_open).map(WayAround::Port)
}

/// Tells whether an address is one of this machine's: nobody listens on another.
fn is_of_this_machine(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Tells whether anybody may connect: it takes the right to write to the socket (unix(7)), and to pass every folder above it.
fn is_everybodys(path: &Path) -> bool {
    let Ok(whole) = path.canonicalize() else { return false };
    let mode = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    mode(&whole) & 0o002 != 0 && whole.ancestors().skip(1).all(|folder| mode(folder) & 0o001 != 0)
}

/// Looks now and then, and tells where that has changed.
pub(crate) async fn watch_way_around(core: Arc<Core>, live: Arc<Current>, mut stop: watch::Receiver<bool>) {
    let mut known: Vec<WayAround> = Vec::new();
    loop {
        let upstreams = live.in_force().upstreams.clone();
        // The table of a busy machine's sockets is long, and a name may have to be looked up.
        let looking = tokio::task::spawn_blocking(move || {
            upstreams.iter().filter_map(find_way_around).collect::<Vec<_>>()
        });
        let found = looking.await.unwrap_or_default();
        core.metrics.note_way_around(!found.is_empty());
        for way in found.iter().filter(|way| !known.contains(way)) {
            tracing::warn!("there is a way around Portcullis: {way}");
        }
        if found.is_empty() && !known.is_empty() {
            tracing::info!("no way around Portcullis is open any more");
        }
        known = found;
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
        let found = |here: &str, listening: &[&str]| {
            let listening = listening.iter().map(|address| address.parse().unwrap());
            open_port(listening, &[here.parse().unwrap()], 3000).map(|way| match way {
                WayAround::Port(open) => open.to_string(),
                WayAround::Socket(_) => unreachable!(),
            })
        };
        assert_eq!(found("127.0.0.1", &["127.0.0.1:3000", "0.0.0.0:3001"]), None);
        assert_eq!(found("127.0.0.1", &["[::ffff:127.0.0.1]:3000", "[::1]:3000"]), None);
        assert_eq!(found("127.0.0.1", &["0.0.0.0:3000"]).as_deref(), Some("0.0.0.0:3000"));
        assert_eq!(found("::1", &["127.0.0.1:3000", "[::]:3000"]).as_deref(), Some("[::]:3000"));
        // Somebody else's, or our own.
        assert_eq!(found("127.0.0.1", &["127.0.0.1:3000", "10.0.0.7:3000"]), None);
        assert_eq!(found("10.0.0.7", &["10.0.0.7:3000"]).as_deref(), Some("10.0.0.7:3000"));
        assert_eq!(found("10.0.0.7", &["0.0.0.0:3000"]).as_deref(), Some("0.0.0.0:3000"));
    }

    #[test]
    fn another_machines_application_is_not_looked_at() {
        assert!(is_of_this_machine("127.0.0.1".parse().unwrap()));
        assert!(!is_of_this_machine("192.0.2.1".parse().unwrap()));
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
        let around = tempfile::tempdir().unwrap();
        let folder = around.path().join("run");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("app.sock");
        let _listening = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
        };
        let link = around.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for (socket, own, above, open) in [
            (0o777, 0o755, 0o755, true),
            (0o770, 0o755, 0o755, false),
            (0o775, 0o755, 0o755, false),
            (0o777, 0o750, 0o755, false),
            (0o777, 0o755, 0o700, false),
        ] {
            set(&path, socket);
            set(&folder, own);
            set(around.path(), above);
            for path in [&path, &link] {
                let found = find_way_around(&UpstreamUrl::Unix(path.clone()));
                assert_eq!(found.is_some(), open, "{socket:o} in {own:o} in {above:o}");
            }
        }
        assert_eq!(find_way_around(&UpstreamUrl::Unix("/no/such.sock".into())), None);
    }
}

//! Sockets that were there before this process: handed over by the one that it replaces, or opened by the service
//! manager (sd_listen_fds(3)). Each is taken by its address.

use std::ffi::OsStr;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{SocketAddrUnix, getsockname};

/// Listening sockets that nobody has taken yet. Those that are left are closed with it.
#[derive(Debug, Default)]
pub(crate) struct InheritedSockets {
    tcp: Vec<TcpListener>,
    unix: Vec<(SocketAddrUnix, UnixListener)>,
}

impl InheritedSockets {
    /// Takes those that the service manager has opened for this process, and for no other one.
    ///
    /// # Errors
    /// One of them is neither of TCP nor of the file system.
    pub(crate) fn of_service_manager() -> io::Result<Self> {
        let mut inherited = Self::default();
        let meant = std::env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok());
        if meant != Some(std::process::id()) {
            return Ok(inherited);
        }
        let mut sockets = ListenFd::from_env();
        for place in 0..sockets.len() {
            let socket = match sockets.take_tcp_listener(place) {
                Ok(socket) => socket.map(OwnedFd::from),
                Err(_) => sockets.take_unix_listener(place)?.map(OwnedFd::from),
            };
            if let Some(socket) = socket {
                inherited.add(socket)?;
            }
        }
        Ok(inherited)
    }

    /// The addresses of those that nobody has taken.
    pub(crate) fn left(&self) -> Vec<String> {
        let tcp = self.tcp.iter().filter_map(|socket| Some(socket.local_addr().ok()?.to_string()));
        let unix = self.unix.iter().map(|(address, _)| {
            String::from_utf8_lossy(address.path_bytes().unwrap_or_default()).into_owned()
        });
        tcp.chain(unix).collect()
    }

    /// Adds one.
    ///
    /// # Errors
    /// It does not listen, or is of another kind.
    pub(super) fn add(&mut self, socket: OwnedFd) -> io::Result<()> {
        if !socket_acceptconn(&socket)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket does not listen"));
        }
        let address = getsockname(&socket)?;
        if SocketAddr::try_from(address.clone()).is_ok() {
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            self.tcp.push(listener);
            return Ok(());
        }
        let address = SocketAddrUnix::try_from(address)?;
        let listener = UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        self.unix.push((address, listener));
        Ok(())
    }

    /// Those that listen on TCP: whoever takes some of them removes them.
    pub(crate) fn tcp(&mut self) -> &mut Vec<TcpListener> {
        &mut self.tcp
    }

    /// Takes one of this address.
    pub(crate) fn take_tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_it = |socket: &TcpListener| socket.local_addr().is_ok_and(|listens| listens == address);
        let place = self.tcp.iter().position(is_it)?;
        Some(self.tcp.swap_remove(place))
    }

    /// Takes the one of this path.
    pub(crate) fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        // However it is spelled: a path that was inherited and is bound anew would be nobody's after a failure.
        let wanted = whole_path(path)?;
        let is_it = |address: &SocketAddrUnix| {
            let bound = address.path_bytes().map(|bytes| Path::new(OsStr::from_bytes(bytes)));
            bound.and_then(whole_path).is_some_and(|bound| bound == wanted)
        };
        let place = self.unix.iter().position(|(address, _)| is_it(address))?;
        Some(self.unix.swap_remove(place).1)
    }
}

/// A path without links, but for its last part.
fn whole_path(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_taken_by_its_address_and_what_does_not_listen_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, tcp) = (folder.path().join("a.sock"), TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, unix) = (tcp.local_addr().unwrap(), UnixListener::bind(&path).unwrap());
        let connected = std::net::TcpStream::connect(address).unwrap();
        let mut inherited = InheritedSockets::default();
        inherited.add(tcp.into()).unwrap();
        inherited.add(unix.into()).unwrap();
        assert!(inherited.add(connected.into()).is_err());
        assert!(inherited.add(std::fs::File::open("/dev/null").unwrap().into()).is_err());
        assert!(inherited.take_tcp(([127, 0, 0, 1], 1).into()).is_none());
        assert!(inherited.take_unix(&folder.path().join("b.sock")).is_none());
        assert_eq!(inherited.take_tcp(address).unwrap().local_addr().unwrap(), address);
        assert!(inherited.take_tcp(address).is_none());
        assert!(inherited.take_unix(&folder.path().join("./a.sock")).is_some(), "by another spelling");
        assert!(inherited.take_unix(&path).is_none());
    }
}

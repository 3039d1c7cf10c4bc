//! The data plane as a running thing: listeners, its own runtime, a drain.
//!
//! Sockets are bound and certificates read before anything runs, so that a port in use is an error of the start and
//! not of a thread. It has a runtime of its own, with a thread a core and work stealing; reads and pages run on
//! whoever's runtime the seams choose. Nothing of Pingora shows.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora::protocols::TcpKeepalive;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::Fds;
use pingora::server::configuration::ServerConf;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::cut::{Clock, Door};
use crate::gate::{Gate, Hooks};
use crate::rules::Limits;

/// One address the proxy listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where; port 0 takes a free one.
    pub address: SocketAddr,
    /// With a certificate it speaks TLS, HTTP/2 and HTTP/1.1; without, HTTP/1.1 and HTTP/2 with prior knowledge.
    pub tls: Option<TlsFiles>,
}

/// A certificate chain and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why the data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// In use, not ours, or not allowed.
        #[source]
        cause: io::Error,
    },
    /// The certificate cannot be read.
    #[error("the certificate {} cannot be read", .0.display())]
    Certificate(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// There is no certificate in the file.
    #[error("there is no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    /// The key cannot be read.
    #[error("the key {} cannot be read", .0.display())]
    Key(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// The key is of no kind we know, or another certificate's.
    #[error("the key {} does not go with the certificate {}", key.display(), certificate.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What does not fit.
        #[source]
        cause: rustls::Error,
    },
    /// There are no threads to run on.
    #[error("the threads of the proxy cannot be started")]
    Runtime(#[source] io::Error),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Streams that were ended because nothing else was left, and nothing passed on them.
    pub silent: usize,
    /// Exchanges that were still in flight when the time was up, and were broken off.
    pub left: usize,
}

/// A part of the data plane stopped by itself, which none ever does.
#[derive(Debug, thiserror::Error)]
#[error("{what} of the proxy stopped")]
pub struct Stopped {
    what: &'static str,
    #[source]
    cause: Option<tokio::task::JoinError>,
}

impl Stopped {
    /// The end of all of it, though nobody asked for one.
    pub fn by_itself() -> Self {
        Self { what: "everything", cause: None }
    }
}

/// The data plane, bound and ready.
pub struct Server {
    gate: Arc<Gate>,
    threads: Threads,
    handle: Handle,
    proxy: HttpProxy<Hooks>,
    limits: Limits,
    bound: Vec<Bound>,
}

/// The runtime. Whoever drops it may be inside another one, where waiting for threads is not allowed.
struct Threads(Option<Runtime>);

impl Threads {
    fn start(count: usize) -> io::Result<(Self, Handle)> {
        let mut threads = tokio::runtime::Builder::new_multi_thread();
        let runtime = threads.worker_threads(count).thread_name("proxy").enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok((Self(Some(runtime)), handle))
    }

    /// Drops every task, and waits for that.
    async fn end(mut self) {
        if let Some(runtime) = self.0.take() {
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LAST)).await;
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct Bound {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsSettings>,
}

impl Server {
    /// Binds every listener and reads every certificate. `threads` is the number of cores unless given.
    ///
    /// # Errors
    /// [`StartError`], by the first listener that cannot be.
    pub fn bind(
        gate: Arc<Gate>,
        listeners: &[Listener],
        limits: Limits,
        threads: Option<usize>,
    ) -> Result<Self, StartError> {
        let count =
            threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
        let bound = listeners.iter().map(Bound::new).collect::<Result<Vec<_>, _>>()?;
        let (threads, handle) = Threads::start(count).map_err(StartError::Runtime)?;
        let conf = ServerConf { threads: count, upstream_keepalive_pool_size: POOL, ..ServerConf::default() };
        let mut proxy = http_proxy(&Arc::new(conf), Hooks(gate.clone()));
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(limits.idle);
        proxy.server_options = Some(options);
        proxy.h2_options = Some(h2_options(limits));
        Ok(Self { gate, threads, handle, proxy, limits, bound })
    }

    /// Where it listens, in the order given.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.address).collect()
    }

    /// Serves until `stop` is ready; then takes no more, and gives what is in flight as long as `stop` says to end.
    /// Once nothing is left but streams on which nothing passes, they are ended at once: by themselves they never would.
    /// With `hurry` the wait is over.
    ///
    /// # Errors
    /// [`Stopped`] where the listeners or the clock of the limits end before.
    pub async fn run(
        self,
        stop: impl Future<Output = Duration>,
        hurry: impl Future<Output = ()>,
    ) -> Result<Drained, Stopped> {
        let Self { gate, threads, handle, proxy, limits, bound } = self;
        let (clock, sockets) = (Clock::new(), Arc::new(AtomicUsize::new(0)));
        let mut ticking = handle.spawn(clock.clone().run());
        let mut fds = Fds::new();
        let mut service = Service::new(
            "proxy".into(),
            Door {
                proxy: Arc::new(proxy),
                gate: gate.clone(),
                clock: clock.clone(),
                limits,
                sockets: sockets.clone(),
            },
        );
        for bound in bound {
            let name = bound.address.to_string();
            let mut listener = ListenerConfig::tcp(name.as_str())
                .tcp_socket_options(socket_options(limits))
                .l4_buffer(L4BufferSettings::new(READ_BUFFER, WRITE_BUFFER));
            if let Some(tls) = bound.tls {
                listener = listener.tls(tls);
            }
            service.add_listener(listener);
            fds.add(name, bound.socket.into_raw_fd());
        }
        let fds = Arc::new(parking_lot::Mutex::new(fds));
        let (last_call, stopping) = watch::channel(false);
        let mut serving = handle.spawn(async move { service.start_service(Some(fds), stopping, 1).await });
        let limit = tokio::select! {
            limit = stop => limit,
            ended = &mut serving => return Err(Stopped { what: "the listeners", cause: ended.err() }),
            ended = &mut ticking => return Err(Stopped { what: "the clock", cause: ended.err() }),
        };
        gate.draining.store(true, Ordering::Relaxed);
        let _ = last_call.send(true);
        let live = || usize::try_from(gate.recorder.metrics.live.get()).unwrap_or_default();
        let emptied = async {
            let _ = serving.await; // no listener is left
            while live() > 0 && !clock.only_silence(SILENCE) {
                tokio::time::sleep(LOOK).await;
            }
            if live() > 0 {
                return;
            }
            // HTTP/2 writes the last bytes of an answer after its exchange has ended.
            let _ = tokio::time::timeout(LAST, async {
                while sockets.load(Ordering::Relaxed) > 0 {
                    tokio::time::sleep(LOOK).await;
                }
            })
            .await;
        };
        let drained = tokio::select! {
            () = emptied => Drained { silent: live(), left: 0 },
            () = tokio::time::sleep(limit) => Drained { silent: 0, left: live() },
            () = hurry => Drained { silent: 0, left: live() },
        };
        // Tasks are dropped here, and with them whatever is left; each writes its line.
        threads.end().await;
        let log = gate.recorder.log.clone();
        let _ = tokio::task::spawn_blocking(move || log.flush(LAST)).await;
        Ok(drained)
    }
}

/// Idle connections to applications that are kept, per thread.
const POOL: usize = 512;
/// Heads are small and read at once; 16 KiB join the head and the body of most answers in one write.
const READ_BUFFER: usize = 4 * 1024;
const WRITE_BUFFER: usize = 16 * 1024;
/// A stream on which nothing has passed for so long holds up no end of the program (docs/operating.md).
const SILENCE: Duration = Duration::from_secs(2);
/// How often a drain looks whether it is done, and how long dropping the rest may take.
const LOOK: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(2);

/// HTTP/2 gives a client many ways to ask for work; each has its bound.
fn h2_options(limits: Limits) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(128)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .max_send_buffer_size(limits.send_buffer)
        .initial_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_frame_size(16 * 1024)
        .max_concurrent_reset_streams(32)
        .max_pending_accept_reset_streams(32)
        .max_local_error_reset_streams(Some(128));
    options
}

fn socket_options(limits: Limits) -> TcpSocketOptions {
    let mut options = TcpSocketOptions::default();
    options.tcp_snd_buf = Some(limits.send_buffer);
    // A WebSocket whose client vanished without a word is noticed.
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(15),
        count: 4,
        user_timeout: Duration::ZERO,
    });
    options
}

impl Bound {
    fn new(listener: &Listener) -> Result<Self, StartError> {
        let fault = |cause| StartError::Bind { address: listener.address, cause };
        let tls = listener.tls.as_ref().map(tls_settings).transpose()?;
        let socket = TcpListener::bind(listener.address).map_err(fault)?;
        socket.set_nonblocking(true).map_err(fault)?;
        let address = socket.local_addr().map_err(fault)?;
        Ok(Self { socket, address, tls })
    }
}

fn tls_settings(files: &TlsFiles) -> Result<TlsSettings, StartError> {
    let pair =
        |cause| StartError::Pair { certificate: files.certificate.clone(), key: files.key.clone(), cause };
    let provider = rustls::crypto::ring::default_provider();
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|cause| StartError::Key(files.key.clone(), cause))?;
    let certified = CertifiedKey::from_der(chain(&files.certificate)?, key, &provider).map_err(pair)?;
    let unsaid = || pair(rustls::Error::General("the certificate is refused".into()));
    // With a resolver no path is read: what was read above is what is served.
    let mut settings = TlsSettings::intermediate("", "").map_err(|_| unsaid())?;
    settings.set_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    settings.enable_h2();
    Ok(settings)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let fault = |cause| StartError::Certificate(path.into(), cause);
    let chain =
        CertificateDer::pem_file_iter(path).map_err(fault)?.collect::<Result<Vec<_>, _>>().map_err(fault)?;
    if chain.is_empty() { Err(StartError::NoCertificate(path.into())) } else { Ok(chain) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    fn bind(listener: Listener) -> Result<Server, StartError> {
        Server::bind(test::gate(), &[listener], Limits::default(), Some(1))
    }

    #[test]
    fn a_port_in_use_is_an_error_before_anything_runs() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        match bind(Listener { address, tls: None }) {
            Err(StartError::Bind { address: named, cause }) => {
                assert_eq!((named, cause.kind()), (address, io::ErrorKind::AddrInUse));
            }
            other => panic!("{:?}", other.map(|_| ())),
        }
    }

    #[test]
    fn certificates_are_read_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["wiki.test".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let certificate = file("good.crt", &made.cert.pem());
        let key = file("good.key", &made.signing_key.serialize_pem());
        let foreign = file("other.key", &other.signing_key.serialize_pem());
        let empty = file("empty.pem", "");
        let start = |certificate: &Path, key: &Path| {
            let tls = Some(TlsFiles { certificate: certificate.into(), key: key.into() });
            bind(Listener { address: SocketAddr::from(([127, 0, 0, 1], 0)), tls }).map(|_| ())
        };
        assert!(start(&certificate, &key).is_ok());
        assert!(matches!(start(&certificate, &foreign), Err(StartError::Pair { .. })));
        assert!(matches!(start(&empty, &key), Err(StartError::NoCertificate(_))));
        assert!(matches!(start(&certificate, &empty), Err(StartError::Key(..))));
        assert!(matches!(start(Path::new("/nonexistent"), &key), Err(StartError::Certificate(..))));
    }
}

//! A bare Pingora in front of the same upstream, with the settings Portcullis gives it and nothing else.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora::modules::http::HttpModules;
use pingora::protocols::TcpKeepalive;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

use crate::load;

/// The environment variable that makes this program the proxy; its value is `listen upstream`.
pub(crate) const ROLE: &str = "PORTCULLIS_BENCH_BARE";

/// The proxy as a process. Dropped, it is killed.
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Bare {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let address = crate::rig::ports::free();
        let this = std::env::current_exe().unwrap();
        let child = Command::new(this)
            .env(ROLE, format!("{address} {upstream}"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let bare = Self { child, address };
        crate::rig::until("the bare proxy", || async move {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        bare
    }

    pub(crate) fn cpu(&self) -> Duration {
        load::cpu(self.child.id())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until it is killed.
pub(crate) fn serve(role: &str) {
    // As Portcullis does, with the same allocator.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let (listen, upstream) = role.split_once(' ').unwrap();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let conf = ServerConf { threads, upstream_keepalive_pool_size: 512, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut peer = HttpPeer::new(upstream, false, String::new());
    peer.options.connection_timeout = Some(Duration::from_secs(5));
    peer.options.tcp_keepalive = Some(keepalive());
    let mut proxy = http_proxy_service(&server.configuration, Pass { peer });
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.app_logic_mut().unwrap().server_options = Some(options);
    let mut socket = TcpSocketOptions::default();
    socket.tcp_snd_buf = Some(64 * 1024);
    socket.tcp_keepalive = Some(keepalive());
    proxy.add_listener(
        ListenerConfig::tcp(listen)
            .tcp_socket_options(socket)
            .l4_buffer(L4BufferSettings::new(4 * 1024, 16 * 1024)),
    );
    server.add_service(proxy);
    server.run_forever();
}

fn keepalive() -> TcpKeepalive {
    TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(15),
        count: 4,
        user_timeout: Duration::ZERO,
    }
}

struct Pass {
    peer: HttpPeer,
}

#[async_trait]
impl ProxyHttp for Pass {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(self.peer.clone()))
    }
}

//! A bare `pingora-proxy` in front of the same application, with the socket settings Portcullis gives and nothing else.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{L4BufferSettings, ListenerConfig, TcpSocketOptions};
use pingora::modules::http::HttpModules;
use pingora::protocols::TcpKeepalive;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

use crate::server;

/// Serves until it is killed. The role is where to listen, the application, and the certificate's folder or `-`.
pub(crate) fn serve(role: &str) {
    // As Portcullis does, with the same allocator.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let [listen, upstream, files] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let conf = ServerConf { threads, upstream_keepalive_pool_size: 512, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut peer = HttpPeer::new(upstream.parse::<SocketAddr>().unwrap(), false, String::new());
    peer.options.connection_timeout = Some(Duration::from_secs(5));
    peer.options.tcp_keepalive = Some(keepalive());
    let mut proxy = http_proxy_service(&server.configuration, Pass { peer });
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.app_logic_mut().unwrap().server_options = Some(options);
    let mut socket = TcpSocketOptions::default();
    socket.tcp_snd_buf = Some(64 * 1024);
    socket.tcp_keepalive = Some(keepalive());
    let mut listener = ListenerConfig::tcp(listen)
        .tcp_socket_options(socket)
        .l4_buffer(L4BufferSettings::new(4 * 1024, 16 * 1024));
    if files != "-" {
        let [certificate, key] = server::pair(Path::new(files)).map(|path| path.display().to_string());
        let mut tls = TlsSettings::intermediate(&certificate, &key).unwrap();
        tls.enable_h2();
        listener = listener.tls(tls);
    }
    proxy.add_listener(listener);
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

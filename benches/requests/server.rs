//! The proxies that are compared, each as processes of its own in front of the same application.
//!
//! Each is set up for the same work as Portcullis: connections to the application kept, no access log, a thread or a
//! worker a core.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::find::find;
use crate::load::{HOST, Protocol};
use crate::rig::process::Process;
use crate::rig::{ports, tls, until};

/// One proxy, running.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    processes: Vec<Process>,
    /// Configuration, certificates, sockets.
    _folder: TempDir,
}

/// How a proxy's process is begun.
#[derive(Clone, Copy)]
pub(crate) enum Under<'a> {
    /// As it is.
    Nothing,
    /// Under callgrind, which counts nothing until it is told to and writes into this file.
    Callgrind(&'a Path),
}

impl Under<'_> {
    /// A command that runs this program.
    pub(crate) fn command(self, program: &Path) -> Command {
        let Self::Callgrind(out) = self else { return Command::new(program) };
        let mut command = Command::new(find("valgrind").expect("valgrind was looked for before"));
        command.args(["--tool=callgrind", "--instr-atstart=no", "--error-limit=no", "--quiet"]);
        command.arg(format!("--callgrind-out-file={}", out.display())).arg(program);
        command
    }
}

/// What a proxy is started for.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) app: SocketAddr,
    pub(crate) protocol: Protocol,
    /// How many cores it may use.
    pub(crate) cores: usize,
    pub(crate) under: Under<'a>,
}

impl Server {
    /// nginx with `proxy_pass` and nothing else: what all others are compared with.
    pub(crate) async fn nginx(setup: Setup<'_>) -> Option<Self> {
        Self::nginx_with("nginx proxy_pass", setup, None).await
    }

    /// nginx that asks an authorizer before each request, as one asks oauth2-proxy. The authorizer is a process too,
    /// and does nothing but answer 204.
    pub(crate) async fn auth_request(setup: Setup<'_>) -> Option<Self> {
        find("nginx")?;
        let authorizer = ports::free();
        let asked = Process::spawn(itself(AUTHORIZER, &authorizer.to_string()).stdout(Stdio::null()));
        listens("the authorizer", authorizer).await;
        let mut server = Self::nginx_with("nginx auth_request", setup, Some(authorizer)).await?;
        server.processes.push(asked);
        Some(server)
    }

    async fn nginx_with(name: &'static str, setup: Setup<'_>, ask: Option<SocketAddr>) -> Option<Self> {
        let program = find("nginx")?;
        let (folder, address) = (folder(), ports::free());
        let conf = folder.path().join("nginx.conf");
        fs::write(&conf, nginx_conf(folder.path(), address, setup, ask)).unwrap();
        let mut command = setup.under.command(&program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&conf).args(["-e", "error.log"]);
        Some(Self::begin(name, address, command, folder).await)
    }

    /// HAProxy, with nothing to decide.
    pub(crate) async fn haproxy(setup: Setup<'_>) -> Option<Self> {
        let program = find("haproxy")?;
        let (folder, address) = (folder(), ports::free());
        let conf = folder.path().join("haproxy.cfg");
        fs::write(&conf, haproxy_conf(folder.path(), address, setup)).unwrap();
        let mut command = setup.under.command(&program);
        if let Some(unpacked) = std::env::var_os("PORTCULLIS_BENCH_PEERS") {
            command.env("LD_LIBRARY_PATH", Path::new(&unpacked).join("usr/lib/x86_64-linux-gnu"));
        }
        command.arg("-db").arg("-f").arg(&conf);
        Some(Self::begin("HAProxy", address, command, folder).await)
    }

    /// A bare `pingora-proxy`, which is what Portcullis's sockets come from.
    pub(crate) async fn pingora(setup: Setup<'_>) -> Self {
        let (folder, address) = (folder(), ports::free());
        let files = if setup.protocol.is_tls() { folder.path().display().to_string() } else { "-".into() };
        let this = itself(BARE, &format!("{address} {} {files}", setup.app));
        let mut command = setup.under.command(Path::new(this.get_program()));
        command.envs(this.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Self::begin("bare pingora-proxy", address, command, folder).await
    }

    /// hyper alone, which is what Portcullis speaks HTTP with. HTTP/1.1 only.
    pub(crate) async fn plain_hyper(setup: Setup<'_>) -> Option<Self> {
        if setup.protocol != Protocol::H1 {
            return None;
        }
        let (folder, address) = (folder(), ports::free());
        let this = itself(PLAIN_HYPER, &format!("{address} {}", setup.app));
        let mut command = setup.under.command(Path::new(this.get_program()));
        command.envs(this.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Some(Self::begin("hyper alone", address, command, folder).await)
    }

    async fn begin(name: &'static str, address: SocketAddr, mut command: Command, folder: TempDir) -> Self {
        let process = Process::spawn(command.stdout(Stdio::null()));
        listens(name, address).await;
        Self { name, address, processes: vec![process], _folder: folder }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Asks each of its processes to end at once, and waits for it.
    pub(crate) fn end(self) {
        self.processes.into_iter().for_each(|process| process.end(rustix::process::Signal::INT));
    }
}

/// The role of this program as the authorizer; its value is where to listen.
pub(crate) const AUTHORIZER: &str = "PORTCULLIS_BENCH_AUTHORIZER";
/// The role of this program as hyper alone; its value is where to listen, and the application.
pub(crate) const PLAIN_HYPER: &str = "PORTCULLIS_BENCH_PLAIN_HYPER";
/// The role of this program as the bare proxy; its value is where to listen, the application, and the certificate's
/// folder or `-`.
pub(crate) const BARE: &str = "PORTCULLIS_BENCH_BARE";

fn itself(role: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(role, value);
    command
}

async fn listens(name: &str, address: SocketAddr) {
    until(name, || async move { tokio::net::TcpStream::connect(address).await.is_ok() }).await;
    // A process that takes connections one by one has taken that one.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// A folder with a certificate, for a proxy that is asked over TLS.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("portcullis-bench-").tempdir().unwrap();
    let (certificate, key) = tls::pem_files(HOST);
    // nginx's worker may be another user; HAProxy wants both in one file.
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("both.pem"), format!("{certificate}{key}")).unwrap();
    fs::write(folder.path().join("tls.crt"), certificate).unwrap();
    fs::write(folder.path().join("tls.key"), key).unwrap();
    folder
}

/// The certificate and the key in such a folder.
pub(crate) fn pair(folder: &Path) -> [PathBuf; 2] {
    ["tls.crt", "tls.key"].map(|name| folder.join(name))
}

fn nginx_conf(folder: &Path, address: SocketAddr, setup: Setup<'_>, ask: Option<SocketAddr>) -> String {
    let Setup { app, protocol, cores, under } = setup;
    let folder = folder.display();
    // One process is enough where instructions are counted, and a worker would be another.
    let process = match under {
        Under::Nothing => format!("worker_processes {cores};"),
        Under::Callgrind(_) => "master_process off;".to_owned(),
    };
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let how = match protocol {
        Protocol::H1 => "",
        Protocol::H2c => " http2",
        Protocol::H1Tls => " ssl",
        Protocol::H2Tls => " ssl http2",
    };
    let certificate = if protocol.is_tls() {
        format!("ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;")
    } else {
        String::new()
    };
    let (upstream, ask, location) = match ask {
        None => (String::new(), "", String::new()),
        Some(authorizer) => (
            format!("upstream authorizer {{ server {authorizer}; keepalive 512; keepalive_requests 1000000000; }}"),
            "auth_request /auth; auth_request_set $user $upstream_http_x_user; proxy_set_header X-Forwarded-User $user;",
            "location = /auth {
               internal; proxy_pass http://authorizer; proxy_pass_request_body off;
               proxy_set_header Connection \"\"; proxy_set_header Host $host; proxy_set_header Content-Length \"\"; proxy_set_header X-Original-URI $request_uri;
             }"
            .to_owned(),
        ),
    };
    format!(
        "{user} daemon off; {process} pid {folder}/nginx.pid; error_log {folder}/error.log crit; worker_rlimit_nofile 32768;
         events {{ worker_connections 16384; }}
         http {{
           access_log off; keepalive_timeout 1h; keepalive_requests 1000000000;
           client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
           uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
           upstream app {{ server {app}; keepalive 512; keepalive_requests 1000000000; }}
           {upstream}
           proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;
           server {{
             listen {address}{how} reuseport backlog=4096; {certificate}
             location / {{ {ask} proxy_pass http://app; proxy_set_header Connection \"\"; proxy_set_header Host $host; }}
             location /socket {{
               proxy_pass http://app; proxy_read_timeout 1h; proxy_set_header Host $host;
               proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
             }}
             {location}
           }}
         }}\n"
    )
}

fn haproxy_conf(folder: &Path, address: SocketAddr, setup: Setup<'_>) -> String {
    let Setup { app, protocol, cores, .. } = setup;
    let folder = folder.display();
    let how = match protocol {
        Protocol::H1 => String::new(),
        Protocol::H2c => " proto h2".to_owned(),
        Protocol::H1Tls => format!(" ssl crt {folder}/both.pem alpn http/1.1"),
        Protocol::H2Tls => format!(" ssl crt {folder}/both.pem alpn h2"),
    };
    format!(
        "global\n  nbthread {cores}\n  maxconn 8192\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 300s\n  timeout tunnel 1h\n  \
         timeout http-keep-alive 1h\n  http-reuse always\n\
         frontend clients\n  bind {address}{how}\n  default_backend app\n\
         backend app\n  server app {app}\n"
    )
}

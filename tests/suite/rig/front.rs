//! What stands in front of the program in `examples/`: nginx and Caddy, each as a child with the example's own file, at
//! ports and under names of this machine.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::shape::{read_example, replace_each, write_certificate};
use super::{peer, ports, wire};

/// The name of the app, and that of SCIM.
pub const APP: &str = "app.localhost";
pub const SCIM: &str = "scim.app.localhost";

/// A product of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontKind {
    Nginx,
    Caddy,
}

/// A running one. Dropped, it is ended.
pub struct Front {
    process: Process,
}

impl Front {
    /// Starts it in a folder of its own, listening on `here`, in front of a program that listens on `proxy` and `scim`.
    pub async fn start(
        kind: FrontKind,
        folder: &Path,
        here: SocketAddr,
        proxy: SocketAddr,
        scim: SocketAddr,
    ) -> Self {
        write_certificate(folder, "wiki", APP);
        write_certificate(folder, "scim", SCIM);
        let log = File::create(folder.join("front.log")).unwrap();
        let mut command = match kind {
            FrontKind::Nginx => nginx(folder, here, proxy, scim),
            FrontKind::Caddy => caddy(folder, here, proxy, scim),
        };
        let process = Process::spawn(command.stdout(log.try_clone().unwrap()).stderr(log));
        let mut front = Self { process };
        for _ in 0..600 {
            if wire::tcp(here, None).await.is_ok() {
                return front;
            }
            assert!(!front.process.has_ended(), "{kind:?} ended:\n{}", front_log(folder));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{kind:?} is not ready:\n{}", front_log(folder));
    }
}

fn front_log(folder: &Path) -> String {
    fs::read_to_string(folder.join("front.log")).unwrap_or_default()
}

/// The example is a file for `conf.d`; around it stands as little as nginx runs with.
fn nginx(folder: &Path, here: SocketAddr, proxy: SocketAddr, scim: SocketAddr) -> Command {
    let at = folder.display();
    let site = replace_each(
        &read_example("nginx/wiki.conf"),
        &[
            ("listen 80;", &format!("listen {};", ports::free())),
            ("listen 443 ssl", &format!("listen {here} ssl")),
            ("scim.wiki.example.com", SCIM),
            ("https://wiki.example.com", &format!("https://{APP}:{}", here.port())),
            ("wiki.example.com", APP),
            ("/etc/ssl/wiki", &format!("{at}/wiki")),
            ("/etc/ssl/scim", &format!("{at}/scim")),
            ("server 127.0.0.1:8080;", &format!("server {proxy};")),
            ("http://127.0.0.1:8081", &format!("http://{scim}")),
        ],
    );
    fs::write(folder.join("wiki.conf"), site).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {at}/{name};\n"))
        .concat();
    let whole = format!(
        "daemon off;\nmaster_process off;\nerror_log stderr;\npid {at}/nginx.pid;\nevents {{}}\n\
         http {{\n  access_log off;\n{temporary}  include {at}/wiki.conf;\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), whole).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command
}

/// The example has Caddy get its certificates, and send plain http on, by itself; here it is given them, and no port 80.
fn caddy(folder: &Path, here: SocketAddr, proxy: SocketAddr, scim: SocketAddr) -> Command {
    let at = folder.display();
    let site = |host: &str, name: &str| {
        let port = here.port();
        format!("https://{host}:{port} {{\n\tbind {}\n\ttls {at}/{name}.crt {at}/{name}.key", here.ip())
    };
    let file = replace_each(
        &read_example("caddy/Caddyfile"),
        &[
            ("\nscim.wiki.example.com {", &format!("\n{}", site(SCIM, "scim"))),
            ("\nwiki.example.com {", &format!("\n{}", site(APP, "wiki"))),
            ("127.0.0.1:8080", &proxy.to_string()),
            ("127.0.0.1:8081", &scim.to_string()),
        ],
    );
    let options = "{\n\tadmin off\n\tauto_https off\n\tskip_install_trust\n}\n";
    fs::write(folder.join("Caddyfile"), format!("{options}{file}")).unwrap();
    let mut command = Command::new(peer::cache().join("caddy/usr/bin/caddy"));
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
    for (name, below) in [("HOME", ""), ("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config")] {
        command.env(name, folder.join(below));
    }
    command
}

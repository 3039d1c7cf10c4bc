//! Applications that nobody here wrote, for what they make of a path or of a header: servers and routers as children, each with
//! a page below `/admin` and open ones beside it, and Radicale. Their scripts stand in `tests/rigs/apps`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::process::Process;
use super::{must, peer, ports, wire};

/// What every page below `/admin` says.
pub const SECRET: &str = "the secret of the admins";

/// A running application. Dropped, it is ended.
pub struct ForeignApplication {
    process: Process,
    folder: TempDir,
    pub address: SocketAddr,
}

impl ForeignApplication {
    /// Starts one by its name and waits until it answers.
    pub async fn start(name: &str) -> Self {
        let address = ports::free();
        let folder = tempfile::Builder::new().prefix("portcullis-app-").tempdir().unwrap();
        write_site(folder.path());
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = command(name, folder.path(), address.port());
        let process = Process::spawn(command.stdout(log.try_clone().unwrap()).stderr(log));
        let mut application = Self { process, folder, address };
        application.ready(name).await;
        application
    }

    async fn ready(&mut self, name: &str) {
        for _ in 0..600 {
            if wire::get(self.address, "app.localhost", "/").await.is_ok() {
                return;
            }
            assert!(!self.process.has_ended(), "{name} ended:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} is not ready:\n{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// Sends a request line as it is, and says what came: the status (0 for none) and everything.
pub async fn ask_raw(address: SocketAddr, target: &str, fields: &str) -> (u16, String) {
    let asked = async {
        let mut socket = wire::tcp(address, None).await?;
        let head = format!("GET {target} HTTP/1.1\r\nHost: app.localhost:{}\r\n{fields}", address.port());
        socket.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.map(|_| answer)
    };
    let answer = must(target, asked).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    (status.unwrap_or_default(), text)
}

/// Files for those that serve files.
fn write_site(folder: &Path) {
    let site = folder.join("site");
    fs::create_dir_all(site.join("admin")).unwrap();
    fs::write(site.join("admin/secret"), format!("{SECRET}\n")).unwrap();
    fs::write(site.join("index.html"), "an open page\n").unwrap();
    let conf = fs::read_to_string(peer::rigs().join("apps/nginx.conf")).unwrap();
    fs::write(folder.join("nginx.conf"), conf.replace("@FOLDER@", &folder.display().to_string())).unwrap();
}

fn command(name: &str, folder: &Path, port: u16) -> Command {
    let (scripts, cache, site) = (peer::rigs().join("apps"), peer::cache(), folder.join("site"));
    let port = port.to_string();
    let at = format!("127.0.0.1:{port}");
    let mut command = match name {
        "http.server" => {
            let mut python = Command::new("python3");
            python.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(&site).arg(&port);
            python
        }
        "wsgi:routed" | "wsgi:legacy" => {
            let mut gunicorn = Command::new(cache.join("gunicorn/bin/gunicorn"));
            gunicorn.args(["--bind", &at, "--workers", "1", name]).env("PYTHONDONTWRITEBYTECODE", "1");
            gunicorn.current_dir(&scripts);
            gunicorn
        }
        "url" | "express" => {
            let mut node = Command::new(cache.join("node/bin/node"));
            node.arg(scripts.join("apps.mjs")).args([name, &port]);
            node.env("PORTCULLIS_RIG_MODULES", cache.join("express"));
            node
        }
        "php" => {
            let mut php = Command::new("php");
            php.args(["-S", &at, "-t"]).arg(&site);
            php
        }
        "router.php" => {
            let mut php = Command::new("php");
            php.args(["-S", &at, "-t"]).arg(&site).arg(scripts.join(name));
            php
        }
        "nginx" => {
            let conf = folder.join("nginx.conf");
            let text = fs::read_to_string(&conf).unwrap();
            fs::write(&conf, text.replace("@PORT@", &port)).unwrap();
            let mut nginx = Command::new("/usr/sbin/nginx");
            nginx.arg("-p").arg(folder).arg("-c").arg(conf);
            nginx
        }
        "radicale" => {
            let conf = folder.join("radicale.conf");
            let text = format!(
                "[server]\nhosts = {at}\n[auth]\ntype = http_x_remote_user\n[storage]\nfilesystem_folder = {}\n\
                 [rights]\ntype = owner_only\n",
                folder.join("calendars").display()
            );
            fs::write(&conf, text).unwrap();
            let mut radicale = Command::new(cache.join("radicale/bin/python"));
            radicale.args(["-m", "radicale", "--config"]).arg(conf).env("PYTHONDONTWRITEBYTECODE", "1");
            radicale
        }
        "Servlets" => {
            let classes = cache.join("tomcat");
            let mut java = Command::new("java");
            java.arg("-cp").arg(format!("{0}:{0}/*", classes.display())).arg(name).arg(folder).arg(&port);
            java
        }
        other => panic!("no application is called {other}"),
    };
    command.env_remove("PORT");
    command
}

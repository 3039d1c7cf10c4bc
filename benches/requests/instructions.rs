//! Instructions of a request in user space, counted by callgrind: they say more than time where the machine is shared.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::find::find;
use crate::gate::Gate;
use crate::load::{AT_ONCE, Load, Protocol};
use crate::server::{Server, Setup, Under};
use crate::{Options, other_build};

/// How many requests warm a proxy, and how many are counted.
const WARM: usize = 1_024;
const COUNTED: usize = 3_072;

/// Counts for each proxy, and prints a table.
pub(crate) async fn count(app: SocketAddr, options: &Options) {
    if find("valgrind").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    println!("\n### Instructions\n");
    println!("In user space, HTTP/1.1, warm, {AT_ONCE} under way, {COUNTED} requests, under callgrind.\n");
    println!("| | a request |\n|---|---|");
    let nobody = [String::from("nobody=here")];
    let log = folder.path().join("access.log").display().to_string();
    for which in 0..7 {
        let out = folder.path().join(format!("callgrind.{which}"));
        let setup =
            Setup { app, protocol: Protocol::H1, cores: options.cores, under: Under::Callgrind(&out) };
        let server = match which {
            0 => Server::nginx(setup).await,
            1 => Server::haproxy(setup).await,
            2 => Some(Server::pingora(setup).await),
            3 => Server::plain_hyper(setup).await,
            _ => {
                let (name, access, build) = match (which, other_build()) {
                    (4, _) => ("**Portcullis**, a person a connection", "off", None),
                    (5, _) => ("**Portcullis**, a person a connection, log in a file", log.as_str(), None),
                    (_, Some(build)) => {
                        ("**Portcullis**, other build, a person a connection", "off", Some(build))
                    }
                    (_, None) => continue,
                };
                let gate = Gate::of(setup, access, build.as_deref()).await;
                load(gate.address(), gate.pid(), &gate.cookies).await;
                gate.end();
                print(name, &out);
                if let Some(kept) = std::env::var_os("PORTCULLIS_BENCH_PROFILE")
                    && which == 4
                {
                    std::fs::copy(&out, kept).unwrap();
                }
                continue;
            }
        };
        let Some(server) = server else { continue };
        load(server.address, server.pids()[0], &nobody).await;
        let name = server.name;
        server.end();
        print(name, &out);
    }
}

async fn load(address: SocketAddr, pid: u32, cookies: &[String]) {
    let mut load = Load::open(address, Protocol::H1, cookies).await;
    load.run(WARM).await;
    control(pid, "on");
    load.run(COUNTED).await;
    control(pid, "off");
}

/// Tells callgrind in a process to count, or not to.
fn control(pid: u32, what: &str) {
    let mut command = Command::new(find("callgrind_control").unwrap());
    command.args(["-i", what, &pid.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success(), "callgrind_control -i {what} {pid}");
}

fn print(name: &str, out: &Path) {
    let profile = std::fs::read_to_string(out).unwrap();
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: f64 = total.and_then(|total| total.split_whitespace().next()?.parse().ok()).unwrap();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let count = COUNTED as f64;
    println!("| {name} | {:.0} |", total / count);
}

//! CPU of a request: every proxy gets the same requests in turns, and nginx's `proxy_pass` is one in each round.

use std::net::SocketAddr;
use std::time::Duration;

use crate::gate::Gate;
use crate::load::{AT_ONCE, Load, Protocol};
use crate::rig::process::cpu_time;
use crate::server::{Server, Setup, Under};
use crate::{Options, other_build, table};

/// Who is loaded, with whose cookies, and what was seen.
struct Target {
    name: &'static str,
    pids: Vec<u32>,
    load: Load,
    rounds: Vec<Round>,
    /// The answers at half of the most it did, of each paced run.
    paced: Vec<Vec<Duration>>,
}

#[derive(Clone, Copy)]
struct Round {
    micros: f64,
    rate: f64,
}

impl Target {
    async fn new(name: &'static str, pids: Vec<u32>, to: (SocketAddr, Protocol), cookies: &[String]) -> Self {
        let mut load = Load::open(to.0, to.1, cookies).await;
        load.run(2_000).await;
        Self { name, pids, load, rounds: Vec::new(), paced: Vec::new() }
    }

    async fn round(&mut self, requests: usize) {
        let before = cpu_time(&self.pids);
        let took = self.load.run(requests).await;
        let used = cpu_time(&self.pids).saturating_sub(before);
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let count = (requests / AT_ONCE * AT_ONCE) as f64;
        self.rounds
            .push(Round { micros: used.as_secs_f64() * 1e6 / count, rate: count / took.as_secs_f64() });
    }

    fn rate(&self) -> f64 {
        table::median(self.rounds.iter().map(|round| round.rate))
    }

    fn micros(&self) -> f64 {
        table::median(self.rounds.iter().map(|round| round.micros))
    }

    /// What each round was to the same round of another.
    fn beside<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = f64> + 'a {
        self.rounds.iter().zip(&other.rounds).map(|(round, others)| round.micros / others.micros)
    }

    /// The median over the paced runs of one of their percentiles, in milliseconds.
    fn percentile(&self, of_hundred: usize) -> f64 {
        let of = |took: &Vec<Duration>| took[took.len() * of_hundred / 100].as_secs_f64() * 1e3;
        table::median(self.paced.iter().filter(|took| !took.is_empty()).map(of))
    }
}

const PERSON_EACH: &str = "**Portcullis**, a person a connection";
const ONE_PERSON: &str = "**Portcullis**, one person on all";
const LOGGED: &str = "**Portcullis**, a person a connection, log in a file";
/// Another build, where one is named.
const OTHER_EACH: &str = "**Portcullis**, other build, a person a connection";
const OTHER_ONE: &str = "**Portcullis**, other build, one person on all";
const ASKED: &str = "nginx auth_request";

/// Compares all of them over one protocol, and prints a table.
pub(crate) async fn compare(app: SocketAddr, protocol: Protocol, options: &Options) {
    let setup = Setup { app, protocol, cores: options.cores, under: Under::Nothing };
    let mut servers: Vec<Server> = Vec::new();
    servers.extend(Server::nginx(setup).await);
    servers.extend(Server::haproxy(setup).await);
    servers.extend(Server::auth_request(setup).await);
    servers.push(Server::pingora(setup).await);
    servers.extend(Server::plain_hyper(setup).await);
    let gate = Gate::start(setup, "off").await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let logging = Gate::start(setup, &log.path().display().to_string()).await;

    let mut targets = Vec::new();
    for server in &servers {
        let to = (server.address, protocol);
        targets.push(Target::new(server.name, server.pids(), to, &gate.cookies).await);
    }
    let one = &gate.cookies[..1];
    for (name, gate, cookies) in [
        (PERSON_EACH, &gate, &gate.cookies[..]),
        (ONE_PERSON, &gate, one),
        (LOGGED, &logging, &logging.cookies),
    ] {
        targets.push(Target::new(name, vec![gate.pid()], (gate.address(), protocol), cookies).await);
    }
    let other = match other_build() {
        Some(build) => Some(Gate::of(setup, "off", Some(&build)).await),
        None => None,
    };
    if let Some(gate) = &other {
        for (name, cookies) in [(OTHER_EACH, &gate.cookies[..]), (OTHER_ONE, &gate.cookies[..1])] {
            targets.push(Target::new(name, vec![gate.pid()], (gate.address(), protocol), cookies).await);
        }
    }

    for round in 0..options.rounds {
        // Each begins once, and each follows each other: what one leaves in the caches is not always the same one's.
        let count = targets.len();
        for step in 0..count {
            let forward = (round / 2 + step) % count;
            let index = if round % 2 == 0 { forward } else { count - 1 - forward };
            targets[index].round(options.requests).await;
        }
    }
    if let Some(core) = options.load_core {
        for _ in 0..options.paced {
            for target in &mut targets {
                let rate = target.rate() / 2.0;
                let took = target.load.paced(rate, Duration::from_secs(2), core).await;
                target.paced.push(took);
            }
        }
    }
    print(protocol, &targets, options);
}

fn print(protocol: Protocol, targets: &[Target], options: &Options) {
    println!("\n### {}\n", protocol.name());
    println!(
        "CPU a request of all its processes, median of {} rounds in turns, {} requests each, {AT_ONCE} under way.\n",
        options.rounds, options.requests
    );
    println!("| | CPU, µs | to {} | rounds | requests/s | p50, ms | p99, ms |", targets[0].name);
    println!("|---|---|---|---|---|---|---|");
    for target in targets {
        let [least, middle, most] = table::spread(target.beside(&targets[0]));
        println!(
            "| {} | {:.1} | **{middle:.2}** | {least:.2}–{most:.2} | {:.0} | {:.2} | {:.2} |",
            target.name,
            target.micros(),
            target.rate(),
            target.percentile(50),
            target.percentile(99)
        );
    }
    println!();
    let find = |name| targets.iter().find(|target| target.name == name);
    let (Some(gate), Some(logged)) = (find(PERSON_EACH), find(LOGGED)) else { return };
    if let Some(asked) = find(ASKED) {
        let [least, middle, most] = table::spread(gate.beside(asked));
        println!("Portcullis, a person a connection, to {ASKED}: **{middle:.2}** ({least:.2}–{most:.2}).");
    }
    let added = gate.rounds.iter().zip(&logged.rounds).map(|(off, on)| on.micros - off.micros);
    let [least, middle, most] = table::spread(added);
    println!("The access log in a file adds **{middle:.1} µs** ({least:.1}–{most:.1}).");
}

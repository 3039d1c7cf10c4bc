//! What Portcullis costs: CPU of a request beside a bare Pingora, and how long a removal takes.
//!
//! Both proxies run as processes of their own in one run and get the same requests in turns; their CPU is the
//! scheduler's own count (`/proc/<pid>/task/*/schedstat`), the median of paired rounds. On a small shared machine only
//! the ratio says much. First the load has a core of its own, so that what is counted is the proxy and not who shares
//! its caches; then everything runs wherever there is room, which is harder on whoever touches more memory.
//! Run with `make bench`, or `cargo bench --bench requests`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a measurement that cannot go on stops; the rig is the suite's, and half of it is not used here"
)]

mod bare;
mod gate;
mod load;
mod revocations;
#[path = "../../tests/suite/rig/mod.rs"]
mod rig;

use std::future::Future;
use std::time::Duration;

use bare::Bare;
use gate::Gate;
use load::Load;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 9;
const REQUESTS: usize = 20_000;

fn main() {
    if let Some(role) = std::env::var_os(bare::ROLE) {
        return bare::serve(&role.to_string_lossy());
    }
    rig::raise_open_files();
    let everywhere = sched_getaffinity(None).unwrap();
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| everywhere.is_set(*core)).collect();
    if let Some((last, others)) = cores.split_last().filter(|(_, others)| !others.is_empty()) {
        // Programs are started by this thread and run where it may; the load's own threads are elsewhere.
        sched_setaffinity(None, &set(others)).unwrap();
        with_load_on(&[*last], async {
            let upstream = load::upstream().await;
            let log = tempfile::NamedTempFile::new().unwrap();
            let bare = Bare::start(upstream).await;
            let gate = Gate::start(upstream, "off").await;
            compare("access log off, the load on a core of its own", &bare, &gate).await;
            drop(gate);
            let logging = Gate::start(upstream, &log.path().display().to_string()).await;
            compare("access log in a file, the load on a core of its own", &bare, &logging).await;
        });
        sched_setaffinity(None, &everywhere).unwrap();
    }
    with_load_on(&cores, async {
        let upstream = load::upstream().await;
        let bare = Bare::start(upstream).await;
        let mut gate = Gate::start(upstream, "off").await;
        compare("access log off, the load on the same cores", &bare, &gate).await;
        drop(bare);
        for exchanges in [1, 100, 3_000] {
            revocations::measure(&mut gate, exchanges).await;
        }
    });
}

/// Runs something on this thread, and what it spawns on threads of these cores.
fn with_load_on(cores: &[usize], run: impl Future<Output = ()>) {
    let cores = cores.to_vec();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.len())
        .on_thread_start(move || sched_setaffinity(None, &set(&cores)).unwrap())
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run);
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn set(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    set
}

/// Loads both in turns, and prints the medians.
async fn compare(what: &str, bare: &Bare, gate: &Gate) {
    // The same requests to both, cookies and all: a browser of its own on each connection.
    let plain = Load::new(bare.address, "app.localhost", &gate.cookies);
    let signed_in = Load::new(gate.address(), "app.localhost", &gate.cookies);
    for load in [&plain, &signed_in] {
        load.run(REQUESTS / 4).await;
    }
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let mut micros = [0.0; 2];
        for target in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let cpu = || if target == 0 { bare.cpu() } else { gate.cpu() };
            let before = cpu();
            [&plain, &signed_in][target].run(REQUESTS).await;
            micros[target] = (cpu() - before).as_secs_f64() * 1e6 / REQUESTS as f64;
        }
        rounds.push(micros);
    }
    let median = |of: &dyn Fn(&[f64; 2]) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2]
    };
    let ratios: Vec<String> = rounds.iter().map(|[bare, gate]| format!("{:.2}", gate / bare)).collect();
    println!("{what}: CPU a request, HTTP/1.1, warm, median of {ROUNDS} paired rounds of {REQUESTS}");
    println!(
        "  bare Pingora {:.1} us, Portcullis {:.1} us, added {:.1} us; ratios of the rounds: {}",
        median(&|round| round[0]),
        median(&|round| round[1]),
        median(&|round| round[1] - round[0]),
        ratios.join(" ")
    );
    println!("  ratio to bare Pingora: {:.2}", median(&|round| round[1] / round[0]));
}

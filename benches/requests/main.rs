//! What Portcullis costs: CPU of a request beside a bare Pingora, and how long a removal takes.
//!
//! Both proxies run as processes of their own in one run, loaded in turns; their CPU is the scheduler's own count
//! (`/proc/<pid>/task/*/schedstat`), the median of paired rounds. On a small shared machine only the ratio says much.
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

use std::time::Duration;

use bare::Bare;
use gate::Gate;
use load::Load;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 9;
const REQUESTS: usize = 20_000;
const CONNECTIONS: usize = 32;

fn main() {
    if let Some(role) = std::env::var_os(bare::ROLE) {
        return bare::serve(&role.to_string_lossy());
    }
    rig::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let upstream = load::upstream().await;
        let bare = Bare::start(upstream).await;
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut gate = Gate::start(upstream, "off").await;
        compare("access log off", &bare, &gate, true).await;
        let logging = Gate::start(upstream, &log.path().display().to_string()).await;
        compare("access log in a file", &bare, &logging, false).await;
        drop((bare, logging));
        for exchanges in [1, 100, 3_000] {
            revocations::measure(&mut gate, exchanges).await;
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
}

/// Loads both in turns; prints the medians, and for the promise the one line that is looked for.
async fn compare(what: &str, bare: &Bare, gate: &Gate, is_promise: bool) {
    let plain = Load::new(bare.address, "app.localhost", None);
    let signed_in = Load::new(gate.address(), "app.localhost", Some(&gate.cookie));
    for load in [&plain, &signed_in] {
        load.run(REQUESTS / 4, CONNECTIONS).await;
    }
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let mut micros = [0.0; 2];
        for target in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let cpu = || if target == 0 { bare.cpu() } else { gate.cpu() };
            let before = cpu();
            [&plain, &signed_in][target].run(REQUESTS, CONNECTIONS).await;
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
        "  bare Pingora {:.1} us, Portcullis {:.1} us",
        median(&|round| round[0]),
        median(&|round| round[1])
    );
    println!(
        "  added {:.1} us; ratios of the rounds: {}",
        median(&|round| round[1] - round[0]),
        ratios.join(" ")
    );
    if is_promise {
        println!("ratio to bare Pingora: {:.2}", median(&|round| round[1] / round[0]));
    }
}

//! What Portcullis costs beside nginx, HAProxy, nginx with `auth_request` and a bare `pingora-proxy`, in one run; over HTTP/1.1 hyper alone too.
//!
//! All proxies are processes of their own in front of the same application and get the same requests in turns. Their
//! CPU is the scheduler's own count (`/proc/<pid>/task/*/schedstat`, user and system), and the figure that says much on
//! a small shared machine is the ratio to nginx's `proxy_pass` within a round. The load and the application have the
//! last core for themselves, the proxies the others; on a machine of one core they share it, and nothing is paced.
//!
//! Run with `make bench`, or `cargo bench --bench requests -- [h1] [h2c] [tls] [h2tls] [instructions] [memory]
//! [strangers] [removal] [quick]`; without a name all of it is measured. What is printed is Markdown, as it stands in
//! `benches/README.md`. Another build, named by `PORTCULLIS_BENCH_BUILD`, is measured beside this one; `train` puts
//! that one under load and measures nothing (`benches/release-pgo`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a measurement that cannot go on stops; the rig is the suite's, and half of it is not used here"
)]

mod app;
mod bare;
mod cpu;
mod find;
mod gate;
mod hostile;
mod instructions;
mod load;
mod memory;
mod plain_hyper;
mod removal;
#[path = "../../tests/suite/rig/mod.rs"]
mod rig;
mod server;
mod table;
mod train;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use load::Protocol;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Another build of the program, which is measured beside this one.
pub(crate) fn other_build() -> Option<PathBuf> {
    std::env::var_os("PORTCULLIS_BENCH_BUILD").map(PathBuf::from)
}

/// How much is measured.
pub(crate) struct Options {
    /// How many rounds each proxy has, and how many requests are in one.
    rounds: usize,
    requests: usize,
    /// How many times each is asked at a steady rate.
    paced: usize,
    /// How many cores the proxies have.
    cores: usize,
    /// The core of the load, where it has one for itself.
    load_core: Option<usize>,
}

fn main() {
    if let Some(role) = std::env::var_os(server::BARE) {
        return bare::serve(&role.to_string_lossy());
    }
    if let Some(role) = std::env::var_os(server::PLAIN_HYPER) {
        return plain_hyper::serve(&role.to_string_lossy());
    }
    if let Some(role) = std::env::var_os(server::AUTHORIZER) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(app::authorize(&role.to_string_lossy()));
    }
    rig::raise_open_files();
    // Cargo's own flags, such as `--bench`, are no names.
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_quick = asked.iter().any(|word| word == "quick");
    let wants = |word: &str| asked.iter().all(|one| one == "quick") || asked.iter().any(|one| one == word);
    let everywhere = sched_getaffinity(None).unwrap();
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| everywhere.is_set(*core)).collect();
    let (last, others) = cores.split_last().unwrap();
    let apart = !others.is_empty();
    let options = Options {
        rounds: if is_quick { 3 } else { 14 },
        requests: if is_quick { 4_000 } else { 10_000 },
        paced: if is_quick { 1 } else { 3 },
        cores: others.len().max(1),
        load_core: apart.then_some(*last),
    };
    if asked.iter().any(|word| word == "train") {
        return with_load_on(*last, train::train());
    }
    describe(&options);
    // Programs are started by this thread and run where it may; the load's own threads are elsewhere.
    run_on(if apart { others } else { &cores });
    with_load_on(*last, async {
        let app = app::start().await;
        for (word, protocol) in ["h1", "h2c", "tls", "h2tls"].into_iter().zip(Protocol::ALL) {
            if wants(word) {
                cpu::compare(app, protocol, &options).await;
            }
        }
        if wants("instructions") {
            instructions::count(app, &options).await;
        }
        if wants("memory") {
            memory::measure(app, &options).await;
        }
        if wants("strangers") {
            hostile::measure(app, &options).await;
        }
    });
    run_on(&cores);
    if wants("removal") {
        with_load_on(*last, async {
            let app = app::start().await;
            removal::measure(app, &options).await;
        });
    }
}

/// Says what is compared, and loudly what is not.
fn describe(options: &Options) {
    for (program, what) in [
        ("nginx", "nginx proxy_pass and nginx auth_request: the ratios below are to another proxy"),
        ("haproxy", "HAProxy"),
        ("valgrind", "the count of instructions"),
    ] {
        if find::find(program).is_none() {
            println!("SKIPPED: {program} is not on this machine, so it is not compared ({what}).");
        }
    }
    match options.load_core {
        Some(core) => {
            println!("The load and the application are on core {core}, each proxy on {}.", options.cores)
        }
        None => {
            println!("One core for everything: the rates are the load's too, and no latency is measured.")
        }
    }
}

/// Runs this thread, and what it starts, on these cores.
pub(crate) fn run_on(cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).unwrap();
}

/// Runs something on this thread, and what it spawns on a thread of this core.
fn with_load_on(core: usize, run: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(move || run_on(&[core]))
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run);
    runtime.shutdown_timeout(Duration::from_secs(1));
}

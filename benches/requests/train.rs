//! The load that a profile is taken under: an instrumented build serves what the comparison measures.

use crate::gate::Gate;
use crate::load::{Load, Protocol};
use crate::server::{Setup, Under};
use crate::{app, memory, other_build};

/// How many requests it serves over each protocol, by a person a connection and by one person on all.
const REQUESTS: usize = 20_000;
/// How many WebSockets it carries.
const WEBSOCKETS: usize = 200;

/// Puts the other build under load, and has it end in peace each time, which is when it writes its profile.
pub(crate) async fn train() {
    let build = other_build().expect("PORTCULLIS_BENCH_BUILD names the instrumented build");
    let app = app::start().await;
    for protocol in Protocol::ALL {
        let setup = Setup { app, protocol, cores: 1, under: Under::Nothing };
        let log = tempfile::NamedTempFile::new().unwrap();
        for access in [String::from("off"), log.path().display().to_string()] {
            let gate = Gate::of(setup, &access, Some(&build)).await;
            for cookies in [&gate.cookies[..], &gate.cookies[..1]] {
                Load::open(gate.address(), protocol, cookies).await.run(REQUESTS).await;
            }
            if protocol == Protocol::H1 {
                let sockets = memory::open_websockets(gate.address(), &gate.cookies[0], WEBSOCKETS).await;
                gate.deactivate().await;
                drop(sockets);
            }
            gate.end();
        }
        println!("{}: {REQUESTS} requests, four times", protocol.name());
    }
}

//! The neighbours of a proxy, for whoever tests, measures or rehearses it: applications behind it, and clients in front
//! of it that look at what comes back. Nothing here knows the program.
//!
//! `application` is the usual application and `bare` makes odd ones of sockets; `wire` is HTTP, `raw` a bare socket,
//! `frames` HTTP/2 by hand, `stream` an answer that goes on, `websocket` what it says; `browser` has cookies (`jar`) and
//! forms (`html`); `directory` speaks SCIM; `provider` is an OpenID provider.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test that cannot go on stops; what a rehearsal needs of this returns its faults"
)]

pub mod application;
pub mod bare;
pub mod browser;
pub mod directory;
pub mod frames;
pub mod html;
pub mod jar;
pub mod ports;
pub mod process;
pub mod provider;
pub mod raw;
pub mod stream;
pub mod tap;
pub mod tls;
pub mod websocket;
pub mod wire;

use std::future::Future;
use std::time::Duration;

/// A bound that only a fault reaches: far above anything that is promised, so that no test depends on speed.
pub const NET: Duration = Duration::from_secs(20);

/// Waits for something that must come, and says what did not.
pub async fn must<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(NET, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: did not come within {NET:?}"),
    }
}

/// Asks again and again until the answer is yes. For states that come by themselves, such as a process getting ready.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asked = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    must(what, asked).await;
}

/// Waits for a state that can be seen without waiting.
pub async fn wait_for(mut is_there: impl FnMut() -> bool) {
    until("a state", || std::future::ready(is_there())).await;
}

/// Waits until a count stands still, and is not nothing.
pub async fn wait_for_stall(count: impl Fn() -> u64) {
    let (mut last, mut same) = (0, 0);
    wait_for(|| {
        let now = count();
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
        same > 20
    })
    .await;
}

/// Lets this process open as many files as the machine allows: a test with thousands of sockets needs twice as many.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

//! What the tests stand on: the program, its neighbours, and clients that look at what comes back.

pub mod application;
pub mod browser;
pub mod canaille;
pub mod chromium;
pub mod directory;
pub mod html;
pub mod idp;
pub mod jar;
pub mod peer;
pub mod ports;
pub mod program;
pub mod rehearsal;
pub mod seed;
pub mod settings;
pub mod sqlite_lock;
pub mod stage;
pub mod upstream;
pub mod visitor;
pub mod watch;
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
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    must(what, asked).await;
}

/// Lets this process open as many files as the machine allows: a test with thousands of sockets needs twice as many.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

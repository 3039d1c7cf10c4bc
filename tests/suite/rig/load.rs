//! Clients that ask without a pause, each in its own way, and count what went wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Version};
use serde_json::json;
use tokio::task::JoinSet;

use super::NET;
use super::directory::{DirectoryClient, user};
use super::visitor::Visitor;
use super::wire::{Connection, Dial, whole};

/// What became of the requests.
#[derive(Default)]
pub struct Load {
    /// Answered as they should be.
    pub answered: AtomicUsize,
    /// Asked again, as HTTP/2 allows where a server says that it has not begun (RFC 9113 §8.7).
    pub again: AtomicUsize,
    failed: parking_lot::Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// Clients that ask.
pub struct Clients {
    pub load: Arc<Load>,
    running: JoinSet<()>,
}

impl Clients {
    /// Starts some that keep their connections, some that open one for each request, some over HTTP/2, and a directory.
    pub fn start(visitor: &Visitor, directory: &DirectoryClient) -> Self {
        let (load, mut running) = (Arc::new(Load::default()), JoinSet::new());
        for _ in 0..3 {
            running.spawn(keep_asking(visitor.clone(), load.clone(), Version::HTTP_11));
        }
        running.spawn(keep_asking(visitor.clone(), load.clone(), Version::HTTP_2));
        running.spawn(ask_anew(visitor.clone(), load.clone()));
        running.spawn(write_people(directory.clone(), load.clone()));
        Self { load, running }
    }

    /// Waits until so many more were answered.
    pub async fn answered(&self, more: usize) {
        self.answered_within(more, NET).await;
    }

    /// The same where it may take longer.
    pub async fn answered_within(&self, more: usize, limit: Duration) {
        let wanted = self.load.answered.load(Ordering::Relaxed) + more;
        let answered = async {
            while !self.load.is_over() && self.load.answered.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(limit, answered).await.unwrap_or_else(|_| panic!("not {wanted} answers"));
    }

    /// Stops them, and gives what went wrong and how many were answered.
    pub async fn end(mut self) -> (Vec<String>, usize) {
        self.load.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
        (self.load.failed.lock().clone(), self.load.answered.load(Ordering::Relaxed))
    }
}

impl Load {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.failed.lock().len() > 20
    }

    fn count(&self, what: &str, outcome: Result<u16, String>, expected: &[u16]) {
        match outcome {
            Ok(status) if expected.contains(&status) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            other => self.failed.lock().push(format!("{what}: {other:?}")),
        }
    }
}

/// One request after another, on one connection as long as the server keeps it.
async fn keep_asking(visitor: Visitor, load: Arc<Load>, version: Version) {
    let is_h2 = version == Version::HTTP_2;
    let mut kept = None;
    let (mut number, mut is_again) = (0, false);
    while !load.is_over() {
        let (mut connection, reused) = match kept.take() {
            Some(connection) => (connection, true),
            None => match Connection::dial(visitor.address, Dial { version, ..Dial::default() }).await {
                Ok(connection) => (connection, false),
                Err(fault) => {
                    load.count("a connection", Err(fault.to_string()), &[]);
                    continue;
                }
            },
        };
        let path = format!("/echo?{number}");
        let request =
            if is_h2 { visitor.request_h2(Method::GET, &path) } else { visitor.request(Method::GET, &path) };
        match connection.send(request.body(whole("")).unwrap()).await {
            Ok(answer) => {
                load.count(&format!("{version:?} {path}"), Ok(answer.status.as_u16()), &[200]);
                if answer.header("connection") != Some("close") {
                    kept = Some(connection);
                }
                is_again = false;
            }
            Err(_) if is_h2 && reused && !is_again => {
                load.again.fetch_add(1, Ordering::Relaxed);
                is_again = true;
            }
            Err(fault) => {
                load.count(&format!("{version:?} {path}, reused {reused}"), Err(fault.to_string()), &[])
            }
        }
        number += 1;
    }
}

/// A connection for each request.
async fn ask_anew(visitor: Visitor, load: Arc<Load>) {
    while !load.is_over() {
        let outcome = visitor.try_get("/anew").await;
        load.count(
            "anew",
            outcome.map(|answer| answer.status.as_u16()).map_err(|fault| fault.to_string()),
            &[200],
        );
    }
}

/// A directory that makes people, puts them out and reads them.
async fn write_people(directory: DirectoryClient, load: Arc<Load>) {
    let mut number = 0;
    while !load.is_over() {
        let name = format!("loaded-{number}@corp.test");
        let made = directory.try_send(Method::POST, "/Users", Some(&user(&name, &name))).await;
        let id = made.as_ref().ok().and_then(|made| made.json()["id"].as_str().map(str::to_owned));
        let count = |what: &str, outcome: Result<super::wire::Answer, super::wire::WireFault>, expected| {
            let outcome = outcome.map(|answer| answer.status.as_u16()).map_err(|fault| fault.to_string());
            load.count(&format!("SCIM {what} {name}"), outcome, expected);
        };
        count("POST", made, &[201]);
        if let Some(id) = id {
            let out = json!({
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
                "Operations": [{ "op": "replace", "path": "active", "value": false }],
            });
            let path = format!("/Users/{id}");
            count("PATCH", directory.try_send(Method::PATCH, &path, Some(&out)).await, &[200]);
            count("GET", directory.try_send(Method::GET, &path, None).await, &[200]);
        }
        number += 1;
        // Below the limit of one token.
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

//! A directory of a million people behind the real program: what its SCIM port takes, over HTTP on one machine.
//!
//! Rows are copied into the database before the program starts, as a store that grew to this size would hold them.
//! Run with `make bench-scim`, or `cargo bench --bench directory -- [reads] [writes] [bulk] [elsewhere] [group] [load]`; without a
//! name all of it is measured. `PORTCULLIS_BENCH_PEOPLE` is another number of people. What is printed is Markdown, as it
//! stands in `benches/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a measurement that cannot go on stops; the rig is the suite's, and half of it is not used here"
)]

mod fill;
#[path = "../../tests/suite/rig/mod.rs"]
mod rig;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Request};
use serde_json::{Value, json};

use rig::application::Application;
use rig::directory::{PATCH, user};
use rig::program::Program;
use rig::settings::Settings;
use rig::wire::{Answer, Connection, whole};

/// How many people there are, where nobody says otherwise.
const PEOPLE: usize = 1_000_000;
/// How many groups there are; the first has [`BIG`] members, the others ten.
const GROUPS: usize = 10_000;
const BIG: usize = 10_000;

fn main() {
    rig::raise_open_files();
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(&asked));
}

async fn measure(asked: &[String]) {
    let wants = |part: &str| asked.is_empty() || asked.iter().any(|word| word == part);
    let people: usize = std::env::var("PORTCULLIS_BENCH_PEOPLE").map_or(PEOPLE, |text| text.parse().unwrap());
    let app = Application::start().await;
    let mut settings = Settings::new(app.address);
    settings.level = "error";
    settings.access = "off".to_owned();
    settings.scim_more = "  rate:\n    per_second: 100000\n    burst: 100000\n";
    let mut program = Program::install(settings);
    let began = Instant::now();
    let load = fill::fill(&program, people).await;
    println!("{people} people and {GROUPS} groups put there within {:.0?}.\n", began.elapsed());
    program.begin().await;
    let bench = Bench { address: program.settings.scim, token: program.settings.scim_token.clone(), people };
    println!("| | median, ms | p99, ms | worst, ms | of |\n|---|---|---|---|---|");
    if wants("reads") {
        bench.reads().await;
    }
    if wants("writes") {
        bench.creates().await;
    }
    if wants("bulk") {
        bench.bulk_of_creates().await;
    }
    if wants("elsewhere") {
        bench.removals_beside_a_bulk().await;
    }
    if wants("group") {
        bench.one_by_one().await;
    }
    if wants("load") {
        bench.removals_under_load(&program, &load).await;
    }
}

/// The target of a read, by a number.
type Target = Box<dyn Fn(u64) -> String>;

struct Bench {
    address: SocketAddr,
    token: String,
    people: usize,
}

impl Bench {
    async fn line(&self) -> Line {
        Line {
            socket: Connection::open(self.address).await.unwrap(),
            host: self.address.to_string(),
            token: self.token.clone(),
        }
    }

    async fn reads(&self) {
        let mut line = self.line().await;
        let mut numbers = Numbers(7);
        let rows: [(&str, usize, Target); 6] = [
            (
                "`userName eq`",
                2_000,
                Box::new(|n| format!("/Users?filter=userName%20eq%20%22{}%22", fill::name(n))),
            ),
            (
                "`externalId eq`",
                2_000,
                Box::new(|n| format!("/Users?filter=externalId%20eq%20%22{}%22", fill::name(n))),
            ),
            (
                "`emails[type eq \"work\"].value eq`",
                2_000,
                Box::new(|n| {
                    format!(
                        "/Users?filter=emails%5Btype%20eq%20%22work%22%5D.value%20eq%20%22{}%22",
                        fill::name(n)
                    )
                }),
            ),
            ("a page of 100 from the front", 100, Box::new(|_| "/Users?startIndex=1&count=100".to_owned())),
            ("a page of 100 by cursor, the first", 100, Box::new(|_| "/Users?cursor=&count=100".to_owned())),
            (
                "`displayName co`, 100 of those found",
                15,
                Box::new(|n| format!("/Users?count=100&filter=displayName%20co%20%22{}%22", n % 1_000)),
            ),
        ];
        for (name, times, target) in rows {
            let mut took = Vec::new();
            for _ in 0..times {
                let target = target(1 + numbers.next() % (self.people as u64 - 1));
                let answer = line.send(Method::GET, &target, None).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(answer.json()["totalResults"].as_u64().unwrap() > 0, "{target}");
                took.push(answer.answered - answer.sent);
            }
            report(name, &took);
        }
        let deep = format!("/Users?startIndex={}&count=100", self.people / 2);
        let mut took = Vec::new();
        for _ in 0..20 {
            let answer = line.send(Method::GET, &deep, None).await;
            took.push(answer.answered - answer.sent);
        }
        report("a page of 100 from the middle, by index", &took);
    }

    /// Single creates from 64 connections at once.
    async fn creates(&self) {
        const CLIENTS: usize = 64;
        const EACH: usize = 50;
        let began = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let mut line = self.line().await;
            clients.spawn(async move {
                let mut took = Vec::new();
                for n in 0..EACH {
                    let name = format!("single-{client}-{n}@corp.test");
                    let answer = line.send(Method::POST, "/Users", Some(&user(&name, &name))).await;
                    assert_eq!(answer.status, 201, "{}", answer.text());
                    took.push(answer.answered - answer.sent);
                }
                took
            });
        }
        let took: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
        let each_second = took.len() as f64 / began.elapsed().as_secs_f64();
        report(&format!("a create, 64 at a time: **{each_second:.0} a second**"), &took);
    }

    async fn bulk_of_creates(&self) {
        let mut line = self.line().await;
        let mut took = Vec::new();
        for round in 0..5 {
            let operations: Vec<Value> = (0..1_000)
                .map(|n| {
                    let name = format!("bulk-{round}-{n}@corp.test");
                    json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": user(&name, &name) })
                })
                .collect();
            took.push(line.bulk(operations).await);
        }
        report("a Bulk of 1,000 creates", &took);
    }

    /// Single removals of another client, alone and while a Bulk makes people and one removes them.
    async fn removals_beside_a_bulk(&self) {
        let mut next = 50_000;
        let (mut making, mut removing) = (self.line().await, self.line().await);
        for what in ["nothing", "a Bulk of 1,000 creates", "a Bulk of 1,000 removals"] {
            let over = Arc::new(AtomicBool::new(false));
            let line = self.line().await;
            let first = next;
            let singles = tokio::spawn(remove_until(line, first, over.clone()));
            match what {
                "nothing" => tokio::time::sleep(Duration::from_secs(2)).await,
                "a Bulk of 1,000 creates" => {
                    for round in 0..3 {
                        let operations = (0..1_000).map(|n| {
                            let name = format!("beside-{round}-{n}@corp.test");
                            json!({ "method": "POST", "path": "/Users", "bulkId": name, "data": user(&name, &name) })
                        });
                        making.bulk(operations.collect()).await;
                    }
                }
                _ => {
                    for round in 0..3 {
                        let first = 60_000 + round * 1_000;
                        removing.bulk((first..first + 1_000).map(removal).collect()).await;
                    }
                }
            }
            over.store(true, Ordering::Relaxed);
            let took = singles.await.unwrap();
            next += took.len() as u64;
            report(&format!("one person removed, beside {what}"), &took);
        }
    }

    /// Members of a large group, one PATCH each.
    async fn one_by_one(&self) {
        let mut line = self.line().await;
        let found = line
            .send(Method::GET, "/Groups?filter=displayName%20eq%20%22team-1%22&attributes=id", None)
            .await;
        let group = format!("/Groups/{}", found.json()["Resources"][0]["id"].as_str().unwrap());
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for n in 0..200 {
            let id = fill::id("User", (BIG + 1 + n) as u64);
            for (operation, took) in [
                (json!({ "op": "add", "path": "members", "value": [{ "value": id }] }), &mut added),
                (json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") }), &mut removed),
            ] {
                let body = json!({ "schemas": [PATCH], "Operations": [operation] });
                let answer = line.send(Method::PATCH, &group, Some(&body)).await;
                assert_eq!(answer.status, 204, "{}", answer.text());
                took.push(answer.answered - answer.sent);
            }
        }
        report("one member added to a group of 10,000", &added);
        report("one member removed from it", &removed);
    }

    /// 10,000 people by Bulk, while 64 clients load the proxy.
    async fn removals_under_load(&self, program: &Program, cookies: &[String]) {
        let proxy = program.settings.proxy;
        let over = Arc::new(AtomicBool::new(false));
        let quiet = load(proxy, cookies.to_vec(), over.clone());
        let quiet = tokio::spawn(quiet);
        tokio::time::sleep(Duration::from_secs(5)).await;
        over.store(true, Ordering::Relaxed);
        let quiet = quiet.await.unwrap();
        report("a request through the proxy, 64 at a time, nothing else", &quiet);

        let over = Arc::new(AtomicBool::new(false));
        let busy = tokio::spawn(load(proxy, cookies.to_vec(), over.clone()));
        let mut line = self.line().await;
        let mut bulks = Vec::new();
        for round in 0..10 {
            let first = 100_000 + round * 1_000;
            bulks.push(line.bulk((first..first + 1_000).map(removal).collect()).await);
        }
        over.store(true, Ordering::Relaxed);
        report("the same while 10,000 people are removed by Bulk", &busy.await.unwrap());
        report("a Bulk of 1,000 removals meanwhile", &bulks);
    }
}

/// The operation of a Bulk that puts a person out.
fn removal(n: u64) -> Value {
    json!({ "method": "PATCH", "path": format!("/Users/{}", fill::id("User", n)), "data": deactivation() })
}

fn deactivation() -> Value {
    let operations = json!([{ "op": "replace", "value": { "active": false } }]);
    json!({ "schemas": [PATCH], "Operations": operations })
}

/// Puts one person after the other out, with a rest between, until it is over: how long each took.
async fn remove_until(mut line: Line, first: u64, over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    let mut people = first..;
    while !over.load(Ordering::Relaxed) {
        let Some(n) = people.next() else { break };
        let target = format!("/Users/{}", fill::id("User", n));
        let answer = line.send(Method::PATCH, &target, Some(&deactivation())).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        took.push(answer.answered - answer.sent);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    took
}

/// A connection to the SCIM port.
struct Line {
    socket: Connection,
    host: String,
    token: String,
}

impl Line {
    async fn send(&mut self, method: Method, target: &str, body: Option<&Value>) -> Answer {
        let request = Request::builder().method(method).uri(format!("/scim/v2{target}"));
        let request =
            request.header("host", &self.host).header("authorization", format!("Bearer {}", self.token));
        let request = request.header("content-type", "application/scim+json");
        let body = body.map(Value::to_string).unwrap_or_default();
        self.socket.send(request.body(whole(body)).unwrap()).await.unwrap()
    }

    async fn bulk(&mut self, operations: Vec<Value>) -> Duration {
        let schemas = ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"];
        let body = json!({ "schemas": schemas, "Operations": operations });
        let answer = self.send(Method::POST, "/Bulk", Some(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for result in answer.json()["Operations"].as_array().unwrap() {
            assert!(result["status"].as_str().unwrap().starts_with('2'), "{result}");
        }
        answer.answered - answer.sent
    }
}

/// Asks through the proxy, 64 at a time, until it is over: how long each request took.
async fn load(proxy: SocketAddr, cookies: Vec<String>, over: Arc<AtomicBool>) -> Vec<Duration> {
    let mut clients = tokio::task::JoinSet::new();
    for cookie in cookies {
        let over = over.clone();
        clients.spawn(async move {
            let mut socket = Connection::open(proxy).await.unwrap();
            let mut took = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let request = Request::get("/page").header("host", format!("app.localhost:{}", proxy.port()));
                let request = request.header("cookie", &cookie).body(whole("")).unwrap();
                let answer = socket.send(request).await.unwrap();
                assert_eq!(answer.status, 200);
                took.push(answer.answered - answer.sent);
            }
            took
        });
    }
    clients.join_all().await.into_iter().flatten().collect()
}

fn report(name: &str, took: &[Duration]) {
    let mut ms: Vec<f64> = took.iter().map(|took| took.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    let at = |share: f64| ms[((ms.len() - 1) as f64 * share) as usize];
    println!("| {name} | {:.2} | {:.2} | {:.2} | {} |", at(0.5), at(0.99), at(1.0), ms.len());
}

/// Numbers that look like chance and are the same in each run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

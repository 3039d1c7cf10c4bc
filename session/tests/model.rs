//! Random interleavings of logins, cold loads, warm requests, removals, logouts and re-activations, step by step,
//! against a model of thirty lines: the rows, and what has been answered.
#![cfg(not(portcullis_loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on falls")]

mod world;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use portcullis_policy::{AppId, Change, Generation, OrgId, SessionHash};
use portcullis_session::{Cleared, Cold, Ended, Enrolment, InFlight, SessionSnapshot, Sessions};
use proptest::prelude::*;
use world::{ALICE, IDLE_MS, NOW, decide, described, policy, stored};

/// The rows of the store, and what was answered: the whole reference.
#[derive(Default)]
struct Rows {
    at: i64,
    generation: i64,
    active: bool,
    born: Vec<i64>,
    ended: BTreeSet<usize>,
    answered_generation: i64,
    answered_ended: BTreeSet<usize>,
}

impl Rows {
    fn read(&self, session: usize) -> SessionSnapshot {
        let person = described(ALICE, self.at, self.generation, self.active, &[]);
        stored(person, hash(session), self.born[session], self.ended.contains(&session))
    }

    fn may_be_in(&self, session: usize) -> bool {
        self.active && self.born[session] == self.generation && !self.ended.contains(&session)
    }
}

fn hash(session: usize) -> SessionHash {
    SessionHash([u8::try_from(session).unwrap(); 32])
}

/// A request between two of its steps.
enum Request {
    Enrolled(usize, InFlight, Cold),
    Read(usize, InFlight, Cold, SessionSnapshot),
    Entered(usize, InFlight, Enrolment),
    Standing(usize, InFlight, #[allow(dead_code, reason = "held: leaving is dropping it")] Enrolment),
}

/// A write between two of its steps.
enum Write {
    Committed(Vec<Change>, i64, BTreeSet<usize>),
    Waiting(Cleared, i64, BTreeSet<usize>),
}

#[derive(Clone, Debug)]
enum Step {
    Login,
    Arrive(usize),
    Request(usize),
    Hangup(usize),
    Deactivate,
    Reactivate,
    Logout(usize),
    Write(usize),
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Login),
        5 => (0..8usize).prop_map(Step::Arrive),
        9 => (0..8usize).prop_map(Step::Request),
        1 => (0..8usize).prop_map(Step::Hangup),
        1 => Just(Step::Deactivate),
        2 => Just(Step::Reactivate),
        1 => (0..8usize).prop_map(Step::Logout),
        5 => (0..8usize).prop_map(Step::Write),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 1..120)
}

struct World {
    sessions: Arc<Sessions>,
    rows: Rows,
    requests: Vec<Request>,
    writes: Vec<Write>,
}

impl World {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Login if self.rows.active && self.rows.born.len() < 8 => {
                self.rows.at += 1;
                self.rows.born.push(self.rows.generation);
            }
            Step::Arrive(session) if *session < self.rows.born.len() => self.arrive(*session),
            Step::Request(at) if *at < self.requests.len() => {
                let request = self.requests.swap_remove(*at);
                self.requests.extend(self.go_on(request));
            }
            Step::Hangup(at) if *at < self.requests.len() => drop(self.requests.swap_remove(*at)),
            Step::Deactivate => {
                // Changed or not, it leaves the person out, so it says so and waits (R5).
                self.rows.at += 1;
                self.rows.generation += i64::from(self.rows.active);
                self.rows.active = false;
                let out = vec![Change::Out(ALICE, Generation(self.rows.generation))];
                self.writes.push(Write::Committed(out, self.rows.generation, BTreeSet::new()));
            }
            Step::Reactivate => (self.rows.at, self.rows.active) = (self.rows.at + 1, true),
            Step::Logout(session) if *session < self.rows.born.len() => {
                self.rows.at += 1;
                self.rows.ended.insert(*session);
                let ended = vec![Change::Ended(ALICE, hash(*session))];
                self.writes.push(Write::Committed(ended, 0, BTreeSet::from([*session])));
            }
            Step::Write(at) if *at < self.writes.len() => {
                let write = self.writes.swap_remove(*at);
                let write = self.enforce(write);
                self.writes.extend(write);
            }
            Step::Forget => self.sessions.forget(),
            _ => {}
        }
    }

    fn arrive(&mut self, session: usize) {
        let exchange = InFlight::new();
        match self.sessions.find_session(&hash(session)) {
            Some(found) => {
                if let Ok(enrolment) = found.enter(AppId::ONLY, &exchange, NOW) {
                    self.requests.push(Request::Entered(session, exchange, enrolment));
                }
            }
            None => {
                let cold = self.sessions.keep_account(OrgId::ONLY, ALICE).enrol(hash(session), &exchange);
                self.requests.push(Request::Enrolled(session, exchange, cold));
            }
        }
    }

    fn go_on(&self, request: Request) -> Option<Request> {
        match request {
            Request::Enrolled(session, exchange, cold) => {
                let read = self.rows.read(session);
                Some(Request::Read(session, exchange, cold, read))
            }
            Request::Read(session, exchange, cold, read) => {
                let enrolment = self.sessions.read_session(cold, &read, AppId::ONLY, NOW).ok()?;
                Some(Request::Entered(session, exchange, enrolment))
            }
            Request::Entered(session, exchange, enrolment) => {
                let who = enrolment.current_principal().ok()?;
                let pass = decide(&policy(1), "/", &who)?;
                enrolment.stands_on(&pass, &who).then_some(Request::Standing(session, exchange, enrolment))
            }
            Request::Standing(_, exchange, _) if exchange.reason().is_some() => None,
            standing @ Request::Standing(..) => Some(standing),
        }
    }

    fn enforce(&mut self, write: Write) -> Option<Write> {
        match write {
            Write::Committed(changes, generation, ended) => {
                let cut = self.sessions.apply_changes(&changes);
                Some(Write::Waiting(self.sessions.cleared(cut), generation, ended))
            }
            Write::Waiting(mut cleared, generation, ended) => {
                match pin!(&mut cleared).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending => Some(Write::Waiting(cleared, generation, ended)),
                    Poll::Ready(_) => {
                        self.rows.answered_generation = self.rows.answered_generation.max(generation);
                        self.rows.answered_ended.extend(ended);
                        None
                    }
                }
            }
        }
    }

    fn check(&self) {
        for request in &self.requests {
            let Request::Standing(session, exchange, _) = request else { continue };
            let rows = &self.rows;
            let answered =
                rows.born[*session] < rows.answered_generation || rows.answered_ended.contains(session);
            assert!(!answered, "answered, and still served: session {session}");
            match exchange.reason() {
                Some(Ended::Revoked) => {
                    assert!(rows.born[*session] < rows.generation, "cut without a removal")
                }
                Some(Ended::SignedOut) => assert!(rows.ended.contains(session), "cut without a logout"),
                Some(other) => panic!("cut for {other}"),
                None => {}
            }
        }
    }

    /// Every request and write goes on until nothing moves; then nobody is left over, and whoever may be in gets in.
    fn settle(&mut self) {
        for _ in 0..6 {
            let requests = std::mem::take(&mut self.requests);
            self.requests = requests.into_iter().filter_map(|request| self.go_on(request)).collect();
            let writes = std::mem::take(&mut self.writes);
            self.writes = writes.into_iter().filter_map(|write| self.enforce(write)).collect();
            self.check();
        }
        assert!(self.writes.is_empty(), "a write is never answered");
        self.requests.clear();
        for session in 0..self.rows.born.len() {
            self.arrive(session);
            let request = self.requests.pop();
            let request =
                request.and_then(|request| self.go_on(request)).and_then(|request| self.go_on(request));
            let entered = match request {
                Some(Request::Entered(_, exchange, enrolment)) => {
                    self.go_on(Request::Entered(session, exchange, enrolment)).is_some()
                }
                other => other.is_some(),
            };
            // A warm session of somebody inactive cannot be: the deactivation raised the generation.
            assert_eq!(entered, self.rows.may_be_in(session), "session {session}");
        }
        // The cache frees what it forgot some look-ups later.
        let forgotten = (0..10_000).any(|_| {
            self.sessions.forget();
            self.sessions.figures().accounts == 0
        });
        assert!(forgotten, "an account is held by nobody and kept");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_answered_is_out_and_whoever_may_be_in_is(steps in steps()) {
        let sessions = Sessions::new(64, IDLE_MS, policy(1));
        let rows = Rows { active: true, ..Rows::default() };
        let mut world = World { sessions, rows, requests: Vec::new(), writes: Vec::new() };
        for step in &steps {
            world.take(step);
            world.check();
        }
        world.settle();
    }
}

//! The revocation protocol under loom: the real code of this crate, every interleaving within the preemption bound.
//!
//! Each history ends with the same claim: once the wait of R5 is over, nobody the change forbids is being served, and
//! nobody it forbids gets in afterwards.
//! Run with `RUSTFLAGS="--cfg portcullis_loom" cargo test --release -p portcullis-session --test loom`.
#![cfg(portcullis_loom)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on falls")]

mod world;

use std::sync::Arc;

use loom::future::block_on;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use portcullis_policy::{AppId, Change, Generation, OrgId, SessionHash};
use portcullis_session::{HoldOn, InFlight, Session, Sessions};
use world::{
    ALICE, HASH, IDLE_MS, NOW, decide, decide_for, described, half_public, policy, policy_of, stored, subject,
};

/// The table rows, as a transaction sees them: one lock is one snapshot.
#[derive(Clone, Copy)]
struct Rows {
    at: i64,
    generation: i64,
    active: bool,
    ended: bool,
    owner: bool,
}

struct World {
    sessions: Arc<Sessions>,
    rows: Mutex<Rows>,
    /// An exchange of alice is being served right now.
    serving: AtomicBool,
}

fn world() -> Arc<World> {
    let rows = Rows { at: 1, generation: 0, active: true, ended: false, owner: true };
    let sessions = Sessions::new(16, IDLE_MS, policy(1));
    Arc::new(World { sessions, rows: Mutex::new(rows), serving: AtomicBool::new(false) })
}

impl World {
    fn commit(&self, change: impl FnOnce(&mut Rows)) {
        let mut rows = self.rows.lock().unwrap();
        rows.at += 1;
        change(&mut rows);
    }

    fn read_account(&self) -> portcullis_session::Described {
        let rows = *self.rows.lock().unwrap();
        let groups: &[&str] = if rows.owner { &["Owners"] } else { &[] };
        described(ALICE, rows.at, rows.generation, rows.active, groups)
    }

    fn read(&self, hash: SessionHash, born: i64) -> portcullis_session::SessionSnapshot {
        let ended = self.rows.lock().unwrap().ended;
        // Two looks at the rows; both are after the enrolment, so either order is one a snapshot could have.
        stored(self.read_account(), hash, born, ended)
    }

    /// The cold road, and the session for a later warm one.
    fn load(&self, exchange: &InFlight) -> Option<portcullis_session::Enrolment> {
        let holder = self.sessions.keep_account(OrgId::ONLY, ALICE);
        let cold = holder.enrol(HASH, exchange);
        let read = self.read(HASH, 0);
        self.sessions.read_session(cold, &read, AppId::ONLY, NOW).ok()
    }

    /// A request: enrol and check, decide, stand, be served until cut.
    fn request(&self, warm: Option<&Arc<Session>>, path: &str) {
        let exchange = InFlight::new();
        let enrolment = match warm {
            Some(session) => session.enter(AppId::ONLY, &exchange, NOW).ok(),
            None => self.load(&exchange),
        };
        let Some(enrolment) = enrolment else { return };
        let Ok(who) = enrolment.current_principal() else { return };
        let Some(pass) = decide(&policy(1), path, &who) else { return };
        if enrolment.stands_on(&pass, &who) {
            self.serving.store(true, Ordering::SeqCst);
            block_on(exchange.ended());
            self.serving.store(false, Ordering::SeqCst);
        }
    }

    /// What `enforce` does after a commit.
    fn enforce(&self, changes: &[Change]) {
        let mut cut = self.sessions.apply_changes(changes);
        for stale in cut.stale_accounts() {
            cut = cut.merge(self.sessions.describe_account(&stale, &self.read_account()));
        }
        let gone = block_on(self.sessions.cleared(cut));
        assert!(!self.serving.load(Ordering::SeqCst), "answered while an exchange is served");
        drop(gone);
    }

    fn warm(&self) -> Arc<Session> {
        self.load(&InFlight::new()).unwrap().session().clone()
    }

    fn nobody_gets_in(&self, warm: Option<&Arc<Session>>) {
        let exchange = InFlight::new();
        assert!(self.load(&exchange).is_none(), "a cold request passed afterwards");
        if let Some(session) = warm {
            assert!(session.enter(AppId::ONLY, &exchange, NOW).is_err(), "a warm request passed afterwards");
        }
    }
}

fn model(history: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.max_branches = 20_000;
    builder.check(history);
}

fn out(generation: i64) -> Vec<Change> {
    vec![Change::Out(ALICE, Generation(generation))]
}

#[test]
fn a_warm_request_and_a_removal() {
    model(|| {
        let world = world();
        let session = world.warm();
        let client = thread::spawn({
            let (world, session) = (world.clone(), session.clone());
            move || world.request(Some(&session), "/")
        });
        world.commit(|rows| (rows.generation, rows.active) = (1, false));
        world.enforce(&out(1));
        world.nobody_gets_in(Some(&session));
        client.join().unwrap();
    });
}

#[test]
fn a_cold_request_and_a_removal() {
    model(|| {
        let world = world();
        let client = thread::spawn({
            let world = world.clone();
            move || world.request(None, "/")
        });
        world.commit(|rows| (rows.generation, rows.active) = (1, false));
        world.enforce(&out(1));
        world.nobody_gets_in(None);
        client.join().unwrap();
    });
}

#[test]
fn a_cold_request_and_a_logout_while_the_session_is_not_cached() {
    model(|| {
        let world = world();
        let client = thread::spawn({
            let world = world.clone();
            move || world.request(None, "/")
        });
        world.commit(|rows| rows.ended = true);
        world.enforce(&[Change::Ended(ALICE, HASH)]);
        world.nobody_gets_in(None);
        client.join().unwrap();
    });
}

#[test]
fn a_request_that_needs_a_role_and_the_role_is_lost() {
    model(|| {
        let world = world();
        let session = world.warm();
        let client = thread::spawn({
            let (world, session) = (world.clone(), session.clone());
            move || world.request(Some(&session), "/admin")
        });
        world.commit(|rows| rows.owner = false);
        world.enforce(&[Change::Reconsider(ALICE)]);
        let exchange = InFlight::new();
        let enrolment = world.load(&exchange).unwrap();
        assert!(decide(&policy(1), "/admin", &enrolment.current_principal().unwrap()).is_none());
        client.join().unwrap();
    });
}

#[test]
fn a_removal_and_its_repeat_both_wait() {
    model(|| {
        let world = world();
        let session = world.warm();
        let client = thread::spawn({
            let (world, session) = (world.clone(), session.clone());
            move || world.request(Some(&session), "/")
        });
        let repeat = thread::spawn({
            let world = world.clone();
            move || {
                world.commit(|rows| (rows.generation, rows.active) = (rows.generation.max(1), false));
                world.enforce(&out(1));
            }
        });
        world.commit(|rows| (rows.generation, rows.active) = (rows.generation.max(1), false));
        world.enforce(&out(1));
        client.join().unwrap();
        repeat.join().unwrap();
    });
}

#[test]
fn a_late_removal_spares_whoever_signed_in_after_the_re_activation() {
    model(|| {
        let world = world();
        world.commit(|rows| rows.generation = 1); // out and in again: the old order comes late
        let late = thread::spawn({
            let world = world.clone();
            move || drop(world.sessions.apply_changes(&out(1)))
        });
        let exchange = InFlight::new();
        let holder = world.sessions.keep_account(OrgId::ONLY, ALICE);
        let cold = holder.enrol(HASH, &exchange);
        let fresh = world.read(HASH, 1);
        let enrolment = world
            .sessions
            .read_session(cold, &fresh, AppId::ONLY, NOW)
            .expect("the fresh session is refused");
        late.join().unwrap();
        assert!(exchange.reason().is_none(), "the fresh session was cut");
        drop(enrolment);
    });
}

#[test]
fn a_hold_and_a_cold_request() {
    model(|| {
        let world = world();
        let client = thread::spawn({
            let world = world.clone();
            move || world.request(None, "/")
        });
        let (cut, mark) = world.sessions.hold(&HoldOn::User(subject(ALICE)));
        drop(block_on(world.sessions.cleared(cut)));
        assert!(!world.serving.load(Ordering::SeqCst), "served while held");
        world.nobody_gets_in(None);
        client.join().unwrap();
        world.sessions.end_hold(&HoldOn::User(subject(ALICE)), mark);
        assert!(world.load(&InFlight::new()).is_some(), "the hold stays for ever");
    });
}

#[test]
fn a_reload_and_a_request_decided_under_the_old_rules() {
    model(|| {
        let world = world();
        let session = world.warm();
        let client = thread::spawn({
            let (world, session) = (world.clone(), session.clone());
            move || world.request(Some(&session), "/")
        });
        let closed = policy_of(2, &[("/other", portcullis_policy::Allow::SignedIn)]);
        let cut = world.sessions.review(closed);
        drop(block_on(world.sessions.cleared(cut)));
        assert!(!world.serving.load(Ordering::SeqCst), "served under rules that are gone");
        client.join().unwrap();
    });
}

#[test]
fn a_reload_and_a_stranger_decided_under_the_old_rules() {
    model(|| {
        let sessions = Sessions::new(16, IDLE_MS, half_public(1));
        let serving = Arc::new(AtomicBool::new(false));
        let client = thread::spawn({
            let (sessions, serving) = (sessions.clone(), serving.clone());
            move || {
                let pass = decide_for(&half_public(1), "/pub/live", None).unwrap();
                let exchange = InFlight::new();
                let Some(_stranger) = sessions.admit_stranger(0, &exchange, &pass) else { return };
                serving.store(true, Ordering::SeqCst);
                block_on(exchange.ended());
                serving.store(false, Ordering::SeqCst);
            }
        });
        let cut = sessions.review(policy(2)); // nothing is public
        drop(block_on(sessions.cleared(cut)));
        assert!(!serving.load(Ordering::SeqCst), "served under rules that are gone");
        client.join().unwrap();
    });
}

#[test]
fn the_last_owner_leaves_while_another_load_comes() {
    model(|| {
        let world = world();
        let other = thread::spawn({
            let world = world.clone();
            move || drop(world.load(&InFlight::new()))
        });
        drop(world.load(&InFlight::new()));
        world.commit(|rows| (rows.generation, rows.active) = (1, false));
        world.enforce(&out(1));
        world.nobody_gets_in(None);
        other.join().unwrap();
    });
}

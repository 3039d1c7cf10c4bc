//! The rules one by one, without interleavings: each history is a few calls in the order that hurts.
#![cfg(not(portcullis_loom))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on falls")]

mod world;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use portcullis_policy::{Allow, AppId, Change, Generation, OrgId, Scope, SessionHash};
use portcullis_session::{
    Cleared, Described, Ended, Enrolment, HoldOn, InFlight, Session, Sessions, Stranger,
};
use world::{
    ALICE, HASH, IDLE_MS, NOW, decide, decide_for, described, half_public, policy, policy_of, stored, subject,
};

fn sessions() -> Arc<Sessions> {
    Sessions::new(16, IDLE_MS, policy(1))
}

fn load_as(
    sessions: &Sessions,
    exchange: &InFlight,
    person: Described,
    born: i64,
) -> Result<Enrolment, Ended> {
    let cold = sessions.keep_account(OrgId::ONLY, ALICE).enrol(HASH, exchange);
    sessions.read_session(cold, &stored(person, HASH, born, false), AppId::ONLY, NOW)
}

fn load(sessions: &Sessions, exchange: &InFlight) -> Enrolment {
    load_as(sessions, exchange, described(ALICE, 1, 0, true, &["Owners"]), 0).unwrap()
}

fn stand(enrolment: &Enrolment, path: &str) {
    let who = enrolment.current_principal().unwrap();
    let pass = decide(&policy(1), path, &who).unwrap();
    assert!(enrolment.stands_on(&pass, &who));
}

fn enter(session: &Arc<Session>) -> Option<Ended> {
    session.enter(AppId::ONLY, &InFlight::new(), NOW).err()
}

fn out(generation: i64) -> Vec<Change> {
    vec![Change::Out(ALICE, Generation(generation))]
}

fn is_ready(cleared: &mut Cleared) -> bool {
    pin!(cleared).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn removals_out_of_order_leave_the_larger_generation() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let enrolment = load_as(&sessions, &exchange, described(ALICE, 1, 1, true, &[]), 1).unwrap();
    stand(&enrolment, "/");
    let session = enrolment.session().clone();
    drop(sessions.apply_changes(&out(2)));
    drop(sessions.apply_changes(&out(1)));
    assert_eq!(exchange.reason(), Some(Ended::Revoked));
    assert_eq!(enter(&session), Some(Ended::Revoked));
}

#[test]
fn two_logouts_end_two_sessions_and_no_other() {
    let sessions = sessions();
    let other = SessionHash([8; 32]);
    let session = load(&sessions, &InFlight::new()).session().clone();
    for hash in [other, HASH, other] {
        drop(sessions.apply_changes(&[Change::Ended(ALICE, hash)]));
    }
    assert_eq!(enter(&session), Some(Ended::SignedOut));
    let fresh = SessionHash([9; 32]);
    let cold = sessions.keep_account(OrgId::ONLY, ALICE).enrol(fresh, &InFlight::new());
    let read = stored(described(ALICE, 2, 0, true, &[]), fresh, 0, false);
    assert!(sessions.read_session(cold, &read, AppId::ONLY, NOW).is_ok());
}

#[test]
fn an_evicted_session_with_a_live_exchange_is_cut_and_waited_for() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let enrolment = load(&sessions, &exchange);
    stand(&enrolment, "/");
    sessions.forget();
    let cut = sessions.apply_changes(&out(1));
    assert_eq!((cut.exchanges(), exchange.reason()), (1, Some(Ended::Revoked)));
    let mut cleared = sessions.cleared(cut);
    assert!(!is_ready(&mut cleared));
    drop(enrolment);
    assert!(is_ready(&mut cleared));
}

#[test]
fn the_answer_waits_although_a_cold_load_applied_the_change_first() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let enrolment = load(&sessions, &exchange);
    stand(&enrolment, "/");
    let refused = load_as(&sessions, &InFlight::new(), described(ALICE, 2, 1, false, &[]), 0);
    assert_eq!(refused.err(), Some(Ended::Revoked));
    assert_eq!(exchange.reason(), Some(Ended::Revoked), "the read itself cuts");
    let mut cleared = sessions.cleared(sessions.apply_changes(&out(1)));
    assert!(!is_ready(&mut cleared));
    let mut repeat = sessions.cleared(sessions.apply_changes(&out(1)));
    assert!(!is_ready(&mut repeat), "the repeat waits like the first");
    drop(enrolment);
    assert!(is_ready(&mut cleared) && is_ready(&mut repeat));
}

#[test]
fn whoever_comes_after_the_mark_does_not_prolong_the_wait() {
    let sessions = sessions();
    let enrolment = load(&sessions, &InFlight::new());
    let mut cleared = sessions.cleared(sessions.apply_changes(&out(1)));
    let reload = InFlight::new();
    let later = sessions.keep_account(OrgId::ONLY, ALICE).enrol(HASH, &reload);
    assert!(!is_ready(&mut cleared));
    drop(enrolment);
    assert!(is_ready(&mut cleared), "an exchange that enrolled later is waited for");
    drop(later);
}

#[test]
fn an_exchange_whose_session_is_not_read_yet_is_waited_for() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let cold = sessions.keep_account(OrgId::ONLY, ALICE).enrol(HASH, &exchange);
    let mut cleared = sessions.cleared(sessions.apply_changes(&out(1)));
    assert!(!is_ready(&mut cleared));
    assert_eq!(exchange.reason(), None, "it may be a fresh session's: its own read decides");
    drop(cold);
    assert!(is_ready(&mut cleared));
}

#[test]
fn a_mark_between_the_check_and_the_stand_is_a_refusal_and_no_cut() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let enrolment = load(&sessions, &exchange);
    let who = enrolment.current_principal().unwrap();
    let pass = decide(&policy(1), "/", &who).unwrap();
    let mut cleared = sessions.cleared(sessions.apply_changes(&out(1)));
    assert!(!enrolment.stands_on(&pass, &who));
    assert_eq!(exchange.reason(), None, "whoever is refused gets an answer");
    assert!(!is_ready(&mut cleared), "until then it is waited for");
    drop(enrolment);
    assert!(is_ready(&mut cleared));
}

#[test]
fn a_cold_request_of_somebody_removed_is_refused_and_not_cut() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let refused = load_as(&sessions, &exchange, described(ALICE, 2, 1, false, &[]), 0);
    assert_eq!(refused.err(), Some(Ended::Revoked));
    assert_eq!(exchange.reason(), None);
}

#[test]
fn a_plain_answer_that_becomes_a_stream_after_its_headers_changed_is_refused() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let enrolment = load(&sessions, &exchange);
    stand(&enrolment, "/");
    let stale = sessions.apply_changes(&[Change::Reconsider(ALICE)]).stale_accounts();
    assert_eq!(stale.len(), 1);
    drop(sessions.describe_account(&stale[0], &described(ALICE, 2, 0, true, &[])));
    assert_eq!(exchange.reason(), None, "a plain exchange runs to its end");
    assert_eq!(enrolment.become_stream(), Err(Ended::Changed));
}

#[test]
fn a_stream_is_cut_when_its_headers_change_and_when_its_role_is_lost() {
    for (path, reason) in [("/", Ended::Changed), ("/admin", Ended::Forbidden)] {
        let sessions = sessions();
        let exchange = InFlight::new();
        let enrolment = load(&sessions, &exchange);
        stand(&enrolment, path);
        enrolment.become_stream().unwrap();
        let stale = sessions.apply_changes(&[Change::ReconsiderAll(OrgId::ONLY)]).stale_accounts();
        drop(sessions.describe_account(&stale[0], &described(ALICE, 2, 0, true, &[])));
        assert_eq!(exchange.reason(), Some(reason), "{path}");
    }
}

#[test]
fn a_read_that_began_before_the_account_became_stale_does_not_end_that() {
    let sessions = sessions();
    let enrolment = load(&sessions, &InFlight::new());
    let early = sessions.apply_changes(&[Change::Reconsider(ALICE)]).stale_accounts();
    drop(sessions.apply_changes(&[Change::Reconsider(ALICE)]));
    drop(sessions.describe_account(&early[0], &described(ALICE, 2, 0, true, &[])));
    let session = enrolment.session();
    let who = |session: &Arc<Session>| {
        session.enter(AppId::ONLY, &InFlight::new(), NOW).unwrap().current_principal().is_ok()
    };
    assert!(!who(session));
    load_as(&sessions, &InFlight::new(), described(ALICE, 3, 0, true, &[]), 0).unwrap();
    assert!(who(session));
}

#[test]
fn an_older_snapshot_does_not_replace_a_newer_one() {
    let sessions = sessions();
    let newer = load_as(&sessions, &InFlight::new(), described(ALICE, 5, 0, true, &["Owners"]), 0).unwrap();
    load_as(&sessions, &InFlight::new(), described(ALICE, 4, 0, true, &[]), 0).unwrap();
    let again = newer.session().enter(AppId::ONLY, &InFlight::new(), NOW).unwrap();
    assert!(decide(&policy(1), "/admin", &again.current_principal().unwrap()).is_some());
}

#[test]
fn an_account_that_cannot_be_read_again_loses_what_stands() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let enrolment = load(&sessions, &exchange);
    stand(&enrolment, "/");
    let stale = sessions.apply_changes(&[Change::Reconsider(ALICE)]).stale_accounts();
    assert_eq!(sessions.give_up(&stale[0]).exchanges(), 1);
    assert_eq!(exchange.reason(), Some(Ended::Unproven));
}

#[test]
fn an_epoch_ends_what_was_born_before_it() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let enrolment = load(&sessions, &exchange);
    stand(&enrolment, "/");
    drop(sessions.apply_changes(&[Change::Epoch(Scope::Idp(OrgId::ONLY, "other".into()), 1)]));
    assert_eq!(exchange.reason(), None);
    drop(sessions.apply_changes(&[Change::Epoch(Scope::Idp(OrgId::ONLY, "okta".into()), 1)]));
    assert_eq!(exchange.reason(), Some(Ended::Revoked));
    assert_eq!(enter(enrolment.session()), Some(Ended::Revoked));
}

#[test]
fn a_hold_ends_with_a_write_that_began_after_it_and_with_no_other() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let session = load(&sessions, &exchange).session().clone();
    let before = sessions.hold_mark();
    let (cut, own) = sessions.hold(&HoldOn::User(subject(ALICE)));
    drop(cut);
    let after = sessions.hold_mark();
    sessions.end_hold(&HoldOn::User(subject(ALICE)), before);
    assert_eq!(enter(&session), Some(Ended::OnHold), "a write that began before the hold ends it");
    assert_eq!(own, after);
    sessions.end_hold(&HoldOn::User(subject(ALICE)), after);
    assert_eq!(enter(&session), None);
}

#[test]
fn an_operators_hold_is_on_the_account_and_a_directorys_write_does_not_end_it() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let enrolment = load(&sessions, &exchange);
    stand(&enrolment, "/");
    assert_eq!(sessions.accounts_where(|facts| facts.account == ALICE), [(OrgId::ONLY, ALICE)]);
    assert_eq!(sessions.accounts_where(|_| false), []);
    let held = HoldOn::Account(OrgId::ONLY, ALICE);
    let (cut, mark) = sessions.hold(&held);
    assert_eq!((cut.exchanges(), exchange.reason()), (1, Some(Ended::OnHold)));
    drop(cut);
    sessions.end_hold(&HoldOn::User(subject(ALICE)), mark);
    assert_eq!(enter(enrolment.session()), Some(Ended::OnHold));
    assert!(sessions.is_held(OrgId::ONLY, ALICE, None));
    sessions.end_hold(&held, mark);
    assert_eq!(enter(enrolment.session()), None);
}

#[test]
fn the_clock_ends_exchanges_and_the_client_keeps_them() {
    let sessions = sessions();
    let exchange = InFlight::new();
    let enrolment = load(&sessions, &exchange);
    stand(&enrolment, "/");
    enrolment.touch(NOW.plus_ms(IDLE_MS - 1));
    drop(sessions.expire(NOW.plus_ms(IDLE_MS)));
    assert_eq!(exchange.reason(), None);
    drop(sessions.expire(NOW.plus_ms(2 * IDLE_MS)));
    assert_eq!(exchange.reason(), Some(Ended::Idle));

    let exchange = InFlight::new();
    let enrolment = load(&sessions, &exchange);
    stand(&enrolment, "/");
    enrolment.touch(NOW.plus_ms(3_600_000));
    drop(sessions.expire(NOW.plus_ms(3_600_000)));
    assert_eq!(exchange.reason(), Some(Ended::Expired));
}

#[test]
fn a_reload_judges_what_runs_and_resolves_everybody_anew() {
    let sessions = sessions();
    let (kept, lost) = (InFlight::new(), InFlight::new());
    let (stays, goes) = (load(&sessions, &kept), load(&sessions, &lost));
    stand(&stays, "/");
    stand(&goes, "/admin");
    let open = policy_of(2, &[("/**", portcullis_policy::Allow::SignedIn)]);
    drop(sessions.review(open));
    assert_eq!((kept.reason(), lost.reason()), (None, Some(Ended::Forbidden)));
    assert!(
        stays.session().enter(AppId::ONLY, &InFlight::new(), NOW).unwrap().current_principal().is_ok(),
        "no read is needed"
    );
}

/// A stranger under the first rules of [`half_public`].
fn stranger(sessions: &Sessions, path: &str, exchange: &InFlight) -> Option<Stranger> {
    let pass = decide_for(&half_public(1), path, None).unwrap();
    sessions.admit_stranger(0, exchange, &pass)
}

#[test]
fn a_reload_cuts_strangers_whose_path_is_not_public_any_more_and_waits_for_them() {
    let sessions = Sessions::new(16, IDLE_MS, half_public(1));
    let (lost, kept) = (InFlight::new(), InFlight::new());
    let goes = stranger(&sessions, "/pub/live", &lost).unwrap();
    let stays = stranger(&sessions, "/pub/ever", &kept).unwrap();
    stays.begin_answer(NOW).unwrap();
    let narrower = policy_of(2, &[("/pub/ever", Allow::Public), ("/**", Allow::SignedIn)]);
    let cut = sessions.review(narrower.clone());
    assert_eq!((cut.exchanges(), lost.reason(), kept.reason()), (1, Some(Ended::Forbidden), None));
    let mut cleared = sessions.cleared(cut);
    assert!(!is_ready(&mut cleared));
    let mut repeat = sessions.cleared(sessions.review(narrower));
    assert!(!is_ready(&mut repeat), "the repeat waits like the first");
    assert_eq!((goes.begin_answer(NOW), stays.begin_answer(NOW)), (Err(Ended::Forbidden), Ok(())));
    drop(goes);
    assert!(is_ready(&mut cleared) && is_ready(&mut repeat));
}

#[test]
fn a_stranger_stands_on_rules_in_force_and_on_public_ones_alone() {
    let sessions = Sessions::new(16, IDLE_MS, half_public(1));
    drop(sessions.review(half_public(2)));
    assert!(
        stranger(&sessions, "/pub/live", &InFlight::new()).is_none(),
        "decided under rules that are gone"
    );
    let pass = decide_for(&half_public(2), "/pub/live", None).unwrap();
    assert!(sessions.admit_stranger(7, &InFlight::new(), &pass).is_some());
    let who = load(&sessions, &InFlight::new()).current_principal().unwrap();
    let pass = decide(&half_public(2), "/", &who).unwrap();
    assert!(sessions.admit_stranger(0, &InFlight::new(), &pass).is_none(), "this one asks for somebody");
}

#[test]
fn nobodys_removal_touches_a_stranger() {
    let sessions = Sessions::new(16, IDLE_MS, half_public(1));
    let exchange = InFlight::new();
    let stranger = stranger(&sessions, "/pub/live", &exchange).unwrap();
    let all = [Change::Out(ALICE, Generation(1)), Change::Epoch(Scope::Deployment, 1)];
    drop(sessions.apply_changes(&all));
    drop(sessions.hold(&HoldOn::User(subject(ALICE))));
    assert_eq!((exchange.reason(), sessions.figures().strangers), (None, 1));
    drop(stranger);
    assert_eq!(sessions.figures().strangers, 0);
}

#[test]
fn a_strangers_answer_on_which_nothing_passes_is_ended_by_the_clock() {
    let sessions = Sessions::new(16, IDLE_MS, half_public(1));
    sessions.strangers_quiet_after(1_000);
    let (waits, silent, busy) = (InFlight::new(), InFlight::new(), InFlight::new());
    let strangers = [&waits, &silent, &busy].map(|exchange| stranger(&sessions, "/pub/x", exchange).unwrap());
    strangers[1].begin_answer(NOW).unwrap();
    strangers[2].begin_answer(NOW).unwrap();
    strangers[0].touch(|| panic!("the application has a limit of its own for its first byte"));
    strangers[2].touch(|| NOW.plus_ms(500));
    drop(sessions.expire(NOW.plus_ms(999)));
    assert_eq!((silent.reason(), busy.reason()), (None, None));
    drop(sessions.expire(NOW.plus_ms(1_000)));
    assert_eq!((waits.reason(), silent.reason(), busy.reason()), (None, Some(Ended::Idle), None));
    drop(sessions.expire(NOW.plus_ms(1_500)));
    assert_eq!(busy.reason(), Some(Ended::Idle));
}

#[test]
fn a_session_belongs_to_one_app() {
    let sessions = sessions();
    let session = load(&sessions, &InFlight::new()).session().clone();
    assert!(session.enter(AppId(2), &InFlight::new(), NOW).is_err());
}

#[test]
fn last_heard_is_handed_out_once() {
    let sessions = sessions();
    let enrolment = load(&sessions, &InFlight::new());
    enrolment.touch(NOW.plus_ms(5_000));
    assert_eq!(sessions.take_heard(), [(HASH, NOW.plus_ms(5_000))]);
    assert_eq!(sessions.take_heard(), []);
}

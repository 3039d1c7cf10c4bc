//! Idle connections to applications, kept by the thread that used them: nothing is shared between cores.
//!
//! A kept connection is polled by nobody. It is polled when it is taken, which sees that the application has closed it,
//! or has sent something nobody asked for, up to that moment; the sweep polls the rest. When it is given back it is polled where it may
//! be of no further use: its request had a body, which may not have gone up whole, or its answer spoke of its end.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Upstream;
use super::address::AppAddress;
use super::app_connection::{Afterwards, AppConnection};
use super::h2c_connection::H2cConnection;

thread_local! {
    static POOL: RefCell<Vec<(AppAddress, Vec<IdleConnection>)>> = const { RefCell::new(Vec::new()) };
    static OVER_H2C: RefCell<Vec<KeptH2c>> = const { RefCell::new(Vec::new()) };
    static KEPT_AT_MOST: Cell<usize> = const { Cell::new(MOST) };
}

struct IdleConnection {
    connection: Box<AppConnection>,
    since: Instant,
}

struct KeptH2c {
    connection: Box<H2cConnection>,
    since: Instant,
}

/// The number that is kept for all addresses on a thread, where descriptors are not short.
pub(crate) const MOST: usize = 512;
/// The longest time one is kept without being used. Applications close theirs sooner or later; most after a minute or
/// more.
const IDLE: Duration = Duration::from_secs(55);

/// A kept connection to one of these addresses, the one used last, if it is still good. One that writes fields in another
/// case, or that knew its application by something else, is of a configuration before this one.
pub(super) fn take_connection(addresses: &[AppAddress], upstream: &Upstream) -> Option<Box<AppConnection>> {
    let is_known_so = |kept: &IdleConnection| match (&kept.connection.tls, upstream.tls()) {
        (Some(by), Some(wanted)) => Arc::ptr_eq(by, wanted),
        (by, wanted) => by.is_none() && wanted.is_none(),
    };
    loop {
        let mut connection = POOL.with_borrow_mut(|pool| {
            let kept = pool.iter_mut().filter(|(to, _)| addresses.contains(to)).map(|(_, kept)| kept);
            kept.into_iter().find_map(|kept| {
                let at = kept.iter().rposition(is_known_so)?;
                Some(kept.remove(at))
            })
        })?;
        let kept = &mut connection.connection;
        if kept.case == upstream.header_case && kept.is_idle() {
            return Some(connection.connection);
        }
    }
}

/// Keeps a connection whose last answer was read to its end, if it can serve another request.
pub(super) fn give_back(mut connection: Box<AppConnection>) {
    match connection.afterwards() {
        Afterwards::Kept => {}
        Afterwards::LookedAt if connection.is_idle() => {}
        Afterwards::LookedAt | Afterwards::Spent => return,
    }
    let kept = IdleConnection { since: Instant::now(), connection };
    POOL.with_borrow_mut(|pool| {
        let to = &kept.connection.to;
        let at = pool.iter().position(|(address, _)| address == to).unwrap_or_else(|| {
            pool.push((to.clone(), Vec::new()));
            pool.len() - 1
        });
        let kept_here = pool.iter().map(|(_, kept)| kept.len()).sum::<usize>();
        if kept_here + OVER_H2C.with_borrow(Vec::len) < KEPT_AT_MOST.get() {
            pool[at].1.push(kept);
        }
    });
}

/// A kept connection over HTTP/2 to one of these addresses, the one used last, if it is still good.
pub(super) fn take_h2c(addresses: &[AppAddress]) -> Option<Box<H2cConnection>> {
    loop {
        let mut connection = OVER_H2C.with_borrow_mut(|kept| {
            let at = kept.iter().rposition(|kept| addresses.contains(&kept.connection.to))?;
            Some(kept.remove(at).connection)
        })?;
        if connection.is_idle() {
            return Some(connection);
        }
    }
}

/// Keeps a connection over HTTP/2 whose exchange is over in both directions, if it can serve another request.
pub(super) fn give_back_h2c(mut connection: Box<H2cConnection>) {
    if connection.is_idle() {
        let elsewhere = POOL.with_borrow(|pool| pool.iter().map(|(_, kept)| kept.len()).sum::<usize>());
        OVER_H2C.with_borrow_mut(|kept| {
            if elsewhere + kept.len() < KEPT_AT_MOST.get() {
                kept.push(KeptH2c { connection, since: Instant::now() });
            }
        });
    }
}

/// Sets how many this thread keeps from now on.
pub(crate) fn keep_at_most(count: usize) {
    KEPT_AT_MOST.set(count);
}

/// Closes what was kept for too long, and what the other side has closed. Once a second, on each thread.
pub(crate) fn sweep_pool() {
    let now = Instant::now();
    POOL.with_borrow_mut(|pool| {
        for (_, kept) in &mut *pool {
            kept.retain_mut(|kept| now - kept.since < IDLE && kept.connection.is_idle());
        }
        pool.retain(|(_, kept)| !kept.is_empty());
    });
    OVER_H2C.with_borrow_mut(|kept| {
        kept.retain_mut(|kept| now - kept.since < IDLE && kept.connection.is_idle());
    });
}

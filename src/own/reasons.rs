//! Words for the reason of a refusal that is neither the IdP's answer nor the store's word: in the log, and as labels of
//! the metric.

/// The store could not answer.
pub(super) const STORE: &str = "store";
/// The task of the login failed.
pub(super) const INTERNAL: &str = "internal";
/// It is one login too many in a row.
pub(super) const ROUNDS_IN_A_ROW: &str = "rounds";
/// The answer was brought too often.
pub(super) const TRIES: &str = "tries";
/// It is one login too many at once, or for its client address.
pub(super) const BUSY: &str = "busy";
/// A logout was asked for by another site.
pub(super) const LOGOUT_CSRF: &str = "logout_csrf";

/// All of them.
pub(crate) const ALL: [&str; 6] = [STORE, INTERNAL, ROUNDS_IN_A_ROW, TRIES, BUSY, LOGOUT_CSRF];

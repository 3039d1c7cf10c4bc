//! The tokens of a directory, from the store into memory and back.
//!
//! Memory is asked at each request, the store is what the next process begins with. A token that is revoked is refused in
//! this process before that is stored, and nothing here lets it in again. When it was used is noted in memory and written
//! down once a minute, on nobody's way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::{Mutex, RwLock};
use portcullis_keys::{Random, Secret, equal_bytes, sha256};
use portcullis_policy::{DirectoryId, OrgId, Timestamp};
use portcullis_store::{Store, StoreError, TokenRow, TokenWarning};

/// The beginning of every token, by which a scanner of secrets knows one that has got somewhere.
pub(crate) const PREFIX: &str = "pcs_";
/// The time that an expired token still takes access away.
pub(crate) const TAKES_AWAY_MS: i64 = 30 * DAY_MS;
/// The time before its end from which people are told.
const AHEAD_MS: i64 = 14 * DAY_MS;
pub(crate) const DAY_MS: i64 = 24 * 3_600_000;

/// The tokens of the directory.
pub(crate) struct TokenBook {
    tokens: RwLock<Vec<Arc<BookedToken>>>,
    /// Held by whoever makes or revokes tokens.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Those that are revoked in this process alone, since it could not be stored.
    held: Mutex<BTreeSet<i64>>,
}

/// One token. Of what may change nothing is larger than a word, so it is read without a lock.
pub(crate) struct BookedToken {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// Its name in the audit and the log: `scim:default/okta-7`.
    pub(crate) actor: Arc<str>,
    pub(crate) created: Timestamp,
    /// The SHA-256 of the token. It has 256 bits of chance, so nothing slower is needed.
    pub(crate) hash: [u8; 32],
    expires: AtomicI64,
    used: TokenTime,
    saved: TokenTime,
    revoked: TokenTime,
    warned: TokenTime,
}

/// A time that may not have come yet.
#[derive(Default)]
struct TokenTime(AtomicI64);

impl TokenTime {
    fn new(at: Option<Timestamp>) -> Self {
        Self(AtomicI64::new(at.map_or(0, |at| at.0)))
    }

    fn read(&self) -> Option<Timestamp> {
        Some(self.0.load(Ordering::Acquire)).filter(|at| *at != 0).map(Timestamp)
    }

    /// Moves on, never back.
    fn advance(&self, at: Timestamp) {
        self.0.fetch_max(at.0, Ordering::AcqRel);
    }
}

impl BookedToken {
    fn from_row(row: TokenRow) -> Self {
        let TokenRow { id, name, hash, created, expires, used, revoked, warned } = row;
        Self {
            id,
            actor: format!("scim:default/{name}-{id}").into(),
            name,
            created,
            hash,
            expires: AtomicI64::new(expires.0),
            used: TokenTime::new(used),
            saved: TokenTime::new(used),
            revoked: TokenTime::new(revoked),
            warned: TokenTime::new(warned),
        }
    }

    /// The time from which it only takes away.
    pub(crate) fn expires(&self) -> Timestamp {
        Timestamp(self.expires.load(Ordering::Acquire))
    }

    /// The last time it was used.
    pub(crate) fn used(&self) -> Option<Timestamp> {
        self.used.read()
    }

    /// The time it was revoked.
    pub(crate) fn revoked(&self) -> Option<Timestamp> {
        self.revoked.read()
    }

    /// Refuses it from now on.
    pub(crate) fn revoke(&self, now: Timestamp) {
        // The first word stands.
        let _ = self.revoked.0.compare_exchange(0, now.0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Ends it at this time, or when it would have ended before.
    pub(crate) fn end_by(&self, until: Timestamp) {
        self.expires.fetch_min(until.0, Ordering::AcqRel);
    }

    /// Notes that it was used.
    pub(crate) fn note_use(&self, now: Timestamp) {
        self.used.advance(now);
    }

    /// Notes that an event about its end was written.
    pub(crate) fn note_warning(&self, now: Timestamp) {
        self.warned.advance(now);
    }

    /// The time of its last use, where that is not written down yet.
    pub(crate) fn unsaved_use(&self) -> Option<Timestamp> {
        self.used().filter(|used| self.saved.read() < Some(*used))
    }

    /// Notes that a use was written down.
    pub(crate) fn note_saved(&self, used: Timestamp) {
        self.saved.advance(used);
    }

    /// The event that is due about its end. `is_followed` where a newer one of its name is there: then its end is meant.
    fn due_warning(&self, is_followed: bool, now: Timestamp) -> Option<TokenWarning> {
        let (expires, used, warned) = (self.expires(), self.used(), self.warned.read());
        if self.revoked().is_some() {
            return None;
        }
        if now < expires {
            let is_near = expires.since_ms(now) <= AHEAD_MS;
            return (is_near && !is_followed && warned.is_none()).then_some(TokenWarning::Expiring);
        }
        let is_new =
            |warned: Timestamp| warned < expires || (used > Some(warned) && now.since_ms(warned) >= DAY_MS);
        (used >= Some(expires) && warned.is_none_or(is_new)).then_some(TokenWarning::UsedExpired)
    }
}

impl TokenBook {
    /// Begins with what the store has.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn load_kept(store: &Store) -> Result<Self, StoreError> {
        Ok(Self::of_rows(store.read_tokens(OrgId::ONLY, DirectoryId::ONLY).await?))
    }

    pub(crate) fn of_rows(rows: Vec<TokenRow>) -> Self {
        let tokens = rows.into_iter().map(|row| Arc::new(BookedToken::from_row(row))).collect();
        Self { tokens: RwLock::new(tokens), writing: tokio::sync::Mutex::default(), held: Mutex::default() }
    }

    /// Notes that these are revoked in this process alone.
    pub(crate) fn hold(&self, tokens: &[Arc<BookedToken>]) {
        self.held.lock().extend(tokens.iter().map(|token| token.id));
    }

    /// Forgets that: it is stored.
    pub(crate) fn end_hold(&self, tokens: &[Arc<BookedToken>]) {
        let mut held = self.held.lock();
        for token in tokens {
            held.remove(&token.id);
        }
    }

    /// Tells whether any is revoked in this process alone.
    pub(crate) fn has_holds(&self) -> bool {
        !self.held.lock().is_empty()
    }

    /// All of them, the oldest first.
    pub(crate) fn list_tokens(&self) -> Vec<Arc<BookedToken>> {
        self.tokens.read().clone()
    }

    /// Takes a new one in.
    pub(crate) fn insert_token(&self, row: TokenRow) -> Arc<BookedToken> {
        let token = Arc::new(BookedToken::from_row(row));
        self.tokens.write().push(token.clone());
        token
    }

    /// Finds the one that was sent, if it is not revoked.
    pub(crate) fn find_token(&self, sent: &str) -> Option<Arc<BookedToken>> {
        let hash = sha256(sent.as_bytes());
        // Every one is compared, so the time says nothing about which one was nearly right.
        let tokens = self.tokens.read();
        let known = tokens
            .iter()
            .fold(None, |known, one| if equal_bytes(&one.hash, &hash) { Some(one) } else { known });
        known.filter(|one| one.revoked().is_none()).cloned()
    }

    /// Notes that the token of this hash was used.
    pub(crate) fn note_use(&self, hash: &[u8; 32], now: Timestamp) {
        if let Some(used) = self.tokens.read().iter().find(|token| token.hash == *hash) {
            used.note_use(now);
        }
    }

    /// Tells whether one of them would let a directory write.
    pub(crate) fn has_live(&self, now: Timestamp) -> bool {
        self.tokens.read().iter().any(|token| token.revoked().is_none() && now < token.expires())
    }

    /// The end of each name's last token, for the metrics.
    pub(crate) fn list_ends(&self) -> Vec<(String, Timestamp)> {
        let mut ends: Vec<(String, Timestamp)> = Vec::new();
        for token in self.tokens.read().iter().filter(|token| token.revoked().is_none()) {
            match ends.iter_mut().find(|(name, _)| *name == token.name) {
                Some((_, end)) => *end = token.expires().max(*end),
                None => ends.push((token.name.clone(), token.expires())),
            }
        }
        ends
    }

    /// The events that are due.
    pub(crate) fn due_warnings(&self, now: Timestamp) -> Vec<(Arc<BookedToken>, TokenWarning)> {
        let tokens = self.list_tokens();
        let follows = |token: &BookedToken| {
            tokens.iter().any(|one| one.name == token.name && one.id > token.id && one.revoked().is_none())
        };
        let due = |token: &Arc<BookedToken>| Some((token.clone(), token.due_warning(follows(token), now)?));
        tokens.iter().filter_map(due).collect()
    }
}

/// Makes a token: to be shown once, and kept as its hash.
pub(crate) fn draw_token(random: &mut Random) -> (Secret, [u8; 32]) {
    let token = Secret::new(format!("{PREFIX}{}", random.draw_token().expose()));
    let hash = sha256(token.expose().as_bytes());
    (token, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn row(id: i64, name: &str, token: &str, expires: Timestamp) -> TokenRow {
        TokenRow {
            id,
            name: name.to_owned(),
            hash: sha256(token.as_bytes()),
            created: NOW,
            expires,
            used: None,
            revoked: None,
            warned: None,
        }
    }

    #[test]
    fn a_token_is_recognisable_and_256_bits_of_chance() {
        let (token, hash) = draw_token(&mut Random::from_seed(1));
        assert!(token.expose().starts_with("pcs_") && token.expose().len() == 47, "{}", token.expose());
        assert_eq!(hash, sha256(token.expose().as_bytes()));
        assert_ne!(draw_token(&mut Random::from_seed(2)).1, hash);
    }

    #[test]
    fn what_is_revoked_is_refused_at_once_and_for_ever() {
        let book = TokenBook::of_rows(vec![row(1, "okta", "one", NOW.plus_ms(DAY_MS))]);
        let found = book.find_token("one").expect("known");
        assert!(book.find_token("One").is_none() && book.find_token("").is_none() && book.has_live(NOW));
        assert!(!book.has_live(NOW.plus_ms(DAY_MS)), "at its end it is over");
        found.revoke(NOW);
        found.revoke(NOW.plus_ms(1));
        assert!(book.find_token("one").is_none() && !book.has_live(NOW) && book.list_ends().is_empty());
        assert_eq!(found.revoked(), Some(NOW));
    }

    #[test]
    fn an_end_is_moved_forward_only() {
        let book = TokenBook::of_rows(vec![row(1, "okta", "one", NOW.plus_ms(DAY_MS))]);
        let one = book.list_tokens()[0].clone();
        one.end_by(NOW.plus_ms(2 * DAY_MS));
        assert_eq!(one.expires(), NOW.plus_ms(DAY_MS));
        one.end_by(NOW);
        assert_eq!(one.expires(), NOW);
        book.insert_token(row(2, "okta", "two", NOW.plus_ms(90 * DAY_MS)));
        assert_eq!(book.list_ends(), [("okta".to_owned(), NOW.plus_ms(90 * DAY_MS))], "the one that counts");
    }

    #[test]
    fn of_an_end_people_are_told_once_and_of_late_uses_once_a_day() {
        let book = TokenBook::of_rows(vec![row(1, "okta", "one", NOW.plus_ms(20 * DAY_MS))]);
        let at = |days: i64| NOW.plus_ms(days * DAY_MS);
        let due = |now| book.due_warnings(now).into_iter().map(|(_, warning)| warning).collect::<Vec<_>>();
        let one = book.list_tokens()[0].clone();
        assert!(due(at(5)).is_empty());
        assert_eq!(due(at(6)), [TokenWarning::Expiring]);
        one.warned.advance(at(6));
        assert!(due(at(19)).is_empty() && due(at(20)).is_empty(), "nobody uses it");
        one.note_use(at(20));
        assert_eq!(due(at(20)), [TokenWarning::UsedExpired]);
        one.warned.advance(at(20));
        one.note_use(at(20).plus_ms(1000));
        assert!(due(at(20).plus_ms(2000)).is_empty());
        one.note_use(at(21));
        assert_eq!(due(at(21)), [TokenWarning::UsedExpired]);
        one.revoke(at(21));
        assert!(due(at(21)).is_empty());
    }

    #[test]
    fn who_has_been_followed_may_end_in_silence() {
        let book = TokenBook::of_rows(vec![
            row(1, "okta", "one", NOW.plus_ms(DAY_MS)),
            row(2, "okta", "two", NOW.plus_ms(90 * DAY_MS)),
        ]);
        assert!(book.due_warnings(NOW).is_empty());
        book.list_tokens()[1].revoke(NOW);
        assert_eq!(book.due_warnings(NOW).len(), 1);
    }
}

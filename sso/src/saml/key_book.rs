//! The book of signing keys: which keys of which identity provider are in force, wait for an operator, or are distrusted.
//!
//! One for the whole program, so that every identity provider, before and after a reload, goes by the same word; the store
//! keeps it for the next process. It is asked at every signature, and an operator's word counts from the moment that it
//! stands here. The rule it protects: what was distrusted is believed nowhere and never again, in whatever certificate
//! its key comes back.

use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;
use portcullis_policy::Timestamp;

use super::idp_key::{IdpKey, KeyStanding};

/// A key that is gone for no longer than this, in milliseconds, comes back in force: the servers of a provider that changes its
/// keys publish the old metadata and the new in turn for a while.
const AWAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The most keys of one identity provider that are remembered though its metadata has dropped them.
const MOST_GONE: usize = 64;

/// The book of signing keys.
#[derive(Debug, Default)]
pub struct KeyBook(Mutex<BookPages>);

#[derive(Debug, Default)]
struct BookPages {
    /// SHA-256 of certificates, and of keys themselves.
    distrusted: HashSet<[u8; 32]>,
    idps: BTreeMap<String, IdpPage>,
    /// The keys that the configuration pins each provider's metadata to.
    pinned: BTreeMap<String, Vec<PinnedKey>>,
}

/// A key that an identity provider's metadata is pinned to (`metadata_certificate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedKey {
    /// The SHA-256 of its certificate.
    pub certificate: [u8; 32],
    /// The SHA-256 of the key itself.
    pub key: [u8; 32],
}

#[derive(Debug, Default)]
struct IdpPage {
    /// By the SHA-256 of the certificate.
    keys: BTreeMap<[u8; 32], BookedKey>,
    /// True where the store does not have it yet.
    is_unsaved: bool,
}

/// A key of an identity provider that was seen in its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookedKey {
    /// The SHA-256 of its certificate.
    pub certificate: [u8; 32],
    /// The SHA-256 of the key itself, its SubjectPublicKeyInfo.
    pub key: [u8; 32],
    /// The state it is in.
    pub state: BookedState,
    /// The time since which it is.
    pub since: Timestamp,
}

/// The state of a key in the book. That it is distrusted stands apart: nothing undoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookedState {
    /// Its signatures are believed.
    InForce,
    /// It is in the metadata, and waits for an operator.
    Waiting,
    /// It was in force, and the metadata does not have it any more.
    Gone,
}

/// Everything that stands in the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookListing {
    /// Each identity provider with the keys that were seen of it.
    pub idps: Vec<(String, Vec<BookedKey>)>,
    /// The fingerprints that are distrusted: of certificates, and of keys.
    pub distrusted: HashSet<[u8; 32]>,
    /// The keys that the metadata of each is pinned to.
    pub pinned: Vec<(String, Vec<PinnedKey>)>,
}

impl KeyBook {
    /// A book of what the store has: the distrusted fingerprints, and the keys of each identity provider.
    pub fn new(
        distrusted: impl IntoIterator<Item = [u8; 32]>,
        keys: impl IntoIterator<Item = (String, BookedKey)>,
    ) -> Self {
        let mut pages = BookPages { distrusted: distrusted.into_iter().collect(), ..BookPages::default() };
        for (idp, key) in keys {
            pages.idps.entry(idp).or_default().keys.insert(key.certificate, key);
        }
        Self(Mutex::new(pages))
    }

    /// Gives the keys of a document, each under the word that counts now. Where `approves`, keys wait that were not in force
    /// before; those of the first document that was ever seen are in force.
    pub fn judge_keys(&self, idp: &str, approves: bool, keys: &[IdpKey]) -> Vec<IdpKey> {
        let pages = self.0.lock();
        let distrusted = pages.distrusted_of(keys);
        let known = pages.idps.get(idp);
        keys.iter()
            .map(|key| {
                let standing = match known {
                    _ if distrusted.contains(&key.key_print()) => KeyStanding::Distrusted,
                    Some(known) if approves && !known.has_in_force(key) => KeyStanding::Waiting,
                    _ => KeyStanding::InForce,
                };
                key.clone().with_standing(standing)
            })
            .collect()
    }

    /// Tells whether a key is distrusted, in this certificate or any.
    pub fn is_distrusted(&self, key: &IdpKey) -> bool {
        !self.0.lock().distrusted_of(std::slice::from_ref(key)).is_empty()
    }

    /// Takes a document of the identity provider as its present one: gives the keys that wait since now.
    pub(crate) fn settle_keys(
        &self,
        idp: &str,
        approves: bool,
        keys: &[IdpKey],
        now: Timestamp,
    ) -> Vec<IdpKey> {
        let mut pages = self.0.lock();
        // Whoever was distrusted by the certificate is so by the key: it may come back in another certificate.
        let distrusted = pages.distrusted_of(keys);
        let learned = distrusted.iter().any(|print| !pages.distrusted.contains(print));
        pages.distrusted.extend(&distrusted);
        let is_first = !pages.idps.contains_key(idp);
        let page = pages.idps.entry(idp.to_owned()).or_default();
        page.is_unsaved |= is_first || learned;
        let believes: Vec<bool> =
            keys.iter().map(|key| !approves || is_first || page.has_had(key, now)).collect();
        let mut waiting = Vec::new();
        for (key, believes) in keys.iter().zip(believes) {
            let state = if believes { BookedState::InForce } else { BookedState::Waiting };
            let before = page.keys.get(&key.fingerprint()).map(|booked| booked.state);
            if before == Some(state) {
                continue;
            }
            let (certificate, key_print) = (key.fingerprint(), key.key_print());
            page.keys.insert(certificate, BookedKey { certificate, key: key_print, state, since: now });
            page.is_unsaved = true;
            if state == BookedState::Waiting && !distrusted.contains(&key_print) {
                waiting.push(key.clone());
            }
        }
        page.drop_missing(keys, now);
        waiting
    }

    /// Notes the keys that the configuration in force pins the metadata of an identity provider to.
    pub(crate) fn note_pinned(&self, idp: &str, keys: impl IntoIterator<Item = IdpKey>) {
        let keys = keys.into_iter();
        let pinned =
            keys.map(|key| PinnedKey { certificate: key.fingerprint(), key: key.key_print() }).collect();
        self.0.lock().pinned.insert(idp.to_owned(), pinned);
    }

    /// Distrusts fingerprints, of certificates or keys, at once.
    pub fn distrust_prints(&self, prints: &[[u8; 32]]) {
        self.0.lock().distrusted.extend(prints);
    }

    /// Puts a key that waits in force: every certificate that it waits in. The operator's word is in the store by then.
    pub fn approve_key(&self, idp: &str, key: &[u8; 32], now: Timestamp) {
        let mut pages = self.0.lock();
        let Some(page) = pages.idps.get_mut(idp) else { return };
        for booked in page.keys.values_mut().filter(|booked| booked.key == *key) {
            if booked.state == BookedState::Waiting {
                (booked.state, booked.since) = (BookedState::InForce, now);
            }
        }
    }

    /// Lists what stands in it: each identity provider with its keys, and the distrusted fingerprints.
    pub fn list_keys(&self) -> BookListing {
        let pages = self.0.lock();
        let idps = pages.idps.iter().map(|(idp, page)| (idp.clone(), page.keys.values().copied().collect()));
        let pinned = pages.pinned.iter().map(|(idp, keys)| (idp.clone(), keys.clone())).collect();
        BookListing { idps: idps.collect(), distrusted: pages.distrusted.clone(), pinned }
    }

    /// Takes the keys of an identity provider that the store does not have yet; they count as saved from here on, until
    /// [`Self::keep_unsaved`].
    pub fn take_unsaved(&self, idp: &str) -> Option<Vec<BookedKey>> {
        let mut pages = self.0.lock();
        let page = pages.idps.get_mut(idp).filter(|page| page.is_unsaved)?;
        page.is_unsaved = false;
        Some(page.keys.values().copied().collect())
    }

    /// Says that the store has not got them after all.
    pub fn keep_unsaved(&self, idp: &str) {
        if let Some(page) = self.0.lock().idps.get_mut(idp) {
            page.is_unsaved = true;
        }
    }
}

impl BookPages {
    /// The keys among these that are distrusted, by their own SHA-256: also those of which only another certificate in the
    /// same document is.
    fn distrusted_of(&self, keys: &[IdpKey]) -> HashSet<[u8; 32]> {
        let is_distrusted =
            |key: &&IdpKey| [key.fingerprint(), key.key_print()].iter().any(|p| self.distrusted.contains(p));
        keys.iter().filter(is_distrusted).map(IdpKey::key_print).collect()
    }
}

impl IdpPage {
    fn has_in_force(&self, key: &IdpKey) -> bool {
        let is_it =
            |booked: &BookedKey| booked.key == key.key_print() && booked.state == BookedState::InForce;
        self.keys.values().any(is_it)
    }

    /// Tells whether it is in force, or was until lately.
    fn has_had(&self, key: &IdpKey, now: Timestamp) -> bool {
        let was_lately = |booked: &BookedKey| {
            booked.key == key.key_print()
                && booked.state == BookedState::Gone
                && (0..AWAY_MS).contains(&now.since_ms(booked.since))
        };
        self.has_in_force(key) || self.keys.values().any(was_lately)
    }

    /// Notes which keys the metadata has dropped: one that was in force waits when it comes back after a day.
    fn drop_missing(&mut self, present: &[IdpKey], now: Timestamp) {
        let is_present =
            |booked: &BookedKey| present.iter().any(|key| key.fingerprint() == booked.certificate);
        for booked in self.keys.values_mut() {
            if booked.state == BookedState::InForce && !is_present(booked) {
                (booked.state, booked.since) = (BookedState::Gone, now);
                self.is_unsaved = true;
            }
        }
        let before = self.keys.len();
        self.keys.retain(|_, booked| booked.state != BookedState::Waiting || is_present(booked));
        let mut gone: Vec<_> =
            self.keys.values().filter(|booked| booked.state == BookedState::Gone).copied().collect();
        if gone.len() > MOST_GONE {
            gone.sort_unstable_by_key(|booked| booked.since);
            for booked in &gone[..gone.len() - MOST_GONE] {
                self.keys.remove(&booked.certificate);
            }
        }
        self.is_unsaved |= self.keys.len() != before;
    }
}

#[cfg(test)]
mod tests {
    use super::super::forge::{Forger, OTHER_RSA, P256, RSA};
    use super::*;

    const NOW: Timestamp = Timestamp(1_900_000_000_000);
    use KeyStanding::{Distrusted, InForce, Waiting};

    fn standings(book: &KeyBook, approves: bool, keys: &[IdpKey]) -> Vec<KeyStanding> {
        book.judge_keys("corp", approves, keys).iter().map(IdpKey::standing).collect()
    }

    fn reread(book: &KeyBook) -> KeyBook {
        let BookListing { idps, distrusted, .. } = book.list_keys();
        let keys =
            idps.into_iter().flat_map(|(idp, keys)| keys.into_iter().map(move |key| (idp.clone(), key)));
        KeyBook::new(distrusted, keys)
    }

    #[test]
    fn a_new_key_waits_where_an_operator_approves_them_and_only_there() {
        let (first, second) = (RSA.idp_key(), OTHER_RSA.idp_key());
        let both = [first.clone(), second.clone()];
        let book = KeyBook::default();
        assert_eq!(
            standings(&book, true, &both),
            [InForce, InForce],
            "the first document is the operator's word"
        );
        assert!(book.settle_keys("corp", true, std::slice::from_ref(&first), NOW).is_empty());
        assert_eq!(standings(&book, true, &both), [InForce, Waiting], "before it is settled");
        assert_eq!(book.settle_keys("corp", true, &both, NOW), both[1..]);
        assert_eq!(book.settle_keys("corp", true, &both, NOW), [], "told once");
        for book in [&book, &reread(&book)] {
            assert_eq!(standings(book, true, &both), [InForce, Waiting], "a restart changes nothing");
            assert_eq!(standings(book, false, &both), [InForce, InForce]);
        }
        // Another provider's word is its own.
        assert_eq!(book.judge_keys("other", true, &both)[1].standing(), InForce);
        book.approve_key("corp", &second.key_print(), NOW);
        assert_eq!(standings(&book, true, &both), [InForce, InForce]);
        assert_eq!(standings(&reread(&book), true, &both), [InForce, InForce]);
    }

    #[test]
    fn metadata_that_replaces_every_key_leaves_none_in_force() {
        let (first, second) = (RSA.idp_key(), OTHER_RSA.idp_key());
        let book = KeyBook::default();
        book.settle_keys("corp", true, std::slice::from_ref(&first), NOW);
        let replaced = [second.clone()];
        assert_eq!(book.settle_keys("corp", true, &replaced, NOW), replaced);
        assert_eq!(standings(&book, true, std::slice::from_ref(&second)), [Waiting]);
        // Back in the metadata that another server still has: nothing has happened. Back after a day: it was withdrawn.
        let both = [first.clone(), second.clone()];
        book.settle_keys("corp", true, &both, NOW.plus_ms(AWAY_MS - 1));
        assert_eq!(standings(&book, true, &both), [InForce, Waiting]);
        book.settle_keys("corp", true, &replaced, NOW);
        book.settle_keys("corp", true, &both, NOW.plus_ms(AWAY_MS));
        assert_eq!(standings(&book, true, &both), [Waiting, Waiting]);
    }

    #[test]
    fn the_same_key_in_another_certificate_does_not_wait_and_is_distrusted_with_the_first() {
        let renewed = RSA.renewed();
        let (old, new) = (RSA.idp_key(), renewed.idp_key());
        assert_ne!(old.fingerprint(), new.fingerprint());
        assert_eq!(old.key_print(), new.key_print());
        let book = KeyBook::default();
        book.settle_keys("corp", true, std::slice::from_ref(&old), NOW);
        assert_eq!(standings(&book, true, std::slice::from_ref(&new)), [InForce]);
        assert!(book.settle_keys("corp", true, std::slice::from_ref(&new), NOW).is_empty());
        // By the certificate alone, as an announcement names it, and seen in it: the other certificate is none either.
        book.distrust_prints(&[old.fingerprint()]);
        assert_eq!(standings(&book, false, &[old.clone(), new.clone()]), [Distrusted, Distrusted]);
        book.settle_keys("corp", false, std::slice::from_ref(&old), NOW);
        assert_eq!(standings(&reread(&book), false, std::slice::from_ref(&new)), [Distrusted]);
        assert!(book.is_distrusted(&new));
    }

    #[test]
    fn nothing_undoes_a_distrust() {
        let key = RSA.idp_key();
        for print in [key.fingerprint(), key.key_print()] {
            let book = KeyBook::default();
            book.distrust_prints(&[print]);
            for approves in [false, true] {
                assert_eq!(standings(&book, approves, std::slice::from_ref(&key)), [Distrusted]);
                assert_eq!(book.settle_keys("corp", approves, std::slice::from_ref(&key), NOW), []);
                book.approve_key("corp", &key.key_print(), NOW);
                assert_eq!(standings(&reread(&book), approves, std::slice::from_ref(&key)), [Distrusted]);
            }
            assert_eq!(standings(&book, false, &[P256.idp_key()]), [InForce], "and nobody else's");
        }
    }

    #[test]
    fn a_provider_that_changes_its_keys_without_end_is_not_remembered_without_end() {
        let book = KeyBook::default();
        let key = |number: u32| {
            let mut certificate = [0; 32];
            certificate[..4].copy_from_slice(&number.to_be_bytes());
            let since = Timestamp(i64::from(number));
            BookedKey { certificate, key: certificate, state: BookedState::Gone, since }
        };
        let kept = (0..100).map(|number| ("corp".to_owned(), key(number)));
        let many = KeyBook::new([], kept);
        many.settle_keys("corp", false, &[RSA.idp_key()], NOW);
        let idps = many.list_keys().idps;
        assert_eq!(idps[0].1.len(), MOST_GONE + 1);
        assert!(idps[0].1.contains(&key(99)) && !idps[0].1.contains(&key(0)), "the oldest are forgotten");
        assert!(book.take_unsaved("corp").is_none());
    }

    #[test]
    fn what_the_store_has_not_got_is_offered_again() {
        let book = KeyBook::default();
        let keys = [Forger::idp_key(&RSA)];
        book.settle_keys("corp", false, &keys, NOW);
        assert_eq!(book.take_unsaved("corp").unwrap().len(), 1);
        assert!(book.take_unsaved("corp").is_none());
        book.keep_unsaved("corp");
        assert!(book.take_unsaved("corp").is_some());
        book.settle_keys("corp", false, &keys, NOW);
        assert!(book.take_unsaved("corp").is_none(), "nothing has changed");
    }
}

//! The key by which subjects are hashed that must be known again after everything else about a person is gone.
//!
//! It is random and lives in the database, sealed by the master key. So a master key can be replaced, by whoever has
//! both, and what was hashed keeps its meaning; and whether the seal opens says whether a master key is the one that
//! this database was written with.

use std::fmt;

use ring::hmac;
use zeroize::Zeroizing;

use crate::keyring::compute_mac;
use crate::{Keyring, Purpose, Random};

/// A key for hashes of subjects: 32 random bytes.
pub struct BarKey {
    bytes: Zeroizing<[u8; 32]>,
    key: hmac::Key,
}

impl BarKey {
    /// A key nobody has had before.
    pub fn new(random: &mut Random) -> Self {
        Self::from_bytes(Zeroizing::new(random.draw_bytes()))
    }

    fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &*bytes), bytes }
    }

    /// The keyed hash of a subject, of its parts in order. No two lists of parts give the same message.
    pub fn hash(&self, parts: &[&str]) -> [u8; 32] {
        let message = parts.iter().map(|part| format!("{}:{part}", part.len())).collect::<String>();
        compute_mac(&self.key, message.as_bytes())
    }

    /// The key as the database keeps it under the number `id`.
    pub fn seal(&self, id: i64, keys: &Keyring, random: &mut Random) -> Vec<u8> {
        keys.seal(Purpose::Tombstone, &bar_context(id), &*self.bytes, random)
    }

    /// Opens what [`seal`](Self::seal) made. `None` where another master key, or another number, sealed it.
    pub fn open(id: i64, sealed: &[u8], keys: &Keyring) -> Option<Self> {
        let plain = Zeroizing::new(keys.open(Purpose::Tombstone, &bar_context(id), sealed)?);
        let bytes: [u8; 32] = plain.as_slice().try_into().ok()?;
        Some(Self::from_bytes(Zeroizing::new(bytes)))
    }
}

impl fmt::Debug for BarKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BarKey(hidden)")
    }
}

fn bar_context(id: i64) -> Vec<u8> {
    [b"bar key ".as_slice(), &id.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(seed: u8) -> Keyring {
        Keyring::from_master(&[seed; 32])
    }

    #[test]
    fn it_opens_with_its_own_master_key_and_number_only_and_hashes_as_before() {
        let mut random = Random::from_seed(1);
        let key = BarKey::new(&mut random);
        let sealed = key.seal(1, &ring(7), &mut random);
        let opened = BarKey::open(1, &sealed, &ring(7)).unwrap();
        assert_eq!(opened.hash(&["https://idp.test", "s1"]), key.hash(&["https://idp.test", "s1"]));
        assert!(BarKey::open(1, &sealed, &ring(8)).is_none());
        assert!(BarKey::open(2, &sealed, &ring(7)).is_none());
        assert!(BarKey::open(1, &sealed[1..], &ring(7)).is_none());
    }

    #[test]
    fn a_new_master_key_keeps_every_hash() {
        let mut random = Random::from_seed(2);
        let sealed = BarKey::new(&mut random).seal(1, &ring(7), &mut random);
        let before = BarKey::open(1, &sealed, &ring(7)).unwrap();
        let sealed = before.seal(1, &ring(8), &mut random);
        let after = BarKey::open(1, &sealed, &ring(8)).unwrap();
        assert_eq!(before.hash(&["a", "b"]), after.hash(&["a", "b"]));
    }

    #[test]
    fn parts_cannot_be_shifted_into_each_other_and_nothing_shows_the_key() {
        let key = BarKey::new(&mut Random::from_seed(3));
        assert_ne!(key.hash(&["ab", "c"]), key.hash(&["a", "bc"]));
        assert_ne!(key.hash(&["a", "b"]), key.hash(&["a1:b"]));
        assert_ne!(key.hash(&["a", "b"]), BarKey::new(&mut Random::from_seed(4)).hash(&["a", "b"]));
        assert_eq!(format!("{key:?}"), "BarKey(hidden)");
    }
}

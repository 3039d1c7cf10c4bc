//! The keys of a deployment, derived from one master key (HKDF-SHA256, RFC 5869), and what they do to values:
//! keyed hashes and sealing (AES-256-GCM).
//!
//! Every sealed value and cookie starts with the id of the key it was made with, so that a ring of a current and a
//! previous key can come without a change of form. A value sealed for one purpose or context opens for no other.

use std::fmt;

use ring::{aead, hmac};

use crate::Random;

/// The purpose of a key. One key each: a value made for one purpose is worthless for every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Login state, sealed into the browser's own cookie.
    Login,
    /// The part of a session that only we may read: the ID token for the logout at the IdP.
    Session,
    /// Tokens on our own forms: the logout button.
    Form,
    /// SCIM tokens: the store keeps the hash.
    ScimToken,
    /// The remains of a removed person: names that must not come back by themselves.
    Tombstone,
    /// The keys that sign the header for applications.
    Assertion,
}

/// The number of purposes.
const PURPOSES: usize = Purpose::Assertion as usize + 1;

/// The id of the one key set this build makes.
pub(crate) const KEY_ID: u8 = 1;

const SALT: usize = 16;
const NONCE: usize = aead::NONCE_LEN;
/// The length of what stands before the ciphertext: key id, salt, nonce.
const HEAD: usize = 1 + SALT + NONCE;
const TAG: usize = 16;

/// All keys of a deployment. Made once at start; shared freely, for nothing in it changes.
pub struct Keyring {
    hashing: [hmac::Key; PURPOSES],
    sealing: [hmac::Key; PURPOSES],
    pub(crate) cookie: hmac::Key,
}

impl Keyring {
    /// Derives every key from the master key.
    pub fn from_master(master: &[u8; 32]) -> Self {
        let root = extract_root(master);
        Self {
            hashing: derive_keys(&root, "hash"),
            sealing: derive_keys(&root, "seal"),
            cookie: hmac::Key::new(hmac::HMAC_SHA256, &expand_key(&root, b"portcullis 1 cookie")),
        }
    }

    /// The keyed hash of a secret, for look-ups by a value that must not be stored.
    pub fn hash(&self, purpose: Purpose, secret: &[u8]) -> [u8; 32] {
        compute_mac(&self.hashing[purpose as usize], secret)
    }

    /// Seals a value: whoever holds it can neither read nor change it. `context` says where it belongs (a flow, a
    /// row) and must be the same when it is opened. The result is 45 bytes longer than the value.
    pub fn seal(&self, purpose: Purpose, context: &[u8], plain: &[u8], random: &mut Random) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(HEAD + plain.len() + TAG);
        sealed.push(KEY_ID);
        sealed.extend(random.draw_bytes::<{ SALT + NONCE }>());
        let (key, nonce) = self.message_key(purpose, &sealed);
        let mut body = plain.to_vec();
        #[allow(
            clippy::expect_used,
            reason = "ring refuses only above 64 GiB, and nothing we seal is a thousandth"
        )]
        key.seal_in_place_append_tag(nonce, aead::Aad::from(context), &mut body)
            .expect("short enough to seal");
        sealed.extend(body);
        sealed
    }

    /// Opens a sealed value. `None` where the purpose or the context is another or a single bit has changed.
    pub fn open(&self, purpose: Purpose, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.len() < HEAD + TAG || sealed[0] != KEY_ID {
            return None;
        }
        let (head, body) = sealed.split_at(HEAD);
        let (key, nonce) = self.message_key(purpose, head);
        let mut body = body.to_vec();
        let length = key.open_in_place(nonce, aead::Aad::from(context), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    /// Each value has its own key, derived from its salt: strangers can make us seal as often as they like (they
    /// only have to start logins), and random nonces under one key would wear out after some 2^32 of them.
    fn message_key(&self, purpose: Purpose, head: &[u8]) -> (aead::LessSafeKey, aead::Nonce) {
        let (salted, nonce) = head[..HEAD].split_at(1 + SALT);
        let key = compute_mac(&self.sealing[purpose as usize], salted);
        let mut bytes = [0; NONCE];
        bytes.copy_from_slice(nonce);
        #[allow(clippy::expect_used, reason = "the key has the 32 bytes that AES-256 asks for")]
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, &key).expect("a key of 32 bytes");
        (aead::LessSafeKey::new(key), aead::Nonce::assume_unique_for_key(bytes))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

fn derive_keys(root: &hmac::Key, use_: &str) -> [hmac::Key; PURPOSES] {
    use Purpose::*;
    [Login, Session, Form, ScimToken, Tombstone, Assertion].map(|purpose| {
        let label = match purpose {
            Login => "login",
            Session => "session",
            Form => "form",
            ScimToken => "scim-token",
            Tombstone => "tombstone",
            Assertion => "assertion",
        };
        let bytes = expand_key(root, format!("portcullis 1 {use_} {label}").as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, &bytes)
    })
}

/// HKDF-Extract with a salt of our own.
fn extract_root(master: &[u8]) -> hmac::Key {
    let salt = hmac::Key::new(hmac::HMAC_SHA256, b"portcullis");
    hmac::Key::new(hmac::HMAC_SHA256, &compute_mac(&salt, master))
}

/// HKDF-Expand for the one block of 32 bytes that each key needs.
fn expand_key(root: &hmac::Key, info: &[u8]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(root);
    context.update(info);
    context.update(&[1]);
    tag_bytes(&context.sign())
}

pub(crate) fn compute_mac(key: &hmac::Key, message: &[u8]) -> [u8; 32] {
    tag_bytes(&hmac::sign(key, message))
}

fn tag_bytes(tag: &hmac::Tag) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::hkdf;

    fn ring() -> Keyring {
        Keyring::from_master(&[7; 32])
    }

    #[test]
    fn derivation_is_hkdf() {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis").extract(&[7; 32]);
        let mut wanted = [0; 32];
        prk.expand(&[b"some info"], hkdf::HKDF_SHA256).unwrap().fill(&mut wanted).unwrap();
        assert_eq!(expand_key(&extract_root(&[7; 32]), b"some info"), wanted);
    }

    #[test]
    fn each_purpose_and_each_master_hashes_otherwise() {
        let token = b"the same token";
        let one = ring().hash(Purpose::ScimToken, token);
        assert_eq!(one, ring().hash(Purpose::ScimToken, token));
        assert_ne!(one, ring().hash(Purpose::Form, token));
        assert_ne!(one, Keyring::from_master(&[8; 32]).hash(Purpose::ScimToken, token));
    }

    #[test]
    fn the_same_value_is_never_sealed_the_same_way() {
        let (ring, mut random) = (ring(), Random::from_seed(1));
        let first = ring.seal(Purpose::Login, b"flow", b"state", &mut random);
        let second = ring.seal(Purpose::Login, b"flow", b"state", &mut random);
        assert_ne!(first, second);
        assert_eq!(first.len(), b"state".len() + 45);
    }

    #[test]
    fn a_sealed_value_opens_only_where_it_belongs() {
        let (ring, mut random) = (ring(), Random::from_seed(2));
        let sealed = ring.seal(Purpose::Login, b"flow-1", b"state", &mut random);
        assert_eq!(ring.open(Purpose::Login, b"flow-1", &sealed).as_deref(), Some(&b"state"[..]));
        assert_eq!(ring.open(Purpose::Login, b"flow-2", &sealed), None);
        assert_eq!(ring.open(Purpose::Session, b"flow-1", &sealed), None);
        assert_eq!(Keyring::from_master(&[8; 32]).open(Purpose::Login, b"flow-1", &sealed), None);
        for short in 0..sealed.len() {
            assert_eq!(ring.open(Purpose::Login, b"flow-1", &sealed[..short]), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_comes_back_and_a_flipped_bit_does_not(
            plain in proptest::collection::vec(any::<u8>(), 0..200), seed: u64, at: proptest::sample::Index, bit in 0..8u8,
        ) {
            let ring = ring();
            let mut sealed = ring.seal(Purpose::Session, b"row", &plain, &mut Random::from_seed(seed));
            prop_assert_eq!(ring.open(Purpose::Session, b"row", &sealed), Some(plain));
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(ring.open(Purpose::Session, b"row", &sealed), None);
        }

        #[test]
        fn junk_opens_nothing(junk in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(ring().open(Purpose::Login, b"", &junk), None);
        }
    }
}

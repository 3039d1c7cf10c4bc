//! The session cookie: 128 random bits and a tag, 44 characters of base64url.
//!
//! The tag covers the app, so a cookie of one app is worthless at another, and a wrong tag never causes a look-up:
//! nobody can probe the store with invented ids. The store and the caches know the hash of the id only.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_policy::{AppId, SessionHash};
use ring::digest;
use zeroize::Zeroizing;

use crate::keyring::{KEY_ID, compute_mac};
use crate::{Keyring, Random, Secret, equal_bytes};

/// The secret by which a browser proves its session: 128 random bits. It goes into the cookie and nowhere else.
pub struct SessionId(Zeroizing<[u8; 16]>);

impl SessionId {
    /// The hash by which the rest of the program knows a session. Not keyed: 128 random bits cannot be guessed back,
    /// and a change of keys must not sign everybody out.
    pub fn hash(&self) -> SessionHash {
        hash_id(&*self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(hidden)")
    }
}

const ID: usize = 16;
const TAG: usize = 16;
/// Key id, session id, tag: 33 bytes, a whole number of base64 groups, so each value has one spelling.
const COOKIE: usize = 1 + ID + TAG;
const TEXT: usize = COOKIE / 3 * 4;

impl Keyring {
    /// A new session: its id for the cookie, its hash for everybody else.
    pub fn new_session(&self, random: &mut Random) -> (SessionId, SessionHash) {
        let id = SessionId(Zeroizing::new(random.draw_bytes()));
        let hash = id.hash();
        (id, hash)
    }

    /// The cookie's value for an app.
    pub fn seal_cookie(&self, app: AppId, id: &SessionId) -> Secret {
        let mut cookie = Zeroizing::new([0; COOKIE]);
        cookie[0] = KEY_ID;
        cookie[1..=ID].copy_from_slice(&*id.0);
        let tag = self.session_tag(app, &cookie[..=ID]);
        cookie[1 + ID..].copy_from_slice(&tag[..TAG]);
        Secret::new(URL_SAFE_NO_PAD.encode(*cookie))
    }

    /// The session a cookie speaks of; `None` for anything that this keyring did not make for this app. Constant
    /// time over the tag, nothing is allocated: every request comes through here.
    pub fn open_cookie(&self, app: AppId, value: &[u8]) -> Option<SessionHash> {
        let mut cookie = [0; COOKIE];
        if value.len() != TEXT || URL_SAFE_NO_PAD.decode_slice(value, &mut cookie).ok()? != COOKIE {
            return None;
        }
        let (id, tag) = cookie.split_at(1 + ID);
        if id[0] != KEY_ID || !equal_bytes(&self.session_tag(app, id)[..TAG], tag) {
            return None;
        }
        Some(hash_id(&id[1..]))
    }

    fn session_tag(&self, app: AppId, id: &[u8]) -> [u8; 32] {
        let mut message = [0; 4 + 1 + ID];
        message[..4].copy_from_slice(&app.0.to_be_bytes());
        message[4..].copy_from_slice(id);
        compute_mac(&self.cookie, &message)
    }
}

fn hash_id(id: &[u8]) -> SessionHash {
    const DOMAIN: &[u8; 18] = b"portcullis session";
    let mut message = [0; DOMAIN.len() + ID];
    message[..DOMAIN.len()].copy_from_slice(DOMAIN);
    message[DOMAIN.len()..].copy_from_slice(id);
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, &message).as_ref());
    SessionHash(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring() -> Keyring {
        Keyring::from_master(&[7; 32])
    }

    #[test]
    fn a_cookie_opens_at_its_own_app_with_its_own_keys_only() {
        let ring = ring();
        let (id, hash) = ring.new_session(&mut Random::from_seed(1));
        let cookie = ring.seal_cookie(AppId(1), &id);
        assert_eq!(cookie.expose().len(), 44);
        assert_eq!(ring.open_cookie(AppId(1), cookie.expose().as_bytes()), Some(hash));
        assert_eq!(ring.open_cookie(AppId(2), cookie.expose().as_bytes()), None);
        let other = Keyring::from_master(&[8; 32]);
        assert_eq!(other.open_cookie(AppId(1), cookie.expose().as_bytes()), None);
    }

    #[test]
    fn nothing_shows_the_id() {
        let ring = ring();
        let (id, _) = ring.new_session(&mut Random::from_seed(1));
        assert_eq!(
            format!("{id:?} {:?}", ring.seal_cookie(AppId(1), &id)),
            "SessionId(hidden) Secret(hidden)"
        );
    }

    #[test]
    fn each_session_has_an_id_of_its_own() {
        let (ring, mut random) = (ring(), Random::from_system());
        let mut seen = std::collections::HashSet::new();
        assert!((0..1000).all(|_| seen.insert(ring.new_session(&mut random).1)));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_the_content_is_refused(seed: u64, app: u32, bit in 0..COOKIE * 8) {
            let ring = ring();
            let (id, hash) = ring.new_session(&mut Random::from_seed(seed));
            let cookie = ring.seal_cookie(AppId(app), &id);
            let mut bytes = URL_SAFE_NO_PAD.decode(cookie.expose()).unwrap();
            prop_assert_eq!(ring.open_cookie(AppId(app), cookie.expose().as_bytes()), Some(hash));
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(ring.open_cookie(AppId(app), changed.as_bytes()), None);
        }

        #[test]
        fn any_changed_character_is_refused(seed: u64, at in 0..TEXT, byte: u8) {
            let ring = ring();
            let (id, _) = ring.new_session(&mut Random::from_seed(seed));
            let mut text = ring.seal_cookie(AppId(1), &id).expose().as_bytes().to_vec();
            prop_assume!(text[at] != byte);
            text[at] = byte;
            prop_assert_eq!(ring.open_cookie(AppId(1), &text), None);
        }

        #[test]
        fn another_app_is_refused(seed: u64, app: u32, other: u32) {
            prop_assume!(app != other);
            let ring = ring();
            let (id, _) = ring.new_session(&mut Random::from_seed(seed));
            let cookie = ring.seal_cookie(AppId(app), &id);
            prop_assert_eq!(ring.open_cookie(AppId(other), cookie.expose().as_bytes()), None);
        }

        #[test]
        fn junk_is_refused(junk in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(ring().open_cookie(AppId(1), &junk), None);
        }
    }
}

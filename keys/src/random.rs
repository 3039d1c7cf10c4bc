//! Randomness, passed in like the clock: the system's own, or a stream from a seed for tests.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::Secret;
use crate::keyring::compute_mac;

/// A source of random bytes.
pub struct Random(Source);

enum Source {
    System(SystemRandom),
    Seeded { key: hmac::Key, blocks: u64 },
}

impl Random {
    /// The system's generator: the one for everything that runs.
    pub fn from_system() -> Self {
        Self(Source::System(SystemRandom::new()))
    }

    /// A stream that is the same for the same seed: for tests that must be repeatable, never for secrets.
    pub fn from_seed(seed: u64) -> Self {
        Self(Source::Seeded { key: hmac::Key::new(hmac::HMAC_SHA256, &seed.to_be_bytes()), blocks: 0 })
    }

    /// Fills `out` with random bytes.
    ///
    /// # Panics
    /// Where the system has no randomness to give. There is nothing safe to do without it; Linux does not refuse
    /// once it has booted.
    pub fn fill_bytes(&mut self, out: &mut [u8]) {
        match &mut self.0 {
            Source::System(system) => {
                if system.fill(out).is_err() {
                    panic!("the system gives no random bytes; nothing can be signed or sealed safely");
                }
            }
            Source::Seeded { key, blocks } => {
                for chunk in out.chunks_mut(32) {
                    chunk.copy_from_slice(&compute_mac(key, &blocks.to_be_bytes())[..chunk.len()]);
                    *blocks += 1;
                }
            }
        }
    }

    /// `N` random bytes.
    pub fn draw_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill_bytes(&mut out);
        out
    }

    /// A reference number for people to read to each other: `7Q2M-X4KD`, 40 random bits.
    pub fn draw_reference(&mut self) -> String {
        let letters = self.draw_bytes::<8>().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
        let (first, second) = letters.split_at(4);
        first.iter().chain(&['-']).chain(second).collect()
    }

    /// A token of 256 random bits, 43 characters of base64url.
    pub fn draw_token(&mut self) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(self.draw_bytes::<32>()))
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System(_) => "Random(system)",
            Source::Seeded { .. } => "Random(seeded)",
        })
    }
}

/// Crockford's base 32: no I, L, O or U, so 0 and 1 cannot be misread.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A reference number as somebody typed it, in its one spelling: case, blanks and the dash do not matter, O is 0,
/// I and L are 1. `None` where it cannot be one.
pub fn read_reference(typed: &str) -> Option<String> {
    let mut reference = String::with_capacity(9);
    for letter in typed.chars().filter(|letter| !matches!(letter, ' ' | '-')) {
        let letter = match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if !ALPHABET.iter().any(|known| char::from(*known) == letter) || reference.len() == 9 {
            return None;
        }
        if reference.len() == 4 {
            reference.push('-');
        }
        reference.push(letter);
    }
    (reference.len() == 9).then_some(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_stream_and_another_seed_another() {
        let stream = |seed| Random::from_seed(seed).draw_bytes::<100>();
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
        let mut random = Random::from_seed(1);
        assert_ne!(random.draw_bytes::<32>(), random.draw_bytes::<32>());
    }

    #[test]
    fn the_system_does_not_repeat_itself() {
        assert_ne!(Random::from_system().draw_bytes::<32>(), Random::from_system().draw_bytes::<32>());
    }

    #[test]
    fn references_have_their_form_and_are_read_back() {
        let mut random = Random::from_seed(3);
        for _ in 0..200 {
            let reference = random.draw_reference();
            assert_eq!(reference.len(), 9);
            assert_eq!(read_reference(&reference), Some(reference.clone()));
            assert_eq!(read_reference(&reference.to_lowercase().replace('-', " ")), Some(reference));
        }
    }

    #[test]
    fn typed_references_are_forgiven_or_refused() {
        assert_eq!(read_reference("oil2-3456").as_deref(), Some("0112-3456"));
        for wrong in ["", "7Q2M", "7Q2M-X4K", "7Q2M-X4KDD", "7Q2M-X4KU", "7Q2M-X4K\u{c9}", "7Q2M_X4KD"] {
            assert_eq!(read_reference(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn tokens_are_43_characters() {
        assert_eq!(Random::from_system().draw_token().expose().len(), 43);
    }

    proptest::proptest! {
        #[test]
        fn reading_a_reference_twice_changes_nothing(typed in "\\PC{0,12}") {
            if let Some(read) = read_reference(&typed) {
                proptest::prop_assert_eq!(read_reference(&read), Some(read));
            }
        }
    }
}

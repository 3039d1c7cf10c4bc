//! Text that must not be seen: it hides in `Debug`, has no `Display`, and is wiped when dropped.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A secret text. It shows itself only to whoever calls [`Secret::expose`].
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: for the wire, never for a log, an error or a page.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        equal_bytes(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl Eq for Secret {}

/// Tells whether two secrets are the same, in a time that depends on their lengths only.
pub fn equal_bytes(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    // Every piece is looked at, whatever is found: the last comparison is the only one that decides.
    let mut differs = 0;
    for (left, right) in left.iter().zip(right) {
        differs |= u64::from_ne_bytes(*left) ^ u64::from_ne_bytes(*right);
    }
    for (left, right) in left_rest.iter().zip(right_rest) {
        differs |= u64::from(left ^ right);
    }
    std::hint::black_box(differs).ct_eq(&0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(hidden) Some(Secret(hidden))");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn secrets_are_equal_byte_for_byte() {
        for (left, right, same) in [("", "", true), ("a", "a", true), ("a", "A", false), ("a", "ab", false)] {
            assert_eq!(Secret::new(left) == Secret::new(right), same, "{left:?} and {right:?}");
        }
        for length in 0..40 {
            let secret = vec![0xa5; length];
            assert!(equal_bytes(&secret, &secret.clone()), "{length}");
            for at in 0..length {
                for bit in 0..8 {
                    let mut other = secret.clone();
                    other[at] ^= 1 << bit;
                    assert!(!equal_bytes(&secret, &other), "bit {bit} of byte {at} of {length}");
                }
            }
        }
    }
}

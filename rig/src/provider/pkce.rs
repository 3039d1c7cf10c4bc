//! Proof Key for Code Exchange (RFC 7636), S256 alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_keys::{equal_bytes, sha256};

pub(super) fn s256_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()))
}

/// A challenge is the base64url of 32 bytes.
pub(super) fn is_s256(challenge: &str) -> bool {
    URL_SAFE_NO_PAD.decode(challenge).is_ok_and(|bytes| bytes.len() == 32)
}

/// Tells whether a verifier is one, and that of this challenge.
pub(super) fn fits(verifier: &str, challenge: &str) -> bool {
    is_verifier(verifier) && equal_bytes(s256_challenge(verifier).as_bytes(), challenge.as_bytes())
}

/// 43 to 128 unreserved characters (RFC 7636 §4.1).
fn is_verifier(verifier: &str) -> bool {
    (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

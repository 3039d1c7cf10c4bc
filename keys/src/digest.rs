//! Hashes of public bytes, without a key: what standards name (PKCE's S256, RFC 7636 §4.2; `at_hash`, OIDC Core
//! §3.1.3.8) and short stable names.
//!
//! Secrets are hashed by [`crate::Keyring::hash`] instead, which is keyed.

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest_with(&ring::digest::SHA256, bytes)
}

/// The SHA-384 of `bytes`.
pub fn sha384(bytes: &[u8]) -> [u8; 48] {
    digest_with(&ring::digest::SHA384, bytes)
}

/// The SHA-512 of `bytes`.
pub fn sha512(bytes: &[u8]) -> [u8; 64] {
    digest_with(&ring::digest::SHA512, bytes)
}

/// The SHA-1 of `bytes`: for old XML signatures, where somebody chose to take them.
pub(crate) fn legacy_sha1(bytes: &[u8]) -> [u8; 20] {
    digest_with(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes)
}

fn digest_with<const LENGTH: usize>(
    algorithm: &'static ring::digest::Algorithm,
    bytes: &[u8],
) -> [u8; LENGTH] {
    let mut out = [0; LENGTH];
    out.copy_from_slice(ring::digest::digest(algorithm, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_examples() {
        assert_eq!(sha256(b"")[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        assert_eq!(sha256(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(sha384(b"abc")[..4], [0xcb, 0x00, 0x75, 0x3f]);
        assert_eq!(sha512(b"abc")[..4], [0xdd, 0xaf, 0x35, 0xa1]);
        assert_eq!(legacy_sha1(b"abc")[..4], [0xa9, 0x99, 0x3e, 0x36]);
    }
}

//! The engine: libxmlsec1 by samael, which verifies what the second opinion has verified and gives the text it digested.
//!
//! Used as nothing but that: no policy of samael's is relied on. It sees documents that are plain, whose signatures are
//! built in the one way, and that a known key has signed.

use samael::crypto::{AllowedSignatureAlgorithm, CertificateDer, Crypto, CryptoProvider as _, ReduceMode};

use super::engine_guard::prepare_engine;
use super::idp_key::IdpKey;

const ALGORITHMS: [AllowedSignatureAlgorithm; 6] = [
    AllowedSignatureAlgorithm::RsaSha256,
    AllowedSignatureAlgorithm::RsaSha384,
    AllowedSignatureAlgorithm::RsaSha512,
    AllowedSignatureAlgorithm::EcdsaSha256,
    AllowedSignatureAlgorithm::EcdsaSha384,
    AllowedSignatureAlgorithm::EcdsaSha512,
];

/// Verifies every signature of a document by `keys`, all of one family, and gives the canonical text of what the
/// outermost one signs.
///
/// `with_sha1` leaves the methods to `signature.rs`, which has checked them: samael has no name for RSA-SHA1.
pub(super) fn reduce_to_signed(text: &str, keys: &[&IdpKey], with_sha1: bool) -> Result<String, String> {
    if !keys.first().is_some_and(|key| prepare_engine(key)) {
        return Err("the XML signature library cannot be initialized".to_owned());
    }
    let certificates: Vec<_> =
        keys.iter().map(|key| CertificateDer::from(key.certificate().to_vec())).collect();
    let allowed = (!with_sha1).then_some(&ALGORITHMS[..]);
    let reduced = Crypto::reduce_xml_to_signed_with_allowed_algorithms(
        text,
        &certificates,
        ReduceMode::PreDigest,
        allowed,
    );
    // Failed checks leave entries in OpenSSL's queue of this thread, which would be read as a later call's.
    let _ = openssl::error::ErrorStack::get();
    reduced.map_err(|error| error.to_string())
}

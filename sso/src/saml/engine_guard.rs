//! The two calls into libxmlsec1 that samael does not have: it never opens a file or a socket, and writes nothing to
//! our standard error.
//!
//! The only `unsafe` of this crate. Documents that pass `shape.rs` and `signature.rs` refer to nothing outside; this
//! holds even where they would.

use std::ffi::c_int;
use std::sync::OnceLock;

use samael::crypto::{CertificateDer, Crypto, CryptoProvider as _};

use super::idp_key::IdpKey;

// SAFETY: both are declared as in xmlsec/io.h and xmlsec/errors.h, take no pointers, and keep no promise of their
// caller's but that the library is initialized and nobody else is inside; `prepare_engine` keeps that one.
#[allow(unsafe_code, reason = "the calls are not in samael")]
unsafe extern "C" {
    safe fn xmlSecIOCleanupCallbacks();
    safe fn xmlSecErrorsDefaultCallbackEnableOutput(enabled: c_int);
}

/// Prepares the engine once; false where it cannot be initialized.
///
/// Every use of the engine comes through here first, so nobody is inside while the callbacks are taken out. The key is
/// any one: samael initializes the library when it is first given one.
pub(super) fn prepare_engine(key: &IdpKey) -> bool {
    static IS_READY: OnceLock<bool> = OnceLock::new();
    *IS_READY.get_or_init(|| {
        let certificate = CertificateDer::from(key.certificate().to_vec());
        let outcome = Crypto::verify_signed_xml("<empty/>", &certificate, None);
        xmlSecIOCleanupCallbacks();
        xmlSecErrorsDefaultCallbackEnableOutput(0);
        // No signature is found in it: the library is up.
        outcome.is_err_and(|error| {
            std::error::Error::source(&error).is_some_and(|cause| cause.to_string() == "Failed to find node")
        })
    })
}

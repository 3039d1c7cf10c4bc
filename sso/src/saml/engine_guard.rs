//! The two calls into libxmlsec1 that samael does not have: it never opens a file or a socket, and writes nothing to
//! our standard error.
//!
//! The only `unsafe` of this crate. Documents that pass `shape.rs` and `signature.rs` refer to nothing outside; this
//! holds even where they would.

use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};

use samael::crypto::{CertificateDer, Crypto, CryptoProvider as _};

use super::idp_key::IdpKey;

// SAFETY: both are declared as in xmlsec/io.h and xmlsec/errors.h, take no pointers, and keep no promise of their
// caller's but that the library is initialized and nobody else is inside; `prepare_engine` keeps that one.
#[allow(unsafe_code, reason = "the calls are not in samael")]
unsafe extern "C" {
    safe fn xmlSecIOCleanupCallbacks();
    safe fn xmlSecErrorsDefaultCallbackEnableOutput(enabled: c_int);
}

/// Prepares the engine before its first use; false where it cannot be initialized.
///
/// Every use of the engine comes through here first, so nobody is inside while the callbacks are taken out. The key is
/// any one: samael initializes the library when it is first given one.
pub(super) fn prepare_engine(key: &IdpKey) -> bool {
    static IS_READY: Mutex<bool> = Mutex::new(false);
    let mut is_ready = IS_READY.lock().unwrap_or_else(PoisonError::into_inner);
    if !*is_ready {
        let certificate = CertificateDer::from(key.certificate().to_vec());
        let outcome = Crypto::verify_signed_xml("<empty/>", &certificate, None);
        xmlSecIOCleanupCallbacks();
        xmlSecErrorsDefaultCallbackEnableOutput(0);
        // That no signature is found in it says that the library is up.
        *is_ready = outcome.is_err_and(|error| {
            std::error::Error::source(&error).is_some_and(|cause| cause.to_string() == "Failed to find node")
        });
    }
    *is_ready
}

#[cfg(test)]
mod tests {
    use super::super::engine::reduce_to_signed;
    use super::super::forge::{PLACE, RSA, Wanted};
    use super::*;
    use samael::crypto::ReduceMode;

    #[test]
    fn the_engine_reads_no_file_though_a_signed_reference_names_one() {
        let key = RSA.idp_key();
        assert!(prepare_engine(&key));
        let path = std::env::temp_dir().join(format!("portcullis-reference-{}", std::process::id()));
        std::fs::write(&path, "what is in the file").unwrap();
        let uri = format!("file://{}", path.display());
        // The signature and the digest are right: whoever reads the file takes the document.
        let wanted = Wanted { uri: Some(&uri), referred: Some(b"what is in the file"), ..RSA.ordinary() };
        let text = RSA.sign(&format!("<a ID=\"b\">{PLACE}</a>"), "b", &wanted);
        let certificates = [CertificateDer::from(key.certificate().to_vec())];
        let outcome = Crypto::reduce_xml_to_signed(&text, &certificates, ReduceMode::PreDigest);
        std::fs::remove_file(&path).unwrap();
        assert!(outcome.is_err(), "{outcome:?}");

        let text = RSA.sign(&format!("<a ID=\"b\">{PLACE}</a>"), "b", &RSA.ordinary());
        assert_eq!(reduce_to_signed(&text, &[&key], false).unwrap(), "<a ID=\"b\"></a>");
    }
}

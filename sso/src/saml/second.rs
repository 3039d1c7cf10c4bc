//! The second opinion: a signature verified in Rust alone, over our own tree by our own canonicalization.
//!
//! It is asked first. A message that no known key has signed therefore never reaches a library in C, and one that
//! reaches it must give the very text that was verified here.

use portcullis_keys::equal_bytes;

use super::canonical::canonicalize_element;
use super::idp_key::{IdpKey, find_signer, show_fingerprint};
use super::signature::SignatureShape;
use crate::{Class, LoginRefusal};

/// A signature that was verified: the key that made it, and the text that it is over.
pub(crate) struct VerifiedSignature<'a> {
    pub(crate) key: &'a IdpKey,
    pub(crate) text: String,
}

/// Verifies a signature by one of the known keys of its family that are in force.
///
/// # Errors
/// `signature_invalid`, where no known key made it or what it covers was changed; `key_waiting` and `key_distrusted`.
pub(crate) fn verify_signature<'a>(
    shape: &SignatureShape<'_>,
    keys: &'a [IdpKey],
) -> Result<VerifiedSignature<'a>, LoginRefusal> {
    let info = canonicalize_element(shape.signed_info, &shape.info_prefixes, None);
    let key = find_signer(keys, shape.family, shape.hash, info.as_bytes(), &shape.value)
        .map_err(|known| known.unwrap_or_else(|| refuse_key(shape, keys)))?;
    let text = canonicalize_element(shape.signed, &shape.prefixes, Some(shape.element));
    if !equal_bytes(&shape.digest_hash.digest(text.as_bytes()), &shape.digest) {
        return Err(LoginRefusal::new(
            Class::SamlSignatureInvalid,
            "what the identity provider signed",
            format!("{} that was changed after it was signed", shape.signed.local),
            "The key is right and the text is not. Look for a proxy or plugin that rewrites the message; if there is \
             none, keep the response, read it with `portcullis doctor saml` and report it.",
        ));
    }
    Ok(VerifiedSignature { key, text })
}

fn refuse_key(shape: &SignatureShape<'_>, keys: &[IdpKey]) -> LoginRefusal {
    let known: Vec<_> = keys.iter().take(4).map(|key| show_fingerprint(&key.fingerprint())).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let named = shape.named_certificate.as_ref();
    let got = match named.map(show_fingerprint) {
        Some(named)
            if keys.iter().any(|key| Some(&key.fingerprint()) == shape.named_certificate.as_ref()) =>
        {
            format!("one that names the known certificate {named} and that its key did not make")
        }
        Some(named) => format!("one that names the certificate {named}"),
        None => "one of another key".to_owned(),
    };
    LoginRefusal::new(
        Class::SamlSignatureInvalid,
        format!("a signature by a known key of the identity provider (certificates by SHA-256: {known})"),
        got,
        "Most often the identity provider has rotated its certificate: fetch or upload its metadata again. Download it \
         from the signing-certificate screen of its application.",
    )
}

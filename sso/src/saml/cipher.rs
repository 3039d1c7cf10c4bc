//! The ciphers of XML Encryption that we open: AES in GCM, in CBC where something else protects the ciphertext, and
//! RSA-OAEP for their keys. RSA of PKCS#1 v1.5 is not among them, in any case.
//!
//! Whatever does not open is the same to the caller: one `None`.

use std::fmt;

use openssl::md::{Md, MdRef};
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use openssl::symm::{Cipher, Crypter, Mode, decrypt_aead};
use portcullis_keys::Secret;

use crate::{Class, LoginRefusal};

/// The bytes of a block, and of the tag of GCM.
const BLOCK: usize = 16;
/// The bytes of GCM's initialization vector (XML Encryption 1.1 §5.2.4).
const GCM_IV: usize = 12;

/// A private RSA key of ours that an identity provider encrypts to.
#[derive(Clone)]
pub struct DecryptionKey(PKey<Private>);

impl DecryptionKey {
    /// Reads a key out of PEM.
    ///
    /// # Errors
    /// `decrypt`, where it is no RSA key of at least 2048 bits.
    pub fn from_pem(pem: &Secret) -> Result<Self, LoginRefusal> {
        let key = PKey::private_key_from_pem(pem.expose().as_bytes()).ok();
        // What failed is in OpenSSL's queue of this thread.
        let _ = openssl::error::ErrorStack::get();
        key.filter(|key| key.rsa().is_ok() && key.bits() >= 2048).map(Self).ok_or_else(|| {
            LoginRefusal::new(
                Class::SamlDecrypt,
                "a private RSA key of at least 2048 bits, as PEM",
                "something else",
                "Make a new decryption key.",
            )
        })
    }

    /// Decrypts a key that is wrapped for this one.
    pub(super) fn unwrap_key(&self, wrapping: KeyWrapping, wrapped: &[u8]) -> Option<Vec<u8>> {
        let mut context = PkeyCtx::new(&self.0).ok()?;
        context.decrypt_init().ok()?;
        context.set_rsa_padding(Padding::PKCS1_OAEP).ok()?;
        context.set_rsa_oaep_md(wrapping.digest.md()).ok()?;
        context.set_rsa_mgf1_md(wrapping.mask.md()).ok()?;
        let mut key = Vec::new();
        context.decrypt_to_vec(wrapped, &mut key).ok()?;
        Some(key)
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecryptionKey(RSA of {} bits)", self.0.bits())
    }
}

/// A hash within RSA-OAEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OaepHash {
    Sha1,
    Sha256,
}

impl OaepHash {
    fn md(self) -> &'static MdRef {
        match self {
            Self::Sha1 => Md::sha1(),
            Self::Sha256 => Md::sha256(),
        }
    }
}

/// RSA-OAEP: the hash of its label and the hash of its mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyWrapping {
    pub(super) digest: OaepHash,
    pub(super) mask: OaepHash,
}

/// A cipher of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentCipher {
    Gcm128,
    Gcm256,
    Cbc128,
    Cbc256,
}

impl ContentCipher {
    /// The cipher that an algorithm's URI names.
    pub(super) fn from_uri(uri: &str) -> Option<Self> {
        match uri {
            "http://www.w3.org/2009/xmlenc11#aes128-gcm" => Some(Self::Gcm128),
            "http://www.w3.org/2009/xmlenc11#aes256-gcm" => Some(Self::Gcm256),
            "http://www.w3.org/2001/04/xmlenc#aes128-cbc" => Some(Self::Cbc128),
            "http://www.w3.org/2001/04/xmlenc#aes256-cbc" => Some(Self::Cbc256),
            _ => None,
        }
    }

    /// Tells whether the cipher says by itself that its text was changed.
    pub(super) fn is_authenticated(self) -> bool {
        matches!(self, Self::Gcm128 | Self::Gcm256)
    }

    /// The bits of its key.
    pub(super) fn key_bits(self) -> usize {
        self.cipher().key_len() * 8
    }

    fn cipher(self) -> Cipher {
        match self {
            Self::Gcm128 => Cipher::aes_128_gcm(),
            Self::Gcm256 => Cipher::aes_256_gcm(),
            Self::Cbc128 => Cipher::aes_128_cbc(),
            Self::Cbc256 => Cipher::aes_256_cbc(),
        }
    }

    /// Decrypts a text that begins with its initialization vector.
    pub(super) fn decrypt(self, key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        if key.len() != self.cipher().key_len() {
            return None;
        }
        if self.is_authenticated() { self.decrypt_gcm(key, text) } else { self.decrypt_cbc(key, text) }
    }

    fn decrypt_gcm(self, key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let (iv, rest) = text.split_at_checked(GCM_IV)?;
        let (text, tag) = rest.split_at_checked(rest.len().checked_sub(BLOCK)?)?;
        decrypt_aead(self.cipher(), key, Some(iv), &[], text, tag).ok()
    }

    fn decrypt_cbc(self, key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let (iv, text) = text.split_at_checked(BLOCK)?;
        if text.is_empty() || !text.len().is_multiple_of(BLOCK) {
            return None;
        }
        let mut crypter = Crypter::new(self.cipher(), Mode::Decrypt, key, Some(iv)).ok()?;
        crypter.pad(false);
        let mut plain = vec![0; text.len() + BLOCK];
        let written = crypter.update(text, &mut plain).ok()?;
        let rest = crypter.finalize(&mut plain[written..]).ok()?;
        plain.truncate(written + rest);
        // Only the last byte of the padding says anything (XML Encryption §5.2).
        let padding = usize::from(*plain.last()?);
        let length = plain.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding))?;
        plain.truncate(length);
        Some(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::symm::{encrypt, encrypt_aead};

    #[test]
    fn each_cipher_opens_its_own_text_and_nothing_that_is_cut() {
        let text = b"<a>forty-two bytes or some such number</a>";
        for (cipher, length) in [
            (ContentCipher::Gcm128, 16),
            (ContentCipher::Gcm256, 32),
            (ContentCipher::Cbc128, 16),
            (ContentCipher::Cbc256, 32),
        ] {
            let key = vec![7; length];
            let mut sealed = vec![9; if cipher.is_authenticated() { GCM_IV } else { BLOCK }];
            if cipher.is_authenticated() {
                let mut tag = [0; BLOCK];
                let body = encrypt_aead(cipher.cipher(), &key, Some(&sealed), &[], text, &mut tag).unwrap();
                sealed.extend(body);
                sealed.extend(tag);
            } else {
                let body = encrypt(cipher.cipher(), &key, Some(&sealed), text).unwrap();
                sealed.extend(body);
            }
            assert_eq!(cipher.decrypt(&key, &sealed).as_deref(), Some(&text[..]));
            assert_eq!(cipher.decrypt(&key[1..], &sealed), None);
            assert_eq!(cipher.decrypt(&[&key[..], &[7]].concat(), &sealed), None);
            for end in 0..sealed.len() {
                assert_ne!(cipher.decrypt(&key, &sealed[..end]).as_deref(), Some(&text[..]));
                if cipher.is_authenticated() {
                    assert_eq!(cipher.decrypt(&key, &sealed[..end]), None);
                }
            }
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_ne!(cipher.decrypt(&key, &changed).as_deref(), Some(&text[..]));
            }
        }
    }

    #[test]
    fn a_key_is_of_rsa_and_long_enough() {
        let pem = |bits| {
            let rsa = openssl::rsa::Rsa::generate(bits).unwrap();
            let key = PKey::from_rsa(rsa).unwrap();
            Secret::new(String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap())
        };
        assert!(DecryptionKey::from_pem(&pem(2048)).is_ok());
        assert!(DecryptionKey::from_pem(&pem(1024)).is_err());
        assert!(DecryptionKey::from_pem(&Secret::new("-----BEGIN".to_owned())).is_err());
    }
}

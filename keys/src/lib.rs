//! The keyring: seal, open, hash, sign, verify, random; the only crate that names ring

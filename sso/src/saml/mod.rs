//! SAML 2.0: verifies what an identity provider sends through the browser.
//!
//! A message passes one step after another: it is plain XML (`xml.rs`).

mod reader;
mod tag;
mod xml;

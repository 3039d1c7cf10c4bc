//! What the fuzzers hold to be true, apart from the fuzzers, so that the stable compiler can replay their corpora.

pub mod config;
pub mod heads;
pub mod oidc;
pub mod proxy_header;
pub mod readings;
pub mod roster;
pub mod saml;
pub mod saml_messages;
pub mod scim;
pub mod scim_bulk;
pub mod wire;

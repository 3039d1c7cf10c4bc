//! The end-to-end suite: the real program as a child process, real sockets, identity providers and SCIM clients that
//! nobody here wrote, IdP and app on different sites. One file a promise; what they share stands under `rig`.
//!
//! A test whose peer is not installed says so, loudly, and counts as skipped (`rig::peer`). Revocation is asserted by
//! order, never by time: after the SCIM answer was read the upstream writes a marker on every stream, and no client may
//! ever read it.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs)]

mod rig;

mod alerts;
mod attribute_roles;
mod back_channel;
mod bad_input;
mod behind_a_proxy;
mod by_hand;
mod canaille;
mod certificates;
mod checkup;
mod conformance;
mod custom_attributes;
mod dialects;
mod doctor;
mod documents;
mod foreign_http2;
mod grpc;
mod headers;
mod histories;
mod imports;
mod in_a_browser;
mod journeys;
mod leaving;
mod logs;
mod manifests;
mod mapping;
mod messages;
mod metrics;
mod model;
mod packages;
mod play;
mod proxy_protocol;
mod refusals;
mod rehearsal;
mod restart;
mod revocation;
mod rig_itself;
mod runbooks;
mod saml;
mod saml_in_a_browser;
mod saml_keys;
mod saml_unasked;
mod scim;
mod scim_bulk;
mod scim_tls;
mod scim_tokens;
mod scim_version_one;
mod secrets;
mod service_manager;
mod several_idps;
mod shapes;
mod sign_in;
mod signed_header;
mod spellings;
mod standing;
mod store_check;
mod store_failure;
mod streams;
mod symptoms;
mod told_headers;
mod units;
mod upgrade;
mod upstreams;

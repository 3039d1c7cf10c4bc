//! Single sign-on: bytes from an identity provider in, a verified [`Assertion`] or a [`LoginRefusal`] out.
//!
//! OpenID Connect now (`oidc/`). The crate opens no socket: it asks through a [`Fetch`] that the program gives it, and
//! it knows no session and no user of ours. The rule it protects: an assertion exists only after every check has
//! passed; an identity provider that is down, slow or talks nonsense is a refusal with its class, never more.
#![forbid(unsafe_code)]

mod assertion;
mod fetch;
mod idp;
mod oidc;
mod pending;
mod refusal;

pub use assertion::{Assertion, IdpSession, LinkValue, LogoutHint};
pub use fetch::{Fetch, FetchError, is_public};
pub use idp::{Idp, IdpSettings};
pub use oidc::{
    AuthorizationResponse, ClaimNames, LogoutNotice, OidcIdp, OidcSettings, SubjectClaim, Uses, Verified,
};
pub use pending::{Ask, FLOW_MS, Pending};
pub use portcullis_policy::{AllowedHost, ClientAuth};
pub use refusal::{Class, LoginRefusal};

//! Single sign-on: bytes from an identity provider in, a verified [`Assertion`] or a [`LoginRefusal`] out.
//!
//! OpenID Connect (`oidc/`) and SAML 2.0 (`saml/`, a cargo feature). The crate opens no socket: it asks through a
//! [`Fetch`] that the program gives it, and it knows no session and no user of ours. The rule it protects: an assertion exists only after every check has
//! passed; an identity provider that is down, slow or talks nonsense is a refusal with its class, never more.
#![cfg_attr(not(feature = "saml"), forbid(unsafe_code))]

mod assertion;
mod clock_gap;
mod departure;
mod fetch;
mod idp;
mod oidc;
mod pending;
mod refusal;
#[cfg(feature = "saml")]
mod saml;

pub use assertion::{Assertion, IdpSession, LinkValue, LogoutHint, Replay};
pub use clock_gap::read_clock_gap;
pub use departure::{Departure, PostForm};
pub use fetch::{Fetch, FetchError, is_public};
pub use idp::Idp;
pub use oidc::{
    AuthorizationResponse, AuthorizationWord, ClaimNames, ClientWord, LogoutNotice, OidcIdp, OidcInquiry,
    OidcSettings, PublishedKeys, SubjectClaim, Uses, Verified,
};
pub use pending::{Ask, FLOW_MS, Pending};
pub use portcullis_policy::{AllowedHost, ClientAuth};
pub use refusal::{Class, LoginRefusal};
#[cfg(feature = "saml")]
pub use saml::{
    AttributeNames, AttributeSources, BookListing, BookedKey, BookedState, DecryptionKey, Examination,
    IdpKey, Keep, KeyBook, KeyStanding, LogoutArrival, LogoutMessage, MetadataSource, NameId, PinnedKey,
    ReceivedResponse, Renewal, SamlAttribute, SamlCheck, SamlExpectations, SamlIdp, SamlInquiry,
    SamlSettings, SpKeys, VerifiedResponse, read_response, verify_response,
};
#[cfg(feature = "saml")]
pub use saml::{
    AuthnRequest, IdpMetadata, LogoutExpectations, LogoutOutcome, LogoutRequest, LogoutResponse,
    MetadataRules, OutboundMessage, OwnLogoutRequest, OwnLogoutResponse, PostMessage, RedirectMessage,
    SamlBinding, SamlEndpoint, SamlParameter, SignedMessage, SpCertificate, SpDescription, SpKey, SpKeyError,
    SpSigner, draw_message_id, read_logout_request, read_logout_response, write_sp_metadata,
};

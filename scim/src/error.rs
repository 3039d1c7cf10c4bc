//! Every way a SCIM request can fail, and what the client is told: the only place of SCIM that chooses a status.
//!
//! The rule it protects: a client never takes a refusal for success, nor bad input for our fault (RFC 7644 §3.12).
//! Details name attributes and limits, never values: a value may be a secret.

use std::borrow::Cow;

use http::StatusCode;
use portcullis_policy::{ResourceId, shown};

use crate::schema::ResourceKind;

/// A refusal or a fault, as the client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScimError {
    /// The request cannot be carried out as it stands.
    #[error("{detail}")]
    Invalid {
        /// The fault, in the standard's words.
        scim_type: ScimType,
        /// The fault, in ours.
        detail: String,
    },
    /// Another resource has that name.
    #[error("{attribute} must be unique, and {kind} {with} has it already", kind = kind.name())]
    Uniqueness {
        /// The kind of resource.
        kind: ResourceKind,
        /// The attribute.
        attribute: Cow<'static, str>,
        /// The name of the resource that has it, since the client's own look-up may not find it.
        with: String,
    },
    /// There is no such resource.
    #[error("there is no {kind} {id}", kind = kind.name())]
    NotFound {
        /// The kind of resource.
        kind: ResourceKind,
        /// The id that was asked for.
        id: ResourceId,
    },
    /// There is no such schema or resource type.
    #[error("there is no {what} of that name")]
    NotDescribed {
        /// `schema` or `resource type`.
        what: &'static str,
    },
    /// Nothing is served at that path. The answer names the base URL.
    #[error("nothing is served at this path")]
    NoSuchPlace,
    /// The place exists, the method does not.
    #[error("this method is not served here; these are: {allow}")]
    MethodNotAllowed {
        /// The methods that are, as `Allow` says them.
        allow: &'static str,
    },
    /// A part of the standard that this service does not offer and says so in `ServiceProviderConfig`.
    #[error("{what} is not offered here")]
    NotOffered {
        /// The part that is not offered.
        what: &'static str,
    },
    /// An operation of a Bulk refers to what another one did not make.
    #[error("it refers to bulkId:{bulk_id}, and there is no such resource: its operation failed or was not begun", bulk_id = shown(bulk_id))]
    Unresolved {
        /// The `bulkId`.
        bulk_id: String,
    },
    /// The resource is no longer what `If-Match` says.
    #[error("the resource has changed: its version is {version} now")]
    PreconditionFailed {
        /// The version it has, as a weak ETag.
        version: String,
    },
    /// More than this service takes at once.
    #[error("{what} is limited to {limit}")]
    TooLarge {
        /// The thing that is too large.
        what: &'static str,
        /// The most that is allowed, with its unit.
        limit: Cow<'static, str>,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {seconds} s: send the request again")]
    Stalled {
        /// The time it had.
        seconds: u64,
    },
    /// The body is of no type that SCIM has.
    #[error("the body must be application/scim+json or application/json, and not compressed")]
    UnsupportedMediaType,
    /// The client takes no type of answer that there is.
    #[error("answers are JSON here, and never XML: ask for application/json")]
    NotAcceptable,
    /// A filter on a discovery endpoint (RFC 7644 §4).
    #[error("{0}")]
    Forbidden(String),
    /// No valid token came with the request.
    #[error("{0}")]
    Unauthorized(String),
    /// Too many requests.
    #[error("too many requests; try again in {retry_after} s")]
    TooManyRequests {
        /// Seconds to wait: whole ones, which is all that Okta reads.
        retry_after: u32,
    },
    /// The service cannot do it now; the client should repeat the same request.
    #[error("the request could not be completed now; repeat it in {retry_after} s")]
    Unavailable {
        /// Seconds to wait.
        retry_after: u32,
    },
    /// A fault of ours.
    #[error("the service failed; its log has the reason")]
    Internal,
}

/// The fault of a request, in the words of RFC 7644, table 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScimType {
    /// The filter is malformed or cannot be run.
    InvalidFilter,
    /// The filter finds more than may be answered.
    TooMany,
    /// Another resource has the value.
    Uniqueness,
    /// The attribute may not be written like this.
    Mutability,
    /// The body does not have the right shape.
    InvalidSyntax,
    /// The path of a PATCH means nothing.
    InvalidPath,
    /// The path of a PATCH finds nothing.
    NoTarget,
    /// The value does not fit the attribute.
    InvalidValue,
    /// The cursor is none of this service, or of this search (RFC 9865 §2.1).
    InvalidCursor,
    /// What the cursor stood behind is gone.
    ExpiredCursor,
    /// The size of a page by cursor is no number from 1.
    InvalidCount,
}

impl ScimType {
    /// The word of the standard.
    pub fn as_str(self) -> &'static str {
        match self {
            ScimType::InvalidFilter => "invalidFilter",
            ScimType::TooMany => "tooMany",
            ScimType::Uniqueness => "uniqueness",
            ScimType::Mutability => "mutability",
            ScimType::InvalidSyntax => "invalidSyntax",
            ScimType::InvalidPath => "invalidPath",
            ScimType::NoTarget => "noTarget",
            ScimType::InvalidValue => "invalidValue",
            ScimType::InvalidCursor => "invalidCursor",
            ScimType::ExpiredCursor => "expiredCursor",
            ScimType::InvalidCount => "invalidCount",
        }
    }
}

impl ScimError {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            ScimError::Invalid { .. } => StatusCode::BAD_REQUEST,
            ScimError::Uniqueness { .. } | ScimError::Unresolved { .. } => StatusCode::CONFLICT,
            ScimError::NotFound { .. } | ScimError::NotDescribed { .. } | ScimError::NoSuchPlace => {
                StatusCode::NOT_FOUND
            }
            ScimError::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            ScimError::NotOffered { .. } => StatusCode::NOT_IMPLEMENTED,
            ScimError::PreconditionFailed { .. } => StatusCode::PRECONDITION_FAILED,
            ScimError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ScimError::Stalled { .. } => StatusCode::REQUEST_TIMEOUT,
            ScimError::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ScimError::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            ScimError::Forbidden(_) => StatusCode::FORBIDDEN,
            ScimError::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            ScimError::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            ScimError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            ScimError::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// `scimType`, which only 400 and 409 have.
    pub fn scim_type(&self) -> Option<ScimType> {
        match self {
            ScimError::Invalid { scim_type, .. } => Some(*scim_type),
            ScimError::Uniqueness { .. } => Some(ScimType::Uniqueness),
            _ => None,
        }
    }

    /// Seconds for `Retry-After`.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            ScimError::TooManyRequests { retry_after } | ScimError::Unavailable { retry_after } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }

    pub(crate) fn invalid_filter(detail: impl Into<String>) -> Self {
        Self::of_type(ScimType::InvalidFilter, detail)
    }

    pub(crate) fn invalid_syntax(detail: impl Into<String>) -> Self {
        Self::of_type(ScimType::InvalidSyntax, detail)
    }

    pub(crate) fn invalid_path(detail: impl Into<String>) -> Self {
        Self::of_type(ScimType::InvalidPath, detail)
    }

    pub(crate) fn invalid_value(detail: impl Into<String>) -> Self {
        Self::of_type(ScimType::InvalidValue, detail)
    }

    pub(crate) fn against_mutability(detail: impl Into<String>) -> Self {
        Self::of_type(ScimType::Mutability, detail)
    }

    pub(crate) fn no_target(detail: impl Into<String>) -> Self {
        Self::of_type(ScimType::NoTarget, detail)
    }

    /// A request that cannot be carried out as it stands (400).
    pub fn of_type(scim_type: ScimType, detail: impl Into<String>) -> Self {
        ScimError::Invalid { scim_type, detail: detail.into() }
    }
}

//! Refusal: why a request does not go up, and what everybody is told of it, in one row each.
//!
//! This is the only place of the proxy that chooses a status. What a row looks like to who asks is the form's to say
//! (`form.rs`).

use std::fmt;

use http::StatusCode;
use portcullis_policy::DenyReason;
use portcullis_session::Ended;

use crate::kind::Kind;
use crate::line::LoggedDecision;
use crate::pages::RefusalKind;
use crate::rooms::accept::Unacceptable;
use crate::wire::Malformed;

/// The reason why a request does not go up, or came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRefusal {
    /// The head is no request we read.
    Unacceptable(&'static str, StatusCode),
    /// Policy says no.
    Denied(DenyReason),
    /// Nobody is signed in.
    Login,
    /// The session is over, or held.
    Ended(Ended),
    /// A page of another site is behind it.
    OtherSite,
    /// It cannot be shown right now that this person may be here.
    Unproven,
    /// The application cannot be reached, or its answer not read.
    Unreachable,
    /// The application did not begin to answer in time.
    Slow,
    /// The client's body is larger than a page of ours takes.
    TooLarge,
    /// The client stopped in the middle of its body.
    BodySlow,
    /// A fault of ours, which cannot happen.
    Fault,
}

impl fmt::Display for RequestRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for RequestRefusal {}

impl From<Unacceptable> for RequestRefusal {
    fn from(why: Unacceptable) -> Self {
        let (word, status) = match why {
            Unacceptable::Head => ("head_too_large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Unacceptable::Target => ("target_too_long", StatusCode::URI_TOO_LONG),
            Unacceptable::Method => ("method", StatusCode::METHOD_NOT_ALLOWED),
            Unacceptable::NoTarget => ("no_target", StatusCode::BAD_REQUEST),
            Unacceptable::Connection => ("connection_field", StatusCode::BAD_REQUEST),
            Unacceptable::OtherHost => ("other_host", StatusCode::BAD_REQUEST),
            Unacceptable::TwoWays => ("two_ways", StatusCode::BAD_REQUEST),
            Unacceptable::UpgradeWithBody => ("upgrade_with_body", StatusCode::BAD_REQUEST),
        };
        Self::Unacceptable(word, status)
    }
}

impl From<Malformed> for RequestRefusal {
    fn from(why: Malformed) -> Self {
        let status = match why {
            Malformed::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Malformed::TargetTooLong => StatusCode::URI_TOO_LONG,
            Malformed::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::Unacceptable(why.word(), status)
    }
}

impl From<DenyReason> for RequestRefusal {
    fn from(reason: DenyReason) -> Self {
        Self::Denied(reason)
    }
}

/// The forms that one refusal has, for everybody.
struct RefusalRow {
    /// The status for all but gRPC clients and people on their way to login.
    status: StatusCode,
    /// The word of the access log.
    reason: &'static str,
    decision: LoggedDecision,
    /// The kind that a person is told, and the word in JSON.
    told: RefusalKind,
}

impl RequestRefusal {
    fn row(self) -> RefusalRow {
        use {LoggedDecision as D, RefusalKind as K, StatusCode as S};
        let row = |status, reason, decision, told| RefusalRow { status, reason, decision, told };
        match self {
            Self::Unacceptable(word, S::METHOD_NOT_ALLOWED) => {
                row(S::METHOD_NOT_ALLOWED, word, D::Bad, K::Method)
            }
            Self::Unacceptable(word, status) => row(status, word, D::Bad, K::Unreadable),
            Self::Denied(why) => match why {
                DenyReason::UnknownHost => {
                    row(S::MISDIRECTED_REQUEST, "unknown_host", D::Deny, K::Unreadable)
                }
                DenyReason::NoRoute => row(S::NOT_FOUND, "no_route", D::Deny, K::NotFound),
                DenyReason::Method => row(S::METHOD_NOT_ALLOWED, "method", D::Deny, K::Method),
                DenyReason::AmbiguousPath => row(S::BAD_REQUEST, "ambiguous_path", D::Deny, K::Unreadable),
                DenyReason::Role => row(S::FORBIDDEN, "role", D::Deny, K::NotAllowed),
            },
            Self::Login => row(S::UNAUTHORIZED, "no_session", D::Login, K::FramedLogin),
            Self::Ended(why) => match why {
                Ended::Revoked | Ended::SignedOut | Ended::Idle | Ended::Expired => {
                    row(S::UNAUTHORIZED, why.word(), D::Login, K::FramedLogin)
                }
                Ended::OnHold | Ended::Unproven | Ended::Changed => {
                    row(S::SERVICE_UNAVAILABLE, why.word(), D::Fault, K::Unproven)
                }
                Ended::Forbidden => row(S::FORBIDDEN, why.word(), D::Deny, K::NotAllowed),
            },
            Self::OtherSite => row(S::FORBIDDEN, "other_site", D::Deny, K::OtherSite),
            Self::Unproven => row(S::SERVICE_UNAVAILABLE, "unproven", D::Fault, K::Unproven),
            Self::Unreachable => row(S::BAD_GATEWAY, "unreachable", D::Fault, K::Unreachable),
            Self::Slow => row(S::GATEWAY_TIMEOUT, "slow", D::Fault, K::Slow),
            Self::TooLarge => row(S::PAYLOAD_TOO_LARGE, "body_too_large", D::Bad, K::Unreadable),
            Self::BodySlow => row(S::REQUEST_TIMEOUT, "body_too_slow", D::Bad, K::Unreadable),
            Self::Fault => row(S::INTERNAL_SERVER_ERROR, "fault", D::Fault, K::Unreachable),
        }
    }

    /// The status for everybody but gRPC clients and people on their way to login.
    pub(crate) fn status(self) -> StatusCode {
        self.row().status
    }

    /// The word of the access log.
    pub(crate) fn reason(self) -> &'static str {
        self.row().reason
    }

    /// The word of the access log and of metrics.
    pub(super) fn decision(self) -> LoggedDecision {
        self.row().decision
    }

    /// The kind that is told to who asks in this way.
    pub(super) fn kind_told(self, kind: Kind) -> RefusalKind {
        match self.row().told {
            RefusalKind::FramedLogin if kind == Kind::Form => RefusalKind::FormNotSent,
            told => told,
        }
    }

    /// The code of a gRPC client (its own list of status codes).
    pub(super) fn grpc(self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "16",
            StatusCode::FORBIDDEN => "7",
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "12",
            status if status.is_server_error() => "14",
            _ => "3",
        }
    }
}

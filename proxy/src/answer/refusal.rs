//! Refusal: why a request does not go up, and what everybody is told of it, in one row each; and the kinds of page that
//! a person is told it by, in one row each. The words of a page are in `src/pages/words.rs`.
//!
//! This is the only place of the proxy that chooses a status. What a row looks like to who asks is the form's to say
//! (`form.rs`).

use std::fmt;

use http::StatusCode;
use portcullis_policy::DenyReason;
use portcullis_session::Ended;

use crate::kind::Kind;
use crate::logged_decision::LoggedDecision;
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
        f.write_str(self.log_word())
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
        Self::Unacceptable(why.log_word(), status)
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
                    row(S::UNAUTHORIZED, why.log_word(), D::Login, K::FramedLogin)
                }
                Ended::OnHold | Ended::Unproven | Ended::Changed => {
                    row(S::SERVICE_UNAVAILABLE, why.log_word(), D::Fault, K::Unproven)
                }
                Ended::Forbidden => row(S::FORBIDDEN, why.log_word(), D::Deny, K::NotAllowed),
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
    pub(crate) fn log_word(self) -> &'static str {
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
    pub(super) fn grpc_status(self) -> &'static str {
        match self.status() {
            StatusCode::UNAUTHORIZED => "16",
            StatusCode::FORBIDDEN => "7",
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "12",
            status if status.is_server_error() => "14",
            _ => "3",
        }
    }
}

/// The kinds of what happened to a request, for the page that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// Not signed in, inside a frame: the page's link opens the top window (`login_url`).
    FramedLogin,
    /// Not signed in, and a form was on its way: it was not sent.
    FormNotSent,
    /// Signed in, but without a role that the page asks for, or without a value for the user header.
    NotAllowed,
    /// There is no such page here.
    NotFound,
    /// The page does not take this method.
    Method,
    /// The request cannot be read, or only in more than one way.
    Unreadable,
    /// A WebSocket from a page of another site, or a form to one of our own pages.
    OtherSite,
    /// The application cannot be reached, or answered nonsense.
    Unreachable,
    /// The application did not begin to answer in time.
    Slow,
    /// We cannot prove right now that this person may be here. Trying again helps.
    Unproven,
}

/// The forms of a kind where no page is shown.
struct KindRow {
    word: &'static str,
    status: StatusCode,
    sentence: &'static str,
}

impl RefusalKind {
    fn row(self) -> KindRow {
        use StatusCode as S;
        let row = |word, status, sentence| KindRow { word, status, sentence };
        match self {
            Self::FramedLogin => row("login_required", S::UNAUTHORIZED, "You are not signed in."),
            Self::FormNotSent => {
                row("login_required", S::UNAUTHORIZED, "You are not signed in, and the form was not sent.")
            }
            Self::NotAllowed => row("not_allowed", S::FORBIDDEN, "You may not see this page."),
            Self::NotFound => row("not_found", S::NOT_FOUND, "There is no such page."),
            Self::Method => {
                row("method_not_allowed", S::METHOD_NOT_ALLOWED, "This page does not take this method.")
            }
            Self::Unreadable => row("bad_request", S::BAD_REQUEST, "This request cannot be served here."),
            Self::OtherSite => {
                row("other_site", S::FORBIDDEN, "This request came from a page of another site.")
            }
            Self::Unreachable => row("app_unreachable", S::BAD_GATEWAY, "The application cannot be reached."),
            Self::Slow => row("app_slow", S::GATEWAY_TIMEOUT, "The application did not answer in time."),
            Self::Unproven => row(
                "unproven",
                S::SERVICE_UNAVAILABLE,
                "It cannot be checked right now that you may be here. Please try again.",
            ),
        }
    }

    /// The word for it in JSON and in the record.
    pub fn json_word(self) -> &'static str {
        self.row().word
    }

    /// The status that it mostly has; a refusal may have another one.
    pub fn status(self) -> StatusCode {
        self.row().status
    }

    /// The words for it where no page can be shown.
    pub(crate) fn few_words(self, reference: &str) -> String {
        format!("{} Reference: {reference}", self.row().sentence)
    }
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.json_word())
    }
}

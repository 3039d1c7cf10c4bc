//! The seam to our own pages: the data plane hands over a whole request and gets a whole answer.
//!
//! Nothing of a login happens in here, and nothing of hyper goes out. The other seam is [`crate::Load`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use portcullis_policy::{AppId, SessionHash};

use crate::log_detail::LogDetail;

/// Our own pages: everything under the prefix of an app, and the pages that tell a person why they were refused.
///
/// A request carries the extension [`Visitor`]; one that asks for a refusal page carries [`Refused`] as well, one for a
/// login whose way back is too long for an address [`KeepWay`]; its answer is a redirect. The request's
/// headers are clean: nothing of a client that speaks of identity is left. Its body has at most 64 KiB. A client that
/// hangs up drops the future, so whatever must not stop half-way runs in a task of its own.
pub type Pages = Arc<dyn Fn(http::Request<Bytes>) -> BoxFuture<'static, http::Response<Bytes>> + Send + Sync>;

/// Who asks for a page of ours.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The app under whose prefix the page is.
    pub app: AppId,
    /// The client's address, through trusted proxies. It is written only as `detail` says.
    pub client: IpAddr,
    /// How much of person and address may be written.
    pub detail: LogDetail,
    /// The session the cookie speaks of, if it is one we made for this app. Nobody has looked whether it is still
    /// good.
    pub session: Option<SessionHash>,
    /// The id that the record of this request carries as `trace`: 32 hex digits.
    pub request_id: String,
}

/// A refusal that a person is to be told about. The answer goes out with `status`, whatever the page says.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The status the answer will have.
    pub status: StatusCode,
    /// What happened.
    pub kind: RefusalKind,
    /// What to mention to the administrator; the record has it too.
    pub reference: String,
    /// Where a login would start: the login page with the way back.
    pub login_url: String,
}

/// The reference number on a page of ours, as an extension of its answer. Whoever made the page has kept the record
/// that it leads to; the line of the access log has the number too.
#[derive(Clone, Debug)]
pub struct Reference(pub String);

/// A way back that is to be kept at our side: the answer redirects to the login page that knows it.
#[derive(Clone, Debug)]
pub struct KeepWay(pub String);

/// What happened to a request, for the page that says so.
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

impl RefusalKind {
    /// The word for it in JSON and in the record.
    pub fn word(self) -> &'static str {
        match self {
            Self::FramedLogin | Self::FormNotSent => "login_required",
            Self::NotAllowed => "not_allowed",
            Self::NotFound => "not_found",
            Self::Method => "method_not_allowed",
            Self::Unreadable => "bad_request",
            Self::OtherSite => "other_site",
            Self::Unreachable => "app_unreachable",
            Self::Slow => "app_slow",
            Self::Unproven => "unproven",
        }
    }
}

impl fmt::Display for RefusalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

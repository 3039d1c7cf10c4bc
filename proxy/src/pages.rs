//! The seam to our own pages: the data plane hands over a whole request and gets a whole answer.
//!
//! Nothing of a login happens in here, and nothing of hyper goes out. The other seam is [`crate::Load`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use portcullis_policy::{AppId, Principal, SessionHash, Timestamp};

use crate::answer::RefusalKind;
use crate::kind::Kind;
use crate::log_detail::LogDetail;

/// Our own pages: everything under the prefix of an app, and the pages that tell a person why they were refused.
///
/// A request carries the extension [`Visitor`]; one that asks for a refusal page carries [`RefusalPage`] as well, one for a
/// login whose way back is too long for an address [`KeepWay`]; its answer is a redirect. The request's
/// headers are clean: nothing of a client that speaks of identity is left. Its body has at most 64 KiB, but for messages of SAML, which
/// come with [`BodyAhead`] first. A client that
/// hangs up drops the future, so whatever must not stop half-way runs in a task of its own.
pub type Pages = Arc<dyn Fn(http::Request<Bytes>) -> BoxFuture<'static, http::Response<Bytes>> + Send + Sync>;

/// The visitor who asks for a page of ours.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The app under whose prefix the page is.
    pub app: AppId,
    /// The client's address, through trusted proxies. It is written only as `detail` says.
    pub client: IpAddr,
    /// The detail in which person and address may be written.
    pub detail: LogDetail,
    /// The kind of client that asks: only a navigation begins a login.
    pub kind: Kind,
    /// True where a browser says that a page of this site sent it.
    pub is_from_us: bool,
    /// The session the cookie speaks of, if it is one we made for this app. Nobody has looked whether it is still
    /// good.
    pub session: Option<SessionHash>,
    /// The look-up of who that is, for whoever has to know.
    pub who: WhoIsIn,
    /// The id that the record of this request carries as `trace`: 32 hex digits.
    pub request_id: String,
}

/// The look-up of who is signed in by a visitor's session. Made by Identify when it is asked, and by nobody else.
#[derive(Clone)]
pub struct WhoIsIn(Option<Arc<Find>>);

/// The function that finds out who it is, and until when.
pub(crate) type Find = dyn Fn() -> BoxFuture<'static, Option<(Arc<Principal>, Timestamp)>> + Send + Sync;

impl WhoIsIn {
    /// Found out by this; by nothing, where no session was shown.
    pub(crate) fn found_by(find: Option<Arc<Find>>) -> Self {
        Self(find)
    }

    /// Of somebody who shows no session.
    pub fn nobody() -> Self {
        Self(None)
    }

    /// The person, checked like any exchange, and when the session ends. `None`: nobody, or nobody who can be proven
    /// within a second.
    pub async fn find_person(&self) -> Option<(Arc<Principal>, Timestamp)> {
        match &self.0 {
            Some(find) => find().await,
            None => None,
        }
    }
}

impl fmt::Debug for WhoIsIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "WhoIsIn(a session)" } else { "WhoIsIn(nobody)" })
    }
}

/// A request whose body has not been read yet, as an extension: a page that wants it answers [`ReadsBody`], and is asked
/// again with it. So nobody has us read what no page is waiting for.
#[derive(Clone, Copy, Debug)]
pub struct BodyAhead;

/// The wish of a page for the body, as an extension of its answer: at most so many bytes.
#[derive(Clone, Copy, Debug)]
pub struct ReadsBody(pub usize);

/// The answer of a page that is for nobody but who is signed in, as an extension: the data plane refuses as it refuses
/// everywhere.
#[derive(Clone, Copy, Debug)]
pub struct NotSignedIn;

/// A refusal that a person is to be told about. The answer goes out with `status`, whatever the page says.
#[derive(Clone, Debug)]
pub struct RefusalPage {
    /// The status the answer will have.
    pub status: StatusCode,
    /// The kind of what happened.
    pub kind: RefusalKind,
    /// The number to mention to the administrator; the record has it too.
    pub reference: String,
    /// The address at which a login would start: the login page with the way back.
    pub login_url: String,
}

/// The reference number on a page of ours, as an extension of its answer. Whoever made the page has kept the record
/// that it leads to; the line of the access log has the number too.
#[derive(Clone, Debug)]
pub struct Reference(pub String);

/// A way back that is to be kept at our side: the answer redirects to the login page that knows it.
#[derive(Clone, Debug)]
pub struct KeepWay(pub String);

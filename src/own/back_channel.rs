//! Back-channel logout: an identity provider says that a session has ended, server to server, and it is answered once
//! everything that stood on it is gone (OIDC Back-Channel Logout 1.0).
//!
//! Nobody is signed in here and no cookie counts. A message counts once; one that was stored and could not be enforced in
//! time may come again.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use portcullis_keys::{Secret, sha256};
use portcullis_policy::{OrgId, Timestamp};
use portcullis_proxy::{RefusalKind, Visitor};
use portcullis_sso::{Class, LoginRefusal, LogoutNotice};
use portcullis_store::{IdpNotice, IdpSessions, Origin};

use super::Own;
use super::reasons::STORE;
use super::site::{AskedSite, SiteIdp};
use crate::pages::{self, Page};

/// Messages that are stored and were not enforced in time: their repeat is answered like the first. Bounded; one that is
/// pushed out is refused as a repeat.
#[derive(Default)]
pub(crate) struct Unanswered(Mutex<HashSet<[u8; 32]>>);

/// The most of them.
const MOST: usize = 4096;

impl Unanswered {
    pub(super) fn keep(&self, notice: [u8; 32]) {
        let mut kept = self.0.lock();
        if kept.len() < MOST {
            kept.insert(notice);
        }
    }

    pub(super) fn take(&self, notice: &[u8; 32]) -> bool {
        self.0.lock().remove(notice)
    }
}

/// The outcome of an IdP's message, where it could be stored.
pub(super) enum Obeyed {
    /// Everything it names has ended; so many sessions were live.
    Done(u32),
    /// It came before.
    Repeat,
    /// It may come again.
    NotDone(String),
}

impl Own {
    /// `backchannel-logout/<idp>`.
    pub(super) async fn end_by_token(
        self: Arc<Self>,
        site: &AskedSite,
        entry: &SiteIdp,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let Some(idp) = entry.idp.as_oidc() else {
            return self.render_page(site, &Page::refused(RefusalKind::NotFound, None));
        };
        let now = Timestamp::now();
        let Some(token) = read_token(request.body()) else {
            let text = "expected=one logout_token in a form got=another body. Look at the back-channel logout URI there";
            return self.refuse_notice(entry, Class::OidcLogoutToken.log_word(), text, visitor);
        };
        let notice = match idp.verify_logout_token(&token, now).await {
            Ok(notice) => notice,
            Err(refusal) => {
                let refusal = if visitor.detail.names_strangers() { refusal } else { refusal.unnamed() };
                return self.refuse_token(site, entry, &refusal, visitor);
            }
        };
        let LogoutNotice { jti, subject, session, until } = notice;
        let notice = IdpNotice {
            id: sha256(format!("logout_token {} {jti}", idp.settings().issuer).as_bytes()),
            until,
            sessions: IdpSessions {
                org: OrgId::ONLY,
                idp: entry.name().into(),
                subject,
                sessions: session.into_iter().collect(),
            },
        };
        match self.obey_notice(notice, now).await {
            Obeyed::Done(live) => {
                tracing::info!(idp = entry.name(), live, trace = %visitor.request_id, "the IdP has ended sessions");
                Response::new(Bytes::new())
            }
            Obeyed::Repeat => {
                let text = "expected=a logout token that counts once got=one that came before. Nothing to set: the IdP \
                            repeats itself, or somebody does";
                self.refuse_notice(entry, Class::OidcLogoutToken.log_word(), text, visitor)
            }
            Obeyed::NotDone(error) => {
                let reference = self.record_refusal(entry.name(), STORE, &error, visitor, None, None);
                self.render_page(site, &Page::refused(RefusalKind::Unproven, Some(&reference)))
            }
        }
    }

    /// Carries out an IdP's message, down the one road.
    pub(super) async fn obey_notice(&self, notice: IdpNotice, now: Timestamp) -> Obeyed {
        let (store, id) = (self.core.store.clone(), notice.id);
        let was_unanswered = self.under_way.unanswered.take(&id);
        let ending = async move { store.end_at_idp(notice, &Origin::of_actor("idp"), now).await };
        match self.core.carry_out(ending).wait_done().await {
            Ok(done) if done.value.is_repeat && !was_unanswered => Obeyed::Repeat,
            Ok(done) => Obeyed::Done(done.value.live),
            Err(error) => {
                self.under_way.unanswered.keep(id);
                Obeyed::NotDone(format!("sessions that the IdP has ended may still run: {error}"))
            }
        }
    }

    fn refuse_token(
        &self,
        site: &AskedSite,
        entry: &SiteIdp,
        refusal: &LoginRefusal,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let text = format!("expected={} got={}. {}", refusal.expected, refusal.got, refusal.remedy);
        let reason = refusal.class.log_word();
        if refusal.class == Class::OidcMetadata {
            let reference = self.record_refusal(entry.name(), reason, &text, visitor, None, None);
            return self.render_page(site, &Page::refused(RefusalKind::Unproven, Some(&reference)));
        }
        self.refuse_notice(entry, reason, &text, visitor)
    }

    /// Says that the message is none (OIDC Back-Channel Logout 1.0 §2.8).
    fn refuse_notice(
        &self,
        entry: &SiteIdp,
        reason: &'static str,
        text: &str,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let reference = self.record_refusal(entry.name(), reason, text, visitor, None, None);
        let body = serde_json::json!({
            "error": "invalid_request",
            "error_description": format!("The logout token was refused; the reason is in our log under {reference}."),
        });
        pages::json_answer(StatusCode::BAD_REQUEST, &body)
    }
}

/// The token of the form; `None` where there is none or more than one.
fn read_token(body: &[u8]) -> Option<Secret> {
    let mut tokens = url::form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token");
    match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => Some(Secret::new(token)),
        _ => None,
    }
}

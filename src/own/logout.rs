//! Logout: the local session first, then the IdP's (OpenID Connect RP-Initiated Logout 1.0, SAML Single Logout).
//!
//! A logout is a POST of our own page, or carries the page's token; a GET shows the button. What an image on another
//! site can send ends nobody's session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use portcullis_keys::{Purpose, Random, equal_bytes};
use portcullis_policy::{SessionHash, Timestamp};
use portcullis_proxy::{RefusalKind, Visitor};
use portcullis_sso::{Departure, Idp, LogoutHint};
use portcullis_store::{Origin, SealedLogoutHint, Which};

use super::Own;
use super::flows::{self, Flows};
use super::reasons::{LOGOUT_CSRF, STORE};
use super::set_cookie::remove_cookie;
use super::site::{AskedSite, SiteIdp};
use crate::pages::Page;

/// A session that has ended: the IdP that signed it in, and what that one wants to hear of it.
struct EndedSession {
    idp: Arc<str>,
    hint: Option<LogoutHint>,
}

/// The time that a logout may take to be stored before a page says that it is not.
const STORED: Duration = Duration::from_secs(2);

impl Own {
    /// `logout` by GET: asks.
    pub(crate) async fn ask_to_sign_out(&self, site: &AskedSite, visitor: &Visitor) -> Response<Bytes> {
        let (Some((who, _)), Some(session)) = (visitor.who.find_person().await, visitor.session) else {
            return self.render_page(site, &Page::SignedOut { at_idp: false });
        };
        let token = self.form_token(&session);
        let idp = self.idp_of_session(site, &session).await.and_then(|entry| entry.idp.logout_origin());
        self.render_page(site, &Page::Logout { who: who.name(), token: &token, idp: idp.as_deref() })
    }

    /// `logout` by POST: ends.
    pub(crate) async fn sign_out(
        &self,
        site: &AskedSite,
        request: &Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let Some(session) = visitor.session else {
            return self.render_page(site, &Page::SignedOut { at_idp: false });
        };
        let given = url::form_urlencoded::parse(request.body()).find(|(name, _)| name == "token");
        let by_token = given
            .is_some_and(|(_, token)| equal_bytes(token.as_bytes(), self.form_token(&session).as_bytes()));
        if !by_token && !visitor.is_from_us {
            let reference = self.record_refusal(
                "",
                LOGOUT_CSRF,
                "a logout from another page than ours: nobody was signed out",
                visitor,
                None,
                None,
            );
            return self.render_page(site, &Page::refused(RefusalKind::OtherSite, Some(&reference)));
        }
        let Ok(ended) = self.end_session(&session).await else {
            let reference = self.record_refusal(
                "",
                STORE,
                "a logout could not be stored in time: the session stands unless that still comes about",
                visitor,
                None,
                None,
            );
            return self.render_page(site, &Page::NotSignedOut { reference: &reference });
        };
        let back_to = format!("{}{}/logged-out", site.origin, site.ours);
        let state = Random::from_system().draw_reference();
        let (mut random, now) = (Random::from_system(), Timestamp::now());
        let at_idp = ended.and_then(|EndedSession { idp, hint }| match (&*site.find_idp(&idp)?.idp, hint) {
            (Idp::Oidc(idp), Some(LogoutHint::Oidc { id_token })) => {
                let url = idp.logout_url(Some(&id_token), &back_to, &state)?;
                Some((None, Departure::Redirect(url)))
            }
            (Idp::Oidc(idp), _) => Some((None, Departure::Redirect(idp.logout_url(None, &back_to, &state)?))),
            #[cfg(feature = "saml")]
            (Idp::Saml(idp), Some(hint)) => {
                let (id, departure) = idp.begin_logout(&hint, &mut random, now)?;
                Some((Some(id), departure))
            }
            #[cfg(feature = "saml")]
            (Idp::Saml(_), None) => None,
        });
        let here = || Departure::Redirect(format!("{}/logged-out?local", site.ours));
        let (asked, departure) = at_idp.unwrap_or_else(|| (None, here()));
        let mut answer = match (&asked, &departure) {
            // The IdP leads the browser through the other applications, and a browser holds a form's redirects to the
            // policy of our page, which knows none of them.
            (Some(_), Departure::Redirect(to)) => self.render_page(site, &Page::Onward { to }),
            _ => self.depart(site, &departure),
        };
        let flows = Flows::from_headers(request.headers(), &self.core.keys, visitor.app);
        let leaving = asked.and_then(|id| flows.leaving_cookie(id, &mut random, now));
        let removals = [remove_cookie(&site.cookie), flows::forget_landing()];
        for cookie in removals.into_iter().flatten().chain(leaving) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
        answer
    }

    /// `logged-out`: where the IdP sends the browser back to. It says so, whether or not a session was there.
    pub(crate) fn signed_out(&self, site: &AskedSite, request: &Request<Bytes>) -> Response<Bytes> {
        self.render_page(site, &Page::SignedOut { at_idp: request.uri().query() != Some("local") })
    }

    /// Finds the IdP that signed a session in; `None` where that cannot be read, or it is not configured any more.
    async fn idp_of_session<'s>(
        &self,
        site: &'s AskedSite,
        session: &SessionHash,
    ) -> Option<&'s Arc<SiteIdp>> {
        if let Some(only) = site.only_idp() {
            return Some(only);
        }
        let kept = self.core.store.logout_hint(session).await.ok().flatten()?;
        site.find_idp(&kept.idp)
    }

    /// Ends a session and waits until what stood on it is gone. Its IdP and the hint for that one come back.
    async fn end_session(&self, session: &SessionHash) -> Result<Option<EndedSession>, ()> {
        let (store, which) = (self.core.store.clone(), Which::Session(*session));
        let kept = store.logout_hint(session).await.ok().flatten();
        let ending =
            async move { store.end_sessions_of(which, &Origin::of_actor("logout"), Timestamp::now()).await };
        let mut ending = self.core.carry_out(ending);
        // It is carried out all the same; whoever waits for the page is told that it is not certain.
        tokio::time::timeout(STORED, ending.wait_settled()).await.map_err(drop)?;
        ending.wait_done().await.map_err(drop)?;
        Ok(kept.map(|SealedLogoutHint { idp, sealed }| {
            let open = |sealed: Vec<u8>| self.core.keys.open(Purpose::Session, &session.0, &sealed);
            let text = sealed.and_then(open).and_then(|plain| String::from_utf8(plain).ok());
            EndedSession { idp, hint: text.and_then(|text| LogoutHint::from_text(&text)) }
        }))
    }

    /// The token of our own form: only whoever could read the page of this session has it.
    fn form_token(&self, session: &SessionHash) -> String {
        self.hash_form(&session.0)
    }

    /// The token of a form about something that only its reader knows.
    pub(super) fn hash_form(&self, of: &[u8]) -> String {
        self.core.keys.hash(Purpose::Form, of).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

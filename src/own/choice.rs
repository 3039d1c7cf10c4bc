//! Which identity provider a person is sent to: the one the address names, the one their browser signed in by before,
//! the only one, or the one that their e-mail address belongs to.
//!
//! Nothing here admits anybody: a wrong choice leads to a provider that does not know them. The page asks for the address
//! and nothing else, and lists neither providers nor domains.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use portcullis_proxy::{RefusalKind, cookies};

use super::Own;
use super::flows::PREFIX;
use super::set_cookie::{remove_cookie, set_cookie};
use super::site::{AskedSite, SiteIdp};
use crate::pages::Page;

/// The parameter that asks for the page, whatever the browser remembers.
const CHOOSE: &str = "choose";
/// The time for which a browser remembers by which provider it signed in, in seconds.
const REMEMBERED: i64 = 180 * 24 * 3600;
/// The longest address that is read (RFC 5321 §4.5.3.1.3).
const LONGEST: usize = 254;

/// Finds the provider that a login goes to without asking; `None` where the person has to say.
pub(super) fn idp_of_request<'s>(site: &'s AskedSite, request: &Request<Bytes>) -> Option<&'s Arc<SiteIdp>> {
    if let Some(only) = site.only_idp() {
        return Some(only);
    }
    let query = request.uri().query().unwrap_or_default();
    let said = |wanted: &str| url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted);
    if let Some(entry) = said("idp").and_then(|(_, name)| site.find_idp(&name)) {
        return Some(entry);
    }
    if said(CHOOSE).is_some() {
        return None;
    }
    remembered_idp(site, request.headers())
}

/// The provider by which this browser has signed in before.
pub(super) fn remembered_idp<'s>(site: &'s AskedSite, headers: &HeaderMap) -> Option<&'s Arc<SiteIdp>> {
    let name = cookie_name();
    let mut found = cookies(headers).filter(|(cookie, _)| *cookie == name.as_bytes());
    let (_, value) = found.next()?;
    site.find_idp(std::str::from_utf8(value).ok()?)
}

/// The cookie by which a browser remembers its provider; none where there is only one.
pub(super) fn remember_idp(site: &AskedSite, idp: &str) -> Option<HeaderValue> {
    if site.only_idp().is_some() {
        return None;
    }
    set_cookie(&cookie_name(), idp, Some(REMEMBERED))
}

/// The removal of that cookie, from who asks to choose anew.
fn forget_idp() -> Option<HeaderValue> {
    remove_cookie(&cookie_name())
}

fn cookie_name() -> String {
    format!("{PREFIX}idp")
}

impl Own {
    /// The page that asks for the e-mail address.
    pub(super) fn ask_for_address(&self, site: &AskedSite, way: &str, is_unknown: bool) -> Response<Bytes> {
        let mut answer = self.render_page(site, &Page::ChooseIdp { return_to: way, is_unknown });
        if let Some(removal) = forget_idp() {
            answer.headers_mut().append(http::header::SET_COOKIE, removal);
        }
        answer
    }

    /// `login` by POST: the address that a person has given. Forms of other sites do not come this far.
    pub(super) fn choose_idp(&self, site: &AskedSite, request: &Request<Bytes>) -> Response<Bytes> {
        if site.only_idp().is_some() {
            return self.render_page(site, &Page::refused(RefusalKind::Method, None));
        }
        let (mut address, mut way) = (String::new(), String::new());
        for (name, value) in url::form_urlencoded::parse(request.body()) {
            match &*name {
                "email" => address = value.into_owned(),
                "return_to" => way = value.into_owned(),
                _ => {}
            }
        }
        let address = Some(address.trim()).filter(|address| address.len() <= LONGEST);
        match address.and_then(|address| site.idp_of_address(address)) {
            Some(entry) => {
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("idp", entry.name())
                    .append_pair("return_to", &way)
                    .finish();
                self.render_page(site, &Page::Onward { to: &format!("{}/login?{query}", site.ours) })
            }
            None => self.ask_for_address(site, &way, true),
        }
    }
}

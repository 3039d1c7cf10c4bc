//! The way out (OpenID Connect RP-Initiated Logout).

use super::OpenIdProvider;
use super::pairs::{Pairs, single_value, with_query};

impl OpenIdProvider {
    /// Tells whether a logout request may go ahead without asking: its hint is an ID token of this provider, and of
    /// the sign-in that the browser still has, if it has one (RP-Initiated Logout §2).
    pub fn may_sign_out(&self, request: &Pairs, cookie: Option<&str>) -> bool {
        let desk = self.desk();
        let Ok(Some(hint)) = single_value(request, "id_token_hint") else { return false };
        let Some(sid) = desk.hints.get(hint) else { return false };
        cookie.and_then(|cookie| desk.browsers.get(cookie)).is_none_or(|browser| browser.sid == *sid)
    }

    /// Ends what a cookie stands for at the provider.
    pub fn sign_out(&self, cookie: &str) {
        self.desk().browsers.remove(cookie);
    }

    /// Gives the address that a logout goes to afterwards: the registered address, if that is what was asked for by
    /// somebody known.
    pub fn after_logout(&self, request: &Pairs) -> Option<String> {
        let client = single_value(request, "client_id").ok()?;
        let hint = single_value(request, "id_token_hint").ok()?;
        let known = match (client, hint) {
            (Some(client), _) => client == self.client.id,
            (None, Some(hint)) => self.desk().hints.get(hint).is_some(),
            (None, None) => false,
        };
        let to = single_value(request, "post_logout_redirect_uri").ok()??;
        if !known || to != self.client.post_logout_uri {
            return None;
        }
        let state = single_value(request, "state").ok()?.map(str::to_owned);
        Some(with_query(to, state.iter().map(|state| ("state", state.as_str()))))
    }
}

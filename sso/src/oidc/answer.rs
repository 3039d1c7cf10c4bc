//! What the browser brings back from the provider (OIDC Core §3.1.2.5): a code and our state, or an error.
//!
//! Nothing of it is believed here. A parameter that comes twice, or in the query and in a form at once, is refused:
//! two readers must never see two different answers.

use std::fmt;

use portcullis_keys::Secret;

use crate::{Class, LoginRefusal};

/// The provider's answer, as the browser brought it.
#[derive(Default)]
pub struct AuthorizationResponse {
    pub(super) code: Option<Secret>,
    pub(super) state: Option<String>,
    pub(super) iss: Option<String>,
    pub(super) error: Option<String>,
    pub(super) error_description: Option<String>,
}

/// Longer answers are refused unread. Codes have some hundred characters, a few providers use two thousand.
const LIMIT: usize = 16 * 1024;

impl AuthorizationResponse {
    /// Reads the query of the callback and, where the provider posted one, the form.
    ///
    /// # Errors
    /// `state` for an answer that is too long, ambiguous or in two places.
    pub fn read_callback(query: &str, form: Option<&[u8]>) -> Result<Self, LoginRefusal> {
        let form = form.unwrap_or_default();
        if query.len() > LIMIT || form.len() > LIMIT {
            return Err(ambiguous_answer(format_args!("{} bytes", query.len().max(form.len()))));
        }
        let (in_query, in_form) = (Self::parse_form(query.as_bytes())?, Self::parse_form(form)?);
        match (in_query.says_something(), in_form.says_something()) {
            (true, true) => Err(ambiguous_answer("an answer in the query and another in the form")),
            (false, true) => Ok(in_form),
            _ => Ok(in_query),
        }
    }

    /// The state: it names the flow, so it names the cookie that holds it.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Tells whether it brings a code, which is what costs a request to the provider.
    pub fn has_code(&self) -> bool {
        self.code.is_some() && self.error.is_none()
    }

    /// Gives what the provider says went wrong, as a refusal; whether the answer belongs to a login of ours is
    /// another question.
    pub fn error(&self) -> Option<LoginRefusal> {
        let error = self.error.as_deref()?;
        let description =
            self.error_description.as_deref().map_or_else(String::new, |text| format!(": {text}"));
        let remedy = match error {
            "access_denied" => "Assign the person to the application at the identity provider.",
            "invalid_scope" => "Ask for scopes that the identity provider knows: see scopes.",
            "temporarily_unavailable" | "server_error" => "Look into the log of the identity provider.",
            _ => {
                "Look up the error in the identity provider's log and check how the application is registered there."
            }
        };
        let refusal = LoginRefusal::new(
            Class::OidcProviderError,
            "a code",
            format_args!("{error}{description}"),
            remedy,
        );
        Some(refusal.passing(matches!(error, "temporarily_unavailable" | "server_error")))
    }

    fn parse_form(text: &[u8]) -> Result<Self, LoginRefusal> {
        let mut answer = Self::default();
        for (name, value) in url::form_urlencoded::parse(text) {
            let twice = match &*name {
                "code" => answer.code.replace(Secret::new(value)).is_some(),
                "state" => answer.state.replace(value.into()).is_some(),
                "iss" => answer.iss.replace(value.into()).is_some(),
                "error" => answer.error.replace(value.into()).is_some(),
                "error_description" => answer.error_description.replace(value.into()).is_some(),
                _ => false,
            };
            if twice {
                return Err(ambiguous_answer(format_args!("two of {name}")));
            }
        }
        if answer.code.is_some() && answer.error.is_some() {
            return Err(ambiguous_answer("a code and an error"));
        }
        Ok(answer)
    }

    fn says_something(&self) -> bool {
        self.code.is_some() || self.state.is_some() || self.iss.is_some() || self.error.is_some()
    }
}

fn ambiguous_answer(got: impl fmt::Display) -> LoginRefusal {
    LoginRefusal::new(
        Class::OidcState,
        "one answer of the identity provider",
        got,
        "Nothing to set: such an answer is not made by an identity provider. Start again from the application.",
    )
}

impl fmt::Debug for AuthorizationResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.error.is_some() { "Answer(error)" } else { "Answer(hidden)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_answer_is_read_from_the_query_or_from_the_form() {
        let answer = AuthorizationResponse::read_callback(
            "code=a%20b&state=s+1&iss=https%3A%2F%2Fop.test&session_state=x",
            None,
        )
        .unwrap();
        assert_eq!(answer.code.unwrap().expose(), "a b");
        assert_eq!((answer.state.as_deref(), answer.iss.as_deref()), (Some("s 1"), Some("https://op.test")));
        let answer = AuthorizationResponse::read_callback("", Some(b"code=a&state=s")).unwrap();
        assert_eq!(answer.state(), Some("s"));
        assert!(AuthorizationResponse::read_callback("", None).unwrap().state().is_none());
    }

    #[test]
    fn ambiguous_answers_are_refused() {
        for (query, form) in [
            ("code=a&code=a&state=s", None),
            ("code=a&state=s&state=t", None),
            ("iss=a&iss=b", None),
            ("code=a&error=access_denied&state=s", None),
            ("code=a&state=s", Some(&b"code=b&state=s"[..])),
            ("state=s", Some(&b"code=b"[..])),
            ("error=x", Some(&b"error_description=%3Cscript%3E&state=s"[..])),
        ] {
            let refusal = AuthorizationResponse::read_callback(query, form).unwrap_err();
            assert_eq!(refusal.class, Class::OidcState, "{query}");
        }
        assert!(AuthorizationResponse::read_callback(&format!("code={}", "a".repeat(LIMIT)), None).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer_or_a_refusal(query in "\\PC{0,60}|[a-z=&%+]{0,60}", form: Option<Vec<u8>>) {
            if let Err(refusal) = AuthorizationResponse::read_callback(&query, form.as_deref()) {
                prop_assert_eq!(refusal.class, Class::OidcState);
            }
        }

        #[test]
        fn what_a_provider_writes_is_read(code in "\\PC{1,40}", state in "\\PC{1,40}") {
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("code", &code).append_pair("state", &state).finish();
            let answer = AuthorizationResponse::read_callback(&query, None).unwrap();
            prop_assert_eq!(answer.state(), Some(&*state));
            prop_assert_eq!(answer.code.map(|code| code.expose().to_owned()), Some(code));
        }
    }
}

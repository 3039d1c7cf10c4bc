//! Why a login was refused: the class for log and metric, what was expected, what came, and what to do about it.
//!
//! A refusal is for the operator. It never holds a secret, a code or a token, and text that came from outside is cut
//! at 200 characters and cannot break a line or a terminal. The browser sees a reference number only.

use std::fmt;

use portcullis_policy::shown;

/// The fault, in one word: a label of the metric and the `reason` of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The answer belongs to no login this browser started, or to one that is over.
    State,
    /// The answer came from another identity provider than the one asked (RFC 9207).
    IssParam,
    /// The identity provider answered with an error instead of a code.
    ProviderError,
    /// The code could not be redeemed.
    TokenEndpoint,
    /// The ID token is signed by an algorithm that is not allowed.
    IdTokenAlg,
    /// No published key fits the ID token.
    IdTokenKey,
    /// The signature of the ID token is wrong.
    IdTokenSignature,
    /// The ID token says something that does not fit: issuer, audience, time, subject.
    IdTokenClaims,
    /// The ID token answers another login.
    Nonce,
    /// Claims that the ID token lacks could not be had from the userinfo endpoint.
    Userinfo,
    /// Discovery or the key set could not be had or cannot be used.
    Metadata,
}

impl Class {
    /// Every class: the metric shows all of them from the start.
    pub const ALL: [Class; 11] = [
        Self::State,
        Self::IssParam,
        Self::ProviderError,
        Self::TokenEndpoint,
        Self::IdTokenAlg,
        Self::IdTokenKey,
        Self::IdTokenSignature,
        Self::IdTokenClaims,
        Self::Nonce,
        Self::Userinfo,
        Self::Metadata,
    ];

    /// The word for log and metric.
    pub fn log_word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::IssParam => "iss_param",
            Self::ProviderError => "provider_error",
            Self::TokenEndpoint => "token_endpoint",
            Self::IdTokenAlg => "id_token_alg",
            Self::IdTokenKey => "id_token_key",
            Self::IdTokenSignature => "id_token_signature",
            Self::IdTokenClaims => "id_token_claims",
            Self::Nonce => "nonce",
            Self::Userinfo => "userinfo",
            Self::Metadata => "metadata",
        }
    }
}

/// A login that is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: expected {expected}, got {got}. {remedy}", .class.log_word())]
pub struct LoginRefusal {
    /// The kind of fault.
    pub class: Class,
    /// The value that would have been right.
    pub expected: String,
    /// The value that came; foreign text is cut at 200 characters.
    pub got: String,
    /// The advice for the operator.
    pub remedy: &'static str,
    /// True where the provider says, or shows, that it is only busy: trying again in a moment is what helps.
    pub passes: bool,
}

impl LoginRefusal {
    pub(crate) fn new(
        class: Class,
        expected: impl fmt::Display,
        got: impl fmt::Display,
        remedy: &'static str,
    ) -> Self {
        Self {
            class,
            expected: shown(&expected.to_string()).into(),
            got: shown(&got.to_string()).into(),
            remedy,
            passes: false,
        }
    }

    /// The same, without what the IdP calls the person: for `log.identity: none`.
    #[must_use]
    pub fn unnamed(mut self) -> Self {
        const UNNAMED: &str = "(not kept: log.identity)";
        match self.class {
            Class::IdTokenClaims => self.got = UNNAMED.to_owned(),
            // Two subjects are compared there.
            Class::Userinfo => (self.expected, self.got) = (UNNAMED.to_owned(), UNNAMED.to_owned()),
            // Behind the error's word a provider says what it likes, perhaps of whom.
            Class::ProviderError | Class::TokenEndpoint => {
                if let Some((word, _)) = self.got.split_once(": ") {
                    self.got = word.to_owned();
                }
            }
            _ => {}
        }
        self
    }

    /// The same, of a trouble that passes or does not.
    pub(crate) fn passing(self, passes: bool) -> Self {
        Self { passes, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_cut_and_kept_on_one_line() {
        let refusal =
            LoginRefusal::new(Class::State, "a state", "x\r\nSet-Cookie: a\u{202e}b\u{1b}[31m", "Do this.");
        assert!(!refusal.to_string().contains(['\r', '\n', '\u{1b}', '\u{202e}']), "{refusal}");
        let long = LoginRefusal::new(Class::State, "a state", "\u{e9}".repeat(10_000), "Do this.");
        assert_eq!(long.got.chars().count(), 200);
        let fits = LoginRefusal::new(Class::State, "a state", "y".repeat(200), "Do this.");
        assert_eq!(fits.got, "y".repeat(200));
    }

    #[test]
    fn what_an_idp_calls_somebody_can_be_left_out() {
        let of = |class| LoginRefusal::new(class, "mira@corp.test", "mira@corp.test", "Do this.").unnamed();
        assert!(!of(Class::Userinfo).to_string().contains("mira"));
        assert_eq!(of(Class::IdTokenClaims).got, "(not kept: log.identity)");
        assert_eq!(of(Class::State).got, "mira@corp.test", "nobody is named there");
    }

    #[test]
    fn each_class_has_a_word_of_its_own() {
        let words: std::collections::HashSet<_> = Class::ALL.iter().map(|class| class.log_word()).collect();
        assert_eq!(words.len(), Class::ALL.len());
    }
}

//! Why a login was refused: the class for log and metric, what was expected, what came, and what to do about it.
//!
//! A refusal is for the operator. It never holds a secret, a code or a token, and text that came from outside is cut
//! at 200 characters and cannot break a line or a terminal. The browser sees a reference number only.

use std::fmt;

use portcullis_policy::shown;

macro_rules! classes {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+) => {
        /// The fault, in one word: a label of the metric and the `reason` of the log. Its prefix is the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Class {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Class {
            /// Every class: the metric shows all of them from the start.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word for log and metric.
            pub fn log_word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

classes! {
    /// The answer belongs to no login this browser started, or to one that is over.
    OidcState = "oidc_state",
    /// The answer came from another identity provider than the one asked (RFC 9207).
    OidcIssParam = "oidc_iss_param",
    /// The identity provider answered with an error instead of a code.
    OidcProviderError = "oidc_provider_error",
    /// The code could not be redeemed.
    OidcTokenEndpoint = "oidc_token_endpoint",
    /// The ID token is signed by an algorithm that is not allowed.
    OidcIdTokenAlg = "oidc_id_token_alg",
    /// No published key fits the ID token.
    OidcIdTokenKey = "oidc_id_token_key",
    /// The signature of the ID token is wrong.
    OidcIdTokenSignature = "oidc_id_token_signature",
    /// The ID token says something that does not fit: issuer, audience, time, subject.
    OidcIdTokenClaims = "oidc_id_token_claims",
    /// The ID token answers another login.
    OidcNonce = "oidc_nonce",
    /// Claims that the ID token lacks could not be had from the userinfo endpoint.
    OidcUserinfo = "oidc_userinfo",
    /// Discovery or the key set could not be had or cannot be used.
    OidcMetadata = "oidc_metadata",
    /// The identity provider's word that a session has ended is none.
    OidcLogoutToken = "oidc_logout_token",
    /// The message is longer than any that an identity provider sends.
    SamlTooLarge = "saml_too_large",
    /// The message is not base64 or not well-formed XML with namespaces.
    SamlMalformed = "saml_malformed",
    /// The message holds XML that no identity provider needs: DOCTYPE, comment, processing instruction, CDATA.
    SamlForbiddenXml = "saml_forbidden_xml",
    /// The message is not built as SAML says, or can be read two ways.
    SamlStructure = "saml_structure",
    /// The signature is made in a way that is not allowed.
    SamlSignaturePolicy = "saml_signature_policy",
    /// Nothing in the message is signed.
    SamlUnsigned = "saml_unsigned",
    /// No known key of the identity provider made the signature, or what it covers was changed.
    SamlSignatureInvalid = "saml_signature_invalid",
    /// The signature is by a new key of the identity provider, which waits for an operator.
    SamlKeyWaiting = "saml_key_waiting",
    /// The signature is by a key that an operator has distrusted.
    SamlKeyDistrusted = "saml_key_distrusted",
    /// What is encrypted does not open.
    SamlDecrypt = "saml_decrypt",
    /// The message is of another issuer.
    SamlIssuer = "saml_issuer",
    /// The message was sent to another address.
    SamlDestination = "saml_destination",
    /// The assertion is for another address.
    SamlRecipient = "saml_recipient",
    /// The assertion is for another service provider.
    SamlAudience = "saml_audience",
    /// The message answers no login this browser started, or one that is over.
    SamlInResponseTo = "saml_in_response_to",
    /// The message or the assertion is over.
    SamlExpired = "saml_expired",
    /// The message or the assertion is of the future.
    SamlNotYetValid = "saml_not_yet_valid",
    /// The identity provider answered with an error instead of an assertion.
    SamlStatus = "saml_status",
    /// The subject is not confirmed as a bearer's, or has no name.
    SamlSubject = "saml_subject",
    /// The message is not of SAML 2.0.
    SamlVersion = "saml_version",
    /// The assertion was brought before.
    SamlReplay = "saml_replay",
    /// A value of the assertion holds characters that no header can carry.
    SamlHeader = "saml_header",
    /// The metadata could not be had or cannot be used.
    SamlMetadata = "saml_metadata",
}

impl Class {
    /// The word without its protocol, as `portcullis doctor` says it.
    pub fn bare_word(self) -> &'static str {
        let word = self.log_word();
        word.split_once('_').map_or(word, |(_, bare)| bare)
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
    /// A form that carries no message of SAML, or one that can be read two ways.
    pub fn of_form(expected: impl fmt::Display, got: impl fmt::Display) -> Self {
        let remedy =
            "Nothing to set: no identity provider sends such a form. Start again from the application.";
        Self::new(Class::SamlMalformed, expected, got, remedy)
    }

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
            // A piece of the message stands there, or what an attribute says.
            Class::OidcIdTokenClaims
            | Class::OidcLogoutToken
            | Class::SamlMalformed
            | Class::SamlForbiddenXml
            | Class::SamlSubject
            | Class::SamlHeader => self.got = UNNAMED.to_owned(),
            // Two subjects are compared there.
            Class::OidcUserinfo => (self.expected, self.got) = (UNNAMED.to_owned(), UNNAMED.to_owned()),
            // Behind the error's word a provider says what it likes, perhaps of whom.
            Class::OidcProviderError | Class::OidcTokenEndpoint | Class::SamlStatus => {
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
        let refusal = LoginRefusal::new(
            Class::OidcState,
            "a state",
            "x\r\nSet-Cookie: a\u{202e}b\u{1b}[31m",
            "Do this.",
        );
        assert!(!refusal.to_string().contains(['\r', '\n', '\u{1b}', '\u{202e}']), "{refusal}");
        let long = LoginRefusal::new(Class::OidcState, "a state", "\u{e9}".repeat(10_000), "Do this.");
        assert_eq!(long.got.chars().count(), 200);
        let fits = LoginRefusal::new(Class::OidcState, "a state", "y".repeat(200), "Do this.");
        assert_eq!(fits.got, "y".repeat(200));
    }

    #[test]
    fn what_an_idp_calls_somebody_can_be_left_out() {
        let of = |class| LoginRefusal::new(class, "mira@corp.test", "mira@corp.test", "Do this.").unnamed();
        assert!(!of(Class::OidcUserinfo).to_string().contains("mira"));
        assert_eq!(of(Class::OidcIdTokenClaims).got, "(not kept: log.identity)");
        assert_eq!(of(Class::OidcState).got, "mira@corp.test", "nobody is named there");
        for class in [Class::SamlMalformed, Class::SamlForbiddenXml, Class::SamlSubject, Class::SamlHeader] {
            assert_eq!(of(class).got, "(not kept: log.identity)");
        }
        let status = LoginRefusal::new(Class::SamlStatus, "Success", "Responder: mira is locked", "Do this.");
        assert_eq!(status.unnamed().got, "Responder");
    }

    #[test]
    fn each_class_has_a_word_of_its_own() {
        let words: std::collections::HashSet<_> = Class::ALL.iter().map(|class| class.log_word()).collect();
        assert_eq!(words.len(), Class::ALL.len());
    }
}

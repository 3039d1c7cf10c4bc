//! The discovery document (OpenID Connect Discovery §4): read, compared with the configured issuer, every address in
//! it judged before anybody goes there.

use serde::Deserialize;
use url::Url;

use super::hosts::Hosts;
use crate::{Class, Refusal};

/// What we use of a provider's metadata.
pub(super) struct Metadata {
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) jwks: Url,
    pub(super) userinfo: Option<Url>,
    pub(super) end_session: Option<Url>,
    /// Answers name their issuer (RFC 9207): one that does not is refused.
    pub(super) names_issuer: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

impl Metadata {
    /// Where the document is.
    pub(super) fn address(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    pub(super) fn read(body: &[u8], issuer: &str, hosts: &Hosts) -> Result<Self, Refusal> {
        let document: Document = serde_json::from_slice(body).map_err(|error| {
            let web_page = body.trim_ascii_start().starts_with(b"<");
            let got = if web_page { "a web page".to_owned() } else { error.to_string() };
            Refusal::new(
                Class::Metadata,
                "the metadata of an OpenID provider",
                got,
                "Check issuer: its address and /.well-known/openid-configuration must lead to the provider's metadata.",
            )
        })?;
        if document.issuer != issuer {
            return Err(Refusal::new(
                Class::Metadata,
                issuer,
                &document.issuer,
                remedy_for_issuer(&document.issuer),
            ));
        }
        Ok(Self {
            authorization: hosts.visited("authorization_endpoint", &document.authorization_endpoint)?,
            token: hosts.fetched("token_endpoint", &document.token_endpoint)?,
            jwks: hosts.fetched("jwks_uri", &document.jwks_uri)?,
            userinfo: document
                .userinfo_endpoint
                .map(|url| hosts.fetched("userinfo_endpoint", &url))
                .transpose()?,
            end_session: document
                .end_session_endpoint
                .map(|url| hosts.visited("end_session_endpoint", &url))
                .transpose()?,
            names_issuer: document.authorization_response_iss_parameter_supported.unwrap_or(false),
        })
    }
}

fn remedy_for_issuer(issuer: &str) -> &'static str {
    if issuer.contains("{tenantid}") {
        // Entra's `common` and `organizations`: whoever has any tenant could sign in.
        return "Use the tenant's own issuer: https://login.microsoftonline.com/<tenant id>/v2.0.";
    }
    "Write issuer in the configuration exactly as the provider does, the slash at its end included."
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const ISSUER: &str = "https://op.test";

    fn document() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://op.test/authorize",
            "token_endpoint": "https://op.test/token",
            "jwks_uri": "https://op.test/jwks",
            "userinfo_endpoint": null,
            "response_types_supported": ["code"],
        })
    }

    fn read(document: &Value) -> Result<Metadata, Refusal> {
        Metadata::read(document.to_string().as_bytes(), ISSUER, &Hosts::new(ISSUER, &[], false))
    }

    #[test]
    fn a_document_is_read() {
        let metadata = read(&document()).unwrap();
        assert_eq!(metadata.token.as_str(), "https://op.test/token");
        assert!(metadata.userinfo.is_none() && !metadata.names_issuer);
        assert_eq!(Metadata::address("https://op.test/"), "https://op.test/.well-known/openid-configuration");
        assert_eq!(
            Metadata::address("https://op.test/r"),
            "https://op.test/r/.well-known/openid-configuration"
        );
    }

    #[test]
    fn a_document_that_does_not_fit_is_refused() {
        for (member, value) in [
            ("issuer", json!("https://op.test/")),
            ("issuer", json!("https://OP.test")),
            ("issuer", json!("https://login.microsoftonline.com/{tenantid}/v2.0")),
            ("issuer", json!(null)),
            ("authorization_endpoint", json!("javascript:alert(1)")),
            ("authorization_endpoint", json!("http://op.test/authorize")),
            ("token_endpoint", json!("https://10.0.0.1/token")),
            ("token_endpoint", json!(7)),
            ("jwks_uri", json!("http://op.test/jwks")),
            ("jwks_uri", json!("https://169.254.169.254/jwks")),
            ("jwks_uri", json!(null)),
            ("userinfo_endpoint", json!("https://localhost/me")),
            ("end_session_endpoint", json!("http://op.test/end")),
        ] {
            let mut document = document();
            document[member] = value.clone();
            let refusal = read(&document).err().map(|refusal| refusal.class);
            assert_eq!(refusal, Some(Class::Metadata), "{member} {value}");
        }
    }

    #[test]
    fn what_is_no_document_is_named() {
        let hosts = Hosts::new(ISSUER, &[], false);
        let got = |body: &[u8]| Metadata::read(body, ISSUER, &hosts).err().map(|refusal| refusal.got);
        assert_eq!(got(b"\n <!doctype html><html>").as_deref(), Some("a web page"));
        for body in [&b""[..], b"null", b"[]", b"{}", b"\xff", b"{\"issuer\":"] {
            assert!(got(body).is_some(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn junk_is_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let hosts = Hosts::new(ISSUER, &[], false);
            prop_assert!(Metadata::read(&body, ISSUER, &hosts).is_err());
        }
    }
}

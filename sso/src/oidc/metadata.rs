//! The discovery document (OpenID Connect Discovery §4): read, compared with the configured issuer, every address in
//! it judged before anybody goes there.
//!
//! What a login cannot do without must be there and right. What it can do without is absent where it is empty or of
//! no use, and [`Metadata::unusable`] says so once.

use serde_json::{Map, Value};
use url::Url;

use super::algorithm::Algorithm;
use super::hosts::Hosts;
use crate::{Class, LoginRefusal};

/// The parts of a provider's metadata that we use.
pub(super) struct Metadata {
    pub(super) authorization: Url,
    pub(super) token: Url,
    pub(super) jwks: Url,
    pub(super) userinfo: Option<Url>,
    pub(super) end_session: Option<Url>,
    /// Answers name their issuer (RFC 9207): one that does not is refused.
    pub(super) names_issuer: bool,
    /// The algorithms of ID tokens, of those we take.
    pub(super) id_token: Vec<Algorithm>,
    /// The algorithms of userinfo answers that are signed, of those we take.
    pub(super) signed_userinfo: Vec<Algorithm>,
    /// Things that are there and cannot be used, each with its reason.
    pub(super) unusable: Vec<String>,
}

impl Metadata {
    /// Makes the address of the document.
    pub(super) fn document_address(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    pub(super) fn read_document(body: &[u8], issuer: &str, hosts: &Hosts) -> Result<Self, LoginRefusal> {
        let refuse = |got: &str| {
            LoginRefusal::new(
                Class::OidcMetadata,
                "the metadata of an OpenID provider",
                got,
                "Check issuer: its address and /.well-known/openid-configuration must lead to the provider's metadata.",
            )
        };
        let document: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
            let web_page = body.trim_ascii_start().starts_with(b"<");
            refuse(&if web_page { "a web page".to_owned() } else { error.to_string() })
        })?;
        let need = |name: &str| {
            let text = document.get(name).and_then(Value::as_str);
            text.ok_or_else(|| refuse(&format!("one without {name}, or with one that is no text")))
        };
        let said = need("issuer")?;
        if said != issuer {
            return Err(LoginRefusal::new(Class::OidcMetadata, issuer, said, remedy_for_issuer(said)));
        }
        let mut unusable = Vec::new();
        let mut optional = |name: &str, judge: &dyn Fn(&str, &str) -> Result<Url, LoginRefusal>| {
            let value = document.get(name).filter(|value| !value.is_null())?;
            let judged = match value.as_str() {
                Some(url) => judge(name, url).map_err(|refusal| refusal.to_string()),
                None => Err("it is no text".into()),
            };
            judged.map_err(|why| unusable.push(format!("{name}: {why}"))).ok()
        };
        let userinfo = optional("userinfo_endpoint", &|name, url| hosts.check_fetched(name, url));
        let end_session = optional("end_session_endpoint", &|name, url| hosts.check_visited(name, url));
        let listed = |name: &str| Algorithm::list_supported(document.get(name));
        Ok(Self {
            authorization: hosts.check_visited("authorization_endpoint", need("authorization_endpoint")?)?,
            token: hosts.check_fetched("token_endpoint", need("token_endpoint")?)?,
            jwks: hosts.check_fetched("jwks_uri", need("jwks_uri")?)?,
            userinfo,
            end_session,
            names_issuer: match document.get("authorization_response_iss_parameter_supported") {
                Some(Value::Bool(supported)) => *supported,
                Some(Value::String(text)) => text == "true",
                _ => false,
            },
            id_token: listed("id_token_signing_alg_values_supported"),
            signed_userinfo: listed("userinfo_signing_alg_values_supported"),
            unusable,
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

    fn read(document: &Value) -> Result<Metadata, LoginRefusal> {
        Metadata::read_document(document.to_string().as_bytes(), ISSUER, &Hosts::new(ISSUER, &[], false))
    }

    #[test]
    fn a_document_is_read() {
        let metadata = read(&document()).unwrap();
        assert_eq!(metadata.token.as_str(), "https://op.test/token");
        assert!(metadata.userinfo.is_none() && !metadata.names_issuer);
        assert_eq!(
            Metadata::document_address("https://op.test/"),
            "https://op.test/.well-known/openid-configuration"
        );
        assert_eq!(
            Metadata::document_address("https://op.test/r"),
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
            ("authorization_endpoint", json!("")),
            ("token_endpoint", json!("")),
        ] {
            let mut document = document();
            document[member] = value.clone();
            let refusal = read(&document).err().map(|refusal| refusal.class);
            assert_eq!(refusal, Some(Class::OidcMetadata), "{member} {value}");
        }
    }

    #[test]
    fn what_a_login_can_do_without_is_absent_where_it_cannot_be_used() {
        for (member, value) in [
            ("userinfo_endpoint", json!("")),
            ("userinfo_endpoint", json!(" ")),
            ("userinfo_endpoint", json!("https://localhost/me")),
            ("userinfo_endpoint", json!("http://op.test/me")),
            ("userinfo_endpoint", json!(["https://op.test/me"])),
            ("end_session_endpoint", json!("")),
            ("end_session_endpoint", json!("http://op.test/end")),
            ("end_session_endpoint", json!("javascript:alert(1)")),
            ("end_session_endpoint", json!({})),
        ] {
            let mut document = document();
            document["userinfo_endpoint"] = json!("https://op.test/me");
            document["end_session_endpoint"] = json!("https://op.test/end");
            document[member] = value.clone();
            let metadata = read(&document).unwrap_or_else(|refusal| panic!("{member} {value}: {refusal}"));
            let there = [metadata.userinfo.is_some(), metadata.end_session.is_some()];
            assert_eq!(there, [member != "userinfo_endpoint", member != "end_session_endpoint"], "{value}");
            assert!(metadata.unusable.len() == 1 && metadata.unusable[0].starts_with(member), "{value}");
        }
        // Of what nobody uses, nothing is read.
        let mut odd = document();
        for member in
            ["scopes_supported", "registration_endpoint", "service_documentation", "claims_supported"]
        {
            odd[member] = json!(7);
        }
        odd["authorization_response_iss_parameter_supported"] = json!("true");
        odd["id_token_signing_alg_values_supported"] = json!("RS256");
        let metadata = read(&odd).unwrap();
        assert!(metadata.names_issuer && metadata.unusable.is_empty());
        assert_eq!(metadata.id_token, Algorithm::ALL);
    }

    #[test]
    fn what_is_no_document_is_named() {
        let hosts = Hosts::new(ISSUER, &[], false);
        let got =
            |body: &[u8]| Metadata::read_document(body, ISSUER, &hosts).err().map(|refusal| refusal.got);
        assert_eq!(got(b"\n <!doctype html><html>").as_deref(), Some("a web page"));
        for body in [&b""[..], b"null", b"[]", b"{}", b"\xff", b"{\"issuer\":"] {
            assert!(got(body).is_some(), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn junk_is_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let hosts = Hosts::new(ISSUER, &[], false);
            prop_assert!(Metadata::read_document(&body, ISSUER, &hosts).is_err());
        }
    }
}

//! What the provider publishes about itself.

use serde_json::{Value, json};

use super::OpenIdProvider;

impl OpenIdProvider {
    /// The discovery document (OpenID Connect Discovery §3).
    pub fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        let bends = self.bends();
        let mut document = json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"),
            "userinfo_endpoint": at("/userinfo"),
            "jwks_uri": at("/jwks"),
            "end_session_endpoint": at("/end-session"),
            "scopes_supported": ["openid", "profile", "email", "groups"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [bends.signer.algorithm()],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "sid", "at_hash", "name",
                "preferred_username", "email", "email_verified", "groups"],
            "prompt_values_supported": ["none", "login", "select_account"],
            "request_parameter_supported": false,
            "request_uri_parameter_supported": false,
            "authorization_response_iss_parameter_supported": true,
        });
        for (name, value) in &bends.metadata {
            document[name] = value.clone();
        }
        document
    }

    /// The public keys, as a JWK set.
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.bends().keys })
    }
}

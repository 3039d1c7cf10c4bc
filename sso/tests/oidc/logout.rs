//! Logout tokens (OIDC Back-Channel Logout 1.0): those of the providers that are known, and every way to be none.

use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use portcullis_rig::provider::{Signer, hs256, sign_token};
use portcullis_sso::{Class, LogoutNotice};
use serde_json::{Value, json};

use crate::provider::{CLIENT, NOW, Op, SECRET, id_token_of};

const ISSUER: &str = "https://op.test";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn claims() -> Value {
    let now = NOW.seconds();
    json!({
        "iss": ISSUER, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": "j-1", "sub": "alice-1", "sid": "s-1",
        "events": { EVENT: {} },
    })
}

/// A token of the provider with other members; null takes one out.
fn bent(change: Value) -> Value {
    let mut claims = claims();
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn signed(op: &Op, header: Value, claims: &Value) -> String {
    let signer = op.inside().signer.clone();
    sign_token(&header, claims, |message| signer.sign("RS256", message))
}

async fn verified(op: &Op, token: &str, now: Timestamp) -> Result<LogoutNotice, Class> {
    op.idp().verify_logout_token(&Secret::new(token), now).await.map_err(|refusal| {
        assert!(token.is_empty() || !refusal.to_string().contains(token), "{refusal}");
        refusal.class
    })
}

#[tokio::test]
async fn what_providers_send_is_heard() {
    let op = Op::new(ISSUER);
    let now = NOW.seconds();
    for (whose, header, change, subject, session) in [
        ("oidc-provider", json!({"typ": "logout+jwt"}), json!({}), Some("alice-1"), Some("s-1")),
        ("Keycloak", json!({"typ": "logout+jwt"}), json!({"typ": "Logout"}), Some("alice-1"), Some("s-1")),
        ("Hydra", json!({"typ": "JWT"}), json!({"sub": null, "exp": null}), None, Some("s-1")),
        ("a person's sessions", json!({}), json!({"sid": null, "aud": [CLIENT, "x"]}), Some("alice-1"), None),
        ("more events", json!({}), json!({"events": {EVENT: {}, "x": 1}}), Some("alice-1"), Some("s-1")),
        ("a clock that is ahead", json!({}), json!({"iat": now + 59}), Some("alice-1"), Some("s-1")),
    ] {
        let mut header = header;
        header["alg"] = "RS256".into();
        header["kid"] = "key-1".into();
        let notice = verified(&op, &signed(&op, header, &bent(change)), NOW).await.expect(whose);
        assert_eq!((notice.subject.as_deref(), notice.session.as_deref()), (subject, session), "{whose}");
        assert_eq!(notice.jti, "j-1");
        assert!(notice.until > NOW && notice.until <= NOW.plus_ms(12 * 60_000), "{whose}");
    }
}

#[tokio::test]
async fn everything_else_is_refused() {
    let op = Op::new(ISSUER);
    let now = NOW.seconds();
    for (what, change) in [
        ("another issuer", json!({"iss": "https://op.test/"})),
        ("another client", json!({"aud": "client-2"})),
        ("nobody's", json!({"aud": null})),
        ("no event", json!({"events": null})),
        ("another event", json!({"events": {"http://schemas.openid.net/event/other": {}}})),
        ("an event that is no object", json!({"events": {EVENT: true}})),
        ("events in a list", json!({"events": [EVENT]})),
        ("a nonce", json!({"nonce": "n"})),
        ("nobody", json!({"sub": null, "sid": null})),
        ("an empty sid", json!({"sid": "", "sub": null})),
        ("a sid that is no text", json!({"sid": 7})),
        ("a sub of megabytes", json!({"sub": "x".repeat(2000)})),
        ("no number", json!({"jti": null})),
        ("no time", json!({"iat": null})),
        ("of the future", json!({"iat": now + 120})),
        ("old", json!({"iat": now - 700, "exp": null})),
        ("over", json!({"iat": now - 300, "exp": now - 100})),
        ("a time that is none", json!({"exp": "soon"})),
    ] {
        let token = signed(&op, json!({"alg": "RS256", "kid": "key-1"}), &bent(change));
        assert_eq!(verified(&op, &token, NOW).await.err(), Some(Class::OidcLogoutToken), "{what}");
    }
    for (what, header) in [
        ("an access token", json!({"alg": "RS256", "kid": "key-1", "typ": "at+jwt"})),
        ("a security event", json!({"alg": "RS256", "kid": "key-1", "typ": "secevent+jwt"})),
        ("no algorithm", json!({"alg": "none"})),
        ("another algorithm", json!({"alg": "RS512", "kid": "key-1"})),
        ("another key", json!({"alg": "RS256", "kid": "key-2"})),
        ("more than a signature", json!({"alg": "RS256", "kid": "key-1", "crit": ["exp"]})),
    ] {
        let token = signed(&op, header, &claims());
        assert_eq!(verified(&op, &token, NOW).await.err(), Some(Class::OidcLogoutToken), "{what}");
    }
    let other = Signer::rsa("key-1", 2);
    for token in [
        sign_token(&json!({"alg": "HS256"}), &claims(), |message| hs256(SECRET.as_bytes(), message)),
        sign_token(&json!({"alg": "RS256", "kid": "key-1"}), &claims(), |message| {
            other.sign("RS256", message)
        }),
        "a.b.c".to_owned(),
        String::new(),
    ] {
        assert_eq!(verified(&op, &token, NOW).await.err(), Some(Class::OidcLogoutToken));
    }
    // An ID token is none, and a logout token signs nobody in (`attacks`).
    let login = op.login(&op.idp()).await.unwrap();
    assert_eq!(verified(&op, id_token_of(&login), NOW).await.err(), Some(Class::OidcLogoutToken));
}

#[tokio::test]
async fn a_provider_that_was_never_reached_is_no_fault_of_the_token() {
    let op = Op::new(ISSUER);
    op.answer("/.well-known/openid-configuration", |_| {
        Err(portcullis_sso::FetchError::Timeout { host: "op.test".into(), seconds: 5 })
    });
    let token = signed(&op, json!({"alg": "RS256", "kid": "key-1"}), &claims());
    assert_eq!(verified(&op, &token, NOW).await.err(), Some(Class::OidcMetadata));
}

//! Logins that must succeed, and what is known afterwards.

use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use portcullis_sso::{Answer, Idp, OidcSettings, Subject};
use serde_json::{Value, json};
use url::Url;

use crate::provider::{CALLBACK, CLIENT, NOW, Op, begin, posting};
use crate::signer::Signer;

const ISSUER: &str = "https://op.test";

#[tokio::test]
async fn every_allowed_algorithm_brings_somebody_in() {
    let signers = [
        Signer::rsa("r", 1),
        Signer::rsa("r", 1),
        Signer::p256("e"),
        Signer::p384("e"),
        Signer::ed25519("o"),
    ];
    for (signer, algorithm) in signers.into_iter().zip(["RS256", "PS256", "ES256", "ES384", "EdDSA"]) {
        let op = Op::signing_with(ISSUER, signer);
        op.bend(move |header, _| header["alg"] = algorithm.into());
        let assertion = op.login(&op.idp()).await.unwrap_or_else(|refusal| panic!("{algorithm}: {refusal}"));
        assert_eq!(assertion.subject(), "alice-1", "{algorithm}");
    }
}

#[tokio::test]
async fn the_secret_is_sent_by_basic_or_by_post() {
    let op = Op::new(ISSUER);
    for settings in [op.settings(), posting(op.settings())] {
        assert!(op.login(&Idp::new(settings, op.fetch())).await.is_ok());
    }
}

#[tokio::test]
async fn an_assertion_says_who_came() {
    let op = Op::new(ISSUER);
    op.bend(|_, claims| claims["session_expiry"] = (NOW.seconds() + 3600).into());
    let assertion = op.login(&op.idp()).await.unwrap();
    assert_eq!((assertion.idp(), assertion.issuer(), assertion.subject()), ("op", ISSUER, "alice-1"));
    assert_eq!((assertion.email(), assertion.email_verified()), (Some("alice@example.test"), true));
    assert_eq!((assertion.name(), assertion.preferred_username()), (Some("Alice"), Some("alice")));
    assert_eq!(assertion.groups(), Some(&["staff".to_owned(), "wiki".to_owned()][..]));
    assert_eq!((assertion.claim("sub"), assertion.claim("nothing")), (Some("alice-1"), None));
    assert_eq!(assertion.session_end(), Some(Timestamp(NOW.0 + 3_600_000)));
    assert!(op.inside().given.iter().any(|given| given == assertion.id_token().expose()));
    // Everything was in the ID token: nobody was asked again.
    assert_eq!(op.asked("/me"), 0);
    let debug = format!("{assertion:?}");
    assert!(!debug.contains(assertion.id_token().expose()) && !debug.contains("alice@"), "{debug}");
}

#[tokio::test]
async fn the_browser_is_sent_with_pkce_state_and_nonce() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let (first, url) = begin(&idp, NOW).await.unwrap();
    let asked = |url: &str, name: &str| {
        let url = Url::parse(url).unwrap();
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    assert!(url.starts_with("https://op.test/authorize?tenant=1&response_type=code&"), "{url}");
    assert_eq!(asked(&url, "redirect_uri").as_deref(), Some(CALLBACK));
    assert_eq!(asked(&url, "state").as_deref(), Some(first.state()));
    assert_eq!(asked(&url, "scope").as_deref(), Some("openid profile email"));
    // The verifier stays here.
    let sealed: Value = serde_json::to_value(&first).unwrap();
    assert!(!url.contains(sealed["verifier"].as_str().unwrap()));
    let (_, second) = begin(&idp, NOW).await.unwrap();
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(asked(&url, name), asked(&second, name), "{name}");
    }
}

#[tokio::test]
async fn a_login_survives_the_browsers_cookie() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let (pending, url) = begin(&idp, NOW).await.unwrap();
    let sealed = serde_json::to_vec(&pending).unwrap();
    let answer = Answer::read(&op.authorize(&url), None).unwrap();
    let pending = serde_json::from_slice(&sealed).unwrap();
    let assertion = idp.finish(&pending, answer, NOW.plus_ms(60_000)).await.unwrap();
    assert_eq!((assertion.subject(), pending.return_to()), ("alice-1", "/start"));
}

#[tokio::test]
async fn odd_but_honest_tokens_are_taken() {
    let now = NOW.seconds();
    type Bend = fn(&mut Value, i64);
    let odd: &[(&str, Bend)] = &[
        ("aud as a list", |c, _| c["aud"] = json!([CLIENT])),
        ("aud with others, azp ours", |c, _| {
            c["aud"] = json!([CLIENT, "account"]);
            c["azp"] = CLIENT.into();
        }),
        ("azp null", |c, _| c["azp"] = Value::Null),
        ("no at_hash", |c, _| c["at_hash"] = Value::Null),
        ("fractional times", |c, now| {
            c["iat"] = json!(now as f64 - 0.5);
            c["exp"] = json!(now as f64 + 299.5);
            c["nbf"] = json!(now as f64 - 0.5);
        }),
        ("updated_at as text", |c, _| c["updated_at"] = "2026-01-02T03:04:05Z".into()),
        ("email_verified as text", |c, _| c["email_verified"] = "true".into()),
        ("claims that are null", |c, _| {
            c["locale"] = Value::Null;
            c["picture"] = Value::Null;
        }),
        ("a clock 50 s ahead", |c, now| {
            c["iat"] = (now + 50).into();
            c["nbf"] = (now + 50).into();
        }),
        ("a clock 50 s behind", |c, now| {
            c["iat"] = (now - 50).into();
            c["exp"] = (now - 50).into();
        }),
        ("more than we ask for", |c, _| c["amr"] = json!(["pwd", "mfa"])),
    ];
    for (name, bend) in odd {
        let op = Op::new(ISSUER);
        op.bend(move |_, claims| {
            bend(claims, now);
            claims.as_object_mut().unwrap().retain(|name, value| name != "at_hash" || !value.is_null());
        });
        let assertion = op.login(&op.idp()).await.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert!(assertion.email_verified(), "{name}");
    }
    for header in [json!({"typ": "jwt"}), json!({"typ": null}), json!({"kid": null})] {
        let op = Op::new(ISSUER);
        let given = header.clone();
        op.bend(move |token, _| {
            for (name, value) in given.as_object().unwrap() {
                token[name] = value.clone();
            }
            token.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        });
        assert!(op.login(&op.idp()).await.is_ok(), "{header}");
    }
}

#[tokio::test]
async fn what_the_id_token_lacks_comes_from_userinfo() {
    let op = Op::new(ISSUER);
    {
        let mut inside = op.inside();
        let person = inside.person.clone();
        inside.person = json!({"sub": "alice-1", "name": "Alice of the token"}).as_object().unwrap().clone();
        inside.userinfo = person;
    }
    let assertion = op.login(&op.idp()).await.unwrap();
    assert_eq!(op.asked("/me"), 1);
    assert_eq!(assertion.name(), Some("Alice of the token"));
    assert_eq!((assertion.email(), assertion.email_verified()), (Some("alice@example.test"), true));
    assert_eq!(assertion.groups().map(<[_]>::len), Some(2));
    // A provider without userinfo: what is not said is not known.
    let op = Op::new(ISSUER);
    op.inside().metadata.insert("userinfo_endpoint".into(), Value::Null);
    op.inside().person.remove("groups");
    assert_eq!(op.login(&op.idp()).await.unwrap().groups(), None);
}

#[tokio::test]
async fn a_link_claim_may_be_of_any_place() {
    let op = Op::new(ISSUER);
    op.inside().person.insert("ids".into(), json!({"hr": "4711"}));
    let settings = OidcSettings { link_claim: "/ids/hr".into(), ..op.settings() };
    let assertion = op.login(&Idp::new(settings, op.fetch())).await.unwrap();
    assert_eq!(assertion.claim("/ids/hr"), Some("4711"));
    assert_eq!(op.asked("/me"), 0);
}

#[tokio::test]
async fn entra_and_google_name_people_their_own_way() {
    let tenant = "9f1c0000-0000-4000-8000-000000000001";
    let op = Op::new(&format!("https://login.test/{tenant}/v2.0"));
    // The paths of this provider are below its issuer.
    let issuer = op.issuer.clone();
    for (path, name) in [("/token", "token_endpoint"), ("/jwks", "jwks_uri")] {
        op.inside().metadata.insert(name.into(), format!("https://login.test{path}").into());
    }
    let document = json!({
        "issuer": issuer, "authorization_endpoint": "https://login.test/authorize",
        "token_endpoint": "https://login.test/token", "jwks_uri": "https://login.test/jwks",
    });
    op.inside().answers.insert(
        "/9f1c0000-0000-4000-8000-000000000001/v2.0/.well-known/openid-configuration",
        std::sync::Arc::new(move |_| Ok(crate::provider::json_answer(200, &document))),
    );
    op.bend(|_, claims| {
        claims["oid"] = "object-1".into();
        claims["tid"] = "9f1c0000-0000-4000-8000-000000000001".into();
    });
    let settings = OidcSettings { subject: Subject::Entra, ..op.settings() };
    assert_eq!(op.login(&Idp::new(settings, op.fetch())).await.unwrap().subject(), "object-1");

    let op = Op::new(ISSUER);
    op.bend(|_, claims| claims["hd"] = "example.test".into());
    let subject = Subject::Google { domains: vec!["example.test".into()] };
    let settings = OidcSettings { subject, ..op.settings() };
    assert_eq!(op.login(&Idp::new(settings, op.fetch())).await.unwrap().subject(), "alice-1@example.test");
}

#[tokio::test]
async fn the_logout_leads_to_the_provider() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let hint = Secret::new("an.id.token");
    assert_eq!(idp.logout_url(Some(&hint), "https://app.test/out", "s").await, None);
    idp.refresh(NOW).await.unwrap();
    assert_eq!(
        idp.logout_url(Some(&hint), "https://app.test/out", "s t").await.as_deref(),
        Some(
            "https://op.test/end?x=1&id_token_hint=an.id.token&client_id=client-1\
             &post_logout_redirect_uri=https%3A%2F%2Fapp.test%2Fout&state=s+t"
        )
    );
    assert!(!idp.logout_url(None, "https://app.test/out", "s").await.unwrap().contains("hint"));
    // Google has no such place.
    let op = Op::new(ISSUER);
    op.inside().metadata.insert("end_session_endpoint".into(), Value::Null);
    let idp = op.idp();
    idp.refresh(NOW).await.unwrap();
    assert_eq!(idp.logout_url(None, "https://app.test/out", "s").await, None);
}

//! The list of attacks on an OpenID Connect login. Each row bends one thing and must be refused for that reason.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_policy::Timestamp;
use portcullis_rig::provider::{Signer, hs256, sign_token};
use portcullis_sso::{AuthorizationResponse, Class, FLOW_MS, LoginRefusal, OidcIdp, Pending};
use serde_json::{Value, json};

use crate::provider::{CLIENT, NOW, Op, SECRET, begin, id_token_of, query, with};

const ISSUER: &str = "https://op.test";

/// Refused for this reason, and the operator's text gives nothing away.
fn refused<T>(op: &Op, name: &str, outcome: Result<T, LoginRefusal>, class: Class) {
    let refusal = match outcome {
        Ok(_) => panic!("{name}: came in"),
        Err(refusal) => refusal,
    };
    assert_eq!(refusal.class, class, "{name}: {refusal}");
    let text = format!("{refusal} {refusal:?}");
    assert!(!text.contains(SECRET), "{name}: the client secret in {text}");
    for given in &op.given() {
        let signature = given.rsplit('.').next().unwrap_or(given);
        assert!(signature.len() < 20 || !text.contains(signature), "{name}: a token in {text}");
    }
}

/// A login whose ID token is bent.
async fn bent(name: &str, class: Class, bend: impl Fn(&mut Value, &mut Value) + Send + Sync + 'static) -> Op {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    op.login(&idp).await.unwrap_or_else(|refusal| panic!("{name}: before it was bent: {refusal}"));
    op.bend(bend);
    let outcome = op.login(&idp).await;
    refused(&op, name, outcome, class);
    op
}

async fn answered(idp: &OidcIdp, pending: &Pending, query: &str, now: Timestamp) -> Result<(), LoginRefusal> {
    idp.finish_login(pending, AuthorizationResponse::read_callback(query, None)?, now).await.map(drop)
}

#[tokio::test]
async fn mix_up() {
    let (good, bad) = (Op::new(ISSUER), Op::new("https://bad.test"));
    let (good_idp, bad_idp) = (good.idp(), bad.idp());
    let (pending, url) = begin(&good_idp, NOW).await.unwrap();
    let (bad_pending, bad_url) = begin(&bad_idp, NOW).await.unwrap();
    let genuine = good.authorize(&url);

    // The answer of another provider at this provider's callback, with that login's state and with this one's.
    let foreign = bad.authorize(&bad_url);
    refused(&good, "foreign answer", answered(&good_idp, &pending, &foreign, NOW).await, Class::OidcState);
    let foreign = with(&foreign, "state", Some(pending.state()));
    refused(&good, "foreign code", answered(&good_idp, &pending, &foreign, NOW).await, Class::OidcIssParam);
    // A login that was started at the other provider.
    refused(&good, "foreign login", answered(&good_idp, &bad_pending, &genuine, NOW).await, Class::OidcState);
    // The issuer is missing though the metadata says it is always there, or is another.
    for (name, iss) in
        [("none", None), ("slash", Some("https://op.test/")), ("case", Some("https://OP.test"))]
    {
        let answer = with(&genuine, "iss", iss);
        refused(&good, name, answered(&good_idp, &pending, &answer, NOW).await, Class::OidcIssParam);
    }
    // Nothing of all this was taken to a token endpoint.
    assert_eq!((good.asked("/token"), bad.asked("/token")), (0, 0));
    answered(&good_idp, &pending, &genuine, NOW).await.unwrap();
}

#[tokio::test]
async fn an_issuer_may_be_left_out_where_it_was_not_promised() {
    let op = Op::new(ISSUER);
    op.inside().metadata.insert("authorization_response_iss_parameter_supported".into(), Value::Null);
    let idp = op.idp();
    let (pending, url) = begin(&idp, NOW).await.unwrap();
    let genuine = op.authorize(&url);
    let foreign = with(&genuine, "iss", Some("https://bad.test"));
    refused(&op, "foreign", answered(&idp, &pending, &foreign, NOW).await, Class::OidcIssParam);
    answered(&idp, &pending, &with(&genuine, "iss", None), NOW).await.unwrap();
}

#[tokio::test]
async fn state_fixation_and_login_csrf() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let (mine, url) = begin(&idp, NOW).await.unwrap();
    let (theirs, their_url) = begin(&idp, NOW).await.unwrap();
    let their_answer = op.authorize(&their_url);
    refused(&op, "another browser's", answered(&idp, &mine, &their_answer, NOW).await, Class::OidcState);
    refused(
        &op,
        "no state",
        answered(&idp, &mine, &with(&their_answer, "state", None), NOW).await,
        Class::OidcState,
    );
    refused(
        &op,
        "empty state",
        answered(&idp, &mine, &with(&their_answer, "state", Some("")), NOW).await,
        Class::OidcState,
    );
    let late = NOW.plus_ms(FLOW_MS);
    refused(&op, "too late", answered(&idp, &theirs, &their_answer, late).await, Class::OidcState);
    assert_eq!(op.asked("/token"), 0);

    // Used twice: the code is spent. (That the flow is spent too is the store's.)
    let answer = op.authorize(&url);
    answered(&idp, &mine, &answer, NOW).await.unwrap();
    refused(&op, "twice", answered(&idp, &mine, &answer, NOW).await, Class::OidcTokenEndpoint);
}

#[tokio::test]
async fn code_injection() {
    for (checks_pkce, class) in [(true, Class::OidcTokenEndpoint), (false, Class::OidcNonce)] {
        let op = Op::new(ISSUER);
        op.inside().checks_pkce = checks_pkce;
        let idp = op.idp();
        let (victim, _) = begin(&idp, NOW).await.unwrap();
        let (_, attackers_url) = begin(&idp, NOW).await.unwrap();
        let injected = with(&op.authorize(&attackers_url), "state", Some(victim.state()));
        refused(&op, "attacker's code", answered(&idp, &victim, &injected, NOW).await, class);
        let invented = with(&injected, "code", Some("invented"));
        refused(
            &op,
            "invented code",
            answered(&idp, &victim, &invented, NOW).await,
            Class::OidcTokenEndpoint,
        );
    }
}

#[tokio::test]
async fn nonce() {
    bent("absent", Class::OidcNonce, |_, claims| drop(claims.as_object_mut().unwrap().remove("nonce"))).await;
    bent("other", Class::OidcNonce, |_, claims| claims["nonce"] = "other".into()).await;
    bent("empty", Class::OidcNonce, |_, claims| claims["nonce"] = "".into()).await;
    // The ID token of an earlier login.
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let earlier = op.login(&idp).await.unwrap();
    op.inside().id_token = Some(id_token_of(&earlier).to_owned());
    let outcome = op.login(&idp).await;
    refused(&op, "replayed", outcome, Class::OidcNonce);
}

#[tokio::test]
async fn algorithms() {
    for algorithm in ["none", "None", "nOnE", "HS384", "HS512", "RS512", "RS1", "ES512", "A128GCM", "dir", ""]
    {
        bent(algorithm, Class::OidcIdTokenAlg, move |header, _| header["alg"] = algorithm.into()).await;
    }
    bent("missing", Class::OidcIdTokenAlg, |header, _| drop(header.as_object_mut().unwrap().remove("alg")))
        .await;
    bent("a list", Class::OidcIdTokenAlg, |header, _| header["alg"] = json!(["RS256"])).await;

    // HS256 keyed with what everybody knows, and with what this client knows.
    let signer = Signer::rsa("key-1", 1);
    for (name, key) in [
        ("PEM", signer.public_pem()),
        ("DER", signer.public_der()),
        ("secret", SECRET.into()),
        ("empty", Vec::new()),
    ] {
        let op = Op::new(ISSUER);
        op.bend(|header, _| header["alg"] = "HS256".into());
        op.inside().forge = Some(std::sync::Arc::new(move |message| hs256(&key, message)));
        let outcome = op.login(&op.idp()).await;
        refused(&op, name, outcome, Class::OidcIdTokenAlg);
    }
    // None at all, in the shape of RFC 7519 §6.1.
    let op = Op::new(ISSUER);
    op.bend(|header, _| header["alg"] = "none".into());
    op.inside().forge = Some(std::sync::Arc::new(|_| Vec::new()));
    let outcome = op.login(&op.idp()).await;
    refused(&op, "unsigned", outcome, Class::OidcIdTokenAlg);
}

#[tokio::test]
async fn keys() {
    let odd_names = ["unknown", "../../etc/passwd", "key-1' OR '1'='1", "http://evil.test/key", ""];
    for kid in odd_names {
        let op = bent(kid, Class::OidcIdTokenKey, move |header, _| header["kid"] = kid.into()).await;
        assert_eq!(op.asked("/jwks"), 2, "{kid}: one refetch");
        assert_eq!(op.asked(".well-known"), 0);
    }
    // Own keys named in the header are never looked at, and never fetched.
    for (member, signer) in
        [("jku", Signer::rsa("mine", 2)), ("x5u", Signer::rsa("mine", 2)), ("jwk", Signer::rsa("mine", 2))]
    {
        let op = Op::new(ISSUER);
        let idp = op.idp();
        idp.refresh_metadata(NOW).await.unwrap();
        let value = if member == "jwk" { signer.jwk() } else { json!("https://evil.test/keys") };
        op.bend(move |header, _| header[member] = value.clone());
        op.inside().signer = signer;
        let outcome = op.login(&idp).await;
        refused(&op, member, outcome, Class::OidcIdTokenKey);
        assert!(op.addresses().iter().all(|url| url.starts_with(ISSUER)), "{member}");
    }
    // A key that is published for encryption.
    let op = Op::new(ISSUER);
    let mut encrypting = Signer::rsa("key-1", 1).jwk();
    encrypting["use"] = "enc".into();
    op.inside().keys = vec![encrypting, Signer::rsa("key-2", 2).jwk()];
    let outcome = op.login(&op.idp()).await;
    refused(&op, "use: enc", outcome, Class::OidcIdTokenKey);
    // A key of another family under the right name, a key for another algorithm, two keys of one name.
    let mut for_ps256 = Signer::rsa("key-1", 1).jwk();
    for_ps256["alg"] = "PS256".into();
    let twins = vec![Signer::rsa("key-1", 1).jwk(), Signer::rsa("key-1", 2).jwk()];
    for (name, keys) in [
        ("EC key for RS256", vec![Signer::p256("key-1").jwk()]),
        ("alg of the key", vec![for_ps256]),
        ("twins", twins),
    ] {
        let op = Op::new(ISSUER);
        op.inside().keys = keys;
        let outcome = op.login(&op.idp()).await;
        refused(&op, name, outcome, Class::OidcIdTokenKey);
    }
    // A curve that does not belong to the algorithm.
    let op = Op::signing_with(ISSUER, Signer::p384("key-1"));
    op.bend(|header, _| header["alg"] = "ES256".into());
    let outcome = op.login(&op.idp()).await;
    refused(&op, "P-384 for ES256", outcome, Class::OidcIdTokenKey);
}

#[tokio::test]
async fn signatures() {
    // Another's key under the right name.
    let op = Op::new(ISSUER);
    op.inside().signer = Signer::rsa("key-1", 2);
    let outcome = op.login(&op.idp()).await;
    refused(&op, "other key", outcome, Class::OidcIdTokenSignature);
    for (name, forge) in [("empty", Vec::new()), ("zero", vec![0; 256]), ("long", vec![7; 600])] {
        let op = Op::new(ISSUER);
        op.inside().forge = Some(std::sync::Arc::new(move |_| forge.clone()));
        let outcome = op.login(&op.idp()).await;
        refused(&op, name, outcome, Class::OidcIdTokenSignature);
    }
    // ECDSA with r = s = 0, and signatures of the wrong length.
    for (name, forge) in [("psychic", vec![0; 64]), ("short", vec![1; 63]), ("none", Vec::new())] {
        let op = Op::signing_with(ISSUER, Signer::p256("key-1"));
        op.inside().forge = Some(std::sync::Arc::new(move |_| forge.clone()));
        let outcome = op.login(&op.idp()).await;
        refused(&op, name, outcome, Class::OidcIdTokenSignature);
    }
    // A genuine token with one claim changed afterwards.
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let (pending, url) = begin(&idp, NOW).await.unwrap();
    let answer = op.authorize(&url);
    let nonce: Value = serde_json::to_value(&pending).unwrap();
    let signer = op.inside().signer.clone();
    let header = json!({"alg": "RS256", "kid": "key-1"});
    let now = NOW.seconds();
    let mut claims = json!({
        "iss": ISSUER, "aud": CLIENT, "sub": "alice-1", "iat": now, "exp": now + 60, "nonce": nonce["proof"]["oidc"]["nonce"],
    });
    let genuine = sign_token(&header, &claims, |message| signer.sign("RS256", message));
    claims["sub"] = "root".into();
    let forged = URL_SAFE_NO_PAD.encode(claims.to_string());
    let parts: Vec<&str> = genuine.split('.').collect();
    op.inside().id_token = Some(format!("{}.{forged}.{}", parts[0], parts[2]));
    refused(&op, "tampered", answered(&idp, &pending, &answer, NOW).await, Class::OidcIdTokenSignature);
}

#[tokio::test]
async fn claims() {
    let now = NOW.seconds();
    let bends: Vec<(&str, Value)> = vec![
        ("iss other", json!({"iss": "https://bad.test"})),
        ("iss with slash", json!({"iss": "https://op.test/"})),
        ("iss in capitals", json!({"iss": "https://OP.test"})),
        ("iss with port", json!({"iss": "https://op.test:443"})),
        ("iss missing", json!({"iss": null})),
        ("aud other", json!({"aud": "client-2"})),
        ("aud prefix", json!({"aud": "client-"})),
        ("aud missing", json!({"aud": null})),
        ("aud empty", json!({"aud": []})),
        ("aud list, azp foreign", json!({"aud": [CLIENT, "client-2"], "azp": "client-2"})),
        ("aud list, no azp", json!({"aud": [CLIENT, "client-2"]})),
        ("azp foreign", json!({"azp": "client-2"})),
        ("azp no text", json!({"azp": 7})),
        ("exp past", json!({"exp": now - 61})),
        ("exp long past", json!({"exp": 0})),
        ("exp missing", json!({"exp": null})),
        ("exp no number", json!({"exp": "soon"})),
        ("exp beyond time", json!({"exp": 1e300})),
        ("iat future", json!({"iat": now + 120})),
        ("iat long ago", json!({"iat": now - 700})),
        ("iat missing", json!({"iat": null})),
        ("nbf future", json!({"nbf": now + 120})),
        ("nbf no number", json!({"nbf": "later"})),
        ("sub missing", json!({"sub": null})),
        ("sub empty", json!({"sub": ""})),
        ("sub too long", json!({"sub": "x".repeat(256)})),
        ("sub with a line break", json!({"sub": "alice\nadmin"})),
        ("sub a number", json!({"sub": 1})),
        ("at_hash wrong", json!({"at_hash": URL_SAFE_NO_PAD.encode([0; 16])})),
        ("at_hash empty", json!({"at_hash": ""})),
        (
            "a logout token by its event",
            json!({
                "events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "nonce": null,
            }),
        ),
        ("a logout token with our nonce", json!({"events": {}})),
        ("groups that are none", json!({"groups": {"staff": true}})),
        ("too many groups", json!({"groups": null, "_claim_names": {"groups": "src1"}})),
    ];
    for (name, over) in bends {
        bent(name, Class::OidcIdTokenClaims, move |_, claims| {
            for (claim, value) in over.as_object().unwrap() {
                claims[claim] = value.clone();
            }
            claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        })
        .await;
    }
    for kind in ["at+jwt", "logout+jwt", "application/at+jwt", "secevent+jwt", "JWE"] {
        bent(kind, Class::OidcIdTokenClaims, move |header, _| header["typ"] = kind.into()).await;
    }
    bent("critical header", Class::OidcIdTokenClaims, |header, _| header["crit"] = json!(["exp"])).await;
    bent("nested", Class::OidcIdTokenClaims, |header, _| header["cty"] = "JWT".into()).await;
}

#[tokio::test]
async fn userinfo_of_somebody_else() {
    for userinfo in [json!({"sub": "bob", "email": "bob@example.test"}), json!({"email": "bob@example.test"})]
    {
        let op = Op::new(ISSUER);
        op.inside().person().remove("email");
        op.inside().userinfo = Some(userinfo.as_object().unwrap().clone());
        let outcome = op.login(&op.idp()).await;
        refused(&op, "userinfo", outcome, Class::OidcIdTokenClaims);
        assert_eq!(op.asked("/me"), 1);
    }
}

#[tokio::test]
async fn tokens_that_are_no_tokens() {
    for (name, text) in [
        ("empty", ""),
        ("two parts", "a.b"),
        ("encrypted", "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d"),
        ("no JSON", "AAAA.AAAA.AAAA"),
        ("padding", "e30=.e30=.AA=="),
    ] {
        let op = Op::new(ISSUER);
        op.inside().id_token = Some(text.into());
        let outcome = op.login(&op.idp()).await;
        refused(&op, name, outcome, Class::OidcIdTokenClaims);
    }
    let op = Op::new(ISSUER);
    op.inside().id_token = Some("A".repeat(300_000));
    let outcome = op.login(&op.idp()).await;
    refused(&op, "huge", outcome, Class::OidcIdTokenClaims);
}

#[tokio::test]
async fn server_side_request_forgery() {
    for (member, address) in [
        ("jwks_uri", "https://169.254.169.254/latest/meta-data"),
        ("jwks_uri", "http://op.test/jwks"),
        ("jwks_uri", "https://localhost:8443/jwks"),
        ("jwks_uri", "https://[::1]/jwks"),
        ("jwks_uri", "file:///etc/passwd"),
        ("token_endpoint", "https://10.0.0.1/token"),
        ("token_endpoint", "http://op.test/token"),
        ("authorization_endpoint", "javascript:alert(1)"),
    ] {
        let op = Op::new(ISSUER);
        op.inside().metadata.insert(member.into(), address.into());
        let outcome = op.login(&op.idp()).await;
        refused(&op, address, outcome, Class::OidcMetadata);
        assert_eq!(op.addresses().len(), 1, "{address}: only the metadata was asked for");
    }
    // What a login can do without is not gone to, and refuses nothing that does without it.
    let op = Op::new(ISSUER);
    op.inside().metadata.insert("userinfo_endpoint".into(), "https://192.168.0.1/me".into());
    op.inside().person().remove("groups");
    assert_eq!(op.login(&op.idp()).await.unwrap().groups(), None);
    assert!(op.addresses().iter().all(|url| url.starts_with(ISSUER)));
    // A redirect is not followed.
    let op = Op::new(ISSUER);
    op.answer("/jwks", |_| {
        let answer = http::Response::builder().status(302).header("location", "https://169.254.169.254/");
        Ok(answer.body(bytes::Bytes::new()).unwrap())
    });
    let outcome = op.login(&op.idp()).await;
    refused(&op, "302", outcome, Class::OidcMetadata);
    assert!(op.addresses().iter().all(|url| url.starts_with(ISSUER)));
}

#[tokio::test]
async fn answers_of_other_shapes() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let (pending, url) = begin(&idp, NOW).await.unwrap();
    let genuine = op.authorize(&url);
    // An error with a web page in it: without our state it is nobody's, with it the page is only text, and short.
    let page = format!("<script>alert(1)</script>\r\n{}", "x".repeat(5_000));
    let error = query(&[("error", "access_denied"), ("error_description", &page), ("iss", ISSUER)]);
    refused(&op, "error without state", answered(&idp, &pending, &error, NOW).await, Class::OidcState);
    let error = with(&error, "state", Some(pending.state()));
    let refusal = answered(&idp, &pending, &error, NOW).await.unwrap_err();
    assert_eq!(refusal.class, Class::OidcProviderError);
    assert!(refusal.got.chars().count() <= 201 && !refusal.got.contains(['\r', '\n']), "{refusal}");
    // In the query and in a form, or twice.
    let both = AuthorizationResponse::read_callback(&genuine, Some(genuine.as_bytes())).map(drop);
    refused(&op, "query and form", both, Class::OidcState);
    let twice = AuthorizationResponse::read_callback(&format!("{genuine}&code=other"), None).map(drop);
    refused(&op, "two codes", twice, Class::OidcState);
    // No code.
    let nothing = with(&genuine, "code", None);
    refused(&op, "no code", answered(&idp, &pending, &nothing, NOW).await, Class::OidcProviderError);
    let empty = with(&genuine, "code", Some(""));
    refused(&op, "empty code", answered(&idp, &pending, &empty, NOW).await, Class::OidcProviderError);
    assert_eq!(op.asked("/token"), 0);
    // The form alone is an answer as good as the query.
    let form = AuthorizationResponse::read_callback("", Some(genuine.as_bytes())).unwrap();
    assert!(idp.finish_login(&pending, form, NOW).await.is_ok());
}

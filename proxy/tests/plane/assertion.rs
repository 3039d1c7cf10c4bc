//! The signed header: one signature for a session and a while, and never a word about anybody else.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_keys::AssertionKey;
use portcullis_policy::Allow;
use serde_json::Value;

use crate::client::{h2_get, h2c};
use crate::rig::{Rig, Wish};
use crate::streams::UPGRADE;

fn signed() -> Wish {
    let rules = vec![("/open/**", Allow::Public), ("/**", Allow::SignedIn)];
    Wish { signs: true, rules, ..Wish::default() }
}

/// The tokens among the fields that an application saw.
fn tokens(seen: &str) -> Vec<String> {
    let fields = seen.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(name, _)| *name == "x-portcullis-assertion").map(|(_, token)| token.to_owned()).collect()
}

fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

async fn token(rig: &Rig, cookie: &str) -> String {
    let fields =
        [&*format!("Cookie: {cookie}"), "X-Portcullis-Assertion: forged", "X_Portcullis_Assertion: forged"];
    let mut raw = rig.ask("GET /headers", &fields).await;
    let (head, body) = raw.answer().await;
    assert_eq!(head.status, 200, "{body}");
    assert!(!body.contains("forged"), "{body}");
    let [token] = <[String; 1]>::try_from(tokens(&body)).unwrap();
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_one_signature_for_all_its_requests_and_sockets() {
    let rig = Rig::with(signed()).await;
    let (alice, again, bob) = (rig.alice(), rig.alice(), rig.bob());
    let first = token(&rig, &alice).await;
    assert_eq!(token(&rig, &alice).await, first, "another socket");
    let cookie = [("cookie", alice.as_str())];
    assert_eq!(tokens(&h2_get(&mut h2c(&rig).await, "/headers", &cookie).await.1), [first.as_str()]);

    let claims = part(&first, 1);
    assert_eq!(claims["iss"], "http://wiki.localhost:8080");
    assert_eq!(claims["aud"], "wiki");
    assert_eq!((&claims["sub"], &claims["preferred_username"]), (&"id-alice".into(), &"alice".into()));
    assert_eq!(claims["email"], "alice@wiki.test");
    assert_eq!(claims["organization"], "default");
    assert_eq!(claims["roles"], serde_json::json!(["admin"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    assert_eq!(part(&first, 0), serde_json::json!({ "alg": "ES256", "typ": "JWT", "kid": rig.key.kid() }));

    // Another session of the same person is another word, and so is another person.
    let second = part(&token(&rig, &again).await, 1);
    assert_eq!(second["sub"], claims["sub"]);
    for name in ["sid", "jti"] {
        assert_ne!(second[name], claims[name], "{name}");
    }
    let other = part(&token(&rig, &bob).await, 1);
    assert_eq!((&other["sub"], &other["roles"]), (&"id-bob".into(), &serde_json::json!([])));

    // Both on one socket, as behind a proxy.
    let mut sender = h2c(&rig).await;
    for (cookie, name) in [(&alice, "alice"), (&bob, "bob"), (&alice, "alice")] {
        let (_, body) = h2_get(&mut sender, "/headers", &[("cookie", cookie)]).await;
        assert_eq!(part(&tokens(&body)[0], 1)["preferred_username"], name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_is_signed_anew() {
    let rig = Rig::with(signed()).await;
    let alice = rig.alice();
    let first = token(&rig, &alice).await;
    rig.regroup(1, &[]);
    rig.describe(1).await;
    let second = token(&rig, &alice).await;
    assert_eq!(part(&second, 1)["roles"], serde_json::json!([]));
    assert_ne!(first, second);

    // The same key again is no other; another one signs at once.
    rig.signer.replace_key(rig.key.clone());
    assert_eq!(token(&rig, &alice).await, second);
    let next = Arc::new(AssertionKey::new());
    rig.signer.replace_key(next.clone());
    assert_eq!(part(&token(&rig, &alice).await, 0)["kid"], next.kid());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_vouched_for_under_a_public_rule_and_a_websocket_is() {
    let rig = Rig::with(signed()).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let forged = "X-Portcullis-Assertion: forged";
    let mut raw = rig.ask("GET /open/headers", &[&cookie, forged]).await;
    let (head, body) = raw.answer().await;
    assert_eq!(head.status, 200);
    assert!(!body.contains("portcullis") && !body.contains("forged"), "{body}");

    let mut raw = rig.ask("GET /socket", &[&[&*cookie, forged][..], &UPGRADE].concat()).await;
    assert_eq!(raw.head().await.status, 101);
    let names = raw.until("\n").await;
    assert_eq!(
        names.trim().split(',').filter(|name| *name == "x-portcullis-assertion").count(),
        1,
        "{names}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_said() {
    let rig = Rig::with(Wish { keyless: true, ..signed() }).await;
    let mut raw = rig.ask("GET /headers", &[&format!("Cookie: {}", rig.alice())]).await;
    let (head, body) = raw.answer().await;
    assert_eq!((head.status, tokens(&body)), (200, vec![]));
}

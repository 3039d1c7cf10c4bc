//! Keys that change, providers that are down, slow or mad, and floods: nobody is asked more than needed, and what was
//! known stays known.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use portcullis_rig::provider::Signer;
use portcullis_sso::{AuthorizationResponse, Class, Fetch, FetchError, OidcIdp};
use proptest::prelude::*;
use serde_json::json;

use crate::provider::{NOW, Op, begin, json_answer, text_answer};

const ISSUER: &str = "https://op.test";
const DISCOVERY: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn keys_rotate_without_a_restart() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    op.login(&idp).await.unwrap();
    assert_eq!((op.asked(DISCOVERY), op.asked("/jwks")), (1, 1));
    op.login(&idp).await.unwrap();
    assert_eq!((op.asked(DISCOVERY), op.asked("/jwks")), (1, 1));

    rotate(&op, Signer::rsa("key-2", 2));
    op.login(&idp).await.unwrap();
    assert_eq!((op.asked(DISCOVERY), op.asked("/jwks")), (1, 2));

    // Again within the minute: refused until it is over.
    rotate(&op, Signer::rsa("key-3", 1));
    assert_eq!(op.login(&idp).await.unwrap_err().class, Class::OidcIdTokenKey);
    assert_eq!(op.asked("/jwks"), 2);
    op.login_at(&idp, NOW.plus_ms(60_000)).await.unwrap();
    assert_eq!(op.asked("/jwks"), 3);
}

#[tokio::test]
async fn one_fetch_of_new_keys_serves_all_who_wait() {
    let op = Op::new(ISSUER);
    let idp = Arc::new(op.idp());
    op.login(&idp).await.unwrap();
    rotate(&op, Signer::rsa("key-2", 2));
    let logins = (0..20).map(|_| {
        let (op, idp) = (op.clone(), idp.clone());
        tokio::spawn(async move { op.login(&idp).await.is_ok() })
    });
    for login in join_all(logins).await {
        assert!(login.unwrap());
    }
    assert_eq!(op.asked("/jwks"), 2);
}

#[tokio::test]
async fn keys_without_a_name_rotate_too() {
    let op = Op::new(ISSUER);
    op.bend(|header, _| drop(header.as_object_mut().unwrap().remove("kid")));
    let idp = op.idp();
    op.login(&idp).await.unwrap();
    rotate(&op, Signer::rsa("key-1", 2));
    op.login(&idp).await.unwrap();
    assert_eq!(op.asked("/jwks"), 2);
}

fn rotate(op: &Op, signer: Signer) {
    let mut inside = op.inside();
    inside.keys = vec![signer.jwk()];
    inside.signer = signer;
}

#[tokio::test]
async fn a_thousand_unknown_keys_cause_one_fetch() {
    let op = Op::signing_with(ISSUER, Signer::ed25519("key-1"));
    let idp = Arc::new(op.idp());
    op.login(&idp).await.unwrap();
    op.bend(|header, _| header["kid"] = portcullis_keys::Random::from_system().draw_reference().into());
    let before = op.asked("/jwks");
    for at_once in [false, true] {
        let logins = (0..500).map(|_| {
            let (op, idp) = (op.clone(), idp.clone());
            tokio::spawn(async move { op.login(&idp).await.unwrap_err().class })
        });
        if at_once {
            for class in join_all(logins).await {
                assert_eq!(class.unwrap(), Class::OidcIdTokenKey);
            }
        } else {
            for login in logins {
                assert_eq!(login.await.unwrap(), Class::OidcIdTokenKey);
            }
        }
    }
    assert_eq!(op.asked("/jwks"), before + 1);
}

#[tokio::test]
async fn old_keys_stay_while_the_new_ones_cannot_be_had() {
    for nonsense in [json!({"keys": []}), json!({"keys": [{"kty": "oct", "k": "AA"}]}), json!([])] {
        let op = Op::new(ISSUER);
        let idp = op.idp();
        let (pending, url) = begin(&idp, NOW).await.unwrap();
        op.answer("/jwks", move |_| Ok(json_answer(200, &nonsense)));
        assert_eq!(idp.refresh_metadata(NOW).await.unwrap_err().class, Class::OidcMetadata);
        let answer = AuthorizationResponse::read_callback(&op.authorize(&url), None).unwrap();
        assert!(idp.finish_login(&pending, answer, NOW).await.is_ok());
    }
}

#[tokio::test]
async fn a_login_under_way_survives_an_outage_of_discovery() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let (pending, url) = begin(&idp, NOW).await.unwrap();
    assert!(idp.is_answering());
    for path in [DISCOVERY, "/jwks"] {
        op.answer(path, |_| Err(down()));
    }
    assert_eq!(idp.refresh_metadata(NOW.plus_ms(1_000)).await.unwrap_err().class, Class::OidcMetadata);
    assert!(!idp.is_answering());
    let answer = AuthorizationResponse::read_callback(&op.authorize(&url), None).unwrap();
    assert!(idp.finish_login(&pending, answer, NOW.plus_ms(2_000)).await.is_ok());
}

#[tokio::test]
async fn a_provider_that_is_down_is_asked_again_after_five_seconds() {
    let op = Op::new(ISSUER);
    let idp = Arc::new(op.idp());
    op.answer(DISCOVERY, |_| Err(down()));
    let begins = (0..1000).map(|_| {
        let idp = idp.clone();
        tokio::spawn(async move { begin(&idp, NOW).await.map(drop).unwrap_err() })
    });
    for refusal in join_all(begins).await {
        let refusal = refusal.unwrap();
        assert_eq!(refusal.class, Class::OidcMetadata);
        assert!(refusal.got.contains("connection refused"), "{refusal}");
    }
    assert_eq!(op.asked(DISCOVERY), 1);
    assert!(!idp.is_answering());

    op.answer_all();
    assert!(begin(&idp, NOW.plus_ms(4_999)).await.is_err());
    assert!(begin(&idp, NOW.plus_ms(5_000)).await.is_ok());
    assert!(idp.is_answering());
    // A clock that was set back does not keep anybody out.
    let idp = op.idp();
    op.answer(DISCOVERY, |_| Err(down()));
    assert!(begin(&idp, NOW).await.is_err());
    op.answer_all();
    assert!(begin(&idp, NOW.plus_ms(-3_600_000)).await.is_ok());
}

#[tokio::test]
async fn who_waits_for_a_slow_provider_gets_the_answer_of_who_asked() {
    let op = Op::new(ISSUER);
    let (asked, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
    let (count, end) = (asked.clone(), enough.clone());
    let slow: Fetch = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let end = end.clone();
        Box::pin(async move {
            end.notified().await;
            Err(FetchError::Timeout { host: "op.test".into(), seconds: 5 })
        })
    });
    let idp = Arc::new(OidcIdp::new(op.settings(), slow));
    // They come one after the other, some after the five seconds, all before the answer.
    let begins: Vec<_> = (0..10)
        .map(|second| {
            let idp = idp.clone();
            tokio::spawn(async move { begin(&idp, NOW.plus_ms(second * 1_000)).await.map(drop).unwrap_err() })
        })
        .collect();
    while asked.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    enough.notify_one();
    let refusals = tokio::time::timeout(Duration::from_secs(5), join_all(begins)).await;
    for refusal in refusals.expect("nobody asks again") {
        assert_eq!(refusal.unwrap().class, Class::OidcMetadata);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_browser_that_hangs_up_leaves_nothing_locked() {
    let op = Op::new(ISSUER);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let silent: Fetch = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    });
    let idp = OidcIdp::new(op.settings(), silent);
    let hung_up = tokio::time::timeout(Duration::from_millis(5), begin(&idp, NOW)).await;
    assert!(hung_up.is_err(), "it waits for the provider");
    // The next one is neither locked out for good nor allowed to ask at once.
    let next = tokio::time::timeout(Duration::from_secs(5), begin(&idp, NOW)).await.unwrap();
    assert_eq!(next.map(drop).unwrap_err().class, Class::OidcMetadata);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_token_endpoint_that_fails_says_so_and_new_logins_ask_first() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    op.login(&idp).await.unwrap();
    op.answer("/token", |_| Err(down()));
    assert_eq!(op.login(&idp).await.unwrap_err().class, Class::OidcTokenEndpoint);
    assert!(!idp.is_answering());
    op.answer_all();
    op.login(&idp).await.unwrap();
    assert!(idp.is_answering());
    assert_eq!(op.asked(DISCOVERY), 2);
}

#[tokio::test]
async fn bad_answers_are_refusals_of_their_endpoint() {
    type Answering = fn() -> Result<Response<Bytes>, FetchError>;
    let bad: [(&str, Answering); 7] = [
        ("down", || Err(down())),
        ("slow", || Err(FetchError::Timeout { host: "op.test".into(), seconds: 5 })),
        ("10 MB", || Err(FetchError::TooLarge { host: "op.test".into(), limit: 1 << 20 })),
        ("redirecting", || {
            let answer = Response::builder().status(302).header("location", "https://10.0.0.1/");
            Ok(answer.body(Bytes::new()).unwrap())
        }),
        ("a web page", || Ok(text_answer(200, "<html>Sign in</html>"))),
        ("an error", || Ok(text_answer(503, ""))),
        ("nonsense", || Ok(json_answer(200, &json!([1, {"id_token": 7}])))),
    ];
    for (path, class) in [
        (DISCOVERY, Class::OidcMetadata),
        ("/jwks", Class::OidcMetadata),
        ("/token", Class::OidcTokenEndpoint),
        ("/me", Class::OidcUserinfo),
    ] {
        for (name, answer) in bad {
            let op = Op::new(ISSUER);
            op.inside().person().remove("email");
            op.answer(path, move |_| answer());
            let refusal = op.login(&op.idp()).await.unwrap_err();
            assert_eq!(refusal.class, class, "{path} {name}: {refusal}");
            // Nobody was led anywhere else.
            assert!(op.addresses().iter().all(|url| url.starts_with(ISSUER)), "{path} {name}");
        }
    }
}

#[test]
fn whatever_a_provider_says_is_no_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    proptest!(|(token in "[\\w-]{0,40}\\.[\\w-]{0,40}\\.[\\w-]{0,40}|\\PC{0,60}", junk: Vec<u8>)| {
        let op = Op::new(ISSUER);
        op.inside().id_token = Some(token);
        let refusal = runtime.block_on(op.login(&op.idp()));
        prop_assert!(refusal.is_err());
        let op = Op::new(ISSUER);
        op.answer("/token", move |_| Ok(Response::new(junk.clone().into())));
        let refusal = runtime.block_on(op.login(&op.idp()));
        prop_assert_eq!(refusal.map(drop).unwrap_err().class, Class::OidcTokenEndpoint);
    });
}

fn down() -> FetchError {
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    FetchError::Connect { host: "op.test".into(), source: refused.into() }
}

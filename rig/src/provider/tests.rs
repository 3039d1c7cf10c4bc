//! A whole sign-in, and what a strict provider refuses.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use url::Url;

use super::authorization::CODE_MS;
use super::pkce::s256_challenge;
use super::recent::MOST;
use super::token::TOKEN_MS;
use super::*;

const CALLBACK: &str = "http://app.localhost:8080/.portcullis/callback/rehearsal";
const GOODBYE: &str = "http://app.localhost:8080/.portcullis/logged-out";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const NOW: Timestamp = Timestamp(1_800_000_000_000);

#[test]
fn a_whole_sign_in() {
    let provider = provider();
    let to = sign_in(&provider);
    assert_eq!(to.origin().ascii_serialization(), "http://app.localhost:8080");
    assert_eq!(part(&to, "state").as_deref(), Some("a b&c"));
    assert_eq!(part(&to, "iss").as_deref(), Some("http://idp.localhost:8083"));

    let code = part(&to, "code").unwrap();
    let answer = provider.redeem(Some(&basic("app", "s:3+%")), &token_form(&code), NOW).unwrap();
    let claims = claims(answer["id_token"].as_str().unwrap());
    assert_eq!(claims["sub"], "p-1");
    assert_eq!(claims["nonce"], "n-1");
    assert_eq!(claims["aud"], "app");
    assert_eq!(claims["iss"], "http://idp.localhost:8083");
    assert_eq!(claims["exp"], 1_800_000_300);
    assert_eq!(claims["email_verified"], true);
    assert!(claims.get("groups").is_none(), "groups were not asked for");

    let bearer = format!("bearer {}", answer["access_token"].as_str().unwrap());
    assert_eq!(provider.userinfo(Some(&bearer), NOW).unwrap()["email"], "alice@fernhill.example");
    assert!(provider.userinfo(Some(&bearer), NOW.plus_ms(TOKEN_MS)).is_none());
    assert!(provider.userinfo(Some("Bearer nonsense"), NOW).is_none());
}

#[test]
fn a_redirect_uri_is_compared_letter_for_letter_and_never_followed() {
    let provider = provider();
    for wrong in [
        "http://app.localhost:8080/.portcullis/callback/rehearsal/",
        "http://app.localhost:8080/.portcullis/callback/Rehearsal",
        "http://app.localhost:8080/.portcullis/callback/rehearsal?x=1",
        "http://APP.localhost:8080/.portcullis/callback/rehearsal",
        "http://app.localhost:8080/.portcullis/callback/../callback/rehearsal",
        "http://evil.example/",
        "javascript:alert(1)",
        "",
    ] {
        let query = changed(&ask_query(), "redirect_uri", wrong);
        assert!(matches!(provider.ask(&query), Err(AskError::Stranger(_))), "{wrong}");
    }
    let mut twice = ask_query();
    twice.push(("redirect_uri".into(), "http://evil.example/".into()));
    assert!(matches!(provider.ask(&twice), Err(AskError::Stranger(_))));
    assert!(matches!(provider.ask(&changed(&ask_query(), "client_id", "other")), Err(AskError::Stranger(_))));
}

#[test]
fn what_else_is_wrong_goes_back_with_the_state_and_the_issuer() {
    let provider = provider();
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "profile email", "invalid_scope"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge", VERIFIER.get(..20).unwrap(), "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("nonce", "", "invalid_request"),
        ("request", "eyJ9", "request_not_supported"),
        ("request_uri", "http://x", "request_uri_not_supported"),
    ] {
        let Err(AskError::Back(to)) = provider.ask(&changed(&ask_query(), name, value)) else {
            panic!("{name}={value} was not sent back")
        };
        let to = Url::parse(&to).unwrap();
        assert!(to.as_str().starts_with(CALLBACK), "{to}");
        assert_eq!(part(&to, "error").as_deref(), Some(error), "{name}={value}");
        assert_eq!(part(&to, "state").as_deref(), Some("a b&c"), "{name}={value}");
        assert_eq!(part(&to, "iss").as_deref(), Some("http://idp.localhost:8083"));
    }
}

#[test]
fn a_code_is_good_once_and_a_second_use_takes_its_token_back() {
    let provider = provider();
    let code = part(&sign_in(&provider), "code").unwrap();
    let client = basic("app", "s:3+%");
    let answer = provider.redeem(Some(&client), &token_form(&code), NOW).unwrap();
    let bearer = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    assert!(provider.userinfo(Some(&bearer), NOW).is_some());

    let again = provider.redeem(Some(&client), &token_form(&code), NOW);
    assert_eq!(again.unwrap_err(), TokenError::Grant("the code was used before"));
    assert!(provider.userinfo(Some(&bearer), NOW).is_none());
}

#[test]
fn a_wrong_verifier_spends_the_code() {
    let provider = provider();
    let client = basic("app", "s:3+%");
    for wrong in [&VERIFIER.replace('d', "e"), VERIFIER.get(..42).unwrap(), "", &s256_challenge(VERIFIER)] {
        let code = part(&sign_in(&provider), "code").unwrap();
        let form = changed(&token_form(&code), "code_verifier", wrong);
        assert!(provider.redeem(Some(&client), &form, NOW).is_err(), "{wrong}");
        if !wrong.is_empty() {
            let right = provider.redeem(Some(&client), &token_form(&code), NOW);
            assert!(matches!(right, Err(TokenError::Grant(_))), "{wrong}");
        }
    }
}

#[test]
fn the_token_endpoint_refuses_by_name() {
    let provider = provider();
    let good = basic("app", "s:3+%");
    for (client, name, value, word) in [
        (None, "", "", "invalid_client"),
        (Some(basic("app", "wrong")), "", "", "invalid_client"),
        (Some(basic("other", "s:3+%")), "", "", "invalid_client"),
        (Some("Basic !!".to_owned()), "", "", "invalid_client"),
        (Some(good.replace("Basic", "Bearer")), "", "", "invalid_client"),
        (Some(good.clone()), "client_id", "other", "invalid_client"),
        (Some(good.clone()), "grant_type", "password", "unsupported_grant_type"),
        (Some(good.clone()), "grant_type", "", "invalid_request"),
        (Some(good.clone()), "code", "", "invalid_request"),
        (Some(good.clone()), "code", "unknown", "invalid_grant"),
        (Some(good.clone()), "redirect_uri", GOODBYE, "invalid_grant"),
        (Some(good.clone()), "redirect_uri", "", "invalid_grant"),
    ] {
        let code = part(&sign_in(&provider), "code").unwrap();
        let form = changed(&token_form(&code), name, value);
        let refused = provider.redeem(client.as_deref(), &form, NOW).unwrap_err();
        assert_eq!(refused.word().1, word, "{name}={value}");
    }
    let code = part(&sign_in(&provider), "code").unwrap();
    let late = provider.redeem(Some(&good), &token_form(&code), NOW.plus_ms(CODE_MS));
    assert_eq!(late.unwrap_err(), TokenError::Grant("the code has expired"));
}

#[test]
fn a_logout_needs_a_token_of_ours_and_the_registered_address() {
    let provider = provider();
    let cookie = provider.sign_in(alice(), NOW);
    let browser = provider.browser(cookie.expose()).unwrap();
    let ask = provider.ask(&ask_query()).unwrap();
    let to = Url::parse(&provider.grant(&ask, browser, NOW)).unwrap();
    let form = token_form(&part(&to, "code").unwrap());
    let answer = provider.redeem(Some(&basic("app", "s:3+%")), &form, NOW).unwrap();
    let hint = answer["id_token"].as_str().unwrap();

    let request = pairs(&[("id_token_hint", hint), ("post_logout_redirect_uri", GOODBYE), ("state", "x")]);
    assert!(provider.may_sign_out(&request, Some(cookie.expose())));
    assert_eq!(provider.after_logout(&request).unwrap(), format!("{GOODBYE}?state=x"));
    let elsewhere = changed(&request, "post_logout_redirect_uri", "http://evil.example/");
    assert_eq!(provider.after_logout(&elsewhere), None);
    let forged = changed(&request, "id_token_hint", &format!("{hint}x"));
    assert!(!provider.may_sign_out(&forged, Some(cookie.expose())));
    assert_eq!(provider.after_logout(&forged), None);
    let other = provider.sign_in(alice(), NOW);
    assert!(!provider.may_sign_out(&request, Some(other.expose())), "a hint of another sign-in");

    provider.sign_out(cookie.expose());
    assert!(provider.browser(cookie.expose()).is_none());
}

#[test]
fn what_is_remembered_is_bounded() {
    let provider = provider();
    for _ in 0..MOST + 50 {
        sign_in(&provider);
    }
    let desk = provider.desk();
    assert_eq!((desk.codes.len(), desk.browsers.len()), (MOST, MOST));
}

fn provider() -> OpenIdProvider {
    let client = OidcClient {
        id: "app".into(),
        secret: Secret::new("s:3+%"),
        redirect_uri: CALLBACK.into(),
        post_logout_uri: GOODBYE.into(),
    };
    OpenIdProvider::new("http://idp.localhost:8083", client, Signer::ed25519("1"), Random::from_seed(7))
}

fn alice() -> Profile {
    Profile {
        subject: "p-1".into(),
        name: "Alice Archer".into(),
        user_name: "alice@fernhill.example".into(),
        email: "alice@fernhill.example".into(),
        group: "Engineering".into(),
    }
}

fn sign_in(provider: &OpenIdProvider) -> Url {
    let ask = provider.ask(&ask_query()).unwrap();
    let cookie = provider.sign_in(alice(), NOW);
    let browser = provider.browser(cookie.expose()).unwrap();
    Url::parse(&provider.grant(&ask, browser, NOW)).unwrap()
}

fn ask_query() -> Vec<(String, String)> {
    pairs(&[
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile email"),
        ("state", "a b&c"),
        ("nonce", "n-1"),
        ("code_challenge", &s256_challenge(VERIFIER)),
        ("code_challenge_method", "S256"),
    ])
}

fn token_form(code: &str) -> Vec<(String, String)> {
    pairs(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ])
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn changed(pairs: &Pairs, name: &str, value: &str) -> Vec<(String, String)> {
    let others = pairs.iter().filter(|(key, _)| key != name).cloned();
    others.chain([(name.to_owned(), value.to_owned())]).collect()
}

fn basic(id: &str, secret: &str) -> String {
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

fn part(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

//! Logins that must succeed, and what is known afterwards.

use portcullis_keys::Secret;
use portcullis_policy::Timestamp;
use portcullis_rig::provider::{Signer, sign_token};
use portcullis_sso::{
    Assertion, AuthorizationResponse, Class, FetchError, IdpSession, LinkValue, LogoutHint, OidcIdp,
    OidcSettings, SubjectClaim, Uses,
};
use serde_json::{Value, json};
use url::Url;

use crate::provider::{
    CALLBACK, CLIENT, NOW, Op, begin, id_token_of, json_answer, posting, query, text_answer,
};

const ISSUER: &str = "https://op.test";

#[tokio::test]
async fn every_allowed_algorithm_brings_somebody_in_where_the_provider_lists_it() {
    let rsa = || Signer::rsa("r", 1);
    for (signer, algorithm) in [
        (rsa(), "RS256"),
        (rsa(), "RS384"),
        (rsa(), "RS512"),
        (rsa(), "PS256"),
        (rsa(), "PS384"),
        (rsa(), "PS512"),
        (Signer::p256("e"), "ES256"),
        (Signer::p384("e"), "ES384"),
        (Signer::p521("e"), "ES512"),
        (Signer::ed25519("o"), "EdDSA"),
    ] {
        let op = Op::signing_with(ISSUER, signer);
        op.bend(move |header, _| header["alg"] = algorithm.into());
        let list = |names: Value| {
            op.inside().metadata.insert("id_token_signing_alg_values_supported".into(), names);
        };
        list(json!([algorithm, "HS256"]));
        let assertion = op.login(&op.idp()).await.unwrap_or_else(|refusal| panic!("{algorithm}: {refusal}"));
        assert_eq!(assertion.subject(), "alice-1", "{algorithm}");
        // Metadata that says nothing leaves it to the keys; a list without it is a list without it.
        list(Value::Null);
        assert!(op.login(&op.idp()).await.is_ok(), "{algorithm}");
        list(json!([if algorithm == "RS256" { "ES256" } else { "RS256" }]));
        assert_eq!(op.login(&op.idp()).await.unwrap_err().class, Class::OidcIdTokenAlg, "{algorithm}");
    }
}

#[tokio::test]
async fn a_hash_of_the_access_token_is_checked_under_every_algorithm() {
    for (signer, algorithm) in
        [(Signer::rsa("r", 1), "RS384"), (Signer::p521("e"), "ES512"), (Signer::ed25519("o"), "EdDSA")]
    {
        let op = Op::signing_with(ISSUER, signer);
        op.inside().metadata.insert("id_token_signing_alg_values_supported".into(), json!([algorithm]));
        op.bend(move |header, claims| {
            header["alg"] = algorithm.into();
            claims["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
        });
        assert_eq!(op.login(&op.idp()).await.unwrap_err().class, Class::OidcIdTokenClaims, "{algorithm}");
    }
}

#[tokio::test]
async fn the_secret_is_sent_by_basic_or_by_post() {
    let op = Op::new(ISSUER);
    for settings in [op.settings(), posting(op.settings())] {
        assert!(op.login(&OidcIdp::new(settings, op.fetch())).await.is_ok());
    }
}

#[tokio::test]
async fn an_assertion_says_who_came() {
    let op = Op::new(ISSUER);
    op.bend(|_, claims| claims["session_expiry"] = (NOW.seconds() + 3600).into());
    let assertion = op.login(&op.idp()).await.unwrap();
    assert_eq!((assertion.idp(), assertion.issuer(), assertion.subject()), ("op", ISSUER, "alice-1"));
    assert_eq!((assertion.email(), assertion.email_verified()), (Some("alice@example.test"), true));
    let stated = |name| assertion.attributes().first_text(name);
    assert_eq!((stated("name"), stated("preferred_username")), (Some("Alice"), Some("alice")));
    assert_eq!(assertion.groups(), Some(&["staff".to_owned(), "wiki".to_owned()][..]));
    assert_eq!(assertion.session_end(), Some(Timestamp(NOW.0 + 3_600_000)));
    assert!(op.given().iter().any(|given| given == id_token_of(&assertion)));
    let IdpSession { subject, session } = assertion.idp_session();
    assert!(subject == "alice-1" && session.as_ref().is_some_and(|sid| !sid.is_empty()));
    let kept = LogoutHint::from_text(assertion.logout_hint().to_text().expose()).unwrap();
    assert!(matches!(kept, LogoutHint::Oidc { id_token } if id_token.expose() == id_token_of(&assertion)));
    // Everything was in the ID token: nobody was asked again.
    assert_eq!(op.asked("/me"), 0);
    let debug = format!("{assertion:?}");
    assert!(!debug.contains(id_token_of(&assertion)) && !debug.contains("alice@"), "{debug}");
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
    assert!(!url.contains(sealed["proof"]["oidc"]["verifier"].as_str().unwrap()));
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
    let answer = AuthorizationResponse::read_callback(&op.authorize(&url), None).unwrap();
    let pending = serde_json::from_slice(&sealed).unwrap();
    let assertion = idp.finish_login(&pending, answer, NOW.plus_ms(60_000)).await.unwrap();
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
        ("nbf null", |c, _| c["nbf"] = Value::Null),
        ("at_hash null", |c, _| c["at_hash"] = Value::Null),
        ("exp as a date", |c, _| c["exp"] = "2031-01-02T03:04:05Z".into()),
        ("amr as text", |c, _| c["amr"] = "pwd".into()),
        ("acr a number", |c, _| c["acr"] = 1.into()),
        ("address a list", |c, _| c["address"] = json!([])),
        ("address text", |c, _| c["address"] = "Main Street 1".into()),
        ("auth_time text", |c, _| c["auth_time"] = "yesterday".into()),
        ("updated_at odd", |c, _| c["updated_at"] = json!({"at": 7})),
        ("phone_number_verified a number", |c, _| c["phone_number_verified"] = 1.into()),
        ("birthdate, locale and picture odd", |c, _| {
            c["birthdate"] = json!(19700101);
            c["locale"] = json!({"lang": "en"});
            c["picture"] = json!(["https://op.test/1.png"]);
        }),
        ("names odd", |c, _| {
            for claim in ["name", "nickname", "given_name", "preferred_username", "profile", "zoneinfo"] {
                c[claim] = json!([7]);
            }
        }),
        ("c_hash, jti and sid odd", |c, _| {
            for claim in ["c_hash", "jti", "sid", "session_expiry"] {
                c[claim] = json!([]);
            }
        }),
    ];
    for (name, bend) in odd {
        let op = Op::new(ISSUER);
        op.bend(move |_, claims| {
            bend(claims, now);
        });
        let assertion = op.login(&op.idp()).await.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert!(assertion.email_verified(), "{name}");
    }
    for header in [json!({"typ": "jwt"}), json!({"typ": null}), json!({"kid": null}), json!({"jku": 7})] {
        let op = Op::new(ISSUER);
        let given = header.clone();
        op.bend(move |token, _| {
            for (name, value) in given.as_object().unwrap() {
                token[name] = value.clone();
            }
        });
        assert!(op.login(&op.idp()).await.is_ok(), "{header}");
    }
}

#[tokio::test]
async fn what_the_id_token_lacks_comes_from_userinfo() {
    let op = Op::new(ISSUER);
    {
        let mut inside = op.inside();
        let person = inside.person().clone();
        inside.person =
            Some(json!({"sub": "alice-1", "name": "Alice of the token"}).as_object().unwrap().clone());
        inside.userinfo = Some(person);
    }
    let assertion = op.login(&op.idp()).await.unwrap();
    assert_eq!(op.asked("/me"), 1);
    assert_eq!(assertion.attributes().first_text("name"), Some("Alice of the token"));
    assert_eq!((assertion.email(), assertion.email_verified()), (Some("alice@example.test"), true));
    assert_eq!(assertion.groups().map(<[_]>::len), Some(2));
    // A provider without userinfo: what is not said is not known.
    let op = Op::new(ISSUER);
    op.inside().metadata.insert("userinfo_endpoint".into(), Value::Null);
    op.inside().person().remove("groups");
    assert_eq!(op.login(&op.idp()).await.unwrap().groups(), None);
}

#[tokio::test]
async fn a_link_claim_may_be_of_any_place() {
    let op = Op::new(ISSUER);
    op.inside().person().insert("ids".into(), json!({"hr": "4711"}));
    let assertion = op.login(&linking_by(&op, "/ids/hr")).await.unwrap();
    assert_eq!(assertion.link().map(|link| link.value.as_str()), Some("4711"));
    assert_eq!(op.asked("/me"), 0);
}

/// A provider of a directory's people.
fn linking_by(op: &Op, claim: &str) -> OidcIdp {
    let settings = OidcSettings { uses: Uses::Link { claim: claim.into() }, ..op.settings() };
    OidcIdp::new(settings, op.fetch())
}

#[tokio::test]
async fn with_a_directory_only_the_claim_of_the_link_is_read() {
    let op = Op::new(ISSUER);
    op.bend(|_, claims| {
        for claim in ["email", "email_verified", "groups", "name", "preferred_username"] {
            claims[claim] = json!({"odd": [1]});
        }
        claims["_claim_names"] = json!({"groups": "src1"});
    });
    let assertion = op.login(&linking_by(&op, "sub")).await.unwrap();
    assert_eq!(assertion.link().map(|link| link.value.as_str()), Some("alice-1"));
    assert_eq!((assertion.email(), assertion.groups()), (None, None));
    assert_eq!(op.asked("/me"), 0, "nothing is missing");
}

#[tokio::test]
async fn an_address_that_nobody_vouches_for_is_called_so_under_every_name() {
    let odd_and_unverified =
        [json!(false), json!("false"), json!(1), json!("yes"), json!(null), json!([true])];
    for verified in odd_and_unverified {
        for claim in ["email", "preferred_username", "/mail", "upn"] {
            let op = Op::new(ISSUER);
            op.inside().metadata.insert("userinfo_endpoint".into(), Value::Null);
            let said = verified.clone();
            op.bend(move |_, claims| {
                claims["email"] = "Mira@Corp.test".into();
                claims["email_verified"] = said.clone();
                for name in ["preferred_username", "mail", "upn"] {
                    claims[name] = "mira@corp.test".into();
                }
            });
            let assertion = op.login(&linking_by(&op, claim)).await.unwrap();
            assert!(assertion.link().unwrap().is_unverified_address, "{claim} {verified}");
        }
    }
    // What is no address, what is verified, and what another person's own address has nothing to do with.
    for (claim, value) in [
        ("preferred_username", "alice"),
        ("preferred_username", "ALICE@example.test"),
        ("email", "alice@example.test"),
    ] {
        let op = Op::new(ISSUER);
        op.inside().person().insert(claim.into(), value.into());
        let assertion = op.login(&linking_by(&op, claim)).await.unwrap();
        assert!(!assertion.link().unwrap().is_unverified_address, "{claim} {value}");
    }
    // An address as a user name, where no address is said: nobody vouches for that either, except Entra's own rules.
    let op = Op::new(ISSUER);
    op.inside().metadata.insert("userinfo_endpoint".into(), Value::Null);
    op.inside().person().remove("email");
    op.inside().person().insert("preferred_username".into(), "mira@corp.test".into());
    let unverified = |assertion: Assertion| assertion.link().unwrap().is_unverified_address;
    assert!(unverified(op.login(&linking_by(&op, "preferred_username")).await.unwrap()));
}

#[tokio::test]
async fn an_unverified_address_is_no_user_name_either() {
    let op = Op::new(ISSUER);
    op.bend(|_, claims| {
        claims["email"] = "mira@corp.test".into();
        claims["email_verified"] = false.into();
        claims["preferred_username"] = "MIRA@corp.test".into();
    });
    let assertion = op.login(&op.idp()).await.unwrap();
    assert_eq!(
        (assertion.email_verified(), assertion.attributes().first_text("preferred_username")),
        (false, None)
    );
    assert_eq!(
        assertion.unverified_user_name(),
        Some("MIRA@corp.test"),
        "for who trusts the provider in that"
    );
    assert_eq!(assertion.names_said(), ["mira@corp.test", "MIRA@corp.test"], "enough to keep somebody out");
}

#[tokio::test]
async fn userinfo_is_asked_for_what_is_used_and_missing() {
    let thin = |uses: Uses| {
        let op = Op::new(ISSUER);
        let person = std::mem::take(op.inside().person());
        op.inside().person().insert("sub".into(), "alice-1".into());
        op.inside().userinfo = Some(person);
        let idp = OidcIdp::new(OidcSettings { uses, ..op.settings() }, op.fetch());
        (op, idp)
    };
    let link = |claim: &str| Uses::Link { claim: claim.into() };
    let (op, idp) = thin(link("sub"));
    assert!(op.login(&idp).await.is_ok());
    assert_eq!(op.asked("/me"), 0, "the link is by sub");
    let (op, idp) = thin(link("email"));
    let assertion = op.login(&idp).await.unwrap();
    let expected =
        LinkValue { claim: "email".into(), value: "alice@example.test".into(), is_unverified_address: false };
    assert_eq!((op.asked("/me"), assertion.link()), (1, Some(&expected)));
    // Somebody who is known already needs nothing.
    let (op, idp) = thin(link("email"));
    let (pending, url) = begin(&idp, NOW).await.unwrap();
    let answer = AuthorizationResponse::read_callback(&op.authorize(&url), None).unwrap();
    let verified = idp.verify_answer(&pending, answer, NOW).await.unwrap();
    assert!(verified.subject() == "alice-1" && !verified.is_complete());
    assert_eq!(idp.recognize_person(verified).unwrap().subject(), "alice-1");
    assert_eq!(op.asked("/me"), 0);
}

/// Userinfo that is down, refuses, answers a web page or a token of somebody else's key.
#[tokio::test]
async fn trouble_with_userinfo_refuses_only_who_cannot_do_without() {
    type Trouble = fn(&Op);
    let troubles: [(&str, Trouble); 6] = [
        ("403", |op| op.answer("/me", |_| Ok(json_answer(403, &json!({}))))),
        ("a web page", |op| op.answer("/me", |_| Ok(text_answer(200, "<html>Sign in</html>")))),
        ("silence", |op| {
            op.answer("/me", |_| Err(FetchError::Timeout { host: "op.test".into(), seconds: 5 }));
        }),
        ("of somebody else", |op| drop(op.inside().userinfo().insert("sub".into(), "bob".into()))),
        ("signed by another", |op| {
            op.inside().signed_userinfo =
                Some((Signer::rsa("x", 2), json!({"alg": "RS256", "kid": "key-1"})));
        }),
        ("signed by nobody", |op| {
            op.inside().signed_userinfo = Some((Signer::rsa("x", 1), json!({"alg": "none"})));
        }),
    ];
    for (name, trouble) in troubles {
        for (needs, missing) in [(false, "groups"), (true, "groups"), (false, "name"), (true, "email")] {
            let op = Op::new(ISSUER);
            let person = op.inside().person().clone();
            op.inside().userinfo = Some(person);
            op.inside().person().remove(missing);
            trouble(&op);
            let uses = Uses::Person { email: needs, groups: needs };
            let outcome = op.login(&OidcIdp::new(OidcSettings { uses, ..op.settings() }, op.fetch())).await;
            assert_eq!(outcome.is_err(), needs, "{name}, without {missing}");
            assert!(op.asked("/me") >= 1);
            if let Err(refusal) = outcome {
                let fits = matches!(refusal.class, Class::OidcUserinfo | Class::OidcIdTokenClaims);
                assert!(fits, "{name}: {refusal}");
            }
        }
    }
}

#[tokio::test]
async fn a_signed_userinfo_answer_is_verified_and_read() {
    type Change = fn(&mut Op);
    let signed = |change: Change| {
        let mut op = Op::new(ISSUER);
        let signer = op.inside().signer.clone();
        let person = op.inside().person().clone();
        op.inside().userinfo = Some(person);
        op.inside().person().remove("groups");
        op.inside().signed_userinfo = Some((signer, json!({"alg": "RS256", "kid": "key-1"})));
        change(&mut op);
        op
    };
    let op = signed(|_| {});
    assert_eq!(op.login(&op.idp()).await.unwrap().groups().map(<[_]>::len), Some(2));
    let op = signed(|op| {
        let mut inside = op.inside();
        inside.userinfo().insert("iss".into(), ISSUER.into());
        inside.userinfo().insert("aud".into(), json!(["other", CLIENT]));
    });
    assert!(op.login(&op.idp()).await.is_ok());
    let bad: [(&str, Change); 4] = [
        ("another issuer", |op| drop(op.inside().userinfo().insert("iss".into(), "https://bad.test".into()))),
        ("another client", |op| drop(op.inside().userinfo().insert("aud".into(), "client-2".into()))),
        ("an unlisted algorithm", |op| {
            let listed = json!(["ES256"]);
            op.inside().metadata.insert("userinfo_signing_alg_values_supported".into(), listed);
        }),
        ("our own secret", |op| {
            op.inside().signed_userinfo = Some((Signer::rsa("x", 1), json!({"alg": "HS256"})));
        }),
    ];
    for (name, change) in bad {
        let op = signed(change);
        assert_eq!(op.login(&op.idp()).await.unwrap_err().class, Class::OidcUserinfo, "{name}");
    }
}

#[tokio::test]
async fn a_key_without_a_name_is_tried_where_it_is_the_only_one_that_fits() {
    let op = Op::new(ISSUER);
    let nameless = |which| {
        let mut key = Signer::rsa("x", which).jwk();
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    op.inside().keys = vec![nameless(1), Signer::p256("e").jwk()];
    assert!(op.login(&op.idp()).await.is_ok(), "the token names key-1, the set names nothing");
    op.inside().keys = vec![nameless(1), nameless(2)];
    assert_eq!(op.login(&op.idp()).await.unwrap_err().class, Class::OidcIdTokenKey);
    op.inside().keys = vec![nameless(2)];
    assert_eq!(op.login(&op.idp()).await.unwrap_err().class, Class::OidcIdTokenSignature);
}

#[tokio::test]
async fn a_provider_that_is_busy_is_told_from_one_that_refuses() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let (pending, _) = begin(&idp, NOW).await.unwrap();
    for (error, passes) in
        [("temporarily_unavailable", true), ("server_error", true), ("access_denied", false)]
    {
        let answer = query(&[("error", error), ("state", pending.state()), ("iss", ISSUER)]);
        let answer = AuthorizationResponse::read_callback(&answer, None).unwrap();
        assert!(!answer.has_code() && answer.error().is_some_and(|refusal| refusal.got == error));
        let refusal = idp.verify_answer(&pending, answer, NOW).await.unwrap_err();
        assert_eq!((refusal.class, refusal.passes), (Class::OidcProviderError, passes), "{error}");
    }
    for (status, body, passes) in [
        (503, json!({}), true),
        (429, json!({"error": "slow_down"}), true),
        (400, json!({"error": "temporarily_unavailable", "error_description": 7}), true),
        (400, json!({"error": "invalid_grant"}), false),
        (401, json!({"error": 7}), false),
    ] {
        let said = body.clone();
        op.answer("/token", move |_| Ok(json_answer(status, &said)));
        let refusal = op.login(&idp).await.unwrap_err();
        assert_eq!((refusal.class, refusal.passes), (Class::OidcTokenEndpoint, passes), "{status} {body}");
    }
}

#[tokio::test]
async fn only_the_tokens_of_a_token_answer_are_read() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let (pending, url) = begin(&idp, NOW).await.unwrap();
    let answer = op.authorize(&url);
    let nonce = serde_json::to_value(&pending).unwrap()["proof"]["oidc"]["nonce"].clone();
    let (signer, now) = (op.inside().signer.clone(), NOW.seconds());
    let claims =
        json!({"iss": ISSUER, "aud": CLIENT, "sub": "a", "iat": now, "exp": now + 60, "nonce": nonce});
    let id_token = sign_token(&json!({"alg": "RS256"}), &claims, |message| signer.sign("RS256", message));
    op.answer("/token", move |_| {
        let odd = json!({
            "id_token": id_token, "access_token": 7, "token_type": null, "expires_in": "an hour",
            "scope": ["openid"], "refresh_token": {},
        });
        Ok(json_answer(200, &odd))
    });
    let uses = Uses::Link { claim: "sub".into() };
    let idp = OidcIdp::new(OidcSettings { uses, ..op.settings() }, op.fetch());
    let answer = AuthorizationResponse::read_callback(&answer, None).unwrap();
    assert_eq!(idp.finish_login(&pending, answer, NOW).await.unwrap().subject(), "a");
}

#[tokio::test]
async fn an_empty_endpoint_that_a_login_can_do_without_is_none() {
    let op = Op::new(ISSUER);
    for member in ["end_session_endpoint", "userinfo_endpoint"] {
        op.inside().metadata.insert(member.into(), "".into());
    }
    op.inside().person().remove("groups");
    let idp = op.idp();
    assert!(op.login(&idp).await.is_ok());
    assert_eq!(idp.logout_url(None, "https://app.test/out", "s"), None);
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
    op.answer("/9f1c0000-0000-4000-8000-000000000001/v2.0/.well-known/openid-configuration", move |_| {
        Ok(json_answer(200, &document))
    });
    op.bend(|_, claims| {
        claims["oid"] = "object-1".into();
        claims["tid"] = "9f1c0000-0000-4000-8000-000000000001".into();
    });
    let settings = OidcSettings { subject: SubjectClaim::Entra, ..op.settings() };
    assert_eq!(op.login(&OidcIdp::new(settings, op.fetch())).await.unwrap().subject(), "object-1");

    let op = Op::new(ISSUER);
    op.bend(|_, claims| claims["hd"] = "example.test".into());
    let subject = SubjectClaim::Google { domains: vec!["example.test".into()] };
    let settings = OidcSettings { subject, ..op.settings() };
    assert_eq!(
        op.login(&OidcIdp::new(settings, op.fetch())).await.unwrap().subject(),
        "alice-1@example.test"
    );
}

#[tokio::test]
async fn the_logout_leads_to_the_provider() {
    let op = Op::new(ISSUER);
    let idp = op.idp();
    let hint = Secret::new("an.id.token");
    assert_eq!(idp.logout_url(Some(&hint), "https://app.test/out", "s"), None);
    idp.refresh_metadata(NOW).await.unwrap();
    assert_eq!(
        idp.logout_url(Some(&hint), "https://app.test/out", "s t").as_deref(),
        Some(
            "https://op.test/end?x=1&id_token_hint=an.id.token&client_id=client-1\
             &post_logout_redirect_uri=https%3A%2F%2Fapp.test%2Fout&state=s+t"
        )
    );
    assert!(!idp.logout_url(None, "https://app.test/out", "s").unwrap().contains("hint"));
    // A hint that servers would not take is left out; so is one that was not kept.
    for (length, is_sent) in [(0, false), (1, true), (4096, true), (4097, false)] {
        let hint = Secret::new("h".repeat(length));
        let url = idp.logout_url(Some(&hint), "https://app.test/out", "s").unwrap();
        assert_eq!(url.contains("id_token_hint="), is_sent, "{length}");
        assert!(url.contains("client_id=client-1"));
    }
    // Google has no such place.
    let op = Op::new(ISSUER);
    op.inside().metadata.insert("end_session_endpoint".into(), Value::Null);
    let idp = op.idp();
    idp.refresh_metadata(NOW).await.unwrap();
    assert_eq!(idp.logout_url(None, "https://app.test/out", "s"), None);
}

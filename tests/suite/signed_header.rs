//! The signed header with applications that check it: PyJWT and npm's jose read the keys where they are published, and
//! believe nothing else.

use std::collections::HashSet;
use std::process::{Command, Output};

use http::Method;
use serde_json::{Value, json};

use crate::needs;
use crate::rig::directory::GROUP;
use crate::rig::peer;
use crate::rig::program;
use crate::rig::settings::Settings;
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;

const ALICE: &str = "alice@corp.test";
const ON: &str = "headers:\n  assertion: on\nroutes:\n  - path: /open/**\n    allow: public\n  - path: /**\n    allow: signed-in\n";

/// What an application in Python does with a request: the keys by address, the algorithm, audience and issuer by name.
const PYTHON: &str = "import json, jwt, sys\n\
    keys, token, audience, issuer = sys.argv[1:]\n\
    key = jwt.PyJWKClient(keys).get_signing_key_from_jwt(token)\n\
    claims = jwt.decode(token, key.key, algorithms=['ES256'], audience=audience, issuer=issuer,\n\
        options={'require': ['exp', 'iat', 'sub', 'jti', 'aud', 'iss']})\n\
    print(json.dumps(claims))";

/// The same in JavaScript.
const NODE: &str = "import { createRemoteJWKSet, jwtVerify } from 'jose';\n\
    const [keys, token, audience, issuer] = process.argv.slice(1);\n\
    const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(keys)),\n\
        { audience, issuer, algorithms: ['ES256'], typ: 'JWT' });\n\
    console.log(JSON.stringify(payload));";

/// Has an application check a token. What it believes, or its reason not to.
fn verified(peer: &str, words: [&str; 4]) -> Result<Value, String> {
    let mut command = match peer {
        "pyjwt" => {
            let mut python = Command::new(peer::cache().join("pyjwt/bin/python"));
            python.args(["-c", PYTHON]);
            python
        }
        _ => {
            let mut node = Command::new(peer::cache().join("node/bin/node"));
            node.args(["--input-type=module", "-e", NODE]).current_dir(peer::cache().join("op"));
            node
        }
    };
    command.args(words).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
    let Output { status, stdout, stderr } = program::bounded(command);
    match status.success() {
        true => Ok(serde_json::from_slice(&stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&stderr).into_owned()),
    }
}

async fn token(stage: &Stage, visitor: &Visitor) -> String {
    assert_eq!(visitor.status("/page").await, 200);
    stage.app.last("/page").unwrap().header("x-portcullis-assertion").unwrap()
}

/// The names of the keys that are published.
async fn published(stage: &Stage) -> Vec<String> {
    let answer = stage.stranger().get("/.portcullis/jwks.json").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.header("set-cookie"), None);
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    for key in &keys {
        let names: HashSet<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, HashSet::from(["kty", "crv", "use", "alg", "kid", "x", "y"]), "no private half");
    }
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn said(stage: &Stage, words: &[&str], code: i32) -> String {
    let output = stage.program.command(words);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

async fn verify_with(peer: &'static str) {
    let change = |settings: &mut Settings| {
        // The name that a system's resolver knows.
        settings.host = "localhost".into();
        settings.more = ON.to_owned();
    };
    let stage = Stage::seeded(change, &[ALICE]).await;
    let group = json!({ "schemas": [GROUP], "displayName": "Wiki owners", "members": [{ "value": stage.id(ALICE) }] });
    assert_eq!(stage.directory.send(Method::POST, "/Groups", Some(&group)).await.status, 201);
    let alice = stage.visitor(ALICE);
    let token = token(&stage, &alice).await;
    let public = stage.program.settings.origin();
    let keys = format!("{public}/.portcullis/jwks.json");
    let claims = verified(peer, [&keys, &token, &public, &public]).unwrap();
    assert_eq!((&claims["sub"], &claims["preferred_username"]), (&stage.id(ALICE).into(), &ALICE.into()));
    for (audience, issuer) in [("https://other.test", public.as_str()), (&public, "https://other.test")] {
        let refused = verified(peer, [&keys, &token, audience, issuer]).unwrap_err();
        assert!(
            refused.to_lowercase().contains("aud") || refused.to_lowercase().contains("iss"),
            "{refused}"
        );
    }
    let (head, signature) = token.rsplit_once('.').unwrap();
    let (protected, _) = head.split_once('.').unwrap();
    let others = ["eyJzdWIiOiJtYWxsb3J5In0", "e30"];
    for claims in others {
        let forged = format!("{protected}.{claims}.{signature}");
        assert!(verified(peer, [&keys, &forged, &public, &public]).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_in_python_believes_it() {
    needs!("pyjwt");
    verify_with("pyjwt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_in_javascript_believes_it() {
    needs!("op");
    verify_with("jose").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_off_until_it_is_wanted_and_a_restart_keeps_the_key() {
    let mut stage = Stage::seeded(|_| {}, &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    assert_eq!(alice.status("/page").await, 200);
    assert_eq!(stage.app.last("/page").unwrap().header("x-portcullis-assertion"), None);
    assert_eq!(stage.stranger().status("/.portcullis/jwks.json").await, 404);
    let explained = said(&stage, &["explain", "headers", "--as", ALICE], 0);
    assert!(!explained.contains("assertion"), "{explained}");

    // From a reload on: the keys, the header, and what is explained.
    let wiki = ON.replace("assertion: on", "assertion: { audience: wiki }");
    stage.program.reload(|settings| settings.more = wiki).await;
    let [key] = <[String; 1]>::try_from(published(&stage).await).unwrap();
    let before = token(&stage, &alice).await;
    let explained = said(&stage, &["explain", "headers", "--as", ALICE], 0);
    let claims = explained.lines().find(|line| line.starts_with("x-portcullis-assertion: signed")).unwrap();
    assert!(claims.contains("\"aud\":\"wiki\"") && claims.contains("\"roles\":[]"), "{claims}");
    assert!(!explained.contains("eyJ"), "a token lets somebody in");
    assert_eq!(alice.status("/open/page").await, 200);
    assert_eq!(stage.app.last("/open/page").unwrap().header("x-portcullis-assertion"), None);

    stage.restart().await;
    assert_eq!(published(&stage).await, [key.as_str()]);
    let after = token(&stage, &alice).await;
    assert_ne!(after, before, "what was signed is not stored");
    let listed = said(&stage, &["keys", "list"], 0);
    assert!(listed.contains(&key) && listed.contains("signs"), "{listed}");

    // A backup has the key only sealed.
    let database = std::fs::read(stage.program.database()).unwrap();
    assert!(
        !database.windows(8).any(|window| window == b"\x02\x01\x00\x30\x13\x06\x07\x2a"),
        "a key in the clear"
    );
    stage.program.assert_sound();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_shown_before_it_signs_and_one_that_leaked_is_gone_at_once() {
    let mut stage = Stage::seeded(|settings| settings.more = ON.to_owned(), &[ALICE]).await;
    let alice = stage.visitor(ALICE);
    let [first] = <[String; 1]>::try_from(published(&stage).await).unwrap();
    let signed = token(&stage, &alice).await;
    let rotated = said(&stage, &["keys", "rotate"], 0);
    let [kept, next] = <[String; 2]>::try_from(published(&stage).await).unwrap();
    assert_eq!(kept, first);
    assert!(rotated.contains(&next) && rotated.contains("shown"), "{rotated}");
    assert_eq!(token(&stage, &alice).await, signed, "the first signs on");
    let again = said(&stage, &["keys", "rotate"], 1);
    assert!(again.contains("a new key is shown already") && again.contains("--now"), "{again}");
    stage.restart().await;
    assert_eq!(published(&stage).await, [first.clone(), next.clone()]);

    said(&stage, &["keys", "rotate", "--now"], 0);
    let [only] = <[String; 1]>::try_from(published(&stage).await).unwrap();
    assert!(only != first && only != next);
    let token = token(&stage, &alice).await;
    assert_ne!(token, signed, "what the first signed is not shown any more");
    let audit = said(&stage, &["audit", "tail"], 0);
    assert!(audit.contains("assertion_key.added") && audit.contains(&only), "{audit}");

    // Without a program it is the same order, and the next start signs by it.
    stage.program.kill();
    said(&stage, &["keys", "rotate", "--now"], 0);
    stage.program.begin().await;
    let [last] = <[String; 1]>::try_from(published(&stage).await).unwrap();
    assert!(last != only);
}

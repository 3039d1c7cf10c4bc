//! SAP's SCIM compliance tests, as far as they are about the standard: `tests/rigs/scimono` has the list of those that are run
//! and, in `known`, each that fails here with the reason. Anything new is a failure, and so is one listed that passes.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::needs;
use crate::rig::peer;
use crate::rig::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn scimono_finds_what_is_known() {
    needs!("scimono");
    let stage = Stage::start().await;
    let (base, token) = (stage.program.settings.scim_base(), stage.program.settings.scim_token.clone());
    let tokens = serve_token(&token).await;
    let rig = peer::rigs().join("scimono");
    // Its client reaches into the library to send a PATCH. Its exit code says nothing.
    let mut java = Command::new("timeout");
    java.args(["300", "java"]);
    for package in ["java.net", "sun.net.www.protocol.http", "sun.net.www.protocol.https"] {
        java.args(["--add-opens", &format!("java.base/{package}=ALL-UNNAMED")]);
    }
    java.arg("-jar").arg(peer::cache().join("scimono/scimono-compliance-tests-0.0.24-shaded.jar"));
    java.args([format!("scim.service.url={base}"), format!("oauth.service.url={tokens}")]);
    java.args(["auth.type=oauth", "oauth.grant=client_credentials", "oauth.clientId=a", "oauth.secret=b"]);
    java.arg(format!("tests.file.path={}", rig.join("tests.properties").display()));
    // It leaves its reports where it is.
    java.current_dir(peer::cache().join("scimono"));
    let output =
        tokio::task::spawn_blocking(move || java.stdin(Stdio::null()).output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    std::fs::write(peer::cache().join("scimono/said"), &said).unwrap();
    let ended = |how: &str| -> BTreeSet<String> {
        let of_line = |line: &str| {
            let (_, rest) = line.split_once("Test: ")?;
            Some(rest.strip_suffix(how)?.trim().to_owned())
        };
        said.lines().filter_map(|line| of_line(line.trim())).collect()
    };
    let (passed, mut failed) = (ended("- SUCCESSFUL"), ended("- FAILED"));
    failed.extend(ended("- ABORTED"));
    let known = std::fs::read_to_string(rig.join("known")).unwrap();
    let known: BTreeSet<String> = known
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(" | ").unwrap_or((line, "")).0.trim().to_owned())
        .collect();
    println!("{} passed, {} failed", passed.len(), failed.len());
    assert_eq!(failed, known, "what it said is in tests/rigs/.cache/scimono/said");
    assert!(passed.len() >= PASSED, "{} passed", passed.len());
}

/// By their names; fewer would mean that it did not run to its end.
const PASSED: usize = 70;

/// Answers every request with this token, as a server of client credentials would; gives its address.
async fn serve_token(token: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body =
        serde_json::json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = format!("{head}{body}");
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                let _ = socket.read(&mut asked).await;
                let _ = socket.write_all(answer.as_bytes()).await;
                let _ = socket.shutdown().await;
            });
        }
    });
    format!("http://{address}/token")
}

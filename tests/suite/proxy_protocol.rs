//! Behind a proxy that passes bytes on: whose a connection is, its header says, and nobody else's is believed.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use crate::needs;
use crate::rig::process::Process;
use crate::rig::raw::RawSocket;
use crate::rig::shape::{read_example, replace_each};
use crate::rig::stage::Stage;
use crate::rig::visitor::Visitor;
use crate::rig::{ports, tls, until, wire};

const ALICE: &str = "alice@corp.test";
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// HAProxy with the example's file, with version 1 or 2 of the header.
async fn haproxy(folder: &std::path::Path, here: SocketAddr, proxy: SocketAddr, word: &str) -> Process {
    let changes = [
        ("0.0.0.0:443", &*here.to_string()),
        ("127.0.0.1:8443", &proxy.to_string()),
        (" send-proxy-v2 ", &format!(" {word} ")),
    ];
    let file = folder.join(format!("haproxy-{word}.cfg"));
    fs::write(&file, replace_each(&read_example("haproxy/haproxy.cfg"), &changes)).unwrap();
    let process = Process::spawn(Command::new("/usr/sbin/haproxy").arg("-db").arg("-f").arg(file));
    until("HAProxy", || async { wire::tcp(here, None).await.is_ok() }).await;
    process
}

/// What the application is told of somebody who connects from another address of this machine.
async fn told_address(visitor: &Visitor, at: SocketAddr) -> (u16, Option<String>) {
    let mut raw = RawSocket::connect_from(ELSEWHERE, at, visitor.origin.split_once("://").unwrap().1).await;
    raw.say("GET /", &[&format!("Cookie: {}", visitor.cookie), "X-Forwarded-For: 192.0.2.9"]).await;
    let (head, text) = raw.answer().await;
    let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let of_name = |field: &&serde_json::Value| field[0] == "x-forwarded-for";
    let told = told["headers"].as_array().and_then(|all| all.iter().find(of_name));
    (head.status, told.map(|field| field[1].as_str().unwrap().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_says_whose_a_connection_is() {
    needs!("haproxy");
    let trusting = "trusted_proxies: [127.0.0.1]\n";
    let mut stage = Stage::seeded(
        |settings| {
            settings.proxy_protocol = true;
            settings.more = trusting.to_owned();
        },
        &[ALICE],
    )
    .await;
    let alice = stage.visitor(ALICE);
    let (folder, proxy) = (tempfile::tempdir().unwrap(), stage.program.proxy());
    let mut running = Vec::new();
    for word in ["send-proxy", "send-proxy-v2"] {
        let here = ports::free();
        running.push(haproxy(folder.path(), here, proxy, word).await);
        let told = told_address(&alice, here).await;
        assert_eq!(told, (200, Some(ELSEWHERE.to_string())), "{word}");
    }
    let front = ports::free();
    running.push(haproxy(folder.path(), front, proxy, "send-proxy-v2").await);
    let through = Visitor { address: front, ..alice.clone() };
    let mut socket = through.socket("/ws").await.unwrap();
    socket.echo("through it").await.unwrap();
    let refused = stage.program.metric("portcullis_proxy_headers_refused_total").await.unwrap();

    // Without a header, with one that a stranger wrote, and with one that is none.
    for (from, said) in [
        (IpAddr::from([127, 0, 0, 1]), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (ELSEWHERE, "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (IpAddr::from([127, 0, 0, 1]), "PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n"),
    ] {
        let mut raw = RawSocket::connect_from(from, proxy, "a").await;
        raw.send(said.as_bytes()).await;
        assert_eq!(raw.rest().await.unwrap_or_default(), b"", "{said}");
    }
    until("three that were let go", || async {
        stage.program.metric("portcullis_proxy_headers_refused_total").await == Some(refused + 3.0)
    })
    .await;
    // Through an upgrade, the listener keeps its ways.
    let before = stage.program.upgrade().await;
    assert_eq!(told_address(&alice, front).await.1, Some(ELSEWHERE.to_string()));
    stage.directory.deactivate(stage.id(ALICE)).await;
    assert!(socket.read_out().await.is_empty());
    assert_eq!(told_address(&alice, front).await.0, 401);
    before.is_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_stands_before_the_handshake() {
    let stage = Stage::seeded(
        |settings| {
            settings.proxy_protocol = true;
            settings.scheme = "https";
            settings.more = "trusted_proxies: [127.0.0.1]\n".to_owned();
        },
        &[ALICE],
    )
    .await;
    let alice = stage.visitor(ALICE);
    let host = alice.origin.split_once("://").unwrap().1.to_owned();
    for header in ["PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", "PROXY TCP6 2001:db8::7 ::1 1 2\r\n"] {
        let mut raw = RawSocket::connect(stage.program.proxy(), host.clone()).await;
        raw.send(header.as_bytes()).await;
        let mut secure = tls::connect(raw.socket, "app.localhost", &[b"http/1.1"]).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\nConnection: close\r\n\r\n",
            alice.cookie
        );
        tokio::io::AsyncWriteExt::write_all(&mut secure, request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let _ = tokio::io::AsyncReadExt::read_to_string(&mut secure, &mut text).await;
        let address = header.split(' ').nth(2).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200")
                && text.contains(&format!("[\"x-forwarded-for\",\"{address}\"]")),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_a_proxy_does_not_name_is_believed_nothing() {
    let stage = Stage::seeded(
        |settings| {
            settings.proxy_protocol = true;
            settings.more = "trusted_proxies: [127.0.0.1]\n".to_owned();
        },
        &[ALICE],
    )
    .await;
    let alice = stage.visitor(ALICE);
    let host = alice.origin.split_once("://").unwrap().1.to_owned();
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let local = [&signature[..], &[0x20, 0, 0, 0]].concat();
    let unix = [&signature[..], &[0x21, 0x31, 0, 216], &[b'/'; 216]].concat();
    let headers =
        [b"PROXY UNKNOWN\r\n".to_vec(), b"PROXY UNKNOWN 192.0.2.7 ::1 1 2\r\n".to_vec(), local, unix];
    for header in headers {
        let mut raw = RawSocket::connect(stage.program.proxy(), host.clone()).await;
        raw.send(&header).await;
        let forged = ["X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6"];
        raw.say("GET /", &[&[&*format!("Cookie: {}", alice.cookie)], &forged[..]].concat()).await;
        let (head, text) = raw.answer().await;
        assert_eq!(head.status, 200);
        assert!(text.contains("[\"x-forwarded-for\",\"127.0.0.1\"]") && !text.contains("6.6.6.6"), "{text}");
    }
    assert!(!stage.program.log().contains("6.6.6.6"));
}

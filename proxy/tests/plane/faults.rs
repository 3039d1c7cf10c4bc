//! What happens where the application, the store or the client fails.

use std::time::Duration;

use portcullis_proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{empty, h2_get, h2_send, h2c, piece, request};
use crate::rig::{HOST, Rig, Wish, application, blurt, in_turn, nobody, once_each, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_cannot_be_reached_is_502_with_a_reference() {
    let address = nobody().await;
    let rig = Rig::with(Wish { upstream: Some(address), ..Wish::default() }).await;
    let cookie = rig.alice();
    let field = format!("Cookie: {cookie}");
    let (head, body) = rig.ask("GET /api", &[&field]).await.answer().await;
    assert_eq!(head.status, 502);
    let said: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(said["error"], "app_unreachable");
    assert!(!body.contains(&address.port().to_string()), "nobody is told where the application is");
    let line = &rig.lines("/api", 1).await[0];
    assert_eq!(
        (&line["ref"], &line["decision"], &line["reason"]),
        (&said["ref"], &"fault".into(), &"unreachable".into())
    );
    assert_eq!(line["user"], "id-alice");

    let (head, body) = rig.ask("GET /page", &[&field, "Accept: text/html"]).await.answer().await;
    assert_eq!(head.status, 502);
    assert!(body.starts_with("<p>app_unreachable "), "{body}");
    let (parts, _) = h2_get(&mut h2c(&rig).await, "/h2", &[("cookie", &cookie)]).await;
    assert_eq!(parts.status, 502);
    assert!(
        (rig.metric("portcullis_upstream_errors_total{kind=\"unreachable\"}") - 3.0).abs() < f64::EPSILON
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_answers_nonsense_is_502() {
    for nonsense in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        let rig = Rig::with(Wish { upstream: Some(blurt(nonsense).await), ..Wish::default() }).await;
        let (head, _) = rig.ask("GET /", &[&format!("Cookie: {}", rig.alice())]).await.answer().await;
        assert_eq!(head.status, 502, "{:?}", String::from_utf8_lossy(nonsense));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_application_is_504_with_a_reference() {
    let rig = Rig::with(Wish { first_byte: Duration::from_millis(300), ..Wish::default() }).await;
    let cookie = rig.alice();
    let (head, body) = rig.ask("GET /slow", &[&format!("Cookie: {cookie}")]).await.answer().await;
    assert_eq!(head.status, 504);
    assert!(body.contains("\"app_slow\""), "{body}");
    let (parts, _) = h2_get(&mut h2c(&rig).await, "/slow", &[("cookie", &cookie)]).await;
    assert_eq!(parts.status, 504);
    for line in rig.lines("/slow", 2).await {
        assert_eq!((&line["reason"], &line["ended"]), (&"slow".into(), &"done".into()));
    }
    assert_eq!(rig.upstream.asked(), ["/slow", "/slow"], "it is not asked twice");
    // The next request is served: nothing is left hanging.
    let (head, _) = rig.ask("GET /headers", &[&format!("Cookie: {cookie}")]).await.answer().await;
    assert_eq!(head.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_slowly_is_not_the_applications_fault() {
    let rig = Rig::with(Wish { first_byte: Duration::from_millis(500), ..Wish::default() }).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let mut raw = rig.ask("POST /count", &[&cookie, "Content-Length: 10"]).await;
    for sent in 1..=10 {
        raw.send(b"x").await;
        rig.upstream.has_taken(sent).await;
        tokio::time::sleep(Duration::from_millis(150)).await; // together three times the limit
    }
    assert_eq!(raw.answer().await.1, "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_broken_for_the_client_too() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let rig = Rig::with(Wish { upstream: Some(blurt(half).await), ..Wish::default() }).await;
    let cookie = rig.alice();
    let mut raw = rig.ask("GET /half", &[&format!("Cookie: {cookie}")]).await;
    assert_eq!(raw.head().await.field("content-length"), Some("100"));
    assert!(raw.rest().await.unwrap_or_default().len() < 100);
    let mut sender = h2c(&rig).await;
    let mut body =
        h2_send(&mut sender, request("GET", "/half", &[("cookie", &cookie)], empty())).await.into_body();
    let mut last = piece(&mut body).await;
    while let Some(Ok(_)) = last {
        last = piece(&mut body).await;
    }
    assert!(last.unwrap().is_err(), "the stream is reset, not ended");
    for line in rig.lines("/half", 2).await {
        assert_eq!((&line["ended"], &line["status"]), (&"upstream".into(), &200.into()));
    }
    assert!((rig.metric("portcullis_upstream_errors_total{kind=\"broken\"}") - 2.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_the_application_has_closed_is_replaced_and_a_post_is_not_repeated() {
    let (address, mut told) = once_each(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let rig = Rig::with(Wish { upstream: Some(address), ..Wish::default() }).await;
    let cookie = format!("Cookie: {}", rig.alice());
    for _ in 0..3 {
        assert_eq!(rig.ask("GET /", &[&cookie]).await.answer().await.0.status, 200);
    }
    let mut asked = 0;
    while told.try_recv().is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 3, "each on a connection of its own");
    let (head, _) = rig.ask("POST /", &[&cookie, "Content-Length: 0"]).await.answer().await;
    assert!(head.status == 200 || head.status == 502);
}

/// Whoever answers something has read the request: rubbish on a connection that was kept is no reason to ask again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_with_rubbish_is_not_asked_twice() {
    let (address, mut told) =
        in_turn(&[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"rubbish\r\n\r\n"]).await;
    let rig = Rig::with(Wish { upstream: Some(address), ..Wish::default() }).await;
    let cookie = format!("Cookie: {}", rig.alice());
    // One connection: its requests share the application's.
    let mut raw = rig.ask("GET /", &[&cookie]).await;
    assert_eq!(raw.answer().await.0.status, 200);
    raw.say("DELETE /", &[&cookie]).await;
    assert_eq!(raw.answer().await.0.status, 502);
    assert_eq!(told.recv().await, Some("GET".into()));
    assert_eq!(told.recv().await, Some("DELETE".into()));
    assert!(told.try_recv().is_err(), "asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_head_never_ends_is_502() {
    const PIECE: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let address = application(|_, mut socket| async move {
        let _ = socket.read(&mut [0; 4096]).await;
        while socket.write_all(PIECE).await.is_ok() {}
    })
    .await;
    let rig = Rig::with(Wish { upstream: Some(address), ..Wish::default() }).await;
    let (head, _) = rig.ask("GET /", &[&format!("Cookie: {}", rig.alice())]).await.answer().await;
    assert_eq!(head.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_end_and_connections_that_rest_too_long_are_closed() {
    let limits =
        Limits { head_time: Duration::from_millis(300), idle: Duration::from_secs(1), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    for begun in [&b""[..], b"GET", b"GET / HTTP/1.1\r\nHost: wiki.localhost\r\nX-Half: "] {
        let mut raw = rig.connect().await;
        raw.send(begun).await;
        assert_eq!(raw.rest().await.unwrap_or_default(), b"", "{:?}", String::from_utf8_lossy(begun));
    }
    let mut raw = rig.ask("GET /", &[]).await;
    assert_eq!(raw.answer().await.0.status, 401);
    assert_eq!(raw.rest().await.unwrap(), b"", "it may rest for a while, and no longer");
    let mut raw = rig.ask("GET /", &[]).await;
    assert_eq!(raw.answer().await.0.status, 401);
    raw.send(b"GET / HTTP/1.1\r\nHost: ").await;
    assert_eq!(raw.rest().await.unwrap_or_default(), b"", "half a second head is not waited for either");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_is_given_up() {
    let limits = Limits { idle: Duration::from_millis(500), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    let mut raw = rig.ask("POST /count", &[&format!("Cookie: {}", rig.alice()), "Content-Length: 10"]).await;
    raw.send(b"x").await;
    assert_eq!(raw.answer().await.0.status, 408);
    wait_for(|| rig.metric("portcullis_exchanges").abs() < f64::EPSILON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_needed_cannot_be_nominated_away() {
    let rig = Rig::new().await;
    let cookie = format!("Cookie: {}", rig.alice());
    for nominated in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "X-Forwarded-For",
        "x_forwarded_user",
        "Sec-WebSocket-Key",
        "\"X-Forwarded-For\"",
        "a,b,c,d,e,f,g,h,i,j,k",
    ] {
        let fields = [cookie.as_str(), &format!("Connection: {nominated}")];
        let (head, _) = rig.ask("GET /headers", &fields).await.answer().await;
        assert_eq!(head.status, 400, "{nominated}");
    }
    assert!(rig.upstream.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_is_given_the_end_it_waits_for() {
    let rig = Rig::new().await;
    let cookie = rig.alice();
    let mut raw = rig.connect().await;
    raw.send(format!("GET /stream HTTP/1.0\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n").as_bytes()).await;
    raw.until("hello").await;
    let mut raw = rig.connect().await;
    raw.send(format!("GET /headers HTTP/1.0\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n").as_bytes()).await;
    let whole = String::from_utf8(raw.rest().await.unwrap()).unwrap();
    assert!(whole.contains("x-forwarded-user: alice"), "{whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_parsed_is_400_and_closes() {
    let rig = Rig::new().await;
    for bad in [
        "GET / HTTP/1.1\r\nHost: wiki.localhost\r\nHost: wiki.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : wiki.localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: wiki.localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: wiki.localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET http://evil.test/ HTTP/1.1\r\nHost: wiki.localhost\r\n\r\n",
    ] {
        let mut raw = rig.connect().await;
        raw.send(bad.as_bytes()).await;
        assert_eq!(raw.head().await.status, 400, "{bad:?}");
        let _ = raw.rest().await;
    }
    assert!(rig.upstream.asked().is_empty());
}

/// A client that takes nothing any more holds the application's answer for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_is_let_go() {
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let rig = Rig::with(Wish { limits, ..Wish::default() }).await;
    let (alice, path) = (rig.alice(), "/bytes/200000000");
    let field = format!("Cookie: {alice}");
    let mut raw = rig.ask(&format!("GET {path}"), &[&field]).await;
    assert_eq!(raw.head().await.status, 200);
    let mut sender = h2c(&rig).await;
    let mut body =
        h2_send(&mut sender, request("GET", path, &[("cookie", &alice)], empty())).await.into_body();
    piece(&mut body).await.unwrap().unwrap();
    sender.tap.shut();
    for line in rig.lines(path, 2).await {
        assert_eq!((&line["ended"], &line["status"]), (&"client".into(), &200.into()), "{line}");
        assert!(line["out"].as_u64().unwrap() < 100_000_000);
    }
}

/// The number that is shown leads to where it failed, why, and which limit ended it.
#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_fault_has_the_upstream_the_cause_and_the_limit() {
    let told = async |wish: Wish, path: &str| {
        let rig = Rig::with(wish).await;
        let (_, body) = rig.ask(path, &[&format!("Cookie: {}", rig.alice())]).await.answer().await;
        let said: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}"));
        (rig.record(said["ref"].as_str().unwrap()).await, rig.upstream.address)
    };
    let gone = nobody().await;
    let (record, _) = told(Wish { upstream: Some(gone), ..Wish::default() }, "GET /").await;
    assert_eq!(record["upstream"], format!("http://{gone}"));
    assert!(record["cause"].as_str().unwrap().contains("refused"), "{record}");
    assert_eq!((&record["limit"], &record["status"]), (&serde_json::Value::Null, &502.into()));

    let (record, at) =
        told(Wish { first_byte: Duration::from_millis(300), ..Wish::default() }, "GET /slow").await;
    assert_eq!(record["upstream"], format!("http://{at}"));
    assert_eq!(
        record["cause"], "no answer began within 300ms",
        "the time-out, not what the hang-up looked like"
    );
    assert_eq!(
        (&record["limit"], &record["status"]),
        (&"upstream.first_byte_timeout: 300ms".into(), &504.into())
    );
    assert!(record["help"].as_str().unwrap().contains("first_byte_timeout"), "{record}");

    let nonsense = blurt(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let (record, _) = told(Wish { upstream: Some(nonsense), ..Wish::default() }, "GET /").await;
    assert_eq!(record["upstream"], format!("http://{nonsense}"));
    assert!(
        !record["cause"].as_str().unwrap().is_empty() && !record.to_string().contains("OpenSSH"),
        "{record}"
    );

    // A WebSocket is asked for on another road.
    let rig = Rig::with(Wish { upstream: Some(gone), ..Wish::default() }).await;
    let cookie = format!("Cookie: {}", rig.alice());
    let fields: Vec<&str> = [cookie.as_str()].into_iter().chain(crate::streams::UPGRADE).collect();
    let (_, body) = rig.ask("GET /socket", &fields).await.answer().await;
    let said: serde_json::Value = serde_json::from_str(&body).unwrap();
    let record = rig.record(said["ref"].as_str().unwrap()).await;
    assert!(record["cause"].as_str().unwrap().contains("refused"), "{record}");
}

/// Nobody is shown a number where the answer had begun, but the line has one.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_has_a_record_of_why() {
    let half = blurt(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    let rig = Rig::with(Wish { upstream: Some(half), ..Wish::default() }).await;
    let mut raw = rig.ask("GET /half", &[&format!("Cookie: {}", rig.alice())]).await;
    raw.head().await;
    let _ = raw.rest().await;
    let line = &rig.lines("/half", 1).await[0];
    assert_eq!((&line["decision"], &line["ended"]), (&"allow".into(), &"upstream".into()));
    let record = rig.record(line["ref"].as_str().unwrap()).await;
    assert_eq!(record["upstream"], format!("http://{half}"));
    assert!(record["detail"].as_str().unwrap().contains("broke off"), "{record}");
}

//! Request smuggling, each attack twice: against a deliberately weak proxy, where it works, and against ours, in front of
//! the same backend, where it does not. The first shows that the second says something.
//!
//! An attack is a message that two readers end at different places. What the first takes for a body is a request to the
//! second, whose answer the next person gets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use portcullis_policy::Allow;

use crate::rig::{HOST, Rig, Wish, admins, application};

/// How a reader finds the end of a message.
#[derive(Clone, Copy, Debug)]
struct Reader {
    /// What ends a line of a head.
    line: &'static str,
    /// What ends the line before a chunk.
    chunk_line: &'static str,
    coding: Coding,
    /// Which of several lengths counts.
    length: Length,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    /// `Transfer-Encoding` is not known.
    Unknown,
    /// It is `chunked` where that is all it says.
    Exact,
    /// It is `chunked` where that stands in it.
    Loose,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Length {
    First,
    Last,
}

const USUAL: Reader =
    Reader { line: "\r\n", chunk_line: "\r\n", coding: Coding::Exact, length: Length::First };

impl Reader {
    /// The first message of a text: its head, and how long it is with its body. `None` where it is not whole.
    fn message<'t>(&self, text: &'t str) -> Option<(&'t str, usize)> {
        let end = format!("{0}{0}", self.line);
        // Where a bare line feed ends a line, so does one behind a carriage return.
        let ends = [end.as_str(), "\n\r\n"];
        let ends = if self.line == "\n" { &ends[..] } else { &ends[..1] };
        let body = ends.iter().filter_map(|end| Some(text.find(end)? + end.len())).min()?;
        let head = &text[..body];
        let fields = head.split(self.line).skip(1).filter_map(|line| line.trim_end().split_once(':'));
        let values = |name: &str| -> Vec<&str> {
            fields
                .clone()
                .filter(|(field, _)| field.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
                .collect()
        };
        let (codings, lengths) = (values("transfer-encoding"), values("content-length"));
        let is_chunked = match self.coding {
            Coding::Unknown => false,
            Coding::Exact => codings == ["chunked"],
            Coding::Loose => codings.iter().any(|coding| coding.contains("chunked")),
        };
        if is_chunked {
            return Some((head, body + self.chunks(&text[body..])?));
        }
        let length = match self.length {
            Length::First => lengths.first(),
            Length::Last => lengths.last(),
        };
        let whole = body + length.map_or(0, |length| length.parse().unwrap_or(0));
        (whole <= text.len()).then_some((head, whole))
    }

    fn chunks(&self, text: &str) -> Option<usize> {
        let mut at = 0;
        loop {
            let data = at + text[at..].find(self.chunk_line)? + self.chunk_line.len();
            let digits: String = text[at..data].chars().take_while(char::is_ascii_hexdigit).collect();
            let size = usize::from_str_radix(&digits, 16).unwrap_or(0);
            at = data + size + 2; // and the line's end behind it
            text.get(..at)?;
            if size == 0 {
                return Some(at);
            }
        }
    }
}

/// Reads one message after another from a socket.
struct Messages {
    socket: TcpStream,
    reader: Reader,
    read: String,
}

impl Messages {
    fn of(socket: TcpStream, reader: Reader) -> Self {
        Self { socket, reader, read: String::new() }
    }

    /// The next one, byte for byte; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((_, whole)) = self.reader.message(&self.read) {
                return Some(self.read.drain(..whole).collect());
            }
            let mut piece = [0; 4096];
            let count = self.socket.read(&mut piece).await.ok().filter(|count| *count > 0)?;
            self.read.push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    }
}

/// Paths in the order in which they were asked for.
type Asked = Arc<Mutex<Vec<String>>>;

/// An application that reads by its own rules and answers with the path.
async fn backend(reader: Reader) -> (SocketAddr, Asked) {
    let asked = Asked::default();
    let log = asked.clone();
    let address = application(move |_, socket| {
        let log = log.clone();
        async move {
            let mut messages = Messages::of(socket, reader);
            while let Some(message) = messages.next().await {
                let path = message.split(' ').nth(1).unwrap_or("?").to_owned();
                log.lock().unwrap().push(path.clone());
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
                if messages.socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (address, asked)
}

/// A proxy that lets nobody ask for `/smuggled`, and passes on the rest, byte for byte, over one connection to the
/// application that everybody shares. An upgrade it takes for agreed to.
async fn weak_proxy(reader: Reader, to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Messages::of(TcpStream::connect(to).await.unwrap(), USUAL);
    let shared = Arc::new(tokio::sync::Mutex::new(shared));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let shared = shared.clone();
            tokio::spawn(async move {
                let mut client = Messages::of(socket, reader);
                while let Some(message) = client.next().await {
                    if message.starts_with("GET /smuggled ") {
                        return;
                    }
                    if message.contains("\r\nUpgrade:") {
                        let mut tunnel = TcpStream::connect(to).await.unwrap();
                        tunnel.write_all(format!("{message}{}", client.read).as_bytes()).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut client.socket, &mut tunnel).await;
                        return;
                    }
                    let mut app = shared.lock().await;
                    app.socket.write_all(message.as_bytes()).await.unwrap();
                    let Some(answer) = app.next().await else { return };
                    drop(app);
                    client.socket.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

/// A way to have one message read as two.
struct Attack {
    name: &'static str,
    front: Reader,
    back: Reader,
    /// `COOKIE` and `HOST` are put in.
    bytes: String,
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n";

fn attacks() -> Vec<Attack> {
    let post = "POST /attack HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\n";
    let smuggled = SMUGGLED.replace("HOST", HOST);
    let attack = |name, front, back, bytes: String| Attack { name, front, back, bytes };
    let lengths = Reader { coding: Coding::Unknown, ..USUAL };
    let loose = Reader { coding: Coding::Loose, ..USUAL };
    let ended = format!("0\r\n\r\n{smuggled}");
    let size = format!("{:x}\r\n", smuggled.len());
    let chunk = format!("{size}{smuggled}\r\n0\r\n\r\n");
    // What stands behind it belongs to whoever reads it as a request's rest.
    let (both, hidden) = (format!("Content-Length: {}\r\n", ended.len()), size.len());
    vec![
        attack("CL.TE", lengths, USUAL, format!("{post}{both}Transfer-Encoding: chunked\r\n\r\n{ended}")),
        attack(
            "TE.CL",
            USUAL,
            lengths,
            format!("{post}Content-Length: {hidden}\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
        ),
        attack(
            "TE.TE",
            loose,
            USUAL,
            format!("{post}Content-Length: {hidden}\r\nTransfer-Encoding: xchunked\r\n\r\n{chunk}"),
        ),
        attack(
            "TE.TE, two codings",
            loose,
            USUAL,
            format!("{post}Content-Length: {hidden}\r\nTransfer-Encoding: identity, chunked\r\n\r\n{chunk}"),
        ),
        attack(
            "two lengths",
            USUAL,
            Reader { length: Length::Last, ..USUAL },
            format!("{post}Content-Length: {}\r\nContent-Length: 0\r\n\r\n{smuggled}", smuggled.len()),
        ),
        attack(
            "a bare line feed before a length",
            Reader { line: "\n", ..USUAL },
            USUAL,
            format!("{post}X: y\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len()),
        ),
        attack(
            "a line feed in a chunk extension",
            Reader { chunk_line: "\n", ..USUAL },
            USUAL,
            // To the front two bytes and a long chunk; to the back those two digits are the bytes, and it is over.
            format!(
                "{post}Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n{:02x}\r\n{ended}\r\n0\r\n\r\n",
                ended.len()
            ),
        ),
        attack(
            "behind an upgrade that is refused",
            USUAL,
            USUAL,
            format!(
                "GET /attack HTTP/1.1\r\nHost: HOST\r\nCookie: COOKIE\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 777\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n{smuggled}"
            ),
        ),
    ]
}

/// What somebody who asks for `/victim` is answered, and `None` where nothing comes.
async fn victim(address: SocketAddr, cookie: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let ask = format!("GET /victim HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\n\r\n");
    socket.write_all(ask.as_bytes()).await.unwrap();
    let mut messages = Messages::of(socket, USUAL);
    let answer = timeout(Duration::from_secs(5), messages.next()).await.ok()??;
    Some(answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

fn written(attack: &Attack, cookie: &str) -> String {
    attack.bytes.replace("COOKIE", cookie).replace("HOST", HOST)
}

/// Sends an attack and waits for the end, or for what comes within a moment.
async fn strike(address: SocketAddr, bytes: &str) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let _ = timeout(Duration::from_secs(5), socket.read(&mut answer)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attack_works_where_a_proxy_reads_otherwise_than_the_application() {
    for attack in attacks() {
        let (app, asked) = backend(attack.back).await;
        let weak = weak_proxy(attack.front, app).await;
        assert_eq!(
            victim(weak, "c").await.as_deref(),
            Some("/victim"),
            "{}: it works as a proxy",
            attack.name
        );
        strike(weak, SMUGGLED).await;
        assert!(!asked.lock().unwrap().contains(&"/smuggled".to_owned()), "{}: it has a rule", attack.name);
        strike(weak, &written(&attack, "c")).await;
        crate::rig::wait_for(|| asked.lock().unwrap().contains(&"/smuggled".to_owned())).await;
        if !attack.bytes.contains("Upgrade") {
            let got = victim(weak, "c").await;
            assert_eq!(got.as_deref(), Some("/smuggled"), "{}: the next person gets the answer", attack.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attack_works_through_the_gate() {
    for attack in attacks() {
        let (app, asked) = backend(attack.back).await;
        let rules = vec![("/smuggled", admins()), ("/**", Allow::SignedIn)];
        let rig = Rig::with(Wish { upstream: Some(app), rules, ..Wish::default() }).await;
        let (alice, bob) = (rig.alice(), rig.bob());
        for _ in 0..20 {
            strike(rig.address, &written(&attack, &alice)).await;
            assert_eq!(victim(rig.address, &bob).await.as_deref(), Some("/victim"), "{}", attack.name);
        }
        assert!(!asked.lock().unwrap().contains(&"/smuggled".to_owned()), "{}", attack.name);
    }
}

//! The load: sixty-four requests at a time over HTTP/1.1, HTTP/2 or TLS, as fast as answers come or at a rate.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::app;
use crate::rig::tls;
use crate::rig::wire::tcp;

/// The host of the application.
pub(crate) const HOST: &str = "app.localhost";

/// How many requests are under way at a time.
pub(crate) const AT_ONCE: usize = 64;

/// How many of them share a connection of HTTP/2.
const STREAMS: usize = 8;

/// What the client speaks with a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    H1,
    H2c,
    H1Tls,
    H2Tls,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] = [Self::H1, Self::H2c, Self::H1Tls, Self::H2Tls];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::H1 => "HTTP/1.1",
            Self::H2c => "HTTP/2, plain (h2c)",
            Self::H1Tls => "HTTP/1.1 over TLS",
            Self::H2Tls => "HTTP/2 over TLS",
        }
    }

    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::H1Tls | Self::H2Tls)
    }

    pub(crate) fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2Tls)
    }
}

/// A browser's head, without its first line and its host.
fn fields(cookie: &str) -> [(&'static str, String); 8] {
    [
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) bench".to_owned()),
        ("accept", "text/html,application/xhtml+xml".to_owned()),
        ("accept-language", "en-GB,en".to_owned()),
        ("accept-encoding", "gzip, br".to_owned()),
        ("cookie", format!("theme=dark; {cookie}; lang=en")),
        ("sec-fetch-mode", "navigate".to_owned()),
        ("sec-fetch-dest", "document".to_owned()),
        ("sec-fetch-site", "none".to_owned()),
    ]
}

/// A byte stream to a proxy.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// Who asks one request after the other.
enum Lane {
    One { socket: Box<dyn Socket>, request: Vec<u8>, buffer: Vec<u8> },
    Two { sender: http2::SendRequest<Empty<Bytes>>, request: http::request::Parts },
}

impl Lane {
    /// Asks, and reads the answer, which must be the application's.
    async fn ask(&mut self) {
        match self {
            Self::One { socket, request, buffer } => {
                socket.write_all(request).await.unwrap();
                let mut filled = 0;
                while !buffer[..filled].ends_with(app::BODY) {
                    let read = socket.read(&mut buffer[filled..]).await.unwrap();
                    assert!(read > 0, "the answer ended: {}", String::from_utf8_lossy(&buffer[..filled]));
                    filled += read;
                }
                assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(buffer));
            }
            Self::Two { sender, request } => {
                sender.ready().await.unwrap();
                let request = Request::from_parts(request.clone(), Empty::new());
                let answer = sender.send_request(request).await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), app::BODY);
            }
        }
    }
}

/// Open connections to one proxy.
pub(crate) struct Load {
    lanes: Vec<Lane>,
}

impl Load {
    /// Opens them: a connection of HTTP/1.1 for each lane, one of HTTP/2 for eight. The cookies are given out in turn,
    /// one to a connection.
    pub(crate) async fn open(address: SocketAddr, protocol: Protocol, cookies: &[String]) -> Self {
        let mut lanes = Vec::with_capacity(AT_ONCE);
        for cookie in cookies.iter().cycle() {
            if protocol.is_h2() {
                let io = TokioIo::new(connect(address, protocol).await);
                let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                tokio::spawn(driver);
                let scheme = if protocol.is_tls() { "https" } else { "http" };
                let mut request = Request::get(format!("{scheme}://{HOST}/dashboard?tab=1"));
                for (name, value) in fields(cookie) {
                    request = request.header(name, value);
                }
                let request = request.body(()).unwrap().into_parts().0;
                lanes.extend(
                    (0..STREAMS).map(|_| Lane::Two { sender: sender.clone(), request: request.clone() }),
                );
            } else {
                let mut request = format!("GET /dashboard?tab=1 HTTP/1.1\r\nhost: {HOST}\r\n");
                for (name, value) in fields(cookie) {
                    request += &format!("{name}: {value}\r\n");
                }
                request += "\r\n";
                let socket = connect(address, protocol).await;
                lanes.push(Lane::One { socket, request: request.into_bytes(), buffer: vec![0; 4 * 1024] });
            }
            if lanes.len() >= AT_ONCE {
                break;
            }
        }
        Self { lanes }
    }

    /// Asks about `requests` times in all, each lane again as soon as it has its answer; how long that took.
    pub(crate) async fn run(&mut self, requests: usize) -> Duration {
        let each = requests / self.lanes.len();
        let began = Instant::now();
        let lanes = self.lanes.drain(..).map(|mut lane| {
            tokio::spawn(async move {
                for _ in 0..each {
                    lane.ask().await;
                }
                lane
            })
        });
        let running: Vec<_> = lanes.collect();
        for lane in running {
            self.lanes.push(lane.await.unwrap());
        }
        began.elapsed()
    }

    /// Asks `rate` times a second, whether answers come or not; how long each answer took, sorted.
    ///
    /// A request whose lane still waits for an earlier answer counts from when it was due.
    pub(crate) async fn paced(&mut self, rate: f64, lasts: Duration, core: usize) -> Vec<Duration> {
        let (mut due, mut asking) = (Vec::new(), Vec::new());
        for mut lane in self.lanes.drain(..) {
            let (tell, mut told) = mpsc::unbounded_channel::<Instant>();
            due.push(tell);
            asking.push(tokio::spawn(async move {
                let mut took = Vec::new();
                while let Some(due) = told.recv().await {
                    lane.ask().await;
                    took.push(due.elapsed());
                }
                (lane, took)
            }));
        }
        let pace = std::thread::spawn(move || {
            crate::run_on(&[core]);
            let (began, mut count) = (Instant::now(), 0_u32);
            while began.elapsed() < lasts {
                let at = began + Duration::from_secs_f64(f64::from(count) / rate);
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                let _ = due[count as usize % due.len()].send(Instant::now());
                count += 1;
            }
        });
        let mut took = Vec::new();
        for asked in asking {
            let (lane, its) = asked.await.unwrap();
            self.lanes.push(lane);
            took.extend(its);
        }
        pace.join().unwrap();
        took.sort();
        took
    }
}

/// One connection, through its TLS handshake where there is one.
pub(crate) async fn connect(address: SocketAddr, protocol: Protocol) -> Box<dyn Socket> {
    let socket = tcp(address, None).await.unwrap();
    if !protocol.is_tls() {
        return Box::new(socket);
    }
    let wanted: &[u8] = if protocol.is_h2() { b"h2" } else { b"http/1.1" };
    let stream = tls::connect(socket, HOST, &[wanted]).await.unwrap();
    assert_eq!(tls::chosen_protocol(&stream), Some(wanted), "the proxy speaks what was asked for");
    Box::new(stream)
}

//! The legacy app of the rehearsal: a modest intranet of 2009 that nobody changes any more.
//!
//! It knows nothing of Portcullis. It has no login of its own, believes the headers it is sent, and shows them. It
//! stands on a loopback port of its own, as an upstream does, and holds connections open in the ways that real apps
//! do: a WebSocket that ticks, an event stream, a long download.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::stream;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// The app: what it is told at its start, and how many requests it has seen.
pub(crate) struct DemoApp {
    /// The address of the intranet's link to the company directory.
    directory: String,
    requests: AtomicU64,
}

impl DemoApp {
    /// An app whose navigation links to the company directory at `directory`.
    pub(crate) fn new(directory: &str) -> Arc<Self> {
        Arc::new(Self { directory: directory.to_owned(), requests: AtomicU64::new(0) })
    }

    /// Counts the requests that have reached it since its start.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Its pages.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/", get(front_page))
            .route("/headers.txt", get(headers_as_text))
            .route("/clock", get(clock_page))
            .route("/clock/socket", any(clock_socket))
            .route("/gate", get(gate_page))
            .route("/gate/events", get(gate_events))
            .route("/archive", get(archive_page))
            .route("/archive/deliveries-2009.txt", get(send_deliveries))
            .route("/ledger", get(ledger_page))
            .route("/intranet.css", get(serve_style))
            .route("/icon.svg", get(serve_icon))
            .fallback(nothing_there)
            .layer(middleware::from_fn_with_state(self.clone(), count_request))
            .with_state(self.clone())
    }
}

/// The interval of the clock's ticks and the gate's reports.
const TICK: Duration = Duration::from_millis(250);

/// The download: this many rows of 64 bytes, in pieces, as a slow disk gives them out. About four minutes.
const ROWS: u64 = 2 << 20;
const ROW: u64 = 64;
const ROWS_A_PIECE: u64 = 1024;
const PIECE_EVERY: Duration = Duration::from_millis(120);

async fn count_request(State(app): State<Arc<DemoApp>>, request: Request, next: Next) -> Response {
    app.requests.fetch_add(1, Ordering::Relaxed);
    next.run(request).await
}

/// The values that every page's frame shows.
struct Frame<'a> {
    user: String,
    here: &'static str,
    directory: &'a str,
    requests: u64,
}

impl<'a> Frame<'a> {
    fn new(app: &'a DemoApp, headers: &HeaderMap, here: &'static str) -> Self {
        let user = headers.get("x-forwarded-user").map(header_text).unwrap_or_default();
        Self { user, here, directory: &app.directory, requests: app.requests() }
    }

    /// For the navigation: marks the page one is on.
    fn is_current(&self, page: &str) -> bool {
        self.here == page
    }
}

#[derive(Template)]
#[template(path = "app/front.html")]
struct Front<'a> {
    frame: Frame<'a>,
    headers: Vec<(String, String, bool)>,
}

async fn front_page(State(app): State<Arc<DemoApp>>, headers: HeaderMap) -> Response {
    let mut shown: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            let about_the_person = PERSONAL.contains(&name.as_str());
            (spell_header(name.as_str()), header_text(value), about_the_person)
        })
        .collect();
    shown.sort_by_key(|(_, _, about_the_person)| !about_the_person);
    render_page(&Front { frame: Frame::new(&app, &headers, "front"), headers: shown })
}

/// The headers by which a proxy in front says who is there.
const PERSONAL: [&str; 5] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-roles",
    "x-forwarded-preferred-username",
];

/// The same table for scripts: a line each, `name: value`.
async fn headers_as_text(headers: HeaderMap) -> Response {
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {}\n", header_text(value))).collect();
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response()
}

#[derive(Template)]
#[template(path = "app/clock.html")]
struct ClockPage<'a> {
    frame: Frame<'a>,
}

async fn clock_page(State(app): State<Arc<DemoApp>>, headers: HeaderMap) -> Response {
    render_page(&ClockPage { frame: Frame::new(&app, &headers, "clock") })
}

async fn clock_socket(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(send_time)
}

/// Sends the time until either side goes away.
async fn send_time(mut socket: WebSocket) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if socket.send(Message::text(now_text())).await.is_err() { return }
            }
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            }
        }
    }
}

#[derive(Template)]
#[template(path = "app/gate.html")]
struct GatePage<'a> {
    frame: Frame<'a>,
}

async fn gate_page(State(app): State<Arc<DemoApp>>, headers: HeaderMap) -> Response {
    render_page(&GatePage { frame: Frame::new(&app, &headers, "gate") })
}

/// Sends what passes the works' gate, for ever, as server-sent events.
async fn gate_events() -> Response {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let events = stream::unfold((ticks, 0_usize), |(mut ticks, seen)| async move {
        ticks.tick().await;
        let what = PASSING[seen % PASSING.len()];
        let event = format!("id: {seen}\ndata: {} {what}\n\n", now_text());
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(event)), (ticks, seen + 1)))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

const PASSING: [&str; 7] = [
    "Lorry FW-14 in, empty",
    "Visitor for the drawing office",
    "Lorry FW-09 out, 40 crates",
    "Post van in",
    "Lorry FW-14 out, 38 crates",
    "Bicycle courier in",
    "Post van out",
];

#[derive(Template)]
#[template(path = "app/archive.html")]
struct Archive<'a> {
    frame: Frame<'a>,
    mebibytes: u64,
}

async fn archive_page(State(app): State<Arc<DemoApp>>, headers: HeaderMap) -> Response {
    render_page(&Archive { frame: Frame::new(&app, &headers, "archive"), mebibytes: (ROWS * ROW) >> 20 })
}

/// The big file, with its length stated, piece by piece.
async fn send_deliveries() -> Response {
    let pieces = stream::unfold(0_u64, |row| async move {
        if row >= ROWS {
            return None;
        }
        if row > 0 {
            sleep(PIECE_EVERY).await;
        }
        let piece: String = (row..ROWS.min(row + ROWS_A_PIECE)).map(delivery_row).collect();
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(piece)), row + ROWS_A_PIECE))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_LENGTH, (ROWS * ROW).to_string()),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"deliveries-2009.txt\"".to_owned()),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

/// One row of 64 bytes, its line end included.
fn delivery_row(row: u64) -> String {
    let (month, day) = (row / 28 % 12 + 1, row % 28 + 1);
    let crates = (row * 7 + 11) % 60;
    format!(
        "{:<63}\n",
        format!("2009-{month:02}-{day:02}  note {row:>8}  {crates:>3} crates  lorry FW-{:02}", row % 17)
    )
}

#[derive(Template)]
#[template(path = "app/ledger.html")]
struct Ledger<'a> {
    frame: Frame<'a>,
}

async fn ledger_page(State(app): State<Arc<DemoApp>>, headers: HeaderMap) -> Response {
    render_page(&Ledger { frame: Frame::new(&app, &headers, "ledger") })
}

#[derive(Template)]
#[template(path = "app/missing.html")]
struct MissingPage<'a> {
    frame: Frame<'a>,
}

async fn nothing_there(State(app): State<Arc<DemoApp>>, headers: HeaderMap) -> Response {
    let missing = MissingPage { frame: Frame::new(&app, &headers, "") };
    (StatusCode::NOT_FOUND, render_page(&missing)).into_response()
}

async fn serve_style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("pages/app/intranet.css"))
        .into_response()
}

async fn serve_icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml")], include_str!("pages/app/icon.svg")).into_response()
}

fn render_page(template: &impl Template) -> Response {
    match template.render() {
        Ok(page) => Html(page).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "The page could not be drawn.").into_response(),
    }
}

/// Now, as the clock says it: `2009-06-01T09:30:00.250Z`.
fn now_text() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// A header's value as it came; bytes that are not UTF-8 are replaced.
fn header_text(value: &header::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// `x-forwarded-user` as people write it: `X-Forwarded-User`.
fn spell_header(name: &str) -> String {
    let mut start = true;
    name.chars()
        .map(|letter| {
            let shown = if start { letter.to_ascii_uppercase() } else { letter };
            start = letter == '-';
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    async fn answer(request: Request) -> (StatusCode, HeaderMap, String) {
        let app = DemoApp::new("http://idp.localhost:1/directory");
        let answer = app.router().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        (
            head.status,
            head.headers,
            String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn headers_are_shown_escaped() {
        let request = Request::get("/")
            .header("x-forwarded-user", "<b>\"mallory\"</b>&amp;")
            .header("x-odd", "</td><script>alert(1)</script>")
            .body(Body::empty())
            .unwrap();
        let (status, _, page) = answer(request).await;
        assert_eq!(status, StatusCode::OK);
        assert!(!page.contains("<b>\"mallory") && !page.contains("<script>"), "{page}");
        assert!(page.contains("&#60;b&#62;&#34;mallory&#34;&#60;/b&#62;&#38;amp;"), "{page}");
        assert!(page.contains("X-Odd"), "{page}");
    }

    #[tokio::test]
    async fn every_page_answers_and_the_unknown_one_is_404() {
        for (path, status) in [
            ("/", 200),
            ("/headers.txt", 200),
            ("/clock", 200),
            ("/gate", 200),
            ("/archive", 200),
            ("/ledger", 200),
            ("/intranet.css", 200),
            ("/icon.svg", 200),
            ("/nothing", 404),
        ] {
            let (got, _, _) = answer(Request::get(path).body(Body::empty()).unwrap()).await;
            assert_eq!(got.as_u16(), status, "{path}");
        }
    }

    #[tokio::test]
    async fn the_text_view_has_a_line_for_each_header() {
        let request =
            Request::get("/headers.txt").header("x-forwarded-groups", "a,b").body(Body::empty()).unwrap();
        assert_eq!(answer(request).await.2, "x-forwarded-groups: a,b\n");
    }

    #[test]
    fn the_stated_length_of_the_download_is_its_length() {
        for row in [0, 1, 27, 28, 999_999, ROWS - 1] {
            assert_eq!(delivery_row(row).len() as u64, ROW, "{row}");
        }
    }

    #[test]
    fn names_are_spelled_as_people_write_them() {
        assert_eq!(spell_header("x-forwarded-user"), "X-Forwarded-User");
        assert_eq!(spell_header("host"), "Host");
    }

    #[test]
    fn the_clock_has_one_form() {
        assert_eq!(now_text().len(), "2009-06-01T09:30:00.250Z".len());
    }
}

//! The scripted timeline: real clients against the running listeners, each step checked and measured.
//!
//! Alice signs in, holds connections open, is deactivated over SCIM, and is out: that is checked by order (nothing
//! the app said after the SCIM answer may reach her; the app hears no request of hers) and told in milliseconds. Bob
//! is connected all the while and must notice nothing. A step that does not come out as it should ends the script,
//! which then says what was expected.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use url::Url;

use super::app::App;
use super::browser::{Browser, Landed, form_of};
use super::directory::{Act, Call, Directory, GROUPS, Outcome, chain};
use super::places::{Ports, ROLES};
use super::wire;

/// A generous net. The promise is measured, not timed out.
const SOON: Duration = Duration::from_secs(5);

/// What the script acts on.
pub(super) struct Stage {
    pub(super) ports: Ports,
    pub(super) directory: Arc<Directory>,
    pub(super) app: Arc<App>,
}

/// A step that did not come out as it should.
#[derive(Debug, thiserror::Error)]
#[error("{step}\n      expected: {expected}\n      got:      {got}")]
pub(super) struct Missing {
    step: &'static str,
    expected: String,
    got: String,
}

/// Plays the whole timeline, printing as it goes.
///
/// # Errors
/// The first step that did not come out as it should.
pub(super) async fn play(stage: &Stage) -> Result<(), Missing> {
    let mut told = Timeline::new();
    let mut alice = Person::new(stage, "alice");
    let mut bob = Person::new(stage, "bob");

    told.chapter("Nobody is signed in");
    nobody(&mut told, stage).await?;

    told.chapter("Alice and Bob sign in");
    let took = alice.sign_in().await?;
    told.line("alice signs in at the IdP, four pages and redirects all told", Some(took));
    bob.sign_in().await?;
    alice.headers_are(stage, 0).await?;
    told.line("the app is told who she is; headers she forged never reach it", None);
    alice.ledger(StatusCode::FORBIDDEN).await?;
    told.line("the ledger asks for a role she has not: 403", None);

    told.chapter("The directory deactivates Alice");
    let mut bobs_clock = bob.clock().await?;
    let held = alice.hold_everything().await?;
    told.line("her WebSocket ticks, her event stream reports, her download runs", None);
    let out = pushed(stage, "alice", Act::Deactivate, "deactivate alice").await?;
    told.line("SCIM PATCH active=false: last byte sent to last byte of the answer", Some(out.took));
    for held in held {
        let took = held.ends_with(&out).await?;
        told.line(held_words(took.0), Some(took.1));
    }
    let heard = stage.app.requests();
    let old = alice.clone();
    let took = alice.is_refused("the next request after the deactivation").await?;
    told.line("her next request: 401, and her next page is sent to sign-in", Some(took));
    let reference = alice.may_not_sign_in().await?;
    told.line(&format!("signing in again is refused, reference {reference}"), None);
    unheard(stage, heard, "the app after the deactivation")?;
    told.line("the app heard nothing of all that", None);

    told.chapter("The directory re-activates her");
    let back = pushed(stage, "alice", Act::Reactivate, "re-activate alice").await?;
    told.line("SCIM PATCH active=true", Some(back.took));
    let mut ghost = old;
    ghost.is_refused("the old session after the re-activation").await?;
    told.line("the old session stays dead", None);
    let took = alice.sign_in().await?;
    told.line("a new login works", Some(took));
    alice.headers_are(stage, 0).await?;

    told.chapter("The directory moves her to Finance");
    let clock = alice.clock().await?;
    let moved = pushed(stage, "alice", Act::Move, "move alice to the other group").await?;
    told.line("two SCIM PATCHes, out of one group and into the other", Some(moved.took));
    let (_, took) = clock.ends_with(&moved).await?;
    told.line("her WebSocket, opened under the old roles, ended", Some(took));
    alice.headers_are(stage, 1).await?;
    alice.ledger(StatusCode::OK).await?;
    told.line("same session, new headers: the ledger opens", None);

    told.chapter("Alice logs out");
    let clock = alice.clock().await?;
    let before = alice.clone();
    let took = alice.log_out().await?;
    told.line("she presses Log out; app and IdP let her go", Some(took));
    clock.ends("the WebSocket after the logout").await?;
    told.line("her WebSocket ended", None);
    let mut ghost = before;
    ghost.is_refused("the session after the logout").await?;
    told.line("the session is gone, its cookie worth nothing", None);
    bobs_clock.still_ticks("bob's WebSocket at the end").await?;
    told.line("Bob's WebSocket ticked all the while", None);

    // For whoever plays on by hand: as it was at the start.
    pushed(stage, "alice", Act::Move, "move alice back").await?;
    told.blank();
    Ok(())
}

/// What is refused to whoever has no session.
async fn nobody(told: &mut Timeline, stage: &Stage) -> Result<(), Missing> {
    let heard = stage.app.requests();
    let mut stranger = Person::new(stage, "stranger");
    let took = stranger.is_refused("a request without a session").await?;
    told.line("a script gets 401, a page is sent to sign-in", Some(took));
    let forged = stranger.headers_with(&[("X-Forwarded-User", "alice@fernhill.example")]).await?;
    expect("a request with forged headers and no session", "401", forged.status.as_str())?;
    unheard(stage, heard, "the app while nobody is signed in")?;
    told.line("forged identity headers get nobody in; the app heard nothing", None);
    Ok(())
}

/// Somebody at a browser.
#[derive(Clone)]
struct Person {
    key: &'static str,
    browser: Browser,
    app: Url,
    port: u16,
}

impl Person {
    fn new(stage: &Stage, key: &'static str) -> Self {
        let port = stage.ports.proxy;
        #[allow(clippy::expect_used, reason = "a fixed text and a port are a URL")]
        let app = Url::parse(&format!("{}/", stage.ports.app_url())).expect("an address with a port");
        Self { key, browser: Browser::default(), app, port }
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.app.clone();
        url.set_path(path);
        url
    }

    /// Opens the app, is sent to the IdP, chooses themselves there, and lands on the app again.
    async fn sign_in(&mut self) -> Result<Duration, Missing> {
        const STEP: &str = "signing in";
        let began = Instant::now();
        let landed = self.choose(STEP).await?;
        let there = format!("{} {}", landed.answer.status, place(&landed.url));
        expect(STEP, &format!("200 OK {}", place(&self.app)), &there)?;
        expect_in(STEP, &format!("{}@fernhill.example", self.key), &landed.answer.text())?;
        Ok(began.elapsed())
    }

    async fn choose(&mut self, step: &'static str) -> Result<Landed, Missing> {
        let page =
            self.browser.open(&self.app).await.map_err(|fault| missing(step, "the IdP's page", &fault))?;
        expect(step, "idp.localhost", page.url.host_str().unwrap_or_default())?;
        let chosen = [("person".to_owned(), self.key.to_owned())];
        let landed = self.browser.submit(&page.url, &page.url, &chosen).await;
        landed.map_err(|fault| missing(step, "the way back to the app", &fault))
    }

    /// Neither a script nor a navigation gets in: how long the 401 took.
    async fn is_refused(&mut self, step: &'static str) -> Result<Duration, Missing> {
        let answer = self.browser.fetch(&self.at("/headers.txt"), "application/json").await;
        let answer = answer.map_err(|fault| missing(step, "401", &fault))?;
        expect(step, "401 login_required", &format!("{} {}", answer.status.as_u16(), word(&answer.text())))?;
        let landed = self.browser.open(&self.app).await;
        let landed = landed.map_err(|fault| missing(step, "the IdP's page", &fault))?;
        expect(step, "idp.localhost", landed.url.host_str().unwrap_or_default())?;
        Ok(answer.answered.saturating_duration_since(answer.sent))
    }

    /// The IdP lets a deactivated person through; the app's gate does not: the reference it shows.
    async fn may_not_sign_in(&mut self) -> Result<String, Missing> {
        const STEP: &str = "signing in while deactivated";
        let landed = self.choose(STEP).await?;
        expect(STEP, &place_host(&self.app), &place_host(&landed.url))?;
        expect(STEP, "403 Forbidden", &landed.answer.status.to_string())?;
        reference(&landed.answer.text()).ok_or_else(|| Missing {
            step: STEP,
            expected: "a page with a reference like 7Q2M-X4KD".into(),
            got: "a page without one".into(),
        })
    }

    /// What the app was told, with forged headers sent along: the right person, group and role, once each.
    async fn headers_are(&mut self, stage: &Stage, group: usize) -> Result<(), Missing> {
        const STEP: &str = "the headers at the app";
        let forged = [
            ("X-Forwarded-User", "root@fernhill.example"),
            ("X_Forwarded_User", "root@fernhill.example"),
            ("X-Forwarded-Roles", "intranet.root"),
            ("Remote-User", "root@fernhill.example"),
        ];
        let before = stage.app.requests();
        let answer = self.headers_with(&forged).await?;
        expect(STEP, "200 OK", &answer.status.to_string())?;
        expect(
            STEP,
            "one more request at the app",
            &format!("{} more request at the app", words(stage.app.requests() - before)),
        )?;
        let text = answer.text();
        let name = format!("{}@fernhill.example", self.key);
        for (header, value) in [
            ("x-forwarded-user", name.as_str()),
            ("x-forwarded-email", name.as_str()),
            ("x-forwarded-groups", GROUPS[group]),
            ("x-forwarded-roles", ROLES[group]),
        ] {
            let got: Vec<&str> =
                text.lines().filter(|line| line.starts_with(&format!("{header}:"))).collect();
            expect(STEP, &format!("{header}: {value}"), &got.join(" and "))?;
        }
        let leaked = text.lines().find(|line| line.contains("root"));
        expect(STEP, "no forged header", leaked.unwrap_or("no forged header"))
    }

    async fn headers_with(&self, more: &[(&str, &str)]) -> Result<wire::Answer, Missing> {
        const STEP: &str = "asking for the headers at the app";
        let request = self.browser.request_for(&self.at("/headers.txt"), "text/plain", more);
        let request = request.map_err(|fault| missing(STEP, "an answer", &fault))?;
        wire::ask(self.port, request).await.map_err(|fault| missing(STEP, "an answer", &fault))
    }

    async fn ledger(&mut self, status: StatusCode) -> Result<(), Missing> {
        const STEP: &str = "the ledger";
        let landed = self
            .browser
            .open(&self.at("/ledger"))
            .await
            .map_err(|fault| missing(STEP, "an answer", &fault))?;
        expect(STEP, &status.to_string(), &landed.answer.status.to_string())
    }

    async fn hold_everything(&self) -> Result<[Held; 3], Missing> {
        Ok([self.clock().await?, self.gate().await?, self.download().await?])
    }

    /// Opens the clock's WebSocket and waits for its first tick.
    async fn clock(&self) -> Result<Held, Missing> {
        const STEP: &str = "the WebSocket";
        let url = self.at("/clock/socket");
        let fault = |fault: &dyn std::error::Error| missing(STEP, "101 and a tick", fault);
        let address = url.as_str().replacen("http", "ws", 1);
        let mut request: Request<()> = address.into_client_request().map_err(|cause| fault(&cause))?;
        let (cookies, origin) = (self.browser.cookies_for(&url), self.app.origin().ascii_serialization());
        for (name, value) in [("cookie", cookies), ("origin", origin)] {
            request.headers_mut().insert(
                name,
                value.parse().map_err(|cause: http::header::InvalidHeaderValue| fault(&cause))?,
            );
        }
        let mut socket = wire::socket(self.port, request).await.map_err(|cause| fault(&cause))?;
        let (say, said) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            while let Some(Ok(message)) = socket.next().await {
                if let Ok(text) = message.into_text()
                    && !text.is_empty()
                {
                    say.send_replace(text.as_str().to_owned());
                }
            }
            Instant::now()
        });
        Held { step: STEP, said, reader }.once_heard().await
    }

    /// Opens the gate's event stream and waits for its first event.
    async fn gate(&self) -> Result<Held, Missing> {
        const STEP: &str = "the event stream";
        let mut stream = self.stream(STEP, "/gate/events", "text/event-stream").await?;
        let (say, said) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            while let Some(Ok(frame)) = stream.body.frame().await {
                let text = frame.into_data().map(|data| String::from_utf8_lossy(&data).into_owned());
                let stamp =
                    text.ok().and_then(|text| Some(text.split_once("data: ")?.1.get(..STAMP)?.to_owned()));
                if let Some(stamp) = stamp {
                    say.send_replace(stamp);
                }
            }
            Instant::now()
        });
        Held { step: STEP, said, reader }.once_heard().await
    }

    /// Starts the download and waits for its first piece.
    async fn download(&self) -> Result<Held, Missing> {
        const STEP: &str = "the download";
        let mut stream = self.stream(STEP, "/archive/deliveries-2009.txt", "*/*").await?;
        let (say, said) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            while let Some(Ok(_)) = stream.body.frame().await {
                say.send_replace("bytes".to_owned());
            }
            Instant::now()
        });
        Held { step: STEP, said, reader }.once_heard().await
    }

    async fn stream(&self, step: &'static str, path: &str, accept: &str) -> Result<wire::Opened, Missing> {
        let request = self.browser.request_for(&self.at(path), accept, &[]);
        let request = request.map_err(|fault| missing(step, "200 OK", &fault))?;
        let stream = wire::open(self.port, request).await.map_err(|fault| missing(step, "200 OK", &fault))?;
        expect(step, "200 OK", &stream.head.status.to_string())?;
        Ok(stream)
    }

    /// Presses the button on the logout page, and comes back signed out at the IdP too.
    async fn log_out(&mut self) -> Result<Duration, Missing> {
        const STEP: &str = "logging out";
        let began = Instant::now();
        let page =
            self.browser.open(&self.at(LOGOUT)).await.map_err(|fault| missing(STEP, "a page", &fault))?;
        let none = || Missing {
            step: STEP,
            expected: format!("a page with a form at {LOGOUT}"),
            got: format!("{} at {} without one", page.answer.status, place(&page.url)),
        };
        let form = form_of(&page.answer.text()).ok_or_else(none)?;
        let action = page.url.join(&form.action).map_err(|_| none())?;
        let landed = self.browser.submit(&page.url, &action, &form.fields).await;
        let landed = landed.map_err(|fault| missing(STEP, "a page that says so", &fault))?;
        let there = format!("{} {}", landed.answer.status, place(&landed.url));
        expect(STEP, &format!("200 OK {}", place(&self.at(LOGGED_OUT))), &there)?;
        expect(
            STEP,
            "no cookie at the IdP",
            if self.browser.cookies_for(&self.idp(&landed)).is_empty() {
                "no cookie at the IdP"
            } else {
                "a cookie at the IdP"
            },
        )?;
        Ok(began.elapsed())
    }

    fn idp(&self, landed: &Landed) -> Url {
        let mut url = landed.url.clone();
        let _ = url.set_host(Some("idp.localhost"));
        url.set_path("/");
        url
    }
}

/// Where the app's proxy signs people out, and where it says that it has.
pub(super) const LOGOUT: &str = "/.portcullis/logout";
pub(super) const LOGGED_OUT: &str = "/.portcullis/logged-out";

/// How long a time of the app's is: `2009-06-01T09:30:00.250Z`.
const STAMP: usize = 24;

/// A connection that somebody holds open.
struct Held {
    step: &'static str,
    /// The last thing heard on it: the app's time, where the app says it.
    said: watch::Receiver<String>,
    /// Ends with the connection: when.
    reader: JoinHandle<Instant>,
}

impl Held {
    async fn once_heard(mut self) -> Result<Self, Missing> {
        match timeout(SOON, self.said.changed()).await {
            Ok(Ok(())) => Ok(self),
            _ => {
                Err(Missing { step: self.step, expected: "something to read".into(), got: "nothing".into() })
            }
        }
    }

    /// Waits for its end.
    async fn ends(self, step: &'static str) -> Result<Instant, Missing> {
        match timeout(SOON, self.reader).await {
            Ok(Ok(end)) => Ok(end),
            _ => Err(Missing {
                step,
                expected: "it ends".into(),
                got: format!("open after {} s", SOON.as_secs()),
            }),
        }
    }

    /// Waits for its end after a push, and checks that nothing the app said after the answer came through: which
    /// connection it was, and how long after the last byte of the push it ended.
    async fn ends_with(self, push: &Push) -> Result<(&'static str, Duration), Missing> {
        let (step, said) = (self.step, self.said.clone());
        let end = self.ends(step).await?;
        let last = said.borrow().clone();
        if let Ok(stamp) = last.parse::<jiff::Timestamp>()
            && stamp > push.answered
        {
            let expected = format!("nothing that the app said after the SCIM answer at {}", push.answered);
            return Err(Missing { step, expected, got: last });
        }
        Ok((step, end.saturating_duration_since(push.sent)))
    }

    async fn still_ticks(&mut self, step: &'static str) -> Result<(), Missing> {
        self.said.mark_unchanged();
        match timeout(SOON, self.said.changed()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Missing { step, expected: "another tick".into(), got: "silence".into() }),
        }
    }
}

fn held_words(step: &'static str) -> &'static str {
    match step {
        "the WebSocket" => "... to the end of her WebSocket",
        "the event stream" => "... to the end of her event stream",
        _ => "... to the end of her download",
    }
}

/// A push that was answered with success.
struct Push {
    /// The last byte of its first call.
    sent: Instant,
    /// When its last answer was read, by the clock that the app's times are of.
    answered: jiff::Timestamp,
    /// From the one to the other.
    took: Duration,
}

/// Presses a button of the directory.
async fn pushed(stage: &Stage, key: &'static str, act: Act, step: &'static str) -> Result<Push, Missing> {
    let calls = stage.directory.press(key, act).await;
    let (now, wall) = (Instant::now(), jiff::Timestamp::now());
    if let Some(refused) = calls.iter().find(|call| !call.succeeded()) {
        return Err(Missing { step, expected: "success over SCIM".into(), got: refused.told() });
    }
    let times = |call: &Call| match &call.outcome {
        Outcome::Answered { sent, answered, .. } => Some((*sent, *answered)),
        Outcome::Unanswered(_) => None,
    };
    let (Some((sent, _)), Some((_, answered))) =
        (calls.first().and_then(times), calls.last().and_then(times))
    else {
        return Err(Missing { step, expected: "a call over SCIM".into(), got: "none".into() });
    };
    let since = now.saturating_duration_since(answered);
    let answered_at = wall.checked_sub(since).unwrap_or(wall);
    Ok(Push { sent, answered: answered_at, took: answered.saturating_duration_since(sent) })
}

fn unheard(stage: &Stage, before: u64, step: &'static str) -> Result<(), Missing> {
    let heard = stage.app.requests() - before;
    expect(step, "no request", &format!("{} request", words(heard)))
}

fn words(count: u64) -> String {
    match count {
        0 => "no".into(),
        1 => "one".into(),
        more => more.to_string(),
    }
}

fn expect(step: &'static str, expected: &str, got: &str) -> Result<(), Missing> {
    if expected == got {
        return Ok(());
    }
    Err(Missing { step, expected: expected.to_owned(), got: got.to_owned() })
}

fn expect_in(step: &'static str, expected: &str, page: &str) -> Result<(), Missing> {
    if page.contains(expected) {
        return Ok(());
    }
    Err(Missing {
        step,
        expected: format!("a page that says {expected}"),
        got: "a page that does not".into(),
    })
}

fn missing(step: &'static str, expected: &str, fault: &dyn std::error::Error) -> Missing {
    Missing { step, expected: expected.to_owned(), got: chain(fault) }
}

/// An address without its query, which may hold a code.
fn place(url: &Url) -> String {
    format!("{}{}", place_host(url), url.path())
}

fn place_host(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The `error` of a JSON answer, or the start of what came instead.
fn word(body: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(body).ok();
    let error = json.as_ref().and_then(|json| json.get("error")?.as_str());
    error.map_or_else(|| body.chars().take(60).collect(), str::to_owned)
}

/// The first reference number of a page: two groups of four, as in `7Q2M-X4KD`.
fn reference(page: &str) -> Option<String> {
    page.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
        .find(|word| word.len() == 9 && portcullis_keys::read_reference(word).as_deref() == Some(*word))
        .map(str::to_owned)
}

/// The printed timeline.
struct Timeline {
    began: Instant,
}

impl Timeline {
    fn new() -> Self {
        Self { began: Instant::now() }
    }

    fn chapter(&mut self, title: &str) {
        say(&format!("\n  {title}"));
    }

    fn line(&mut self, what: &str, measured: Option<Duration>) {
        let at = self.began.elapsed().as_secs_f64();
        let took =
            measured.map(|took| format!("{:>8.1} ms", took.as_secs_f64() * 1000.0)).unwrap_or_default();
        say(format!("  {at:>7.3} s  {what:<68}{took}").trim_end());
    }

    fn blank(&mut self) {
        say("");
    }
}

/// Prints a line; whoever closed the other end does not want it.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_found_on_a_page() {
        assert_eq!(reference("<p>Mention <b>7Q2M-X4KD</b>.</p>").as_deref(), Some("7Q2M-X4KD"));
        assert_eq!(reference("<p class=\"long-word\">sign-in 1234-567</p>"), None);
    }

    #[test]
    fn a_missing_step_says_what_was_expected() {
        let missing = expect("the ledger", "403 Forbidden", "200 OK").unwrap_err().to_string();
        assert!(
            missing.contains("expected: 403 Forbidden") && missing.contains("got:      200 OK"),
            "{missing}"
        );
        assert!(expect("the ledger", "200 OK", "200 OK").is_ok());
    }

    #[test]
    fn the_word_of_an_answer() {
        assert_eq!(word(r#"{"error":"login_required","ref":"x"}"#), "login_required");
        assert_eq!(word("<html>"), "<html>");
    }
}

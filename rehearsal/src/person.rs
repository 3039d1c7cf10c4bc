//! Somebody at a browser, as the script plays them: what they do, and what must come of it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use portcullis_rig::browser::{BrowseFault, BrowserPage, HeadlessBrowser};
use portcullis_rig::html::{HtmlForm, forms};
use portcullis_rig::stream::AnswerStream;
use portcullis_rig::websocket::WebSocket;
use tokio::sync::watch;
use url::Url;

use crate::app::DemoApp;
use crate::directory::GROUPS;
use crate::held::HeldConnection;
use crate::places::{Ports, ROLES};
use crate::step::{StepMissed, count_words, expect_in, expect_text, step_missed};

/// The path at which the app's proxy signs people out.
pub(crate) const LOGOUT: &str = "/.portcullis/logout";
/// The path at which it says that it has.
pub(crate) const LOGGED_OUT: &str = "/.portcullis/logged-out";

/// Somebody at a browser.
#[derive(Clone)]
pub(crate) struct Person {
    key: &'static str,
    browser: HeadlessBrowser,
    port: u16,
}

impl Person {
    pub(crate) fn new(ports: &Ports, key: &'static str) -> Self {
        Self { key, browser: HeadlessBrowser::new(&ports.app_url()), port: ports.proxy }
    }

    fn app(&self) -> &Url {
        self.browser.origin()
    }

    /// Opens the app, is sent to the IdP, chooses themselves there, and lands on the app again.
    pub(crate) async fn sign_in(&mut self) -> Result<Duration, StepMissed> {
        const STEP: &str = "signing in";
        let began = Instant::now();
        let landed = self.choose(STEP).await?;
        let there = format!("{} {}", landed.answer.status, address_shown(&landed.url));
        expect_text(STEP, &format!("200 OK {}", address_shown(self.app())), &there)?;
        expect_in(STEP, &format!("{}@fernhill.example", self.key), &landed.answer.text())?;
        Ok(began.elapsed())
    }

    async fn choose(&mut self, step: &'static str) -> Result<BrowserPage, StepMissed> {
        let page =
            self.browser.try_open("/").await.map_err(|fault| step_missed(step, "the IdP's page", &fault))?;
        expect_text(step, "idp.localhost", page.url.host_str().unwrap_or_default())?;
        let form = form_of(&page, step)?.with("person", self.key);
        let landed = self.browser.try_submit(&page, &form).await;
        landed.map_err(|fault| step_missed(step, "the way back to the app", &fault))
    }

    /// Neither a script nor a navigation gets in: how long the 401 took.
    pub(crate) async fn is_refused(&mut self, step: &'static str) -> Result<Duration, StepMissed> {
        let refused = self.fetch("/headers.txt", &[("accept", "application/json")]).await;
        let answer = refused.map_err(|fault| step_missed(step, "401", &fault))?.answer;
        expect_text(
            step,
            "401 login_required",
            &format!("{} {}", answer.status.as_u16(), error_word(&answer.text())),
        )?;
        let landed = self.browser.try_open("/").await;
        let landed = landed.map_err(|fault| step_missed(step, "the IdP's page", &fault))?;
        expect_text(step, "idp.localhost", landed.url.host_str().unwrap_or_default())?;
        Ok(answer.answered.saturating_duration_since(answer.sent))
    }

    /// The IdP lets a deactivated person through; the app's gate does not: the reference it shows.
    pub(crate) async fn may_not_sign_in(&mut self) -> Result<String, StepMissed> {
        const STEP: &str = "signing in while deactivated";
        let landed = self.choose(STEP).await?;
        expect_text(STEP, &place_host(self.app()), &place_host(&landed.url))?;
        expect_text(STEP, "403 Forbidden", &landed.answer.status.to_string())?;
        find_reference(&landed.answer.text()).ok_or_else(|| StepMissed {
            step: STEP,
            expected: "a page with a reference like 7Q2M-X4KD".into(),
            got: "a page without one".into(),
        })
    }

    /// Checks what the app was told, with forged headers sent along: the right person, group and role, once each.
    pub(crate) async fn headers_are(&mut self, app: &DemoApp, group: usize) -> Result<(), StepMissed> {
        const STEP: &str = "the headers at the app";
        let forged = [
            ("X-Forwarded-User", "root@fernhill.example"),
            ("X_Forwarded_User", "root@fernhill.example"),
            ("X-Forwarded-Roles", "intranet.root"),
            ("Remote-User", "root@fernhill.example"),
        ];
        let before = app.requests();
        let answer = self.headers_with(&forged).await?;
        expect_text(STEP, "200 OK", &answer.status().to_string())?;
        expect_text(
            STEP,
            "one more request at the app",
            &format!("{} more request at the app", count_words(app.requests() - before)),
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
            expect_text(STEP, &format!("{header}: {value}"), &got.join(" and "))?;
        }
        let leaked = text.lines().find(|line| line.contains("root"));
        expect_text(STEP, "no forged header", leaked.unwrap_or("no forged header"))
    }

    pub(crate) async fn headers_with(&mut self, more: &[(&str, &str)]) -> Result<BrowserPage, StepMissed> {
        const STEP: &str = "asking for the headers at the app";
        let answer = self.fetch("/headers.txt", more).await;
        answer.map_err(|fault| step_missed(STEP, "an answer", &fault))
    }

    async fn fetch(&mut self, path: &str, headers: &[(&str, &str)]) -> Result<BrowserPage, BrowseFault> {
        self.browser.try_fetch(Method::GET, path, headers).await
    }

    pub(crate) async fn ledger(&mut self, status: StatusCode) -> Result<(), StepMissed> {
        const STEP: &str = "the ledger";
        let landed =
            self.browser.try_open("/ledger").await.map_err(|fault| step_missed(STEP, "an answer", &fault))?;
        expect_text(STEP, &status.to_string(), &landed.answer.status.to_string())
    }

    pub(crate) async fn hold_everything(&self) -> Result<[HeldConnection; 3], StepMissed> {
        Ok([self.clock().await?, self.gate().await?, self.download().await?])
    }

    /// Opens the clock's WebSocket and waits for its first tick.
    pub(crate) async fn clock(&self) -> Result<HeldConnection, StepMissed> {
        const STEP: &str = "the WebSocket";
        let origin = self.app().origin().ascii_serialization();
        let socket = WebSocket::open(
            (Ipv4Addr::LOCALHOST, self.port).into(),
            &origin,
            "/clock/socket",
            &self.browser.cookies(),
        )
        .await;
        let mut socket = socket.map_err(|fault| step_missed(STEP, "101 and a tick", &fault))?;
        let (say, said) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            while let Some(time) = socket.next().await {
                say.send_replace(time);
            }
            Instant::now()
        });
        HeldConnection { step: STEP, said, reader }.once_heard().await
    }

    /// Opens the gate's event stream and waits for its first event.
    async fn gate(&self) -> Result<HeldConnection, StepMissed> {
        const STEP: &str = "the event stream";
        let mut stream = self.stream(STEP, "/gate/events", "text/event-stream").await?;
        let (say, said) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            while let Some(piece) = stream.piece().await {
                let text = String::from_utf8_lossy(&piece);
                if let Some(stamp) = text.split_once("data: ").and_then(|(_, data)| data.get(..STAMP)) {
                    say.send_replace(stamp.to_owned());
                }
            }
            Instant::now()
        });
        HeldConnection { step: STEP, said, reader }.once_heard().await
    }

    /// Starts the download and waits for its first piece.
    async fn download(&self) -> Result<HeldConnection, StepMissed> {
        const STEP: &str = "the download";
        let mut stream = self.stream(STEP, "/archive/deliveries-2009.txt", "*/*").await?;
        let (say, said) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            while stream.piece().await.is_some() {
                say.send_replace("bytes".to_owned());
            }
            Instant::now()
        });
        HeldConnection { step: STEP, said, reader }.once_heard().await
    }

    async fn stream(&self, step: &'static str, path: &str, accept: &str) -> Result<AnswerStream, StepMissed> {
        let stream = self.browser.try_stream(path, &[("accept", accept)]).await;
        let stream = stream.map_err(|fault| step_missed(step, "200 OK", &fault))?;
        expect_text(step, "200 OK", &stream.status.to_string())?;
        Ok(stream)
    }

    /// Presses the button on the logout page, and comes back signed out at the IdP too.
    pub(crate) async fn log_out(&mut self) -> Result<Duration, StepMissed> {
        const STEP: &str = "logging out";
        let began = Instant::now();
        let page = self.browser.try_open(LOGOUT).await;
        let page = page.map_err(|fault| step_missed(STEP, "a page", &fault))?;
        let form = form_of(&page, STEP)?;
        let landed = self.browser.try_submit(&page, &form).await;
        let landed = landed.map_err(|fault| step_missed(STEP, "a page that says so", &fault))?;
        let there = format!("{} {}", landed.answer.status, address_shown(&landed.url));
        expect_text(STEP, &format!("200 OK {}{LOGGED_OUT}", place_host(self.app())), &there)?;
        expect_text(
            STEP,
            "no cookie at the IdP",
            if self.browser.jar.of("idp.localhost").is_empty() {
                "no cookie at the IdP"
            } else {
                "a cookie at the IdP"
            },
        )?;
        Ok(began.elapsed())
    }
}

/// The first form of a page.
fn form_of(page: &BrowserPage, step: &'static str) -> Result<HtmlForm, StepMissed> {
    let form = forms(&page.text()).into_iter().find(|form| form.method == "post");
    form.ok_or_else(|| StepMissed {
        step,
        expected: "a page with a form".into(),
        got: format!("{} at {} without one", page.status(), address_shown(&page.url)),
    })
}

/// The length of a time of the app's: `2009-06-01T09:30:00.250Z`.
const STAMP: usize = 24;

/// An address without its query, which may hold a code.
fn address_shown(url: &Url) -> String {
    format!("{}{}", place_host(url), url.path())
}

fn place_host(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The `error` of a JSON answer, or the start of what came instead.
fn error_word(body: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(body).ok();
    let error = json.as_ref().and_then(|json| json.get("error")?.as_str());
    error.map_or_else(|| body.chars().take(60).collect(), str::to_owned)
}

/// The first reference number of a page: two groups of four, as in `7Q2M-X4KD`.
fn find_reference(page: &str) -> Option<String> {
    page.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
        .find(|word| word.len() == 9 && portcullis_keys::read_reference(word).as_deref() == Some(*word))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_found_on_a_page() {
        assert_eq!(find_reference("<p>Mention <b>7Q2M-X4KD</b>.</p>").as_deref(), Some("7Q2M-X4KD"));
        assert_eq!(find_reference("<p class=\"long-word\">sign-in 1234-567</p>"), None);
    }

    #[test]
    fn the_word_of_an_answer() {
        assert_eq!(error_word(r#"{"error":"login_required","ref":"x"}"#), "login_required");
        assert_eq!(error_word("<html>"), "<html>");
    }
}

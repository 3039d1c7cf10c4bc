//! Somebody at a browser, as the script plays them: what they do, and what must come of it.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use url::Url;

use crate::app::DemoApp;
use crate::browser::{Browser, Landed, form_of};
use crate::directory::GROUPS;
use crate::held::HeldConnection;
use crate::places::{Ports, ROLES};
use crate::step::{StepMissed, count_words, expect_in, expect_text, step_missed};
use crate::wire;

/// The path at which the app's proxy signs people out.
pub(crate) const LOGOUT: &str = "/.portcullis/logout";
/// The path at which it says that it has.
pub(crate) const LOGGED_OUT: &str = "/.portcullis/logged-out";

/// Somebody at a browser.
#[derive(Clone)]
pub(crate) struct Person {
    key: &'static str,
    browser: Browser,
    app: Url,
    port: u16,
}

impl Person {
    pub(crate) fn new(ports: &Ports, key: &'static str) -> Self {
        let port = ports.proxy;
        #[allow(clippy::expect_used, reason = "a fixed text and a port are a URL")]
        let app = Url::parse(&format!("{}/", ports.app_url())).expect("an address with a port");
        Self { key, browser: Browser::default(), app, port }
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.app.clone();
        url.set_path(path);
        url
    }

    /// Opens the app, is sent to the IdP, chooses themselves there, and lands on the app again.
    pub(crate) async fn sign_in(&mut self) -> Result<Duration, StepMissed> {
        const STEP: &str = "signing in";
        let began = Instant::now();
        let landed = self.choose(STEP).await?;
        let there = format!("{} {}", landed.answer.status, address_shown(&landed.url));
        expect_text(STEP, &format!("200 OK {}", address_shown(&self.app)), &there)?;
        expect_in(STEP, &format!("{}@fernhill.example", self.key), &landed.answer.text())?;
        Ok(began.elapsed())
    }

    async fn choose(&mut self, step: &'static str) -> Result<Landed, StepMissed> {
        let page = self
            .browser
            .open(&self.app)
            .await
            .map_err(|fault| step_missed(step, "the IdP's page", &fault))?;
        expect_text(step, "idp.localhost", page.url.host_str().unwrap_or_default())?;
        let chosen = [("person".to_owned(), self.key.to_owned())];
        let landed = self.browser.submit(&page, &page.url, &chosen).await;
        landed.map_err(|fault| step_missed(step, "the way back to the app", &fault))
    }

    /// Neither a script nor a navigation gets in: how long the 401 took.
    pub(crate) async fn is_refused(&mut self, step: &'static str) -> Result<Duration, StepMissed> {
        let answer = self.browser.fetch(&self.at("/headers.txt"), "application/json").await;
        let answer = answer.map_err(|fault| step_missed(step, "401", &fault))?;
        expect_text(
            step,
            "401 login_required",
            &format!("{} {}", answer.status.as_u16(), error_word(&answer.text())),
        )?;
        let landed = self.browser.open(&self.app).await;
        let landed = landed.map_err(|fault| step_missed(step, "the IdP's page", &fault))?;
        expect_text(step, "idp.localhost", landed.url.host_str().unwrap_or_default())?;
        Ok(answer.answered.saturating_duration_since(answer.sent))
    }

    /// The IdP lets a deactivated person through; the app's gate does not: the reference it shows.
    pub(crate) async fn may_not_sign_in(&mut self) -> Result<String, StepMissed> {
        const STEP: &str = "signing in while deactivated";
        let landed = self.choose(STEP).await?;
        expect_text(STEP, &place_host(&self.app), &place_host(&landed.url))?;
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
        expect_text(STEP, "200 OK", &answer.status.to_string())?;
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

    pub(crate) async fn headers_with(&self, more: &[(&str, &str)]) -> Result<wire::WireAnswer, StepMissed> {
        const STEP: &str = "asking for the headers at the app";
        let request = self.browser.request_for(&self.at("/headers.txt"), "text/plain", more);
        let request = request.map_err(|fault| step_missed(STEP, "an answer", &fault))?;
        wire::send_request(self.port, request).await.map_err(|fault| step_missed(STEP, "an answer", &fault))
    }

    pub(crate) async fn ledger(&mut self, status: StatusCode) -> Result<(), StepMissed> {
        const STEP: &str = "the ledger";
        let landed = self
            .browser
            .open(&self.at("/ledger"))
            .await
            .map_err(|fault| step_missed(STEP, "an answer", &fault))?;
        expect_text(STEP, &status.to_string(), &landed.answer.status.to_string())
    }

    pub(crate) async fn hold_everything(&self) -> Result<[HeldConnection; 3], StepMissed> {
        Ok([self.clock().await?, self.gate().await?, self.download().await?])
    }

    /// Opens the clock's WebSocket and waits for its first tick.
    pub(crate) async fn clock(&self) -> Result<HeldConnection, StepMissed> {
        const STEP: &str = "the WebSocket";
        let url = self.at("/clock/socket");
        let fault = |fault: &dyn std::error::Error| step_missed(STEP, "101 and a tick", fault);
        let address = url.as_str().replacen("http", "ws", 1);
        let mut request: Request<()> = address.into_client_request().map_err(|cause| fault(&cause))?;
        let (cookies, origin) = (self.browser.cookies_for(&url), self.app.origin().ascii_serialization());
        for (name, value) in [("cookie", cookies), ("origin", origin)] {
            request.headers_mut().insert(
                name,
                value.parse().map_err(|cause: http::header::InvalidHeaderValue| fault(&cause))?,
            );
        }
        let mut socket = wire::open_websocket(self.port, request).await.map_err(|cause| fault(&cause))?;
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
        HeldConnection { step: STEP, said, reader }.once_heard().await
    }

    /// Opens the gate's event stream and waits for its first event.
    async fn gate(&self) -> Result<HeldConnection, StepMissed> {
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
        HeldConnection { step: STEP, said, reader }.once_heard().await
    }

    /// Starts the download and waits for its first piece.
    async fn download(&self) -> Result<HeldConnection, StepMissed> {
        const STEP: &str = "the download";
        let mut stream = self.stream(STEP, "/archive/deliveries-2009.txt", "*/*").await?;
        let (say, said) = watch::channel(String::new());
        let reader = tokio::spawn(async move {
            while let Some(Ok(_)) = stream.body.frame().await {
                say.send_replace("bytes".to_owned());
            }
            Instant::now()
        });
        HeldConnection { step: STEP, said, reader }.once_heard().await
    }

    async fn stream(
        &self,
        step: &'static str,
        path: &str,
        accept: &str,
    ) -> Result<wire::OpenAnswer, StepMissed> {
        let request = self.browser.request_for(&self.at(path), accept, &[]);
        let request = request.map_err(|fault| step_missed(step, "200 OK", &fault))?;
        let stream = wire::open_answer(self.port, request)
            .await
            .map_err(|fault| step_missed(step, "200 OK", &fault))?;
        expect_text(step, "200 OK", &stream.head.status.to_string())?;
        Ok(stream)
    }

    /// Presses the button on the logout page, and comes back signed out at the IdP too.
    pub(crate) async fn log_out(&mut self) -> Result<Duration, StepMissed> {
        const STEP: &str = "logging out";
        let began = Instant::now();
        let page =
            self.browser.open(&self.at(LOGOUT)).await.map_err(|fault| step_missed(STEP, "a page", &fault))?;
        let none = || StepMissed {
            step: STEP,
            expected: format!("a page with a form at {LOGOUT}"),
            got: format!("{} at {} without one", page.answer.status, address_shown(&page.url)),
        };
        let form = form_of(&page.answer.text()).ok_or_else(none)?;
        let action = page.url.join(&form.action).map_err(|_| none())?;
        let landed = self.browser.submit(&page, &action, &form.fields).await;
        let landed = landed.map_err(|fault| step_missed(STEP, "a page that says so", &fault))?;
        let there = format!("{} {}", landed.answer.status, address_shown(&landed.url));
        expect_text(STEP, &format!("200 OK {}", address_shown(&self.at(LOGGED_OUT))), &there)?;
        expect_text(
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

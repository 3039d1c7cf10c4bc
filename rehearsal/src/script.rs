//! The scripted timeline: real clients against the running listeners, each step checked and measured.
//!
//! Alice signs in, holds connections open, is deactivated over SCIM, and is out: that is checked by order (nothing
//! the app said after the SCIM answer may reach her; the app hears no request of hers) and told in milliseconds. Bob
//! is connected all the while and must notice nothing. A step that does not come out as it should ends the script,
//! which then says what was expected.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::app::DemoApp;
use crate::directory::{ButtonAction, Directory};
use crate::held::held_words;
use crate::person::Person;
use crate::places::Ports;
use crate::push::push_button;
use crate::screen::print_line;
use crate::step::{StepMissed, count_words, expect_text};

/// The app, the directory and the people that the script acts on.
pub(crate) struct Stage {
    pub(crate) ports: Ports,
    pub(crate) directory: Arc<Directory>,
    pub(crate) app: Arc<DemoApp>,
}

/// Plays the whole timeline, printing as it goes.
///
/// # Errors
/// The first step that did not come out as it should.
pub(crate) async fn play_timeline(stage: &Stage) -> Result<(), StepMissed> {
    let mut told = Timeline::new();
    let mut alice = Person::new(&stage.ports, "alice");
    let mut bob = Person::new(&stage.ports, "bob");

    told.chapter("Nobody is signed in");
    refused_without_session(&mut told, stage).await?;

    told.chapter("Alice and Bob sign in");
    let took = alice.sign_in().await?;
    told.line("alice goes to the app, to the IdP, and comes back signed in", Some(took));
    bob.sign_in().await?;
    alice.headers_are(&stage.app, 0).await?;
    told.line("the app is told who she is; headers she forged never reach it", None);
    alice.ledger(StatusCode::FORBIDDEN).await?;
    told.line("the ledger asks for a role she has not: 403", None);

    told.chapter("The directory deactivates Alice");
    let mut bobs_clock = bob.clock().await?;
    let held = alice.hold_everything().await?;
    told.line("her WebSocket ticks, her event stream reports, her download runs", None);
    let out = push_button(&stage.directory, "alice", ButtonAction::Deactivate, "deactivate alice").await?;
    told.line("SCIM PATCH active=false: last byte sent to last byte of the answer", Some(out.took));
    for held in held {
        let (which, took) = held.ends_with(&out).await?;
        told.line(held_words(which), Some(took));
    }
    let heard = stage.app.requests();
    let old = alice.clone();
    let took = alice.is_refused("the next request after the deactivation").await?;
    told.line("her next request: 401, and her next page is sent to sign-in", Some(took));
    let reference = alice.may_not_sign_in().await?;
    told.line(&format!("signing in again is refused, reference {reference}"), None);
    expect_unheard(stage, heard, "the app after the deactivation")?;
    told.line("the app heard nothing of all that", None);

    told.chapter("The directory re-activates her");
    let back = push_button(&stage.directory, "alice", ButtonAction::Reactivate, "re-activate alice").await?;
    told.line("SCIM PATCH active=true", Some(back.took));
    let mut ghost = old;
    ghost.is_refused("the old session after the re-activation").await?;
    told.line("the old session stays dead", None);
    let took = alice.sign_in().await?;
    told.line("a new login works", Some(took));
    alice.headers_are(&stage.app, 0).await?;

    told.chapter("The directory moves her to Finance");
    let clock = alice.clock().await?;
    let moved =
        push_button(&stage.directory, "alice", ButtonAction::Move, "move alice to the other group").await?;
    told.line("two SCIM PATCHes, out of one group and into the other", Some(moved.took));
    let (_, took) = clock.ends_with(&moved).await?;
    told.line("her WebSocket, opened under the old roles, ended", Some(took));
    alice.headers_are(&stage.app, 1).await?;
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
    push_button(&stage.directory, "alice", ButtonAction::Move, "move alice back").await?;
    told.blank();
    Ok(())
}

/// Shows what is refused to whoever has no session.
async fn refused_without_session(told: &mut Timeline, stage: &Stage) -> Result<(), StepMissed> {
    let heard = stage.app.requests();
    let mut stranger = Person::new(&stage.ports, "stranger");
    let took = stranger.is_refused("a request without a session").await?;
    told.line("a script gets 401, a page is sent to sign-in", Some(took));
    let forged = stranger.headers_with(&[("X-Forwarded-User", "alice@fernhill.example")]).await?;
    expect_text("a request with forged headers and no session", "401", forged.status().as_str())?;
    expect_unheard(stage, heard, "the app while nobody is signed in")?;
    told.line("forged identity headers get nobody in; the app heard nothing", None);
    Ok(())
}

fn expect_unheard(stage: &Stage, before: u64, step: &'static str) -> Result<(), StepMissed> {
    let heard = stage.app.requests() - before;
    expect_text(step, "no request", &format!("{} request", count_words(heard)))
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
        print_line(&format!("\n  {title}"));
    }

    fn line(&mut self, what: &str, measured: Option<Duration>) {
        let at = self.began.elapsed().as_secs_f64();
        let took =
            measured.map(|took| format!("{:>8.1} ms", took.as_secs_f64() * 1000.0)).unwrap_or_default();
        print_line(format!("  {at:>7.3} s  {what:<68}{took}").trim_end());
    }

    fn blank(&mut self) {
        print_line("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::ScimTarget;
    use portcullis_keys::Secret;

    #[tokio::test]
    async fn an_app_without_a_gate_fails_at_the_first_step() {
        let app = DemoApp::new("http://idp.localhost:1/directory");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap().port();
        let router = app.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let directory = Arc::new(Directory::new(ScimTarget { port: 1, token: Secret::new("t") }));
        let ports = Ports { proxy, scim: 1, health: 1, idp: 1, app: proxy };

        let missing = play_timeline(&Stage { ports, directory, app }).await.unwrap_err();
        assert_eq!(missing.step, "a request without a session");
        assert_eq!(missing.expected, "401 login_required");
        assert!(missing.got.starts_with("200 "), "{missing}");
    }
}

//! A connection that somebody holds open, and how it ends.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::push::Push;
use crate::step::StepMissed;

/// A generous net. The promise is measured, not timed out.
const SOON: Duration = Duration::from_secs(5);

/// A connection that somebody holds open.
pub(crate) struct HeldConnection {
    pub(crate) step: &'static str,
    /// The last thing heard on it: the app's time, where the app says it.
    pub(crate) said: watch::Receiver<String>,
    /// Ends with the connection: when.
    pub(crate) reader: JoinHandle<Instant>,
}

impl HeldConnection {
    pub(crate) async fn once_heard(mut self) -> Result<Self, StepMissed> {
        match timeout(SOON, self.said.changed()).await {
            Ok(Ok(())) => Ok(self),
            _ => Err(StepMissed {
                step: self.step,
                expected: "something to read".into(),
                got: "nothing".into(),
            }),
        }
    }

    /// Waits for its end.
    pub(crate) async fn ends(mut self, step: &'static str) -> Result<Instant, StepMissed> {
        match timeout(SOON, &mut self.reader).await {
            Ok(Ok(end)) => Ok(end),
            _ => Err(StepMissed {
                step,
                expected: "it ends".into(),
                got: format!("open after {} s", SOON.as_secs()),
            }),
        }
    }

    /// Waits for its end after a push, and checks that nothing the app said after the answer came through: which
    /// connection it was, and how long after the last byte of the push it ended.
    pub(crate) async fn ends_with(self, push: &Push) -> Result<(&'static str, Duration), StepMissed> {
        let (step, said) = (self.step, self.said.clone());
        let end = self.ends(step).await?;
        let last = said.borrow().clone();
        if let Ok(stamp) = last.parse::<jiff::Timestamp>()
            && stamp > push.answered
        {
            let expected = format!("nothing that the app said after the SCIM answer at {}", push.answered);
            return Err(StepMissed { step, expected, got: last });
        }
        Ok((step, end.saturating_duration_since(push.sent)))
    }

    pub(crate) async fn still_ticks(&mut self, step: &'static str) -> Result<(), StepMissed> {
        self.said.mark_unchanged();
        match timeout(SOON, self.said.changed()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(StepMissed { step, expected: "another tick".into(), got: "silence".into() }),
        }
    }
}

impl Drop for HeldConnection {
    /// Whoever no longer looks hangs up.
    fn drop(&mut self) {
        self.reader.abort();
    }
}

pub(crate) fn held_words(step: &'static str) -> &'static str {
    match step {
        "the WebSocket" => "... to the end of her WebSocket",
        "the event stream" => "... to the end of her event stream",
        _ => "... to the end of her download",
    }
}

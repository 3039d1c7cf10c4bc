//! A button of the directory, pressed by the script.

use std::time::{Duration, Instant};

use crate::directory::{ButtonAction, CallOutcome, Directory, ScimCall};
use crate::step::StepMissed;

/// A push that was answered with success.
pub(crate) struct Push {
    /// The last byte of its first call.
    pub(crate) sent: Instant,
    /// The time at which its last answer was read, by the clock that the app's times are of.
    pub(crate) answered: jiff::Timestamp,
    /// From the one to the other.
    pub(crate) took: Duration,
}

/// Presses a button of the directory.
pub(crate) async fn push_button(
    directory: &Directory,
    key: &'static str,
    act: ButtonAction,
    step: &'static str,
) -> Result<Push, StepMissed> {
    let calls = directory.press(key, act).await;
    let (now, wall) = (Instant::now(), jiff::Timestamp::now());
    if let Some(refused) = calls.iter().find(|call| !call.succeeded()) {
        return Err(StepMissed { step, expected: "success over SCIM".into(), got: refused.told() });
    }
    let times = |call: &ScimCall| match &call.outcome {
        CallOutcome::Answered { sent, answered, .. } => Some((*sent, *answered)),
        CallOutcome::Unanswered(_) => None,
    };
    let (Some((sent, _)), Some((_, answered))) =
        (calls.first().and_then(times), calls.last().and_then(times))
    else {
        return Err(StepMissed { step, expected: "a call over SCIM".into(), got: "none".into() });
    };
    let since = now.saturating_duration_since(answered);
    let answered_at = wall.checked_sub(since).unwrap_or(wall);
    Ok(Push { sent, answered: answered_at, took: answered.saturating_duration_since(sent) })
}

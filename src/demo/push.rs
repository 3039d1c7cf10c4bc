//! A button of the directory, pressed by the script.

use std::time::{Duration, Instant};

use super::directory::{Act, Call, Directory, Outcome};
use super::step::Missing;

/// A push that was answered with success.
pub(super) struct Push {
    /// The last byte of its first call.
    pub(super) sent: Instant,
    /// When its last answer was read, by the clock that the app's times are of.
    pub(super) answered: jiff::Timestamp,
    /// From the one to the other.
    pub(super) took: Duration,
}

/// Presses a button of the directory.
pub(super) async fn pushed(
    directory: &Directory,
    key: &'static str,
    act: Act,
    step: &'static str,
) -> Result<Push, Missing> {
    let calls = directory.press(key, act).await;
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

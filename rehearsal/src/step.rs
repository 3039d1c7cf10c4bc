//! What a step of the script came to: as it should, or missing, and then what was expected.

use crate::chain::error_chain;

/// A step that did not come out as it should.
#[derive(Debug, thiserror::Error)]
#[error("{step}\n      expected: {expected}\n      got:      {got}")]
pub(crate) struct StepMissed {
    pub(crate) step: &'static str,
    pub(crate) expected: String,
    pub(crate) got: String,
}

pub(crate) fn expect_text(step: &'static str, expected: &str, got: &str) -> Result<(), StepMissed> {
    if expected == got {
        return Ok(());
    }
    Err(StepMissed { step, expected: expected.to_owned(), got: got.to_owned() })
}

pub(crate) fn expect_in(step: &'static str, expected: &str, page: &str) -> Result<(), StepMissed> {
    if page.contains(expected) {
        return Ok(());
    }
    Err(StepMissed {
        step,
        expected: format!("a page that says {expected}"),
        got: "a page that does not".into(),
    })
}

pub(crate) fn step_missed(step: &'static str, expected: &str, fault: &dyn std::error::Error) -> StepMissed {
    StepMissed { step, expected: expected.to_owned(), got: error_chain(fault).to_string() }
}

pub(crate) fn count_words(count: u64) -> String {
    match count {
        0 => "no".into(),
        1 => "one".into(),
        more => more.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_step_says_what_was_expected() {
        let missing = expect_text("the ledger", "403 Forbidden", "200 OK").unwrap_err().to_string();
        assert!(
            missing.contains("expected: 403 Forbidden") && missing.contains("got:      200 OK"),
            "{missing}"
        );
        assert!(expect_text("the ledger", "200 OK", "200 OK").is_ok());
    }
}

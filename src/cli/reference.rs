//! `ref`: what is known about a reference number that somebody was shown on a page.

use std::path::Path;

use clap::Args;
use http::{Method, Request};
use portcullis_policy::escaped;
use serde_json::Value;

use super::home::StateFolder;
use super::reach::{StoreReach, WithoutDatabase};
use crate::operator::ReferredRefusal;
use crate::terminal::{Exit, fit_for_terminal, format_table, print_error, print_text};

/// Prints the whole record of a refusal.
#[derive(Args, Clone, Debug)]
pub(crate) struct Ref {
    /// The number on the page, eight letters and digits in two groups. Case and the dash do not matter.
    #[arg(value_name = "REF", value_parser = parse_reference)]
    reference: String,
    #[command(flatten)]
    named: StateFolder,
}

fn parse_reference(typed: &str) -> Result<String, &'static str> {
    portcullis_keys::read_reference(typed)
        .ok_or("a reference number is eight letters and digits in two groups, such as 7Q2M-X4KD")
}

impl Ref {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let home = match self.named.home(config) {
            Ok(home) => home,
            Err(exit) => return exit,
        };
        let request = Request::builder().method(Method::GET).uri(format!("/refs/{}", self.reference));
        match StoreReach::ask_once::<ReferredRefusal>(&home, WithoutDatabase::Refuse, request, None) {
            Ok(told) => {
                print_text(&refusal_lines(&told));
                Exit::Fine
            }
            Err(error) => print_error(&error),
        }
    }
}

/// The fields that a reader looks for first.
const FIRST: [&str; 6] = ["what", "decision", "reason", "detail", "help", "status"];
/// Said already, in the head of what is printed.
const SAID: [&str; 2] = ["ref", "time"];

/// One line a field, without those that hold nothing.
fn refusal_lines(told: &ReferredRefusal) -> String {
    let line = |name: &str, value: &str| [format!("{}:", fit_for_terminal(name)), escaped(value).to_string()];
    let mut rows = vec![line("reference", &told.reference), line("time", &told.at)];
    match &told.record {
        Value::Object(fields) => {
            let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
            let mut fields: Vec<_> = fields
                .iter()
                .filter(|(name, value)| !value.is_null() && !SAID.contains(&name.as_str()))
                .collect();
            fields.sort_by_key(|(name, _)| place(name));
            rows.extend(fields.into_iter().map(|(name, value)| match value {
                Value::String(text) => line(name, text),
                other => line(name, &other.to_string()),
            }));
        }
        Value::String(text) => rows.push(line("record", text)),
        other => rows.push(line("record", &other.to_string())),
    }
    format_table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_however_it_was_heard() {
        for typed in ["7Q2M-X4KD", "7q2mx4kd", "7Q2M X4KD"] {
            assert_eq!(parse_reference(typed), Ok("7Q2M-X4KD".to_owned()));
        }
        assert!(parse_reference("7Q2M-X4K").is_err() && parse_reference("../users").is_err());
    }

    #[test]
    fn a_record_that_an_older_release_kept_whole_is_shown() {
        let long = "x".repeat(100_000);
        let record = serde_json::json!({ "detail": &long, long.clone(): 1 });
        let told = ReferredRefusal { reference: "7Q2M-X4KD".into(), at: String::new(), record };
        assert!(refusal_lines(&told).contains(&long));
    }

    #[test]
    fn a_record_is_shown_whole_and_nothing_of_it_is_acted_on() {
        let told = ReferredRefusal {
            reference: "7Q2M-X4KD".into(),
            at: "2026-01-31T17:00:00Z".into(),
            record: serde_json::json!({
                "idp": "okta", "reason": "aud\u{1b}[31mience", "rounds": 3, "time": "2026", "user": null,
            }),
        };
        let text = "reference:  7Q2M-X4KD\ntime:       2026-01-31T17:00:00Z\n\
                    reason:     aud\\u{1b}[31mience\nidp:        okta\nrounds:     3\n";
        assert_eq!(refusal_lines(&told), text);
    }
}

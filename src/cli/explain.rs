//! `explain`: what the application is told, before anybody wonders.

use std::path::Path;

use clap::{Args, Subcommand};
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_policy::{SIGNED_HEADER, escaped};

use super::home::StateFolder;
use super::reach::StoreReach;
use crate::operator::ToldHeaders;
use crate::terminal::{Exit, fit_for_terminal, print_error, print_text};

/// Questions about what the application is told, and where the program is.
#[derive(Args, Debug)]
pub(crate) struct ExplainOrders {
    #[command(flatten)]
    named: StateFolder,
    #[command(subcommand)]
    question: ExplainCommand,
}

/// What to explain.
#[derive(Debug, Subcommand)]
pub(crate) enum ExplainCommand {
    /// Print the headers by which the application would know a person, as it would get them; secrets are hidden.
    #[command(after_help = "Example: portcullis explain headers --as alice@example.com")]
    Headers(ExplainHeaders),
}

/// Explains the headers of a person.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExplainHeaders {
    /// The name, the id, or account:N, as `portcullis user list` shows them.
    #[arg(long = "as", value_name = "NAME")]
    who: String,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

impl ExplainOrders {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let Self { named, question: ExplainCommand::Headers(headers) } = self;
        let home = match named.home(config) {
            Ok(home) => home,
            Err(exit) => return exit,
        };
        StoreReach::serve_command(&home, async |reach| headers.ask(reach, config).await)
    }
}

impl ExplainHeaders {
    async fn ask(&self, reach: &StoreReach, config: Option<&Path>) -> Exit {
        // A program that runs knows what it tells; without one the file must say it.
        if let Err(exit) = reach.read_config_if_here(config).await {
            return exit;
        }
        let path = format!("/users/{}/headers", utf8_percent_encode(&self.who, NON_ALPHANUMERIC));
        match reach.ask_store::<ToldHeaders>(Request::get(path), None).await {
            Ok(told) if self.json => {
                print_text(&format!("{}\n", serde_json::json!(told)));
                told_exit(&told)
            }
            Ok(told) => {
                print_text(&told_lines(&told));
                told_exit(&told)
            }
            Err(error) => print_error(&error),
        }
    }
}

/// What is told of nobody is a failure.
fn told_exit(told: &ToldHeaders) -> Exit {
    if told.fault.is_none() { Exit::Fine } else { Exit::Failed }
}

fn told_lines(told: &ToldHeaders) -> String {
    let mut text = String::new();
    for (name, value) in &told.headers {
        text.push_str(&format!("{}: {}\n", escaped(name), escaped(value)));
    }
    for (name, left_out) in &told.left_out {
        text.push_str(&format!(
            "{} does not say \"{}\": its encoding cannot write that.\n",
            escaped(name),
            fit_for_terminal(left_out)
        ));
    }
    if let Some(claims) = &told.claims {
        text.push_str(&format!(
            "{SIGNED_HEADER}: signed, with sid, iat, exp and jti besides: {}\n",
            escaped(&claims.to_string())
        ));
    }
    if !told.active {
        text.push_str("This person is not let in: inactive, disabled or removed (portcullis user show). This is what would be told.\n");
    }
    if let Some(fault) = &told.fault {
        let help = told.help.as_deref().unwrap_or_default();
        text.push_str(&format!(
            "Nothing is told, and the person is not let in: {}. {}\n",
            escaped(fault),
            escaped(help)
        ));
    } else if told.headers.is_empty() && told.claims.is_none() {
        text.push_str("The application is told nothing of this person: headers.preset is none, and nothing is set by name.\n");
    }
    text
}

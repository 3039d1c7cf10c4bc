//! `audit`: what was done, by whom, as the store has it.

use std::path::Path;

use clap::{Args, Subcommand};
use http::Request;
use portcullis_config::Home;

use super::home::StateFolder;
use super::reach::{ReachError, StoreReach, WithoutDatabase};
use crate::operator::{Audited, Audits};
use crate::terminal::{Exit, fit_for_terminal, format_table, print_error, print_text};

/// Questions about the audit, and where the program is whose audit it is.
#[derive(Args, Debug)]
pub(crate) struct AuditOrders {
    #[command(flatten)]
    named: StateFolder,
    #[command(subcommand)]
    order: AuditQuery,
}

/// What to read of the audit.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditQuery {
    /// Print the last rows of the audit, the newest at the end: logins, what SCIM wrote, what was ordered by hand.
    #[command(after_help = "Example: portcullis audit tail -n 50")]
    Tail(Tail),
}

/// Prints the end of the audit.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Tail {
    /// How many rows to print, 10,000 at most.
    #[arg(short, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    n: u32,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

impl AuditOrders {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let Self { named, order: AuditQuery::Tail(tail) } = self;
        match named.home(config) {
            Ok(home) => tail.answer(&home).map_or_else(|error| print_error(&error), |()| Exit::Fine),
            Err(exit) => exit,
        }
    }
}

impl Tail {
    fn answer(self, home: &Home) -> Result<(), ReachError> {
        let runtime = super::reach::build_runtime()?;
        runtime.block_on(async {
            let reach = StoreReach::open_home(home, WithoutDatabase::Refuse).await?;
            let found = self.read(&reach).await;
            reach.leave().await;
            print_text(&print_audits(&found?, self.json));
            Ok(())
        })
    }

    /// The rows, the oldest first.
    async fn read(self, reach: &StoreReach) -> Result<Vec<Audited>, ReachError> {
        let (mut found, mut before) = (Vec::new(), String::new());
        loop {
            let left = (self.n as usize).saturating_sub(found.len());
            let page = format!("/audit?limit={left}{before}");
            let Audits { audits, next } = reach.ask_store(Request::get(page), None).await?;
            found.extend(audits);
            match next {
                Some(next) if found.len() < self.n as usize => before = format!("&before={next}"),
                _ => break,
            }
        }
        found.reverse();
        Ok(found)
    }
}

fn print_audits(audits: &[Audited], json: bool) -> String {
    if json {
        return audits.iter().map(|audit| format!("{}\n", serde_json::json!(audit))).collect();
    }
    let head =
        ["TIME", "ACTOR", "ACTION", "OUTCOME", "ACCOUNT", "CLIENT", "REF", "DETAIL"].map(str::to_owned);
    let or_dash = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), fit_for_terminal);
    let line = |audit: &Audited| {
        let account = audit.account.map_or_else(|| "-".to_owned(), |account| format!("account:{account}"));
        let [actor, action, outcome] =
            [&audit.actor, &audit.action, &audit.outcome].map(|text| fit_for_terminal(text));
        let (client, reference) = (or_dash(audit.client.as_deref()), or_dash(audit.reference.as_deref()));
        [
            audit.time.clone(),
            actor,
            action,
            outcome,
            account,
            client,
            reference,
            fit_for_terminal(&audit.detail.to_string()),
        ]
    };
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(audits.iter().map(line)).collect();
    format_table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_is_a_table_or_json() {
        let audit = Audited {
            time: "2026-01-31T17:00:00Z".into(),
            seq: 7,
            actor: "cli".into(),
            action: "user.disabled".into(),
            outcome: "done\u{1b}[2J".into(),
            account: Some(3),
            client: None,
            reference: None,
            detail: serde_json::json!({ "subject": "account:3" }),
        };
        let text = print_audits(std::slice::from_ref(&audit), false);
        let line = text.lines().nth(1).unwrap();
        assert!(line.starts_with("2026-01-31T17:00:00Z  cli"), "{text}");
        assert!(line.ends_with(r#"account:3  -       -    {"subject":"account:3"}"#), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let json = print_audits(&[audit], true);
        assert!(serde_json::from_str::<Audited>(&json).is_ok() && json.ends_with("}\n"));
    }
}

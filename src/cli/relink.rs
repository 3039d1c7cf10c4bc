//! `user relink`: links of a former identity provider, moved to the one that is configured.

use std::path::Path;

use clap::Args;
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_config::Home;

use super::reach::{ReachError, StoreReach};
use crate::relink::{LinkedPerson, MovableLinks, Moved};
use crate::terminal::{Exit, fit_for_terminal, format_table, print_error, print_text};

/// Moves links, subject for subject.
#[derive(Args, Clone, Debug)]
pub(crate) struct Relink {
    /// The name that the former identity provider had under idps, as warnings and the list of users show it.
    #[arg(value_name = "IDP")]
    from: String,
    /// The identity provider that the links move to; need not be said where there is only one, or one of the same name.
    #[arg(long, value_name = "IDP")]
    to: Option<String>,
    /// Do it. Without this the links are listed, and nothing is changed.
    #[arg(long)]
    apply: bool,
}

impl Relink {
    pub(super) fn answer(self, home: &Home, config: Option<&Path>) -> Exit {
        StoreReach::serve_command(home, async |reach| self.order_links(reach, config).await)
    }

    async fn order_links(&self, reach: &StoreReach, config: Option<&Path>) -> Exit {
        // A program that runs knows its identity provider; without one the file must say which it is.
        if let Err(exit) = reach.read_config_if_here(config).await {
            return exit;
        }
        match if self.apply { self.move_links(reach).await } else { self.list_links(reach).await } {
            Ok(text) => {
                print_text(&text);
                Exit::Fine
            }
            Err(error) => print_error(&error),
        }
    }

    /// The address of the links, with what stands behind it: `""`, or `"/relink"`.
    fn links_path(&self, order: &str, after: Option<i64>) -> String {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let to = self.to.as_deref().map(|to| format!("to={}", encode(to)));
        let after = after.map(|after| format!("after={after}"));
        let query: Vec<String> = to.into_iter().chain(after).collect();
        format!("/links/{}{order}?{}", encode(&self.from), query.join("&"))
    }

    async fn list_links(&self, reach: &StoreReach) -> Result<String, ReachError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.links_path("", after);
            let MovableLinks { idp, issuer, links, next } = reach.ask_store(Request::get(page), None).await?;
            found.extend(links);
            after = next;
            if after.is_none() {
                return Ok(links_table(&self.from, &idp, &issuer, &found));
            }
        }
    }

    async fn move_links(&self, reach: &StoreReach) -> Result<String, ReachError> {
        let request = Request::builder().method(Method::POST).uri(self.links_path("/relink", None));
        let Moved { moved, taken } = reach.ask_store(request, None).await?;
        let mut text = format!("Links that have moved: {moved}.\n");
        if taken > 0 {
            text.push_str(&format!(
                "Links that stayed, since somebody has the subject there already: {taken}.\n"
            ));
        }
        Ok(text)
    }
}

fn links_table(from: &str, idp: &str, issuer: &str, links: &[LinkedPerson]) -> String {
    let from = fit_for_terminal(from);
    if links.is_empty() {
        return format!(
            "Nobody is linked through {from} at another issuer than {}.\n",
            fit_for_terminal(issuer)
        );
    }
    let head = ["ACCOUNT", "NAME", "STATE", "SUBJECT", "BECOMES"].map(str::to_owned);
    let line = |link: &LinkedPerson| {
        let becomes = match link.taken_by {
            Some(account) => format!("stays: account:{account} has the subject"),
            None => format!("linked through {}", fit_for_terminal(idp)),
        };
        [
            format!("account:{}", link.account),
            fit_for_terminal(&link.name),
            link.state.clone(),
            fit_for_terminal(&link.subject),
            becomes,
        ]
    };
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(links.iter().map(line)).collect();
    let moving = links.iter().filter(|link| link.taken_by.is_none()).count();
    format!(
        "{}Links that would move from {from} to {} ({}): {moving}, each with its subject as it is. So be sure that whoever \
         has that subject there is this person. Nothing has changed. With --apply it is done.\n",
        format_table(&rows),
        fit_for_terminal(idp),
        fit_for_terminal(issuer)
    )
}

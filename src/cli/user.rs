//! `user`: people as an operator handles them by hand.

use std::path::Path;

use clap::{Args, Subcommand};
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_config::Home;

use super::home::Named;
use super::reach::{Missing, Reach, ReachError};
use super::relink::Relink;
use super::{Exit, complain, print, seen, table};
use crate::operator::{Added, Person, User as Found, Users};

/// Orders about people, and where the program is whose people they are.
#[derive(Args, Debug)]
pub(crate) struct Orders {
    #[command(flatten)]
    named: Named,
    #[command(subcommand)]
    order: User,
}

/// What to do with people.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// List who may sign in, and who may not and why.
    #[command(after_help = "Example: portcullis user list")]
    List(List),
    /// Add a person, where the configuration says that people are invited.
    #[command(after_help = "Example: portcullis user add alice@example.com --email alice@example.com")]
    Add(Add),
    /// Put a person out: every session ends at once, and no login is accepted until they are enabled again.
    #[command(after_help = "Example: portcullis user disable alice@example.com")]
    Disable(Who),
    /// Let a disabled person sign in again. Old sessions stay ended, and the directory's word still counts.
    #[command(after_help = "Example: portcullis user enable alice@example.com")]
    Enable(Who),
    /// List who is linked through a former identity provider; with --apply, link them to the one that is configured.
    #[command(after_help = "Example: portcullis user relink okta --apply")]
    Relink(Relink),
}

/// Lists people.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct List {
    /// Show those too whom the directory has removed.
    #[arg(long)]
    deleted: bool,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

/// Adds a person.
#[derive(Args, Clone, Debug)]
pub(crate) struct Add {
    /// What the identity provider calls the person: it is compared as userName.
    name: String,
    /// An e-mail address, for the application.
    #[arg(long)]
    email: Option<String>,
    /// A name for people.
    #[arg(long = "display-name", value_name = "NAME")]
    display_name: Option<String>,
    /// The identity provider's own id of the person, where people are linked by externalId.
    #[arg(long = "external-id", value_name = "ID")]
    external_id: Option<String>,
}

/// Names a person.
#[derive(Args, Clone, Debug)]
pub(crate) struct Who {
    /// The name, the id, or account:N, as the list shows them.
    name: String,
}

impl Orders {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let Self { named, order } = self;
        let done = match named.home(config) {
            Ok(home) => match order {
                User::List(list) => list.answer(&home),
                User::Add(add) => add.answer(&home),
                User::Disable(who) => who.disable(&home),
                User::Enable(who) => who.enable(&home),
                User::Relink(relink) => return relink.answer(&home, config),
            },
            Err(exit) => return exit,
        };
        done.map_or_else(|error| complain(&error), |()| Exit::Fine)
    }
}

impl List {
    fn answer(self, home: &Home) -> Result<(), ReachError> {
        let runtime = super::reach::runtime()?;
        runtime.block_on(async {
            let reach = Reach::open(home, Missing::Refuse).await?;
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let page =
                    after.map_or_else(|| "/users".to_owned(), |last: i64| format!("/users?after={last}"));
                let Users { users, next } = reach.ask(Request::get(page), None).await?;
                found.extend(users.into_iter().filter(|user| self.deleted || user.state != "deleted"));
                after = next;
                if after.is_none() {
                    break;
                }
            }
            reach.leave().await;
            print(&if self.json { lines(&found) } else { listed(&found) });
            Ok(())
        })
    }
}

impl Add {
    fn answer(self, home: &Home) -> Result<(), ReachError> {
        let Self { name, email, display_name, external_id } = self;
        let person = Person { name, email, display_name, external_id };
        let request = Request::builder().method(Method::POST).uri("/users");
        let Added { id } = Reach::once(home, Missing::Make, request, Some(serde_json::json!(person)))?;
        print(&format!("{} is added, with the id {id}.\n", seen(&person.name)));
        Ok(())
    }
}

impl Who {
    fn disable(self, home: &Home) -> Result<(), ReachError> {
        let user = self.switch(home, "disable")?;
        print(&format!("{} is out: every session has ended, and no login is accepted.\n", seen(&user.name)));
        Ok(())
    }

    fn enable(self, home: &Home) -> Result<(), ReachError> {
        let user = self.switch(home, "enable")?;
        let name = seen(&user.name);
        print(&match user.state.as_str() {
            "active" => format!("{name} may sign in again.\n"),
            state => {
                format!("{name} is not disabled any more, but stays out: {state}, says the directory.\n")
            }
        });
        Ok(())
    }

    fn switch(self, home: &Home, verb: &str) -> Result<Found, ReachError> {
        let name = utf8_percent_encode(&self.name, NON_ALPHANUMERIC);
        let request = Request::builder().method(Method::POST).uri(format!("/users/{name}/{verb}"));
        Reach::once(home, Missing::Refuse, request, None)
    }
}

fn listed(users: &[Found]) -> String {
    let head = ["ACCOUNT", "NAME", "STATE", "LAST USED", "IDP", "DISPLAY NAME", "ID"].map(str::to_owned);
    let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), seen);
    let line = |user: &Found| {
        let account = format!("account:{}", user.account);
        let (name, state, used) = (seen(&user.name), user.state.clone(), user.used.clone());
        [account, name, state, used, or_dash(&user.idp), or_dash(&user.display_name), or_dash(&user.id)]
    };
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(users.iter().map(line)).collect();
    table(&rows)
}

fn lines(users: &[Found]) -> String {
    users.iter().map(|user| format!("{}\n", serde_json::json!(user))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table_or_json() {
        let user = Found {
            account: 7,
            id: None,
            name: "mallory\u{1b}[2J".into(),
            display_name: Some("M. Allory".into()),
            state: "disabled".into(),
            idp: Some("okta".into()),
            used: "2026-01-31T17:00:00Z".into(),
        };
        assert_eq!(
            listed(std::slice::from_ref(&user)),
            "ACCOUNT    NAME              STATE     LAST USED             IDP   DISPLAY NAME  ID\n\
             account:7  mallory\\u{1b}[2J  disabled  2026-01-31T17:00:00Z  okta  M. Allory     -\n"
        );
        let line = lines(&[user]);
        assert!(line.ends_with("}\n") && !line.contains('\u{1b}'), "{line}");
        assert!(serde_json::from_str::<Found>(&line).is_ok());
    }
}

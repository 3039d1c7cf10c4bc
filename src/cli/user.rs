//! `user`: people as an operator handles them by hand.

use std::path::Path;

use clap::{Args, Subcommand};
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_config::{Environment, Home};
use portcullis_policy::escaped;
use serde::de::DeserializeOwned;

use super::home::StateFolder;
use super::reach::{ReachError, StoreReach, WithoutDatabase};
use super::relink::Relink;
use crate::operator::{Added, GroupRoles, Linked, LiveSession, NewPerson, PersonDetails, Users};
use crate::person::UserListing as Found;
use crate::terminal::{Exit, config_path, fit_for_terminal, format_table, print_error, print_text};

/// Orders about people, and where the program is whose people they are.
#[derive(Args, Debug)]
pub(crate) struct UserOrders {
    #[command(flatten)]
    named: StateFolder,
    #[command(subcommand)]
    order: UserCommand,
}

/// What to do with people.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List who may sign in with which roles, and who may not and why.
    #[command(after_help = "Example: portcullis user list")]
    List(ListUsers),
    /// Show everything that is kept of one person: links, groups, roles and what gives them, sessions.
    #[command(after_help = "Example: portcullis user show alice@example.com")]
    Show(Show),
    /// Add a person, where the configuration says that people are invited. Prints the address to send them.
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
    /// Remove a person for good, where no directory says who there is: out at once, and nobody of that login comes back.
    #[command(after_help = "Example: portcullis user remove alice@example.com")]
    Remove(Who),
    /// End every session of a person, who may sign in again.
    #[command(name = "end-sessions", after_help = "Example: portcullis user end-sessions alice@example.com")]
    EndSessions(Who),
}

/// Lists people.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ListUsers {
    /// Show those too whom the directory has removed.
    #[arg(long)]
    deleted: bool,
    /// Print one JSON object a line instead of a table.
    #[arg(long)]
    json: bool,
}

/// Shows a person.
#[derive(Args, Clone, Debug)]
pub(crate) struct Show {
    #[command(flatten)]
    who: Who,
    /// Print one JSON object instead of lines.
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

impl UserOrders {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let Self { named, order } = self;
        let done = match named.home(config) {
            Ok(home) => match order {
                UserCommand::List(list) => list.answer(&home),
                UserCommand::Add(add) => add.answer(&home, config),
                UserCommand::Show(show) => show.answer(&home),
                UserCommand::Disable(who) => who.disable_user(&home),
                UserCommand::Enable(who) => who.enable_user(&home),
                UserCommand::Relink(relink) => return relink.answer(&home, config),
                UserCommand::Remove(who) => who.remove_user(&home),
                UserCommand::EndSessions(who) => who.end_sessions(&home),
            },
            Err(exit) => return exit,
        };
        done.map_or_else(|error| print_error(&error), |()| Exit::Fine)
    }
}

impl ListUsers {
    fn answer(self, home: &Home) -> Result<(), ReachError> {
        let runtime = super::reach::build_runtime()?;
        runtime.block_on(async {
            let reach = StoreReach::open_home(home, WithoutDatabase::Refuse).await?;
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let page =
                    after.map_or_else(|| "/users".to_owned(), |last: i64| format!("/users?after={last}"));
                let Users { users, next } = reach.ask_store(Request::get(page), None).await?;
                found.extend(users.into_iter().filter(|user| self.deleted || user.state != "deleted"));
                after = next;
                if after.is_none() {
                    break;
                }
            }
            reach.leave().await;
            print_text(&if self.json { users_json(&found) } else { users_table(&found) });
            Ok(())
        })
    }
}

impl Add {
    fn answer(self, home: &Home, config: Option<&Path>) -> Result<(), ReachError> {
        let Self { name, email, display_name, external_id } = self;
        let person = NewPerson { name, email, display_name, external_id };
        let request = Request::builder().method(Method::POST).uri("/users");
        let told = config_path(config).ok();
        let told = told.and_then(|path| portcullis_config::read_headers(&path, &Environment::of_process()));
        let Added { id, address, unsaid } = super::reach::build_runtime()?.block_on(async {
            let reach = StoreReach::open_home(home, WithoutDatabase::Make).await?;
            if let Some(told) = told {
                reach.know_headers_if_here(&home.bindings, told);
            }
            let added = reach.ask_store(request, Some(serde_json::json!(person))).await;
            reach.leave().await;
            added
        })?;
        print_text(&format!("{} is added, with the id {id}.\n", fit_for_terminal(&person.name)));
        if let Some(address) = address {
            print_text(&format!("Send them this address: {}\n", fit_for_terminal(&address)));
        }
        if let Some(unsaid) = unsaid {
            eprintln!("They will not be let in: {}", escaped(&unsaid));
        }
        Ok(())
    }
}

impl Show {
    fn answer(self, home: &Home) -> Result<(), ReachError> {
        let shown: PersonDetails = self.who.send_order(home, Method::GET, "")?;
        print_text(&if self.json { format!("{}\n", serde_json::json!(shown)) } else { person_lines(&shown) });
        Ok(())
    }
}

impl Who {
    fn disable_user(self, home: &Home) -> Result<(), ReachError> {
        let user = self.switch_user(home, "disable")?;
        let (name, ended) = (fit_for_terminal(&user.name), ended_sentence(&user));
        print_text(&format!("{name} is out: {ended}, and no login is accepted.\n{}", other_accounts(&user)));
        Ok(())
    }

    fn remove_user(self, home: &Home) -> Result<(), ReachError> {
        let user: Found = self.send_order(home, Method::DELETE, "")?;
        let (name, ended) = (fit_for_terminal(&user.name), ended_sentence(&user));
        print_text(&format!(
            "{name} is removed: {ended}, and whoever signed in as them is kept out.\n{}",
            other_accounts(&user)
        ));
        Ok(())
    }

    fn end_sessions(self, home: &Home) -> Result<(), ReachError> {
        let user = self.switch_user(home, "end-sessions")?;
        print_text(&format!(
            "{}: {}.\n{}",
            fit_for_terminal(&user.name),
            ended_sentence(&user),
            other_accounts(&user)
        ));
        Ok(())
    }

    fn enable_user(self, home: &Home) -> Result<(), ReachError> {
        let user = self.switch_user(home, "enable")?;
        let name = fit_for_terminal(&user.name);
        print_text(&match user.state.as_str() {
            "active" => format!("{name} may sign in again.\n"),
            state => {
                format!("{name} is not disabled any more, but stays out: {state}, says the directory.\n")
            }
        });
        print_text(&other_accounts(&user));
        Ok(())
    }

    fn switch_user(self, home: &Home, verb: &str) -> Result<Found, ReachError> {
        self.send_order(home, Method::POST, &format!("/{verb}"))
    }

    fn send_order<T: DeserializeOwned>(
        self,
        home: &Home,
        method: Method,
        verb: &str,
    ) -> Result<T, ReachError> {
        let name = utf8_percent_encode(&self.name, NON_ALPHANUMERIC);
        let request = Request::builder().method(method).uri(format!("/users/{name}{verb}"));
        StoreReach::ask_once(home, WithoutDatabase::Refuse, request, None)
    }
}

/// Says what an order ended. Zero is said too: whoever gives the order may have expected one.
fn ended_sentence(user: &Found) -> String {
    match user.ended.unwrap_or_default() {
        0 => "no session was live".to_owned(),
        1 => "their one live session has ended".to_owned(),
        n => format!("their {n} live sessions have ended"),
    }
}

/// On which other accounts the order was carried out; nothing where there are none.
fn other_accounts(user: &Found) -> String {
    let names: Vec<String> = user.others.iter().map(|account| format!("account:{account}")).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => format!("So is {one}, which bears the same name.\n"),
        _ => format!("So are {}, which bear the same name.\n", names.join(" and ")),
    }
}

/// Everything of a person, a line each.
fn person_lines(shown: &PersonDetails) -> String {
    let PersonDetails { user, email, external_id, created, links, groups, attributes, lost, sessions } =
        shown;
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut say = |name: &str, value: String| rows.push([name.to_owned(), value]);
    say("name:", fit_for_terminal(&user.name));
    say("account:", format!("account:{}", user.account));
    let known = [
        ("id:", &user.id),
        ("external id:", external_id),
        ("display name:", &user.display_name),
        ("e-mail:", email),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            say(name, fit_for_terminal(value));
        }
    }
    let whose = match user.state.as_str() {
        "inactive" | "deleted" => ", says the directory",
        "disabled" => ", says an operator: portcullis user enable takes it back",
        "unused" => ": made under another provisioning, and nobody signs in as it now",
        _ => "",
    };
    say("state:", format!("{}{whose}", user.state));
    if user.on_hold {
        say("", "on hold: a removal was read, and the store could not write it down yet".to_owned());
    }
    for account in &user.others {
        say("", format!("account:{account} bears the same name: an order about one is about both"));
    }
    let last =
        user.used.as_ref().map_or_else(|| "never signed in".to_owned(), |used| format!("last login {used}"));
    say("made:", format!("{created}, {last}"));
    let mut list = |name: &str, none: &str, lines: Vec<String>| {
        let lines = if lines.is_empty() { vec![none.to_owned()] } else { lines };
        for (at, line) in lines.into_iter().enumerate() {
            say(if at == 0 { name } else { "" }, line);
        }
    };
    let link = |link: &Linked| {
        let [idp, issuer, subject] =
            [&link.idp, &link.issuer, &link.subject].map(|text| fit_for_terminal(text));
        format!("{subject} at {idp} ({issuer}), since {}", link.since)
    };
    list("links:", "none: nobody has signed in as them", links.iter().map(link).collect());
    let group = |group: &GroupRoles| {
        format!(
            "{}{}",
            fit_for_terminal(&group.name),
            if group.nested { " (through another group)" } else { "" }
        )
    };
    list("groups:", "none", groups.iter().map(group).collect());
    let granted = user.roles.iter().flatten().map(|role| {
        let groups = groups.iter().filter(|group| group.gives.contains(role));
        let groups: Vec<String> = groups.map(|group| fit_for_terminal(&group.name)).collect();
        let stated = attributes.iter().filter(|stated| stated.gives == *role);
        let mut by: Vec<String> = stated.map(|stated| fit_for_terminal(&stated.by)).collect();
        if !groups.is_empty() {
            by.insert(0, format!("the group {}", groups.join(" and ")));
        }
        format!("{}, by {}", fit_for_terminal(role), by.join(" and "))
    });
    let lost = lost.iter().map(|lost| {
        format!(
            "not {}: it is given, but it loses to {} (conflicts)",
            fit_for_terminal(&lost.role),
            fit_for_terminal(&lost.to)
        )
    });
    let none = if user.roles.is_some() {
        "none: nothing of theirs gives one"
    } else {
        "none are bound, or no bindings were read"
    };
    list("roles:", none, granted.chain(lost).collect());
    let session = |session: &LiveSession| {
        let LiveSession { session, idp, since, heard, until } = session;
        format!(
            "{} through {}, since {since}, heard {heard}, until {until} at most",
            fit_for_terminal(session),
            fit_for_terminal(idp)
        )
    };
    list("sessions:", "none is live", sessions.iter().map(session).collect());
    format_table(&rows)
}

fn users_table(users: &[Found]) -> String {
    let head =
        ["ACCOUNT", "NAME", "STATE", "ROLES", "LAST LOGIN", "IDP", "DISPLAY NAME", "ID"].map(str::to_owned);
    let or_dash = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), fit_for_terminal);
    let line = |user: &Found| {
        let account = format!("account:{}", user.account);
        let state = format!("{}{}", user.state, if user.on_hold { ", on hold" } else { "" });
        let (name, used) = (fit_for_terminal(&user.name), or_dash(&user.used));
        let roles = user.roles.as_ref().filter(|roles| !roles.is_empty()).map(|roles| roles.join(","));
        let (roles, idp) = (or_dash(&roles), or_dash(&user.idp));
        [account, name, state, roles, used, idp, or_dash(&user.display_name), or_dash(&user.id)]
    };
    let rows: Vec<[String; 8]> = std::iter::once(head).chain(users.iter().map(line)).collect();
    format_table(&rows)
}

fn users_json(users: &[Found]) -> String {
    users.iter().map(|user| format!("{}\n", serde_json::json!(user))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mallory() -> Found {
        Found {
            account: 7,
            id: None,
            name: "mallory\u{1b}[2J".into(),
            display_name: Some("M. Allory".into()),
            roles: Some(vec!["member".into(), "billing".into()]),
            state: "disabled".into(),
            on_hold: false,
            idp: Some("okta".into()),
            used: Some("2026-01-31T17:00:00Z".into()),
            ended: None,
            others: Vec::new(),
        }
    }

    #[test]
    fn a_person_is_shown_with_what_gives_each_role() {
        let group = |name: &str, nested, gives: &[&str]| GroupRoles {
            name: name.into(),
            nested,
            gives: gives.iter().map(|role| (*role).into()).collect(),
        };
        let at = |hour: &str| format!("2026-01-31T{hour}:00:00Z");
        let shown = PersonDetails {
            user: mallory(),
            email: None,
            external_id: Some("00u1".to_owned()),
            attributes: Vec::new(),
            created: at("10"),
            links: vec![Linked {
                idp: "okta".into(),
                issuer: "https://okta.test".into(),
                subject: "00u".into(),
                since: at("11"),
            }],
            groups: vec![group("Staff", false, &["member"]), group("Owners", true, &["admin", "billing"])],
            lost: vec![crate::operator::LostRole { role: "admin".into(), to: "member".into() }],
            sessions: Vec::new(),
        };
        let text = person_lines(&shown);
        for line in [
            "name:          mallory\\u{1b}[2J",
            "state:         disabled, says an operator: portcullis user enable takes it back",
            "links:         00u at okta (https://okta.test), since 2026-01-31T11:00:00Z",
            "               Owners (through another group)",
            "roles:         member, by the group Staff",
            "               billing, by the group Owners",
            "               not admin: it is given, but it loses to member (conflicts)",
            "sessions:      none is live",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\nin\n{text}");
        }
        let whole = serde_json::json!(shown);
        assert_eq!(
            (&whole["name"], &whole["groups"][1]["gives"][0]),
            (&"mallory\u{1b}[2J".into(), &"admin".into())
        );
    }

    #[test]
    fn a_list_is_a_table_or_json() {
        let user = mallory();
        assert_eq!(
            users_table(std::slice::from_ref(&user)),
            "ACCOUNT    NAME              STATE     ROLES           LAST LOGIN            IDP   DISPLAY NAME  ID\n\
             account:7  mallory\\u{1b}[2J  disabled  member,billing  2026-01-31T17:00:00Z  okta  M. Allory     -\n"
        );
        let line = users_json(&[user]);
        assert!(line.ends_with("}\n") && !line.contains('\u{1b}'), "{line}");
        assert!(serde_json::from_str::<Found>(&line).is_ok());
    }
}

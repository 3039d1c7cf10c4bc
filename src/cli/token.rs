//! `token`: the tokens by which a directory writes. A token is printed once, alone on standard output, so that it can be
//! piped into a vault; it is never a word of a command line.

use std::io::Write as _;
use std::path::Path;

use clap::{Args, Subcommand};
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_config::{Home, parse_duration};
use serde::de::DeserializeOwned;

use super::home::StateFolder;
use super::reach::{ReachError, StoreReach, WithoutDatabase};
use crate::settings::to_ms;
use crate::terminal::{Exit, fit_for_terminal, format_table, print_error, print_text};
use crate::token_orders::{AskedRotation, AskedToken, ListedToken, RevokedTokens, ShownToken, TokenListing};

/// Orders about tokens, and where the program is that has them.
#[derive(Args, Debug)]
pub(crate) struct TokenOrders {
    #[command(flatten)]
    named: StateFolder,
    #[command(subcommand)]
    order: TokenCommand,
}

/// An order about tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it: it is shown this once, and only its hash is kept.
    #[command(after_help = "Example: portcullis token new --scim --name okta --expires 90d")]
    New(NewTokenOrder),
    /// List tokens: when each was made, ends and was last used. The tokens themselves are not known to anybody here.
    #[command(after_help = "Example: portcullis token list")]
    List(ListTokens),
    /// Make a token in the place of another and print it; the old one still counts for a while.
    #[command(after_help = "Example: portcullis token rotate okta --overlap 24h")]
    Rotate(RotateToken),
    /// Revoke a token, or all of a name: refused from this moment on, for ever.
    #[command(after_help = "Example: portcullis token revoke okta")]
    Revoke(RevokeToken),
}

/// Makes a token.
#[derive(Args, Clone, Debug)]
pub(crate) struct NewTokenOrder {
    /// For the directory's SCIM client.
    #[arg(long, required = true)]
    scim: bool,
    /// The client's name, such as okta: in the audit, the log and the list.
    #[arg(long, value_name = "NAME")]
    name: String,
    #[command(flatten)]
    life: TokenLife,
}

/// The life of a token.
#[derive(Args, Clone, Debug)]
struct TokenLife {
    /// The length of its life: 90d, 12h.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = read_time)]
    expires: i64,
}

/// Lists tokens.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ListTokens {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Rotates a token.
#[derive(Args, Clone, Debug)]
pub(crate) struct RotateToken {
    /// The name of the token, or its number in the list.
    #[arg(value_name = "NAME|ID")]
    token: String,
    /// The time for which the old one still counts; with 0s it only takes access away from now on.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = read_time)]
    overlap: i64,
    #[command(flatten)]
    life: TokenLife,
}

/// Revokes a token.
#[derive(Args, Clone, Debug)]
pub(crate) struct RevokeToken {
    /// The name of the token, or its number in the list.
    #[arg(value_name = "NAME|ID")]
    token: String,
}

/// Milliseconds, of a duration as the configuration writes it.
fn read_time(text: &str) -> Result<i64, &'static str> {
    let fault = "a whole number and its unit is wanted: 90s, 15m, 12h or 30d";
    parse_duration(text).map(to_ms).ok_or(fault)
}

impl TokenOrders {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let Self { named, order } = self;
        let done = match named.home(config) {
            Ok(home) => match order {
                TokenCommand::New(new) => new.answer(&home),
                TokenCommand::List(list) => list.answer(&home),
                TokenCommand::Rotate(rotate) => rotate.answer(&home),
                TokenCommand::Revoke(revoke) => revoke.answer(&home),
            },
            Err(exit) => return exit,
        };
        done.unwrap_or_else(|error| print_error(&error))
    }
}

impl NewTokenOrder {
    fn answer(self, home: &Home) -> Result<Exit, ReachError> {
        let asked = AskedToken { name: self.name, life_ms: self.life.expires };
        let request = Request::builder().method(Method::POST).uri("/scim-tokens");
        // A directory may be given its token before the first start.
        let body = Some(serde_json::json!(asked));
        let made = StoreReach::ask_once(home, WithoutDatabase::Make, request, body)?;
        Ok(show_token(&made))
    }
}

impl ListTokens {
    fn answer(self, home: &Home) -> Result<Exit, ReachError> {
        let listing: TokenListing = ask_program(home, Method::GET, "/scim-tokens", None)?;
        print_text(&if self.json {
            format!("{}\n", serde_json::json!(listing))
        } else {
            tokens_table(&listing)
        });
        Ok(Exit::Fine)
    }
}

impl RotateToken {
    fn answer(self, home: &Home) -> Result<Exit, ReachError> {
        let asked = AskedRotation { life_ms: self.life.expires, overlap_ms: self.overlap };
        let path = format!("/scim-tokens/{}/rotate", encode_name(&self.token));
        let made = ask_program(home, Method::POST, &path, Some(serde_json::json!(asked)))?;
        Ok(show_token(&made))
    }
}

impl RevokeToken {
    fn answer(self, home: &Home) -> Result<Exit, ReachError> {
        let path = format!("/scim-tokens/{}/revoke", encode_name(&self.token));
        let done: RevokedTokens = ask_program(home, Method::POST, &path, None)?;
        print_text(&revoked_sentences(&done));
        Ok(Exit::Fine)
    }
}

fn encode_name(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn ask_program<T: DeserializeOwned>(
    home: &Home,
    method: Method,
    path: &str,
    body: Option<serde_json::Value>,
) -> Result<T, ReachError> {
    StoreReach::ask_once(home, WithoutDatabase::Refuse, Request::builder().method(method).uri(path), body)
}

/// Prints a token to standard output, and everything else to standard error.
fn show_token(shown: &ShownToken) -> Exit {
    let ShownToken { token, made, former_until } = shown;
    let (name, id) = (fit_for_terminal(&made.name), made.id);
    let mut out = std::io::stdout().lock();
    if out.write_all(format!("{token}\n").as_bytes()).and_then(|()| out.flush()).is_err() {
        eprintln!(
            "portcullis: the token could not be printed, and nobody will see it again. Take it back: portcullis token revoke {id}"
        );
        return Exit::Failed;
    }
    eprintln!(
        "The token {name} (number {id}) counts until {}. It is not shown again: enter it at the identity provider now, as \
         its bearer token.",
        fit_for_terminal(&made.expires)
    );
    if let Some(until) = former_until {
        eprintln!("The one before it counts until {}.", fit_for_terminal(until));
    }
    Exit::Fine
}

fn revoked_sentences(done: &RevokedTokens) -> String {
    let name = |token: &ListedToken| format!("{} (number {})", fit_for_terminal(&token.name), token.id);
    let names: Vec<String> = done.tokens.iter().map(name).collect();
    let before = if done.is_repeat { " It was before." } else { "" };
    format!("Revoked for ever, and refused from now on: {}.{before}\n", names.join(", "))
}

fn tokens_table(listing: &TokenListing) -> String {
    if listing.tokens.is_empty() {
        return "There is no token. Make one: portcullis token new --scim --name okta\n".to_owned();
    }
    let mut rows = vec![["ID", "NAME", "STATE", "CREATED", "EXPIRES", "LAST USED"].map(str::to_owned)];
    rows.extend(listing.tokens.iter().map(|token| {
        let used = token.used.as_deref().unwrap_or("never");
        [&token.id.to_string(), &token.name, &token.state, &token.created, &token.expires, used]
            .map(fit_for_terminal)
    }));
    format_table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_listed_with_their_state() {
        let token = ListedToken {
            id: 7,
            name: "okta\u{1b}[2J".into(),
            created: "2026-01-31T17:00:00Z".into(),
            expires: "2026-05-01T17:00:00Z".into(),
            used: None,
            state: "live".into(),
        };
        let text = tokens_table(&TokenListing { tokens: vec![token] });
        assert!(!text.contains('\u{1b}') && text.contains("live") && text.contains("never"), "{text}");
        assert!(tokens_table(&TokenListing { tokens: Vec::new() }).contains("token new --scim"));
    }

    #[test]
    fn times_are_those_of_the_configuration() {
        assert_eq!((read_time("90d"), read_time("0s")), (Ok(90 * 86_400_000), Ok(0)));
        for wrong in ["90", "d", "-1d", "1 d", "1w", ""] {
            assert!(read_time(wrong).is_err(), "{wrong}");
        }
    }
}

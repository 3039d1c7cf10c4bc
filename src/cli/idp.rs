//! `idp`: the identity providers, and an operator's word on the keys that they sign with.

use std::path::Path;

use clap::{Args, Subcommand};
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use portcullis_config::Home;
use serde::de::DeserializeOwned;

use super::home::StateFolder;
use super::reach::{ReachError, StoreReach, WithoutDatabase};
use crate::idp_key_orders::{ApprovedKey, DistrustedListing, IdpListing, ListedKey};
use crate::terminal::{Exit, fit_for_terminal, format_table, print_error, print_text};

/// Orders about identity providers, and where the program is that has them.
#[derive(Args, Debug)]
pub(crate) struct IdpOrders {
    #[command(flatten)]
    named: StateFolder,
    #[command(subcommand)]
    order: IdpCommand,
}

/// What to do with identity providers.
#[derive(Debug, Subcommand)]
pub(crate) enum IdpCommand {
    /// List the identity providers and their signing keys: in force, waiting for you, gone from the metadata, or distrusted.
    #[command(after_help = "Example: portcullis idp list")]
    List(ListIdps),
    /// Put a signing key in force that waits, as new ones do with saml.keys: approve.
    ///
    /// Compare its fingerprint first with the one that the identity provider shows on a screen of its own.
    #[command(
        allow_missing_positional = true,
        after_help = "Example: portcullis idp approve adfs \
                      4f1c8a0e5d2b73964f1c8a0e5d2b73964f1c8a0e5d2b73964f1c8a0e5d2b7396"
    )]
    Approve(ApproveKey),
    /// Distrust a signing key for ever, whatever metadata says: every session of its identity providers ends at once.
    ///
    /// Nothing undoes it. The same key in another certificate is distrusted with it.
    #[command(after_help = "Example: portcullis idp distrust \
                      4f1c8a0e5d2b73964f1c8a0e5d2b73964f1c8a0e5d2b73964f1c8a0e5d2b7396")]
    Distrust(DistrustKey),
}

/// Lists identity providers.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ListIdps {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Approves a key.
#[derive(Args, Clone, Debug)]
pub(crate) struct ApproveKey {
    /// The identity provider's name under idps; need not be said where the key waits at one alone.
    idp: Option<String>,
    /// The SHA-256 of the certificate or of its public key, all 64 hexadecimal digits.
    fingerprint: String,
}

/// Distrusts a key.
#[derive(Args, Clone, Debug)]
pub(crate) struct DistrustKey {
    /// The SHA-256 of the certificate or of its public key, 64 hexadecimal digits; the first 16 where the list shows it.
    fingerprint: String,
}

impl IdpOrders {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let Self { named, order } = self;
        let done = match named.home(config) {
            Ok(home) => match order {
                IdpCommand::List(list) => list.answer(&home),
                IdpCommand::Approve(approve) => approve.answer(&home),
                IdpCommand::Distrust(distrust) => distrust.answer(&home),
            },
            Err(exit) => return exit,
        };
        done.map_or_else(|error| print_error(&error), |()| Exit::Fine)
    }
}

impl ListIdps {
    fn answer(self, home: &Home) -> Result<(), ReachError> {
        let listing: IdpListing = ask(home, Method::GET, "/idp-keys")?;
        print_text(&if self.json {
            format!("{}\n", serde_json::json!(listing))
        } else {
            idps_table(&listing)
        });
        Ok(())
    }
}

impl ApproveKey {
    fn answer(self, home: &Home) -> Result<(), ReachError> {
        let idp = self.idp.as_deref().map(|idp| format!("?idp={}", encode(idp))).unwrap_or_default();
        let path = format!("/idp-keys/{}/approve{idp}", encode(&self.fingerprint));
        let ApprovedKey { idp, certificate } = ask(home, Method::POST, &path)?;
        print_text(&format!(
            "{}: the key of the certificate {} is in force.\n",
            fit_for_terminal(&idp),
            fit_for_terminal(&certificate)
        ));
        Ok(())
    }
}

impl DistrustKey {
    fn answer(self, home: &Home) -> Result<(), ReachError> {
        let path = format!("/idp-keys/{}/distrust", encode(&self.fingerprint));
        let done: DistrustedListing = ask(home, Method::POST, &path)?;
        print_text(&distrusted_sentences(&done));
        Ok(())
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn ask<T: DeserializeOwned>(home: &Home, method: Method, path: &str) -> Result<T, ReachError> {
    StoreReach::ask_once(home, WithoutDatabase::Refuse, Request::builder().method(method).uri(path), None)
}

fn distrusted_sentences(done: &DistrustedListing) -> String {
    let before = if done.is_repeat { " It was before." } else { "" };
    let mut text = format!("Distrusted for ever: {}.{before}\n", done.fingerprints.join(", "));
    if done.idps.is_empty() {
        text.push_str(
            "No identity provider has or had this key, as far as is known here: nobody was signed out.\n",
        );
        return text;
    }
    let live = done.ended.map(|live| format!(" ({live} live)")).unwrap_or_default();
    let idps: Vec<String> = done.idps.iter().map(|idp| fit_for_terminal(idp)).collect();
    text.push_str(&format!(
        "Every session of {} has ended{live}. People sign in again once the identity provider signs with another key.\n",
        idps.join(", ")
    ));
    text
}

fn idps_table(listing: &IdpListing) -> String {
    let head = ["IDP", "STATE", "SINCE", "CERTIFICATE (SHA-256)", "KEY (SHA-256)"].map(str::to_owned);
    let row = |name: &str, key: &ListedKey| {
        [name, &key.state, &key.since, &key.certificate, &key.key].map(fit_for_terminal)
    };
    let mut rows = vec![head];
    for idp in &listing.idps {
        rows.extend(idp.keys.iter().map(|key| row(&idp.name, key)));
        if idp.keys.is_empty() {
            let none = "no key is kept: OpenID Connect, or no metadata was read yet";
            rows.push([fit_for_terminal(&idp.name), "-".into(), "-".into(), none.into(), String::new()]);
        }
    }
    for print in &listing.distrusted {
        rows.push(["-".into(), "distrusted".into(), "-".into(), fit_for_terminal(print), String::new()]);
    }
    if rows.len() == 1 {
        "No identity provider's metadata was read yet.\n".to_owned()
    } else {
        format_table(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idp_key_orders::ListedIdp;

    #[test]
    fn keys_are_listed_with_their_state() {
        let key = ListedKey {
            certificate: "ab".repeat(32),
            key: "cd".repeat(32),
            state: "waiting".into(),
            since: "2026-01-31T17:00:00Z".into(),
        };
        let listing = IdpListing {
            idps: vec![
                ListedIdp { name: "adfs\u{1b}[2J".into(), keys: vec![key] },
                ListedIdp { name: "okta".into(), keys: Vec::new() },
            ],
            distrusted: vec!["ef".repeat(32)],
        };
        let text = idps_table(&listing);
        assert!(
            !text.contains('\u{1b}') && text.contains("waiting") && text.contains(&"ab".repeat(32)),
            "{text}"
        );
        assert!(text.contains("OpenID Connect") && text.contains(&"ef".repeat(32)), "{text}");
        assert!(
            idps_table(&IdpListing { idps: Vec::new(), distrusted: Vec::new() }).contains("was read yet")
        );
    }
}

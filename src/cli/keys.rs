//! `keys`: the keys of the signed header, and going on with another master key. The latter only while nothing runs on the
//! database: whoever runs has opened it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use http::Request;
use portcullis_config::{Environment, Home, MasterKey};
use portcullis_keys::{Keyring, Random};
use portcullis_policy::{IdentityHeaders, Policy, RulesVersion, Timestamp, UserFrom};
use portcullis_scim::Schemas;
use portcullis_session::Sessions;
use portcullis_store::{KeysError, OpenError, Origin, Replaced, Store, StoreError};
use tokio::runtime::Handle;

use super::home::StateFolder;
use super::reach::{self, ReachError, StoreReach, WithoutDatabase};
use crate::assertion_keys::{AssertionKeyListing, ListedAssertionKey};
use crate::keyring::{self, MASTER};
use crate::lock::{Lock, LockError};
use crate::revocation::{LEAVE, NotDone, NotGone, Revocation};
use crate::terminal::{Exit, config_path, format_table, print_error, print_text, tell_problems};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// List the keys of the signed header (headers.assertion): which signs, and which applications are shown besides.
    #[command(after_help = "Example: portcullis keys list")]
    List(ListKeys),
    /// Make another key for the signed header. Applications are shown it for an hour before it signs.
    ///
    /// This happens by itself every 90 days. With --now the new key signs at once and all others are gone: for a key that
    /// somebody else may have.
    #[command(after_help = "Example: portcullis keys rotate")]
    Rotate(RotateKey),
    /// Go on with another master key than the database was written with. Lists what that costs; with --apply, does it.
    #[command(after_help = "Example: portcullis keys replace --former /safe/old-master.key --apply")]
    Replace(Replace),
}

/// Lists the keys of the signed header.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListKeys {
    #[command(flatten)]
    named: StateFolder,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Makes another key for the signed header.
#[derive(Args, Clone, Debug)]
pub(crate) struct RotateKey {
    #[command(flatten)]
    named: StateFolder,
    /// Sign by the new key at once, and drop all others.
    #[arg(long)]
    now: bool,
}

/// Puts another master key in the place of the one from before.
#[derive(Args, Clone, Debug)]
pub(crate) struct Replace {
    #[command(flatten)]
    named: StateFolder,
    /// The file of the key from before: with it every bar keeps its meaning, and only sessions end.
    #[arg(long, value_name = "FILE")]
    former: Option<PathBuf>,
    /// Do it. Without this nothing is changed.
    #[arg(long)]
    apply: bool,
}

/// Reasons why no key was replaced.
#[derive(Debug, thiserror::Error)]
enum KeysNotReplaced {
    #[error("{}: there is no database to have a key", .0.display())]
    NoDatabase(PathBuf),
    #[error("no master key has been used with this database yet: there is nothing to replace")]
    Unused,
    #[error(
        "the master key fits this database: there is nothing to replace. To have another one, put it in the place of \
         {MASTER} or of `keys`, or remove {MASTER} to have one made, and name the present one with --former"
    )]
    Fits,
    #[error("{}: not there", .0.display())]
    NoFormer(PathBuf),
    #[error(
        "{}: not the key that this database was written with, so it would keep no bar. Leave --former out to go on \
         without it",
        .0.display()
    )]
    WrongFormer(PathBuf),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Key(#[from] portcullis_keys::KeyError),
    #[error(transparent)]
    Fit(KeysError),
    #[error("the database does not answer: nothing was replaced")]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotGone(#[from] NotGone),
    #[error(transparent)]
    Runtime(#[from] ReachError),
}

impl From<NotDone<StoreError>> for KeysNotReplaced {
    fn from(error: NotDone<StoreError>) -> Self {
        match error {
            NotDone::Write(error) => Self::Store(error),
            NotDone::NotGone(error) => Self::NotGone(error),
            NotDone::Panicked(_) => Self::Store(StoreError::Panicked),
        }
    }
}

impl Keys {
    pub(super) fn answer(self, config: Option<&Path>) -> Exit {
        let replace = match self {
            Self::List(list) => return list.answer(config),
            Self::Rotate(rotate) => return rotate.answer(config),
            Self::Replace(replace) => replace,
        };
        // What is wrong elsewhere in the configuration is no matter: this is done when something is wrong.
        let place = replace.named.home(config).and_then(|home| {
            let keys = match (config, &replace.named) {
                (None, named) if named.is_said() => Ok(None),
                _ => config_path(config)
                    .and_then(|path| portcullis_config::master_key(&path, &Environment::of_process())),
            };
            keys.map(|keys| (home, keys)).map_err(|problems| tell_problems(&problems))
        });
        let (home, keys) = match place {
            Ok(place) => place,
            Err(exit) => return exit,
        };
        let done = reach::build_runtime().map_err(KeysNotReplaced::from).and_then(|runtime| {
            runtime.block_on(async {
                let done = replace.replace(&home, keys.as_ref()).await?;
                print_text(&describe_replacement(&done, replace.apply));
                Ok(())
            })
        });
        done.map_or_else(|error| print_error(&error), |()| Exit::Fine)
    }
}

impl ListKeys {
    fn answer(self, config: Option<&Path>) -> Exit {
        let home = match self.named.home(config) {
            Ok(home) => home,
            Err(exit) => return exit,
        };
        let request = Request::get("/assertion-keys");
        match StoreReach::ask_once::<AssertionKeyListing>(&home, WithoutDatabase::Refuse, request, None) {
            Ok(listing) => {
                print_text(&match self.json {
                    true => format!("{}\n", serde_json::json!(listing)),
                    false => keys_table(&listing),
                });
                Exit::Fine
            }
            Err(error) => print_error(&error),
        }
    }
}

impl RotateKey {
    fn answer(self, config: Option<&Path>) -> Exit {
        let home = match self.named.home(config) {
            Ok(home) => home,
            Err(exit) => return exit,
        };
        StoreReach::serve_command(&home, async |reach| self.ask(reach, config).await)
    }

    async fn ask(&self, reach: &StoreReach, config: Option<&Path>) -> Exit {
        // A program that runs has the master key, which seals the new one; without one the file says where it is.
        if let Err(exit) = reach.read_config_if_here(config).await {
            return exit;
        }
        let path = format!("/assertion-keys/rotate?now={}", self.now);
        match reach.ask_store::<AssertionKeyListing>(Request::post(path), None).await {
            Ok(listing) => {
                print_text(&format!("{}{}", keys_table(&listing), rotated_sentence(self.now)));
                Exit::Fine
            }
            Err(error) => print_error(&error),
        }
    }
}

fn rotated_sentence(at_once: bool) -> &'static str {
    match at_once {
        true => {
            "The new key signs from now on, and whatever another one signed is worthless once an application reads jwks.json \
             again. Restart applications that read it at their start only.\n"
        }
        false => {
            "Applications that read jwks.json need not be told. One that has the key in a file needs the new one before it \
             signs.\n"
        }
    }
}

fn keys_table(listing: &AssertionKeyListing) -> String {
    if listing.keys.is_empty() {
        return "There is no key yet: the first start makes one.\n".to_owned();
    }
    let head = ["KEY", "STATE", "MADE", "SIGNS FROM"].map(str::to_owned);
    let row = |key: &ListedAssertionKey| [&key.kid, &key.state, &key.since, &key.signs].map(String::clone);
    format_table(&std::iter::once(head).chain(listing.keys.iter().map(row)).collect::<Vec<_>>())
}

impl Replace {
    async fn replace(&self, home: &Home, keys: Option<&MasterKey>) -> Result<Replaced, KeysNotReplaced> {
        if !home.database.try_exists().unwrap_or(true) {
            return Err(KeysNotReplaced::NoDatabase(home.database.clone()));
        }
        let _lock = Lock::take_folder(&home.state)?;
        let store = Arc::new(Store::open(&home.database, Arc::new(Schemas::core_schemas())).await?);
        let done = self.replace_in(home, keys, &store).await;
        store.close().await;
        done
    }

    async fn replace_in(
        &self,
        home: &Home,
        keys: Option<&MasterKey>,
        store: &Arc<Store>,
    ) -> Result<Replaced, KeysNotReplaced> {
        let (now, mut random) = (Timestamp::now(), Random::from_system());
        if !store.has_keys().await? {
            return Err(KeysNotReplaced::Unused);
        }
        let keys = keyring::read_keyring(keys, &home.state)?;
        if let Some(keys) = &keys {
            match store.use_keys(keys, &mut random, now).await {
                Ok(()) => return Err(KeysNotReplaced::Fits),
                Err(KeysError::DoNotFit { .. }) => {}
                Err(error) => return Err(KeysNotReplaced::Fit(error)),
            }
        }
        let former = match &self.former {
            Some(path) => {
                Some(Keyring::load_file(path)?.ok_or_else(|| KeysNotReplaced::NoFormer(path.clone()))?)
            }
            None => None,
        };
        let would = store.would_replace_keys(former.as_ref(), now).await?;
        if let Some(path) = self.former.as_ref().filter(|_| !would.keeps_bars) {
            return Err(KeysNotReplaced::WrongFormer(path.clone()));
        }
        if !self.apply {
            return Ok(would);
        }
        let keys = match keys {
            Some(keys) => keys,
            None => Keyring::load_or_create(&home.state.join(MASTER), &mut random)?,
        };
        let origin = Origin::of_actor("cli");
        // Nobody is in, in this process: what is enforced here is what the store says from now on.
        let identity = IdentityHeaders::x_forwarded(UserFrom::UserName);
        let policy = Policy::new(RulesVersion::default(), Vec::new(), home.bindings.clone(), identity);
        let sessions = Sessions::new(0, i64::MAX, Arc::new(policy));
        let road = Revocation::new(Handle::current(), sessions, store.clone());
        let store = store.clone();
        let replacing =
            async move { store.replace_keys(former.as_ref(), &keys, &mut random, &origin, now).await };
        Ok(road.carry_out(replacing, LEAVE).wait_done().await?.value)
    }
}

fn describe_replacement(done: &Replaced, applied: bool) -> String {
    let Replaced { keeps_bars, sessions, barred_again, void } = done;
    let mut text = format!("Sessions that end: {sessions}. Everybody signs in again.\n");
    if *keeps_bars {
        text.push_str("Whoever was removed or disabled stays out.\n");
    } else {
        text.push_str(&format!(
            "Bars that are made again: {barred_again}. Whoever was disabled, or removed in the last 30 days, stays \
             out.\n"
        ));
    }
    if !void.is_empty() {
        text.push_str(&format!(
            "Bars that are void: {}. Nobody knows any more whom they were for. With provisioning: none these people can \
             come back unless the identity provider keeps them out:\n",
            void.len()
        ));
        let rows: Vec<[String; 2]> = void
            .iter()
            .map(|bar| {
                [
                    format!("  account:{}", bar.account.0),
                    format!("since {}", crate::person::format_rfc3339(bar.since)),
                ]
            })
            .collect();
        text.push_str(&format_table(&rows));
    }
    text.push_str(match applied {
        true => "The master key is replaced.\n",
        false => "Nothing has changed. With --apply it is done.\n",
    });
    text
}

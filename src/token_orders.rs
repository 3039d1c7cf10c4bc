//! `token new`, `token list`, `token rotate`, `token revoke`: an operator's word on who may write to the directory.
//!
//! A token is shown once, to whoever orders it. To revoke is to take away: it holds in this process before it is stored.

use std::sync::Arc;
use std::time::Duration;

use portcullis_keys::Random;
use portcullis_policy::{DirectoryId, OrgId, Timestamp, shown};
use portcullis_store::{AddedToken, NewToken, Origin, UserError};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::log::error_chain;
use crate::operator::Operator;
use crate::order::{ACTOR, BY};
use crate::order_error::OrderError;
use crate::person::{People, format_rfc3339};
use crate::revocation::{LEAVE, NotDone};
use crate::tokens::{BookedToken, DAY_MS, draw_token};

/// A token that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedToken {
    /// The name of the client.
    pub(crate) name: String,
    /// The length of its life in milliseconds.
    pub(crate) life_ms: i64,
}

/// The order to rotate a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedRotation {
    /// The length of the new one's life in milliseconds.
    pub(crate) life_ms: i64,
    /// The time for which the old one still counts, in milliseconds.
    pub(crate) overlap_ms: i64,
}

/// A token that was made, with the token itself: the only time that it is seen. It has no debug form.
#[derive(Serialize, Deserialize)]
pub(crate) struct ShownToken {
    pub(crate) token: String,
    #[serde(flatten)]
    pub(crate) made: ListedToken,
    /// The end of those before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) former_until: Option<String>,
}

/// The tokens, the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenListing {
    pub(crate) tokens: Vec<ListedToken>,
}

/// One token as a list tells it: never the token, nor its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedToken {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) created: String,
    pub(crate) expires: String,
    #[serde(default)]
    pub(crate) used: Option<String>,
    /// `live`, `expired` or `revoked`.
    pub(crate) state: String,
}

/// The tokens that were revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevokedTokens {
    pub(crate) tokens: Vec<ListedToken>,
    /// All of them were revoked before.
    pub(crate) is_repeat: bool,
}

/// The time after which an order that is not committed is told to be repeated.
const COMMIT: Duration = Duration::from_secs(1);
/// The longest life of a token.
const LONGEST_MS: i64 = 730 * DAY_MS;
/// The longest overlap of two tokens.
const OVERLAP_MS: i64 = 30 * DAY_MS;

impl Operator {
    /// Lists the tokens.
    pub(crate) fn list_tokens(&self) -> TokenListing {
        let now = Timestamp::now();
        let tokens = self.tokens.list_tokens();
        TokenListing { tokens: tokens.iter().map(|token| listed_token(token, now)).collect() }
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`OrderError::Refused`] where no directory writes here, or the name or the life cannot be.
    pub(crate) async fn add_token(&self, asked: AskedToken) -> Result<ShownToken, OrderError> {
        let AskedToken { name, life_ms } = asked;
        self.check_directory()?;
        check_name(&name)?;
        check_life(life_ms)?;
        let _writing = self.tokens.writing.lock().await;
        let (now, (secret, hash)) = (Timestamp::now(), draw_token(&mut Random::from_system()));
        let token = NewToken { name: name.clone(), hash, expires: now.plus_ms(life_ms) };
        let adding = move |store: Arc<portcullis_store::Store>| async move {
            let origin = Origin::of_actor(ACTOR);
            let done = store.add_token(OrgId::ONLY, DirectoryId::ONLY, token, &origin, now).await;
            done.map_err(UserError::from)
        };
        let row = match self.carry_out_order(adding).await? {
            AddedToken::Added(row) => row,
            AddedToken::NameTaken => {
                return Err(OrderError::Refused(format!(
                    "there is a token of the name {name}. To put a new one in its place: portcullis token rotate {name}"
                )));
            }
            AddedToken::TooMany(most) => {
                return Err(OrderError::Refused(format!(
                    "there are {most} tokens that are not revoked, and more are not kept. See portcullis token list, and \
                     revoke those that nobody uses"
                )));
            }
        };
        let made = self.tokens.insert_token(row);
        let expires = format_rfc3339(made.expires());
        tracing::info!(by = BY, actor = %made.actor, expires, "a SCIM token was made by hand");
        Ok(ShownToken {
            token: secret.expose().to_owned(),
            made: listed_token(&made, now),
            former_until: None,
        })
    }

    /// Makes a token in the place of those of one name, which still count for a while.
    ///
    /// # Errors
    /// [`OrderError::Unknown`] where none is meant that is not revoked.
    pub(crate) async fn rotate_token(
        &self,
        which: &str,
        asked: AskedRotation,
    ) -> Result<ShownToken, OrderError> {
        let AskedRotation { life_ms, overlap_ms } = asked;
        self.check_directory()?;
        check_life(life_ms)?;
        if !(0..=OVERLAP_MS).contains(&overlap_ms) {
            return Err(OrderError::Refused(
                "an overlap is at most 30d; 0s ends the old token at once".to_owned(),
            ));
        }
        let _writing = self.tokens.writing.lock().await;
        let mut former = self.named_tokens(which);
        former.retain(|token| token.revoked().is_none());
        let Some(first) = former.first() else { return Err(unknown_token(which)) };
        let (now, (secret, hash)) = (Timestamp::now(), draw_token(&mut Random::from_system()));
        let until = now.plus_ms(overlap_ms);
        let token = NewToken { name: first.name.clone(), hash, expires: now.plus_ms(life_ms) };
        let ids = former.iter().map(|token| token.id).collect();
        let rotating = move |store: Arc<portcullis_store::Store>| async move {
            let origin = Origin::of_actor(ACTOR);
            let (org, directory) = (OrgId::ONLY, DirectoryId::ONLY);
            let done = store.rotate_token(org, directory, ids, token, until, &origin, now).await;
            done.map_err(UserError::from)
        };
        let Some(rotated) = self.carry_out_order(rotating).await? else {
            return Err(OrderError::Refused(
                "too many tokens are kept: see portcullis token list, and revoke those that nobody uses"
                    .to_owned(),
            ));
        };
        former.iter().for_each(|token| token.end_by(until));
        let ends = former.iter().map(|token| token.expires()).max();
        let made = self.tokens.insert_token(rotated.made);
        let (expires, former_until) = (format_rfc3339(made.expires()), ends.map(format_rfc3339));
        tracing::info!(by = BY, actor = %made.actor, expires, former_until, "a SCIM token was rotated by hand");
        Ok(ShownToken { token: secret.expose().to_owned(), made: listed_token(&made, now), former_until })
    }

    /// Revokes the token of this number, or all of this name: refused from now on, for ever.
    ///
    /// # Errors
    /// [`OrderError::Unknown`] where there is none; [`OrderError::TokensOnHold`] where it is not stored.
    pub(crate) async fn revoke_token(&self, which: &str) -> Result<RevokedTokens, OrderError> {
        let now = Timestamp::now();
        // First here: no disk and no other order is waited for.
        self.named_tokens(which).iter().for_each(|token| token.revoke(now));
        let _writing = self.tokens.writing.lock().await;
        let named = self.named_tokens(which);
        if named.is_empty() {
            return Err(unknown_token(which));
        }
        named.iter().for_each(|token| token.revoke(now));
        let (store, ids) = (self.store.clone(), named.iter().map(|token| token.id).collect());
        let write = async move {
            let origin = Origin::of_actor(ACTOR);
            store.revoke_tokens(OrgId::ONLY, DirectoryId::ONLY, ids, &origin, now).await
        };
        let mut underway = self.revocation.carry_out(write, LEAVE);
        if self.serves && timeout(COMMIT, underway.wait_settled()).await.is_err() {
            return Err(self.hold_tokens(&named, "it has not committed within 1 s"));
        }
        let revoked = match underway.wait_done().await {
            Ok(done) => done.value,
            Err(NotDone::Write(error)) if self.serves => {
                return Err(self.hold_tokens(&named, &error_chain(&error).to_string()));
            }
            Err(NotDone::Write(error)) => return Err(OrderError::Store(error)),
            Err(NotDone::NotGone(error)) => return Err(error.into()),
            Err(NotDone::Panicked(why)) => return Err(OrderError::Failed(why)),
        };
        self.tokens.end_hold(&named);
        let is_repeat = revoked.is_empty();
        for token in named.iter().filter(|token| revoked.contains(&token.id)) {
            tracing::info!(by = BY, actor = %token.actor, "a SCIM token was revoked by hand: it is refused from now on");
        }
        let told = named.iter().filter(|token| is_repeat || revoked.contains(&token.id));
        Ok(RevokedTokens { tokens: told.map(|token| listed_token(token, now)).collect(), is_repeat })
    }

    /// Tells what stands in this process and is not stored.
    fn hold_tokens(&self, tokens: &[Arc<BookedToken>], why: &str) -> OrderError {
        self.tokens.hold(tokens);
        let names: Vec<&str> = tokens.iter().map(|token| &*token.actor).collect();
        tracing::error!(
            by = BY,
            order = "token revoke",
            actors = names.join(", "),
            why,
            "an order could not be stored: the tokens are refused, until this process ends. Look at the store, and repeat it"
        );
        OrderError::TokensOnHold { why: why.to_owned() }
    }

    /// The tokens of a name, or the one of a number. A name never begins with a digit.
    fn named_tokens(&self, which: &str) -> Vec<Arc<BookedToken>> {
        let mut tokens = self.tokens.list_tokens();
        match which.parse::<i64>() {
            Ok(id) => tokens.retain(|token| token.id == id),
            Err(_) => tokens.retain(|token| token.name == which),
        }
        tokens
    }

    fn check_directory(&self) -> Result<(), OrderError> {
        match self.terms.people {
            Some(People::Directory) | None => Ok(()),
            Some(People::Invited | People::Login) => Err(OrderError::Refused(
                "no directory writes here: SCIM is served with provisioning: scim alone, and a token would open nothing"
                    .to_owned(),
            )),
        }
    }
}

fn listed_token(token: &BookedToken, now: Timestamp) -> ListedToken {
    let state = match token.revoked() {
        Some(_) => "revoked",
        None if token.expires() <= now => "expired",
        None => "live",
    };
    ListedToken {
        id: token.id,
        name: token.name.clone(),
        created: format_rfc3339(token.created),
        expires: format_rfc3339(token.expires()),
        used: token.used().map(format_rfc3339),
        state: state.to_owned(),
    }
}

fn unknown_token(which: &str) -> OrderError {
    OrderError::Unknown(format!("there is no such token: {:?}. See portcullis token list", shown(which)))
}

/// A name that stands in log lines, in labels and on command lines as it is.
fn check_name(name: &str) -> Result<(), OrderError> {
    let is_fit = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte));
    if is_fit {
        return Ok(());
    }
    Err(OrderError::Refused(
        "the name of a token is 1 to 40 lower-case letters, digits, and - _ . and begins with a letter, such as okta"
            .to_owned(),
    ))
}

fn check_life(life_ms: i64) -> Result<(), OrderError> {
    if (1000..=LONGEST_MS).contains(&life_ms) {
        return Ok(());
    }
    Err(OrderError::Refused("a token lives from 1s to 730d; 90d is usual".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for fit in ["okta", "a", "entra-eu.2_b", &"a".repeat(40)] {
            assert!(check_name(fit).is_ok(), "{fit}");
        }
        for unfit in ["", "7", "7up", "Okta", "ok ta", "okta\n", "ökta", "-a", &"a".repeat(41), "pcs_\u{1b}"]
        {
            assert!(check_name(unfit).is_err(), "{unfit:?}");
        }
    }

    #[test]
    fn lives_are_bounded() {
        for (life, is_fit) in
            [(0, false), (999, false), (1000, true), (LONGEST_MS, true), (LONGEST_MS + 1, false)]
        {
            assert_eq!(check_life(life).is_ok(), is_fit, "{life}");
        }
    }
}

//! `user relink`: whoever is linked through an identity provider that is not configured any more, at the one that is.
//! A list first, which changes nothing; then, by another order, the links move.

use portcullis_policy::{AccountId, OrgId, Timestamp, shown};
use portcullis_store::{Origin, RelinkTo, StoreError, UserError};
use serde::{Deserialize, Serialize};

use crate::operator::Operator;
use crate::order::{ACTOR, BY};
use crate::order_error::OrderError;

/// Some of the links that would move; `next` asks for those behind them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MovableLinks {
    /// The identity provider they would move to: name and issuer.
    pub(crate) idp: String,
    pub(crate) issuer: String,
    pub(crate) links: Vec<LinkedPerson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<i64>,
}

/// One person, with the subject by which they are linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkedPerson {
    pub(crate) account: i64,
    pub(crate) name: String,
    pub(crate) state: String,
    /// The issuer they are linked through now.
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// The account that has the subject at the new issuer already: then the link stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) taken_by: Option<i64>,
}

/// The result of moving links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moved {
    pub(crate) moved: u32,
    /// Links that stayed, because somebody has the subject already.
    pub(crate) taken: u32,
}

/// The number of links that one answer holds.
const A_PAGE: u32 = 500;

impl Operator {
    /// Lists the people whose link would move from the identity provider of this name.
    ///
    /// # Errors
    /// [`OrderError::Refused`] where it is not known where to.
    pub(crate) async fn list_links(
        &self,
        from: &str,
        to: Option<&str>,
        after: Option<i64>,
    ) -> Result<MovableLinks, OrderError> {
        let to = self.relink_to(from, to)?;
        let found = self.store.list_relinkable(OrgId::ONLY, from, &to, after.map(AccountId), A_PAGE).await;
        let links: Vec<LinkedPerson> = found
            .map_err(OrderError::Store)?
            .into_iter()
            .map(|found| LinkedPerson {
                account: found.user.account.0,
                name: found.user.name,
                state: found.user.state.table_word().to_owned(),
                issuer: found.issuer,
                subject: found.subject,
                taken_by: found.taken_by.map(|account| account.0),
            })
            .collect();
        let next = links.last().filter(|_| links.len() == A_PAGE as usize).map(|last| last.account);
        Ok(MovableLinks { idp: to.idp, issuer: to.issuer, links, next })
    }

    /// Moves them, in pieces that leave the store to others.
    ///
    /// # Errors
    /// As [`list_links`](Self::list_links). What has moved until an error stays so, and a repeat goes on.
    pub(crate) async fn move_links(&self, from: String, to: Option<String>) -> Result<Moved, OrderError> {
        let to = self.relink_to(&from, to.as_deref())?;
        let (mut done, mut after) = (Moved::default(), None);
        loop {
            let (source, target) = (from.clone(), to.clone());
            let piece = self
                .carry_out_order(move |store| async move {
                    let origin = Origin::of_actor(ACTOR);
                    let done = store
                        .relink_people(OrgId::ONLY, &source, &target, after, &origin, Timestamp::now())
                        .await;
                    done.map_err(UserError::from)
                })
                .await;
            let piece = match piece {
                Err(OrderError::Store(StoreError::NoKeys)) => {
                    return Err(OrderError::Refused(
                        "without the master key no link can be moved".to_owned(),
                    ));
                }
                piece => piece?,
            };
            done.moved += piece.moved;
            done.taken += piece.taken;
            match piece.next {
                None => {
                    let Moved { moved, taken } = done;
                    tracing::info!(by = BY, from, to = to.idp, moved, taken, "links were moved by hand");
                    return Ok(done);
                }
                next => after = next,
            }
        }
    }

    /// Finds the identity provider that links move to: the one that is named; else the one that has the former's name, for
    /// then its issuer has changed; else the only one.
    fn relink_to(&self, from: &str, to: Option<&str>) -> Result<RelinkTo, OrderError> {
        let configured = &self.terms.relink_to;
        let named = |name: &str| configured.iter().find(|idp| idp.idp == name);
        let refuse = |why: String| Err(OrderError::Refused(why));
        let known = || configured.iter().map(|idp| idp.idp.as_str()).collect::<Vec<_>>().join(", ");
        let target = match (to, configured.as_slice()) {
            (_, []) => {
                return refuse(
                    "which identity provider is configured is not known: name the file with -c".to_owned(),
                );
            }
            (Some(name), _) => named(name),
            (None, [only]) => Some(only),
            (None, _) => named(from),
        };
        let Some(target) = target else {
            return refuse(match to {
                Some(name) => format!("{} is not configured. Known: {}", shown(name), known()),
                None => format!(
                    "several identity providers are configured: say with --to which one ({})",
                    known()
                ),
            });
        };
        // Two that both sign people in call different people by one subject.
        if target.idp != from && named(from).is_some() {
            return refuse(format!(
                "{} is still configured: remove it from idps first, or let {} replace it there",
                shown(from),
                target.idp
            ));
        }
        Ok(target.clone())
    }
}

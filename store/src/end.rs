//! Ending sessions: by logout, by an operator, by an IdP's word. Nothing here asks whose wish it is.

use std::sync::Arc;

use portcullis_policy::{AccountId, Change, OrgId, Scope, SessionHash, Timestamp};
use portcullis_session::Committed;
use serde_json::json;

use crate::engine::{Arg, Tx};
use crate::log::{Origin, TxLog, account_name, commit_unchanged};
use crate::writer::Lane;
use crate::{Store, StoreError, account, epoch, head, session, spent};

/// The sessions that are to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// One.
    Session(SessionHash),
    /// All of one person.
    Account(OrgId, AccountId),
    /// All that one IdP of an organization signed in.
    Idp(OrgId, Arc<str>),
    /// All of an organization.
    Org(OrgId),
    /// All.
    Deployment,
}

/// Sessions as the IdP that signed them in names them: those of a person, of a session there, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdpSessions {
    /// The organization.
    pub org: OrgId,
    /// The IdP's name in the configuration.
    pub idp: Arc<str>,
    /// The person's name there, as [`NewSession::idp_subject`](crate::NewSession) has it.
    pub subject: Option<String>,
    /// The names of sessions there; where none is named, all of the person's.
    pub sessions: Vec<String>,
}

/// An IdP's message that ends sessions. It counts once: repeated, it ends nothing that began since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdpNotice {
    /// The hash of the message's number, with whose it is.
    pub id: [u8; 32],
    /// The time from which the message is refused for its age.
    pub until: Timestamp,
    /// The sessions it ends.
    pub sessions: IdpSessions,
}

/// The result of an IdP's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedAtIdp {
    /// The number of sessions that it ended.
    pub live: u32,
    /// True where the message came before: only what that one ended is enforced again.
    pub is_repeat: bool,
}

impl Store {
    /// Ends sessions and says how many were live. One that has ended before ends again: the repeat is enforced like
    /// the first.
    ///
    /// # Errors
    /// Nothing has ended.
    pub async fn end_sessions_of(
        &self,
        which: Which,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<u32>, StoreError> {
        // Counted beside the transaction, which must be short. The number is for people: where it cannot be read,
        // the sessions end all the same.
        let live = self.count_live(&which, now).await.unwrap_or_default();
        let origin = origin.clone();
        self.write_in(Lane::Removal, move |tx| {
            Box::pin(async move { end_sessions(tx, which, live, &origin, now).await })
        })
        .await
    }

    /// Ends the sessions that an IdP says have ended. None is no error: it may name what ended long since.
    ///
    /// # Errors
    /// Nothing has ended, and the message may come again.
    pub async fn end_at_idp(
        &self,
        notice: IdpNotice,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<EndedAtIdp>, StoreError> {
        let origin = origin.clone();
        self.write_in(Lane::Removal, move |tx| {
            Box::pin(async move { obey_notice(tx, &notice, &origin, now).await })
        })
        .await
    }

    async fn count_live(&self, which: &Which, now: Timestamp) -> Result<u32, StoreError> {
        let (condition, args): (_, Vec<Arg<'_>>) = match which {
            Which::Session(hash) => ("s.hash = $2", vec![hash.into()]),
            Which::Account(org, id) => {
                ("s.organization = $2 and s.account = $3", vec![(*org).into(), (*id).into()])
            }
            Which::Idp(org, idp) => {
                ("s.organization = $2 and s.idp = $3", vec![(*org).into(), (&**idp).into()])
            }
            Which::Org(org) => ("s.organization = $2", vec![(*org).into()]),
            Which::Deployment => ("1 = 1", Vec::new()),
        };
        let mut tx = match which {
            // A logout waits for no long read.
            Which::Session(_) | Which::Account(..) => self.engine.snapshot().await?,
            Which::Idp(..) | Which::Org(_) | Which::Deployment => self.engine.listing().await?,
        };
        session::count_live(&mut tx, condition, &args, now).await
    }
}

async fn end_sessions(
    tx: &mut Tx,
    which: Which,
    live: u32,
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed<u32>, StoreError> {
    match which {
        Which::Session(hash) => end_one(tx, &hash, live, origin, now).await,
        Which::Account(org, id) => {
            if account::load_account(tx, org, id).await?.is_none() {
                return commit_unchanged(tx, 0).await;
            }
            let mut log = TxLog::new(org, None, origin, now);
            let live = end_account(tx, org, id, &mut log, now).await?;
            log.seal(tx, live).await
        }
        Which::Idp(org, idp) => end_scope(tx, Scope::Idp(org, idp), org, live, origin, now).await,
        Which::Org(org) => end_scope(tx, Scope::Org(org), org, live, origin, now).await,
        Which::Deployment => end_scope(tx, Scope::Deployment, OrgId::DEPLOYMENT, live, origin, now).await,
    }
}

async fn end_one(
    tx: &mut Tx,
    hash: &SessionHash,
    live: u32,
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed<u32>, StoreError> {
    let Some((org, id)) = session::owner_of(tx, hash).await? else { return commit_unchanged(tx, 0).await };
    if session::end_session(tx, hash, now).await?.is_none() {
        let seq = head::log_seq(tx).await?;
        return Ok(Committed::new(0, vec![Change::Ended(id, *hash)], seq, true));
    }
    let mut log = TxLog::new(org, None, origin, now);
    log.add_audit("session.end", "done", Some(id), json!({ "session": format!("{hash:?}") }));
    log.add_event("session.ended", account_name(id), json!({}));
    log.add_change(Change::Ended(id, *hash));
    log.seal(tx, live).await
}

async fn obey_notice(
    tx: &mut Tx,
    notice: &IdpNotice,
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed<EndedAtIdp>, StoreError> {
    let named = &notice.sessions;
    let is_repeat = !spent::spend_number(tx, named.org, &notice.id, notice.until).await?;
    let mut log = TxLog::new(named.org, None, origin, now);
    let (mut live, mut changes) = (0, Vec::new());
    for found in session::named_at_idp(tx, named, now).await? {
        if !found.has_ended {
            if is_repeat {
                continue;
            }
            session::end_session(tx, &found.hash, now).await?;
            live += 1;
            let detail = json!({ "session": format!("{:?}", found.hash), "idp": &*named.idp });
            log.add_audit("session.end", "done", Some(found.account), detail);
            log.add_event("session.ended", account_name(found.account), json!({}));
        }
        changes.push(Change::Ended(found.account, found.hash));
    }
    let ended = EndedAtIdp { live, is_repeat };
    if live == 0 {
        let seq = head::log_seq(tx).await?;
        return Ok(Committed::new(ended, changes, seq, true));
    }
    changes.into_iter().for_each(|change| log.add_change(change));
    log.seal(tx, ended).await
}

/// Ends every session of an account; says how many were live.
pub(crate) async fn end_account(
    tx: &mut Tx,
    org: OrgId,
    id: AccountId,
    log: &mut TxLog,
    now: Timestamp,
) -> Result<u32, StoreError> {
    let live = session::live_of(tx, org, id, now).await?;
    let generation = account::raise_generation(tx, org, id).await?;
    log.add_audit("session.end", "done", Some(id), json!({ "live": live }));
    log.add_event("sessions.ended", account_name(id), json!({ "live": live }));
    log.add_change(Change::Out(id, generation));
    Ok(live)
}

async fn end_scope(
    tx: &mut Tx,
    scope: Scope,
    org: OrgId,
    live: u32,
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed<u32>, StoreError> {
    let number = epoch::raise_epoch(tx, &scope).await?;
    let name = epoch::scope_name(&scope);
    let mut log = TxLog::new(org, None, origin, now);
    log.add_audit("session.end", "done", None, json!({ "scope": name, "live": live }));
    log.add_event("sessions.ended", name, json!({ "live": live }));
    log.add_change(Change::Epoch(scope, number));
    log.seal(tx, live).await
}

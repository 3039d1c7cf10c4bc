//! The log: what a transaction did, written in that transaction, under one number. Events say what changed, revocations
//! what it means for access, audit who did it. Three tables, one order.

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_policy::{
    AccountId, Change, DirectoryId, Generation, OrgId, Scope, Seq, SessionHash, Timestamp, shown,
};
use portcullis_session::Committed;
use serde_json::Value;

use crate::engine::{Arg, SqlRow, Tx};
use crate::head::{self, DRAWN};
use crate::script::Script;
use crate::{Store, StoreError};

/// More accounts to be reconsidered than this are one row: the whole organization (R8).
pub(crate) const RECONSIDERED_SINGLY: usize = 100;

/// The origin of a write, for the audit.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `scim:default`, `login`, `cli`, `console`: a word of ours, never a secret.
    pub actor: Arc<str>,
    /// The address of whoever asks, as far as the configuration lets it be kept.
    pub client: Option<Arc<str>>,
    /// The reference or request number that log lines carry.
    pub reference: Option<Arc<str>>,
    /// True where the audit may say what an IdP calls somebody: not with `log.identity: none`.
    pub names: bool,
}

impl Origin {
    /// An actor and nothing else.
    pub fn of_actor(actor: &str) -> Self {
        Self { actor: actor.into(), client: None, reference: None, names: true }
    }
}

/// The entries that one transaction will write down.
#[derive(Debug)]
pub(crate) struct TxLog {
    org: OrgId,
    directory: Option<DirectoryId>,
    now: Timestamp,
    origin: Origin,
    events: Vec<(&'static str, String, Value)>,
    audits: Vec<(&'static str, &'static str, Option<AccountId>, Value)>,
    changes: Vec<Change>,
}

impl TxLog {
    pub(crate) fn new(org: OrgId, directory: Option<DirectoryId>, origin: &Origin, now: Timestamp) -> Self {
        let origin = origin.clone();
        Self { org, directory, now, origin, events: Vec::new(), audits: Vec::new(), changes: Vec::new() }
    }

    /// Tells whether the audit may say what an IdP calls somebody.
    pub(crate) fn names(&self) -> bool {
        self.origin.names
    }

    /// Gives what an IdP calls somebody, as far as the audit may say it.
    pub(crate) fn named<'a>(&self, name: &'a str) -> Option<Cow<'a, str>> {
        self.origin.names.then(|| shown(name))
    }

    /// Something about a resource or an account changed.
    pub(crate) fn add_event(&mut self, kind: &'static str, subject: impl Into<String>, detail: Value) {
        self.events.push((kind, subject.into(), detail));
    }

    /// Somebody did, or was refused, something.
    pub(crate) fn add_audit(
        &mut self,
        action: &'static str,
        outcome: &'static str,
        account: Option<AccountId>,
        detail: Value,
    ) {
        self.audits.push((action, outcome, account, detail));
    }

    /// Both: something changed, and who did it.
    pub(crate) fn did(
        &mut self,
        kind: &'static str,
        subject: &str,
        account: Option<AccountId>,
        detail: Value,
    ) {
        let mut said = detail.clone();
        said["subject"] = subject.into();
        self.add_audit(kind, "done", account, said);
        self.add_event(kind, subject, detail);
    }

    /// Tells whether nothing was done so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.audits.is_empty() && self.changes.is_empty()
    }

    /// Adds what it means for access.
    pub(crate) fn add_change(&mut self, change: Change) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// Accounts whose description is to be read again.
    pub(crate) fn reconsider_accounts(&mut self, accounts: Vec<AccountId>) {
        if accounts.len() > RECONSIDERED_SINGLY {
            self.add_change(Change::ReconsiderAll(self.org));
        } else {
            accounts.into_iter().for_each(|account| self.add_change(Change::Reconsider(account)));
        }
    }

    /// Draws the number, writes the rows and seals the value. The last thing a transaction does.
    pub(crate) async fn seal<T>(self, tx: &mut Tx, value: T) -> Result<Committed<T>, StoreError> {
        let mut script = Script::new();
        head::draw_seq(&mut script);
        self.add_rows(&mut script);
        let rows = tx.run_script(script).await?;
        let seq = head::drawn_seq(&rows)?;
        // Whatever changes access may take some of it away: a group more can cost a role, by a conflict.
        let takes_away = !self.changes.is_empty();
        Ok(Committed::new(value, self.changes, seq, takes_away))
    }

    /// The rows, under the number that was drawn in the same script.
    fn add_rows<'a>(&'a self, script: &mut Script<'a>) {
        let numbered = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let mut events = Vec::with_capacity(self.events.len());
        for (n, (kind, subject, detail)) in self.events.iter().enumerate() {
            events.push(vec![
                numbered(n).into(),
                self.org.into(),
                self.directory.into(),
                self.now.into(),
                (*kind).into(),
                subject.into(),
                detail.to_string().into(),
            ]);
        }
        let sql = "insert into event (seq, n, organization, directory, at, kind, subject, detail)";
        script.add_rows(sql, DRAWN, "", events);

        let mut audits = Vec::with_capacity(self.audits.len());
        for (n, (action, outcome, account, detail)) in self.audits.iter().enumerate() {
            audits.push(vec![
                numbered(n).into(),
                self.org.into(),
                self.now.into(),
                (*action).into(),
                (*outcome).into(),
                (&*self.origin.actor).into(),
                (*account).into(),
                self.origin.client.as_deref().into(),
                self.origin.reference.as_deref().into(),
                detail.to_string().into(),
            ]);
        }
        let sql = "insert into audit (seq, n, organization, at, action, outcome, actor, account, client, reference, detail)";
        script.add_rows(sql, DRAWN, "", audits);

        let mut changes = Vec::with_capacity(self.changes.len());
        for (n, change) in self.changes.iter().enumerate() {
            let mut row = vec![numbered(n).into(), self.now.into()];
            row.extend(to_row(self.org, change));
            changes.push(row);
        }
        let sql = "insert into revocation (seq, n, at, organization, kind, account, number, session, idp)";
        script.add_rows(sql, DRAWN, "", changes);
    }
}

/// A write that changed nothing and has nothing to enforce, at the log number of its snapshot.
pub(crate) async fn commit_unchanged<T>(tx: &mut Tx, value: T) -> Result<Committed<T>, StoreError> {
    Ok(Committed::new(value, Vec::new(), head::log_seq(tx).await?, false))
}

/// A write that changed nothing but leaves its people out: it waits like the first one (R5).
pub(crate) async fn still_out<T>(
    tx: &mut Tx,
    people: impl IntoIterator<Item = (AccountId, Generation)>,
    value: T,
) -> Result<Committed<T>, StoreError> {
    let changes = people.into_iter().map(|(account, generation)| Change::Out(account, generation)).collect();
    Ok(Committed::new(value, changes, head::log_seq(tx).await?, true))
}

/// Columns: organization, kind, account, number, session, idp.
fn to_row(org: OrgId, change: &Change) -> [Arg<'_>; 6] {
    const NONE: Arg<'_> = Arg::Int(None);
    let no_session = Arg::Bytes(None);
    let no_idp = Arg::Text(None);
    match change {
        Change::Out(account, generation) => {
            [org.into(), "out".into(), (*account).into(), (*generation).into(), no_session, no_idp]
        }
        Change::Ended(account, hash) => {
            [org.into(), "ended".into(), (*account).into(), NONE, hash.into(), no_idp]
        }
        Change::Epoch(scope, epoch) => {
            let (org, idp) = scope_key(scope);
            let number = i64::try_from(*epoch).unwrap_or(i64::MAX);
            [org.into(), "epoch".into(), NONE, number.into(), no_session, idp.into()]
        }
        Change::Reconsider(account) => {
            [org.into(), "reconsider".into(), (*account).into(), NONE, no_session, no_idp]
        }
        Change::ReconsiderAll(org) => [(*org).into(), "all".into(), NONE, NONE, no_session, no_idp],
    }
}

/// The key of a scope in the table `epoch`: organization 0 is the deployment, the empty name an organization.
pub(crate) fn scope_key(scope: &Scope) -> (OrgId, &str) {
    match scope {
        Scope::Deployment => (OrgId::DEPLOYMENT, ""),
        Scope::Org(org) => (*org, ""),
        Scope::Idp(org, idp) => (*org, idp),
    }
}

/// Columns: seq, organization, kind, account, number, session, idp.
fn from_row(row: &SqlRow) -> Result<(Seq, Change), StoreError> {
    let seq = row.int(0)?;
    let damaged = |what| StoreError::Unreadable { table: "revocation", row: seq.to_string(), what };
    let org = OrgId(u32::try_from(row.int(1)?).map_err(|_| damaged("the organization"))?);
    let account = || row.maybe_int(3)?.map(AccountId).ok_or_else(|| damaged("no account"));
    let number = || row.maybe_int(4)?.ok_or_else(|| damaged("no number"));
    let change = match row.text(2)? {
        "out" => Change::Out(account()?, Generation(number()?)),
        "ended" => {
            let hash = row.maybe_bytes(5)?.and_then(|hash| hash.try_into().ok());
            Change::Ended(account()?, SessionHash(hash.ok_or_else(|| damaged("no session"))?))
        }
        "epoch" => {
            let scope = match (org.0, row.maybe_text(6)?.unwrap_or_default()) {
                (0, _) => Scope::Deployment,
                (_, "") => Scope::Org(org),
                (_, idp) => Scope::Idp(org, idp.into()),
            };
            Change::Epoch(scope, u64::try_from(number()?).map_err(|_| damaged("the epoch"))?)
        }
        "reconsider" => Change::Reconsider(account()?),
        "all" => Change::ReconsiderAll(org),
        _ => return Err(damaged("the kind")),
    };
    Ok((Seq(seq), change))
}

impl Store {
    /// The number of the last commit.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn last_seq(&self) -> Result<Seq, StoreError> {
        head::log_seq(&mut self.engine.snapshot().await?).await
    }

    /// Reads what changed access after `seq`, in the order of commits; whole commits, at least one of them where
    /// there is any, and no more than about `limit` changes.
    ///
    /// # Errors
    /// The database does not answer, or a row is damaged.
    pub async fn changes_after(&self, seq: Seq, limit: u32) -> Result<Vec<(Seq, Change)>, StoreError> {
        let mut tx = self.engine.snapshot().await?;
        // The number of the commit in which the limit falls: that one is still read whole.
        let args = [seq.into(), i64::from(limit.saturating_sub(1)).into()];
        let sql = "select seq from revocation where seq > $1 order by seq, n limit 1 offset $2";
        let last = tx.row(sql, &args).await?.map_or(Ok(i64::MAX), |row| row.int(0))?;
        let sql = "select seq, organization, kind, account, number, session, idp from revocation \
                   where seq > $1 and seq <= $2 order by seq, n";
        tx.rows(sql, &[seq.into(), last.into()]).await?.iter().map(from_row).collect()
    }

    /// The last events, newest first.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn list_events(&self, org: OrgId, limit: u32) -> Result<Vec<Event>, StoreError> {
        let mut tx = self.engine.listing().await?;
        let sql = "select seq, at, kind, subject, detail from event where organization = $1 order by seq desc, n desc limit $2";
        let rows = tx.rows(sql, &[org.into(), i64::from(limit).into()]).await?;
        rows.iter()
            .map(|row| {
                Ok(Event {
                    seq: Seq(row.int(0)?),
                    at: row.at(1)?,
                    kind: row.text(2)?.to_owned(),
                    subject: row.text(3)?.to_owned(),
                    detail: row.text(4)?.to_owned(),
                })
            })
            .collect()
    }

    /// The last audit records, newest first.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn list_audits(&self, org: OrgId, limit: u32) -> Result<Vec<Audit>, StoreError> {
        self.audits_before(org, None, limit).await
    }

    /// The same before one that is known: a commit's number, and its place in the commit. What was done to the whole
    /// deployment (organization 0) is everybody's.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn audits_before(
        &self,
        org: OrgId,
        before: Option<(Seq, i64)>,
        limit: u32,
    ) -> Result<Vec<Audit>, StoreError> {
        let mut tx = self.engine.listing().await?;
        let (seq, n) = before.unwrap_or((Seq(i64::MAX), 0));
        let sql = "select seq, at, action, outcome, actor, account, client, reference, detail, n from audit \
                   where organization in ($1, 0) and (seq, n) < ($3, $4) order by seq desc, n desc limit $2";
        let args = [org.into(), i64::from(limit).into(), seq.into(), n.into()];
        let rows = tx.rows(sql, &args).await?;
        rows.iter()
            .map(|row| {
                Ok(Audit {
                    seq: Seq(row.int(0)?),
                    at: row.at(1)?,
                    action: row.text(2)?.to_owned(),
                    outcome: row.text(3)?.to_owned(),
                    actor: row.text(4)?.to_owned(),
                    account: row.maybe_int(5)?.map(AccountId),
                    client: row.maybe_text(6)?.map(str::to_owned),
                    reference: row.maybe_text(7)?.map(str::to_owned),
                    detail: row.text(8)?.to_owned(),
                    n: row.int(9)?,
                })
            })
            .collect()
    }
}

/// A row of the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number of its commit.
    pub seq: Seq,
    /// The time of the entry.
    pub at: Timestamp,
    /// `user.created`, `group.updated`, `account.linked`, …
    pub kind: String,
    /// The id of a resource, or `account:N`.
    pub subject: String,
    /// JSON.
    pub detail: String,
}

/// A row of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The number of its commit.
    pub seq: Seq,
    /// Its place among the rows of that commit.
    pub n: i64,
    /// The time of the entry.
    pub at: Timestamp,
    /// `login`, `scim`, `session.end`, …
    pub action: String,
    /// `accepted`, or why not.
    pub outcome: String,
    /// The name of whoever asked.
    pub actor: String,
    /// The account it is about.
    pub account: Option<AccountId>,
    /// From where.
    pub client: Option<String>,
    /// The reference number.
    pub reference: Option<String>,
    /// JSON.
    pub detail: String,
}

/// Names an account without a User in events.
pub(crate) fn account_name(id: AccountId) -> String {
    format!("account:{}", id.0)
}

/// Names what an event is about: the User, or the account where there is none.
pub(crate) fn subject_name(account: AccountId, resource: Option<&str>) -> String {
    resource.map_or_else(|| account_name(account), str::to_owned)
}

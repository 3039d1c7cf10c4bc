//! The table `made_under`: what the sessions in the store were made under, which the configuration must still say.
//!
//! Each login writes down its IdP with the issuer, the provisioning and the directory, and each start and reload what may
//! be signed in by from then on. At the next one the set is compared with what is configured now; whatever is not configured any more has its epoch raised, so nobody
//! stays in by an IdP that was removed, or by a directory nobody feeds. It is one function for both roads.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_policy::{Change, DirectoryId, OrgId, Scope, Timestamp};
use portcullis_session::Committed;
use serde_json::json;

use crate::engine::Tx;
use crate::log::{Origin, TxLog};
use crate::writer::Lane;
use crate::{Store, StoreError, epoch, head};

/// The sources of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A SCIM client feeds the directory.
    Scim,
    /// An operator adds them.
    Invited,
    /// There is no directory.
    None,
}

impl Mode {
    /// The word of the configuration.
    pub fn config_word(self) -> &'static str {
        match self {
            Self::Scim => "scim",
            Self::Invited => "invited",
            Self::None => "none",
        }
    }
}

/// The IdPs and sources that the configuration lets sessions be made under, in one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The identity providers: name and issuer.
    pub idps: BTreeSet<(String, String)>,
    /// The names of identity providers whose issuer is not known yet. Nobody stays in by one, and logins may begin.
    pub unknown: BTreeSet<String>,
    /// The source of people.
    pub mode: Mode,
    /// The directories; none with [`Mode::None`].
    pub directories: BTreeSet<DirectoryId>,
}

/// The IdP and source that one session is made under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Under<'a> {
    pub(crate) idp: &'a str,
    pub(crate) issuer: &'a str,
    pub(crate) mode: Mode,
    pub(crate) directory: Option<DirectoryId>,
}

/// Takes down what a session is made under, in the transaction that makes it.
pub(crate) async fn note_standing(tx: &mut Tx, org: OrgId, under: Under<'_>) -> Result<(), StoreError> {
    let sql = "insert into made_under (organization, idp, issuer, provisioning, directory) \
               values ($1, $2, $3, $4, $5) on conflict do nothing";
    let directory = under.directory.unwrap_or(NOWHERE);
    let args = [
        org.into(),
        under.idp.into(),
        under.issuer.into(),
        under.mode.config_word().into(),
        directory.into(),
    ];
    tx.run(sql, &args).await.map(drop)
}

/// The id that stands for no directory.
const NOWHERE: DirectoryId = DirectoryId(0);

/// A row of the table.
#[derive(Clone, Debug)]
struct StandingRow {
    idp: String,
    issuer: String,
    provisioning: String,
    directory: i64,
}

impl Standing {
    /// Everything that a session may be made under.
    fn each_under(&self) -> impl Iterator<Item = Under<'_>> {
        let nowhere = (self.mode == Mode::None).then_some(None);
        let directories: Vec<_> = self.directories.iter().copied().map(Some).chain(nowhere).collect();
        self.idps.iter().flat_map(move |(idp, issuer)| {
            let under = move |directory| Under { idp, issuer, mode: self.mode, directory };
            directories.clone().into_iter().map(under)
        })
    }

    fn admits_idp(&self, row: &StandingRow) -> bool {
        self.idps.contains(&(row.idp.clone(), row.issuer.clone()))
    }

    fn admits_people(&self, row: &StandingRow) -> bool {
        let is_of_directory = match self.mode {
            Mode::None => row.directory == i64::from(NOWHERE.0),
            _ => self.directories.iter().any(|directory| i64::from(directory.0) == row.directory),
        };
        row.provisioning == self.mode.config_word() && is_of_directory
    }
}

impl Store {
    /// Compares what the sessions were made under with what is configured, and ends those whose IdP, provisioning or
    /// directory is not any more: says of which scopes. The changes also bring the epochs that are in force now, for
    /// logins to begin under.
    ///
    /// # Errors
    /// Nothing has ended.
    pub async fn set_standing(
        &self,
        org: OrgId,
        standing: Standing,
        origin: &Origin,
        now: Timestamp,
    ) -> Result<Committed<Vec<Scope>>, StoreError> {
        let origin = origin.clone();
        self.write_in(Lane::Removal, move |tx| {
            Box::pin(async move { apply_standing(tx, org, &standing, &origin, now).await })
        })
        .await
    }
}

async fn apply_standing(
    tx: &mut Tx,
    org: OrgId,
    standing: &Standing,
    origin: &Origin,
    now: Timestamp,
) -> Result<Committed<Vec<Scope>>, StoreError> {
    let mut ended: Vec<Scope> = Vec::new();
    let before = standing_rows(tx, org).await?;
    for row in &before {
        let mut out = Vec::new();
        if !standing.admits_idp(row) {
            out.push(Scope::Idp(org, row.idp.as_str().into()));
        }
        if !standing.admits_people(row) {
            out.push(Scope::Org(org));
        }
        if out.is_empty() {
            continue;
        }
        let sql = "delete from made_under where organization = $1 and idp = $2 and issuer = $3 \
                   and provisioning = $4 and directory = $5";
        let args = [
            org.into(),
            (&row.idp).into(),
            (&row.issuer).into(),
            (&row.provisioning).into(),
            row.directory.into(),
        ];
        tx.run(sql, &args).await?;
        out.into_iter().for_each(|scope| {
            if !ended.contains(&scope) {
                ended.push(scope);
            }
        });
    }
    // Also what nobody has signed in by yet: a login may be under way there when it goes.
    for under in standing.each_under() {
        note_standing(tx, org, under).await?;
    }
    let mut log = TxLog::new(org, None, origin, now);
    for scope in &ended {
        let number = epoch::raise_epoch(tx, scope).await?;
        let name = epoch::scope_name(scope);
        log.add_audit(
            "session.end",
            "done",
            None,
            json!({ "scope": name, "why": "not configured any more" }),
        );
        log.add_event("sessions.ended", name, json!({}));
        log.add_change(Change::Epoch(scope.clone(), number));
    }
    let (mut changes, seq) = if ended.is_empty() {
        (Vec::new(), head::log_seq(tx).await?)
    } else {
        let sealed = log.seal(tx, ()).await?;
        (sealed.changes().to_vec(), sealed.seq())
    };
    changes.extend(in_force(tx, org, standing).await?);
    let takes_away = !ended.is_empty();
    Ok(Committed::new(ended, changes, seq, takes_away))
}

async fn standing_rows(tx: &mut Tx, org: OrgId) -> Result<Vec<StandingRow>, StoreError> {
    let sql = "select idp, issuer, provisioning, directory from made_under where organization = $1";
    let rows = tx.rows(sql, &[org.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok(StandingRow {
                idp: row.text(0)?.to_owned(),
                issuer: row.text(1)?.to_owned(),
                provisioning: row.text(2)?.to_owned(),
                directory: row.int(3)?,
            })
        })
        .collect()
}

/// The epochs of everything that is configured, as changes that say nothing new.
async fn in_force(tx: &mut Tx, org: OrgId, standing: &Standing) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    for idp in standing.idps.iter().map(|(idp, _)| idp).chain(&standing.unknown) {
        let idp: Arc<str> = idp.as_str().into();
        let numbers = epoch::read_epochs(tx, org, &idp).await?;
        let scopes = [Scope::Deployment, Scope::Org(org), Scope::Idp(org, idp)];
        changes.extend(scopes.into_iter().zip(numbers).map(|(scope, number)| Change::Epoch(scope, number)));
    }
    Ok(changes)
}

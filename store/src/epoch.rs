//! The table `epoch`: one number a scope that only grows; sessions born under a smaller one are over (R7).

use portcullis_policy::{OrgId, Scope};

use crate::StoreError;
use crate::engine::Tx;
use crate::log::scope_key;

/// The scopes of the three epochs that [`read_epochs`] gives, for messages.
pub(crate) const SCOPES: [&str; 3] = ["the deployment", "the organization", "the IdP"];

/// Names a scope as the log does.
pub(crate) fn scope_name(scope: &Scope) -> String {
    match scope {
        Scope::Deployment => "deployment".to_owned(),
        Scope::Org(org) => format!("organization:{}", org.0),
        Scope::Idp(_, idp) => format!("idp:{idp}"),
    }
}

/// The epochs a session of this IdP is under: of the deployment, the organization, the IdP.
pub(crate) async fn read_epochs(tx: &mut Tx, org: OrgId, idp: &str) -> Result<[u64; 3], StoreError> {
    let sql = "select organization, idp, number from epoch \
               where (organization = 0 and idp = '') or (organization = $1 and (idp = '' or idp = $2))";
    let mut epochs = [0; 3];
    for row in tx.rows(sql, &[org.into(), idp.into()]).await? {
        let which = match (row.int(0)?, row.text(1)?) {
            (0, _) => 0,
            (_, "") => 1,
            _ => 2,
        };
        epochs[which] = epoch_number(row.int(2)?)?;
    }
    Ok(epochs)
}

/// Raises the epoch of a scope and returns it.
pub(crate) async fn raise_epoch(tx: &mut Tx, scope: &Scope) -> Result<u64, StoreError> {
    let (org, idp) = scope_key(scope);
    let sql = "insert into epoch (organization, idp, number) values ($1, $2, 1) \
               on conflict (organization, idp) do update set number = epoch.number + 1 returning number";
    epoch_number(tx.one(sql, &[org.into(), idp.into()]).await?.int(0)?)
}

/// An epoch as it stands in a row.
pub(crate) fn epoch_number(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Unreadable {
        table: "epoch",
        row: number.to_string(),
        what: "the number",
    })
}

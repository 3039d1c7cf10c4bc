//! The table `flow`: numbers that count once, until they could no longer be brought again. Logins (a flow is sealed in the
//! browser's own cookie), assertions of SAML, logout messages: here stands only that it was.

use portcullis_policy::{OrgId, Timestamp};

use crate::StoreError;
use crate::engine::Tx;

/// Spends a number; false where it was spent already.
pub(crate) async fn spend_number(
    tx: &mut Tx,
    org: OrgId,
    id: &[u8],
    until: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "insert into flow (organization, id, until) values ($1, $2, $3) on conflict do nothing";
    Ok(tx.run(sql, &[org.into(), id.into(), until.into()]).await? == 1)
}

/// Takes back what this very transaction has spent.
pub(crate) async fn give_back(tx: &mut Tx, org: OrgId, id: &[u8]) -> Result<(), StoreError> {
    let sql = "delete from flow where organization = $1 and id = $2";
    tx.run(sql, &[org.into(), id.into()]).await.map(drop)
}

//! The table `flow`: login flows that were used. A flow is sealed in the browser's own cookie; here only stands, until
//! it could no longer be presented, that it was.

use portcullis_policy::{OrgId, Timestamp};

use crate::StoreError;
use crate::engine::Tx;

/// Spends a flow; false where it was spent already.
pub(crate) async fn spend_flow(
    tx: &mut Tx,
    org: OrgId,
    id: &[u8],
    until: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "insert into flow (organization, id, until) values ($1, $2, $3) on conflict do nothing";
    Ok(tx.run(sql, &[org.into(), id.into(), until.into()]).await? == 1)
}

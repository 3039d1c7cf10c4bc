//! The table `head`: one row from which log numbers and row numbers are drawn, in the transaction that uses them. So
//! log numbers come in the order of commits, without gaps, and none is ever used twice.

use portcullis_policy::Seq;

use crate::StoreError;
use crate::engine::Tx;

/// The log number of the snapshot.
pub(crate) async fn log_seq(tx: &mut Tx) -> Result<Seq, StoreError> {
    Ok(Seq(tx.one("select seq from head where one = 1", &[]).await?.int(0)?))
}

/// The next log number: one a commit.
pub(crate) async fn next_seq(tx: &mut Tx) -> Result<Seq, StoreError> {
    let row = tx.one("update head set seq = seq + 1 where one = 1 returning seq", &[]).await?;
    Ok(Seq(row.int(0)?))
}

/// The next number of an account or a resource.
pub(crate) async fn next_row(tx: &mut Tx) -> Result<i64, StoreError> {
    next_rows(tx, 1).await
}

/// The last of the next so many numbers.
pub(crate) async fn next_rows(tx: &mut Tx, many: i64) -> Result<i64, StoreError> {
    let sql = "update head set last_row = last_row + $1 where one = 1 returning last_row";
    tx.one(sql, &[many.into()]).await?.int(0)
}

//! The table `head`: one row from which log numbers and row numbers are drawn, in the transaction that uses them. So
//! log numbers come in the order of commits, without gaps, and none is ever used twice.

use portcullis_policy::Seq;

use crate::StoreError;
use crate::engine::{SqlRow, Tx};
use crate::script::Script;

/// The log number of the snapshot.
pub(crate) async fn log_seq(tx: &mut Tx) -> Result<Seq, StoreError> {
    Ok(Seq(tx.one("select seq from head where one = 1", &[]).await?.int(0)?))
}

/// Draws the next log number, one a commit, as the first statement of a script.
pub(crate) fn draw_seq(script: &mut Script<'_>) {
    script.add("update head set seq = seq + 1 where one = 1 returning seq", []);
}

/// The log number that was drawn, for the rows of the same script.
pub(crate) const DRAWN: &str = "(select seq from head where one = 1)";

/// The number that a script drew.
pub(crate) fn drawn_seq(rows: &[SqlRow]) -> Result<Seq, StoreError> {
    let missing = StoreError::Unreadable { table: "head", row: "1".to_owned(), what: "it is not there" };
    rows.first().ok_or(missing)?.int(0).map(Seq)
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

/// A commit of nothing, for tests of what is between commits.
#[cfg(test)]
pub(crate) async fn next_seq(tx: &mut Tx) -> Result<Seq, StoreError> {
    let mut script = Script::new();
    draw_seq(&mut script);
    drawn_seq(&tx.run_script(script).await?)
}

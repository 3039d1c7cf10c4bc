//! What SQLite can say of its own file.

use super::{RESTORE, RuleBook, StoreRule, TOLD};
use crate::StoreError;
use crate::engine::Engine;

/// Pages, indexes, types, constraints. Its lines name tables, indexes and numbers of rows, and no value.
pub(super) async fn look_at_pages(engine: &Engine, book: &mut RuleBook) -> Result<(), StoreError> {
    let mut tx = engine.snapshot().await?;
    let pages = tx.one("pragma page_count", &[]).await?.int(0)?;
    book.count_looked_at(StoreRule::File, usize::try_from(pages).unwrap_or_default());
    // It stops at as many faults as these, which is as many as are told.
    debug_assert_eq!(TOLD, 20);
    for row in tx.rows("pragma integrity_check(20)", &[]).await? {
        let line = row.text(0)?;
        for line in line.lines().filter(|line| *line != "ok") {
            book.add_broken(StoreRule::File, "the file", line, RESTORE);
        }
    }
    Ok(())
}

/// Rows that name what is not there, counted by table.
pub(super) async fn look_at_references(engine: &Engine, book: &mut RuleBook) -> Result<(), StoreError> {
    let mut tx = engine.snapshot().await?;
    let sql = "select count(distinct m.name) from sqlite_schema m join pragma_foreign_key_list(m.name) f \
               where m.type = 'table'";
    let tables = tx.one(sql, &[]).await?.int(0)?;
    book.count_looked_at(StoreRule::References, usize::try_from(tables).unwrap_or_default());
    let sql = "select \"table\", parent, count(*) from pragma_foreign_key_check group by 1, 2 order by 1, 2";
    for row in tx.rows(sql, &[]).await? {
        let (table, parent, rows) = (row.text(0)?, row.text(1)?, row.int(2)?);
        let what = format!("{rows} of its rows name a row of {parent} that is not there");
        book.add_broken(StoreRule::References, table, what, RESTORE);
    }
    Ok(())
}

//! The schema's history. Migrations only add; what they replace goes one release later, so that a release reads what
//! the one before wrote and the other way round. A schema too new is refused by name.

use std::path::Path;

use portcullis_scim::Schemas;

use crate::OpenError;
use crate::attr;
use crate::engine::{APPLICATION_ID, Tx};
use crate::error::StoreError;

/// One step, as text for the engine. Numbers start at 1 and have no gaps.
struct Migration {
    number: i64,
    name: &'static str,
    sql: &'static str,
    /// Rows of `attr` are made of what is there, behind the text: they are folded by the program, not by the engine.
    fills_attributes: bool,
}

const MIGRATIONS: &[Migration] = &[
    step(1, "first", include_str!("sqlite/0001_first.sql")),
    step(2, "idp_keys", include_str!("sqlite/0002_idp_keys.sql")),
    step(3, "tokens", include_str!("sqlite/0003_tokens.sql")),
    Migration { fills_attributes: true, ..step(4, "search", include_str!("sqlite/0004_search.sql")) },
    step(5, "repeats", include_str!("sqlite/0005_repeats.sql")),
    step(6, "search_schema", include_str!("sqlite/0006_search_schema.sql")),
    step(7, "tally", include_str!("sqlite/0007_tally.sql")),
    step(8, "assertion_keys", include_str!("sqlite/0008_assertion_keys.sql")),
];

const fn step(number: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration { number, name, sql, fills_attributes: false }
}

/// The newest schema this release knows.
pub(crate) const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].number;

/// Brings the schema up to date, in one transaction, or leaves it as it was.
pub(crate) async fn migrate_schema(tx: &mut Tx, path: &Path, schemas: &Schemas) -> Result<(), OpenError> {
    let failed = |source| OpenError::Store { path: path.to_owned(), source };
    tx.plain("begin immediate").await.map_err(failed)?;
    let outcome = async {
        let found = found_schema(tx, path).await?;
        for migration in MIGRATIONS.iter().filter(|migration| migration.number > found) {
            run_migration(tx, migration, schemas).await.map_err(|source| OpenError::Migration {
                path: path.to_owned(),
                number: migration.number,
                name: migration.name,
                source,
            })?;
        }
        tx.plain("commit").await.map_err(failed)
    }
    .await;
    if outcome.is_err() {
        // The connection is given up with the start; what has begun is taken back with it.
        let _ = tx.plain("rollback").await;
    }
    outcome
}

/// The number of the schema in the file; 0 for an empty one.
pub(crate) async fn found_schema(tx: &mut Tx, path: &Path) -> Result<i64, OpenError> {
    let failed = |source| OpenError::Store { path: path.to_owned(), source };
    let (tables, application) = file_identity(tx).await.map_err(failed)?;
    if tables == 0 {
        return Ok(0);
    }
    if application != APPLICATION_ID {
        return Err(OpenError::NotOurs { path: path.to_owned() });
    }
    let (found, name) = newest_applied(tx).await.map_err(failed)?;
    if found > KNOWN {
        return Err(OpenError::TooNew { path: path.to_owned(), found, name, known: KNOWN });
    }
    Ok(found)
}

async fn file_identity(tx: &mut Tx) -> Result<(i64, i64), StoreError> {
    let tables = tx.one("select count(*) from sqlite_schema", &[]).await?.int(0)?;
    let application = tx.one("pragma application_id", &[]).await?.int(0)?;
    Ok((tables, application))
}

async fn newest_applied(tx: &mut Tx) -> Result<(i64, String), StoreError> {
    let row = tx.row("select number, name from migration order by number desc limit 1", &[]).await?;
    row.map_or(Ok((0, String::new())), |row| Ok((row.int(0)?, row.text(1)?.to_owned())))
}

async fn run_migration(tx: &mut Tx, migration: &Migration, schemas: &Schemas) -> Result<(), StoreError> {
    tx.plain(migration.sql).await?;
    if migration.fills_attributes {
        attr::fill_attributes(tx, schemas).await?;
    }
    let args = [migration.number.into(), migration.name.into()];
    tx.run("insert into migration (number, name) values ($1, $2)", &args).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_in_order_without_gaps() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(usize::try_from(migration.number).unwrap(), index + 1, "{}", migration.name);
        }
    }
}

//! Looks at the plan of every statement before its first use. Debug builds only: so in every test of the workspace.
//!
//! The rule it protects: no statement reads a table as a whole that grows with the directory. Plans hang on the text
//! and on the schema alone, since nothing ever gathers statistics (`analyze`): what a small store of a test shows is
//! what the largest one does. A statement that has to read much stands in [`WHOLE`], with the reason.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

/// Tables of a few rows, whatever the directory.
const SMALL: [&str; 12] = [
    "head",
    "migration",
    "epoch",
    "made_under",
    "bar_key",
    "assertion_key",
    "idp_key",
    "distrusted_key",
    "token",
    "search_schema",
    "tally",
    "sqlite_schema",
];

/// Columns that many rows have in common: who pins these alone still reads a good part of the table.
const COARSE: [&str; 9] =
    ["organization", "directory", "kind", "path", "item", "idp", "issuer", "app", "place"];

/// Statements that may read much, by what they end in or hold: the table they may read, and why.
const WHOLE: &[(&str, &str, &str)] = &[
    (
        "r.deleted is null order by r.rid limit $4 offset $5",
        "resource",
        "a page of it, from the index it is in the order of",
    ),
    (
        "/* the whole directory */ ",
        "resource",
        "a filter or an order that no index serves; it has a time limit",
    ),
    ("/* every value of a path */ ", "attr", "contains, ends with, is there; it has a time limit"),
    (
        "where (organization, directory, rid) > ($1, $2, $3) ",
        "resource",
        "a page of everything, where a migration or another declaration of attributes makes the rows of attr",
    ),
    ("order by rid desc limit $3", "resource", "the newest few, from the end of an index"),
    (
        "select min(f.directory) from resource f where f.organization = $1 ",
        "resource",
        "the first directory, from the front of the key",
    ),
    (
        "told is not null",
        "account",
        "an operator names an address; people without a directory are looked through",
    ),
    ("1 = 1", "session", "all sessions, counted by a tick and where an operator ends them"),
    ("s.organization = $2", "session", "counted where an operator ends all sessions of an organization"),
    ("s.organization = $2 and s.idp = $3", "session", "counted where all sessions of an IdP end"),
    ("select count(*) from link", "link", "counted where a lost master key is given up"),
    ("select count(*) from barred", "barred", "counted where a lost master key is given up"),
    ("from barred order by since, account", "barred", "told where a lost master key is given up"),
    ("from barred where subject is not null", "barred", "barred again by another key"),
    ("issuer <> $3 and subject is not null", "barred", "an operator says that one IdP replaces another"),
    ("select organization, issuer, subject from link", "link", "hashed anew by another key"),
    (
        "group by idp, issuer order by 1, 2",
        "link",
        "which IdPs people are linked through, at a start and a reload",
    ),
    ("issuer > $2 order by issuer limit 1", "link", "the next issuer, one step of the key"),
    ("order by seq desc, n desc limit $2", "event", "the newest few, from the end of the key"),
    ("order by seq desc, n desc limit $2", "audit", "the newest few, from the end of the key"),
    ("order by seq, n limit $1", "event", "the oldest few, from the front of the key"),
    ("order by seq, n limit $1", "audit", "the oldest few, from the front of the key"),
    ("order by seq, n limit $1", "revocation", "the oldest few, from the front of the key"),
    ("/* store check */ ", "resource", CHECKED),
    ("/* store check */ ", "member", CHECKED),
    ("/* store check */ ", "account", CHECKED),
    ("/* store check */ ", "session", CHECKED),
    ("/* store check */ ", "link", CHECKED),
    ("/* store check */ ", "barred", CHECKED),
    ("/* store check */ ", "event", CHECKED),
    ("/* store check */ ", "audit", CHECKED),
    ("/* store check */ ", "revocation", CHECKED),
    ("/* store check */ ", "repeat", CHECKED),
    ("order by n limit $1", "refusal", "the oldest few, from the front of the key"),
];

/// The reason of every statement of [`verify`](crate::verify).
const CHECKED: &str =
    "an operator has the whole database checked; it is read once, and on connections of its own";

/// Fails where a statement that was not seen before reads a table as a whole.
pub(crate) async fn check_plan(connection: &mut SqliteConnection, sql: &str) {
    static SEEN: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    if !SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(sql.to_owned()) {
        return;
    }
    if let Err(wrong) = bad_plan_line(connection, sql).await {
        panic!(
            "this statement reads a whole table that grows with the directory: {wrong}\n{sql}\n\
             Give it an index, fix the order of its tables by cross join, or put it into WHOLE with the reason"
        );
    }
}

/// The line of the plan that is not to be, if there is one.
async fn bad_plan_line(connection: &mut SqliteConnection, sql: &str) -> Result<(), String> {
    // What cannot be explained (a pragma, a statement with a mistake) is for its own execution to say.
    let plan = sqlx::query(AssertSqlSafe(format!("explain query plan {sql}")))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .unwrap_or_default();
    let tables: Vec<String> = sqlx::query("select name from sqlite_schema where type = 'table'")
        .fetch_all(&mut *connection)
        .await
        .unwrap_or_default()
        .iter()
        .map(|row| row.get(0))
        .collect();
    for row in &plan {
        let detail: &str = row.get("detail");
        let Some((verb, rest)) =
            detail.split_once(' ').filter(|(verb, _)| matches!(*verb, "SCAN" | "SEARCH"))
        else {
            continue;
        };
        let name = rest.split(' ').next().unwrap_or_default();
        let Some(table) = table_of(sql, name, &tables).filter(|table| !SMALL.contains(table)) else {
            continue;
        };
        let is_pinned = verb == "SEARCH" && !rest.contains("AUTOMATIC") && pins_rows(rest);
        // What ends in a blank stands within the statement.
        let is_there =
            |part: &str| if part.ends_with(' ') { sql.contains(part) } else { sql.ends_with(part) };
        let is_known = WHOLE.iter().any(|(part, known, _)| *known == table && is_there(part));
        if !is_pinned && !is_known {
            return Err(format!("{table}: {detail}"));
        }
    }
    Ok(())
}

/// Tells whether a search is for more than what many rows have in common. One without conditions is for the least or
/// the largest value alone.
fn pins_rows(rest: &str) -> bool {
    let Some((_, conditions)) = rest.rsplit_once('(') else { return true };
    let mut columns = conditions
        .trim_end_matches(')')
        .split(" AND ")
        .filter_map(|condition| condition.split(['=', '<', '>']).next());
    // A step from one directory to the next is one row.
    rest.contains("directory>") || columns.any(|column| !COARSE.contains(&column))
}

/// The table that a name stands for; none where it is a part of the statement itself.
fn table_of<'a>(sql: &str, name: &str, tables: &'a [String]) -> Option<&'a str> {
    let is_table = |word: &str| tables.iter().find(|table| *table == word).map(String::as_str);
    let words: Vec<&str> = sql
        .split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ','))
        .filter(|word| !word.is_empty())
        .collect();
    let aliased = words.windows(3).find_map(|words| match words {
        ["from" | "join" | "update" | "into", table, alias] if *alias == name => Some(*table),
        _ => None,
    });
    aliased.map_or_else(|| is_table(name), is_table)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_scim::Schemas;
    use sqlx::ConnectOptions;

    use super::*;
    use crate::Store;

    async fn connection() -> (tempfile::TempDir, SqliteConnection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        let store = Store::open(&path, Arc::new(Schemas::core_schemas())).await.unwrap();
        let connection = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        store.close().await;
        (folder, connection)
    }

    #[tokio::test]
    async fn a_statement_that_reads_a_whole_table_is_found() {
        let (_folder, mut connection) = connection().await;
        for bad in [
            "select 1 from member where organization = $1 and directory = $2",
            // As SQLite plans it where the order is left to it, and where it is the wrong one.
            "with recursive above(team) as ( \
             select team from member where organization = $1 and directory = $2 and member = $3 union \
             select m.team from member m join above a on m.member = a.team \
             where m.organization = $1 and m.directory = $2) select team from above",
            "delete from barred where organization = $1 and since < $2",
            "with recursive above(team) as (select $3 union \
             select m.team from member m cross join above a \
             where m.organization = $1 and m.directory = $2 and m.member = a.team) select team from above",
            "select 1 from attr where organization = $1 and directory = $2 and kind = 'User' and path = 'active'",
            "select 1 from attr where value = $1",
            "select count(*) from resource r where r.name = $1",
            "update resource set version = version + 1 where organization = $1 and directory = $2 and doc = $3",
            "delete from session where organization = $1 and idp = $2",
            "select r.id from resource r join account a on a.generation = r.version where r.rid = $1",
        ] {
            assert!(bad_plan_line(&mut connection, bad).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_statement_that_goes_by_keys_passes() {
        let (_folder, mut connection) = connection().await;
        for good in [
            "select 1 from member where organization = $1 and directory = $2 and team = $3",
            "select 1 from attr where organization = $1 and directory = $2 and kind = 'User' and path = 'active' and value = $3",
            "select count(*) from epoch",
            "select coalesce(max(n), 0) from refusal",
            "with n(n) as (select 1) select count(*) from n",
            "insert into member (organization, directory, team, member) values ($1, $2, $3, $4)",
        ] {
            bad_plan_line(&mut connection, good).await.unwrap();
        }
    }

    /// What a deletion takes with it is looked up by these, and no plan shows it.
    #[tokio::test]
    async fn every_reference_to_another_table_has_an_index() {
        let (_folder, mut connection) = connection().await;
        let references = "select m.name, f.id, group_concat('f.' || f.\"from\" || ' = 1', ' and ') \
                          from sqlite_schema m join pragma_foreign_key_list(m.name) f \
                          where m.type = 'table' group by m.name, f.id";
        let found = sqlx::query(references).fetch_all(&mut connection).await.unwrap();
        assert!(found.len() >= 5, "{}", found.len());
        for row in found {
            let (table, condition): (&str, &str) = (row.get(0), row.get(2));
            bad_plan_line(&mut connection, &format!("select 1 from {table} f where {condition}"))
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn nothing_gathers_statistics_that_plans_would_hang_on() {
        let (_folder, mut connection) = connection().await;
        let statistics = "select count(*) from sqlite_schema where name like 'sqlite_stat%'";
        assert_eq!(sqlx::query(statistics).fetch_one(&mut connection).await.unwrap().get::<i64, _>(0), 0);
    }
}

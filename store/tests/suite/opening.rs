//! Opening: what is refused by name, who may read the file, what a restart finds.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use portcullis_scim::Schemas;
use portcullis_store::{OpenError, Store};
use sqlx::ConnectOptions;

use crate::support::Rig;

async fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, Arc::new(Schemas::core_schemas())).await
}

async fn run(path: &Path, sql: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut other = options.connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name_and_left_alone() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    rig.store.close().await;
    run(&rig.path, "insert into migration (number, name) values (1000, 'later')").await;
    let error = open(&rig.path).await.err().unwrap();
    assert!(matches!(error, OpenError::TooNew { found: 1000, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("number 1000 (later)") && text.contains("newer release"), "{text}");
    run(&rig.path, "delete from migration where number = 1000").await;
    let rig = rig.reopened().await;
    assert_eq!(rig.list("/Users").await.total, 1);
}

/// What an earlier release left: no row of what it did not search by, no table for what is long.
#[tokio::test]
async fn an_upgrade_makes_the_rows_that_filters_ask_for() {
    let rig = Rig::new().await;
    let title = "x".repeat(3_000);
    for n in 0..450 {
        let body = serde_json::json!({
            "schemas": [crate::support::USER], "userName": format!("user{n}"), "title": title,
            "emails": [{ "value": format!("{n}@corp.test"), "type": "work" }],
        });
        rig.post("/Users", body).await;
    }
    rig.delete(&format!("/Users/{}", rig.list("/Users?count=1").await.records[0].id)).await.value.unwrap();
    rig.store.close().await;
    run(
        &rig.path,
        "drop index resource_modified; drop index resource_created; \
         delete from attr where length(value) > 1024 or path in ('schemas', 'emails') or rid % 3 = 0; \
         drop table long_value; drop table repeat; drop table search_schema; \
         drop trigger tally_made; drop trigger tally_moved; drop trigger tally_gone; drop table tally; \
         drop table assertion_key; drop index account_stable; alter table account drop column stable_id; \
         delete from migration where number >= 4",
    )
    .await;
    let rig = rig.reopened().await;
    for (filter, total) in [
        ("title%20pr", 449),
        ("title%20ew%20%22xx%22", 449),
        ("emails%20pr", 449),
        ("emails.value%20eq%20%2233@corp.test%22", 1),
        ("not%20(userName%20eq%20%22user7%22)", 448),
    ] {
        assert_eq!(rig.list(&format!("/Users?count=0&filter={filter}")).await.total, total, "{filter}");
    }
    rig.reopened().await;
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    run(&path, "create table migration (number integer, name text)").await;
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(open(&path).await, Err(OpenError::NotOurs { .. })));
    let tables = std::fs::read(&path).unwrap();
    assert_eq!(before.len(), tables.len());
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.db");
    std::fs::write(&path, "this is a text file, and long enough to be taken for a header").unwrap();
    let error = open(&path).await.err().unwrap();
    assert!(matches!(error, OpenError::Store { .. }), "{error:?}");
    let error = open(&folder.path().join("missing/portcullis.db")).await.err().unwrap();
    assert!(matches!(error, OpenError::File { .. }), "{error:?}");
}

#[tokio::test]
async fn every_file_is_for_its_owner_alone() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let mut files = 0;
    for entry in std::fs::read_dir(rig.path.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert!(files >= 2, "the database and its log");
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    rig.add_group("crew", &[&alice.id]).await;
    let (hash, _) = rig.sign_in("s1", "alice").await;
    let seq = rig.store.last_seq().await.unwrap();
    let rig = rig.reopened().await;
    assert_eq!(rig.store.last_seq().await.unwrap(), seq);
    assert!(rig.is_in(&hash).await);
    assert_eq!(rig.get(&crate::support::user_path(&alice)).await.unwrap().groups.len(), 1);
    let (_, again) = rig.sign_in("s1", "x").await;
    assert!(!again.is_first);
    let bob = rig.add_user("bob").await;
    assert_ne!(bob.id, alice.id);
    rig.store.ping().await.unwrap();
}

#[tokio::test]
async fn tables_are_strict_and_foreign_keys_hold() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&rig.path).foreign_keys(true);
    let mut other = options.connect().await.unwrap();
    let wrong = [
        "update account set active = 'yes'",
        "insert into head (one, seq, last_row) values (2, 0, 0)",
        "insert into session (organization, hash, account, app, idp, generation, epoch_deployment, \
           epoch_organization, epoch_idp, created, seen, expires) values (1, x'00', 99, 1, 'okta', 0, 0, 0, 0, 0, 0, 0)",
        // The uniqueness of links is the database's.
        "insert into link (organization, idp, issuer, subject, account, place, keyed, key, created) \
           select 1, 'a', 'b', column1, (select min(id) from account), 0, x'00', 1, 0 from (values ('s1'), ('s2'))",
        "insert into resource (organization, directory, rid, kind, id, doc, name, display, had_external_id, \
           version, created, modified) values (1, 1, 99, 'User', 'x', '{}', 'alice', 'alice', 0, 1, 0, 0)",
    ];
    for sql in wrong {
        assert!(sqlx::raw_sql(sql).execute(&mut other).await.is_err(), "{sql}");
    }
}

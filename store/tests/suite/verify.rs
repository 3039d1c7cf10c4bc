//! `store check`: whatever a statement can do to a database behind the store's back is found, under the rule that it
//! breaks, and a database that nobody touched keeps every rule.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_scim::{BulkWrite, ScimRequest};
use portcullis_store::{Origin, Repeat, RuleOutcome, StoreRule, VerifyError, WriteTerms, verify_in};
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use crate::declared::{ACME, every_type, extension};
use crate::size::people;
use crate::support::{HERE, NOW, ORG, Rig, USER, user_path};

/// A store with a row of everything: people who are in, inactive, disabled and removed, groups in groups, long values,
/// attributes of an extension, a remembered operation.
async fn furnished() -> Rig {
    let rig = Rig::speaking(extension(every_type())).await;
    let about = "x".repeat(2_000);
    let alice = json!({
        "schemas": [USER, ACME], "userName": "alice", "externalId": "e-alice", "active": true, "title": about,
        ACME: { "costCenter": "cc-1", "skills": ["rust", "sql"], "desk": "d-1" },
    });
    let alice = rig.post("/Users", alice).await;
    let [bob, _carol, dora] =
        [rig.add_user("bob").await, rig.add_user("carol").await, rig.add_user("dora").await];
    let crew = rig.add_group("crew", &[&alice.id, &bob.id, &dora.id]).await;
    rig.add_group("everybody", &[&crew.id]).await;
    for name in ["alice", "bob", "carol", "dora"] {
        rig.sign_in(&format!("s-{name}"), name).await;
    }
    rig.set_active(&bob, false).await.value.unwrap();
    rig.sign_out_by_hand("carol").await;
    rig.delete(&user_path(&dora)).await.value.unwrap();
    let ended = portcullis_store::Which::Deployment;
    let ended = rig.store.end_sessions_of(ended, &Origin::of_actor("cli"), NOW).await.unwrap();
    rig.done(ended).await;
    rig.sign_in("s-alice", "alice").await;
    remember_operation(&rig).await;
    rig
}

async fn remember_operation(rig: &Rig) {
    let data = json!({ "schemas": [USER], "userName": "erin" });
    let operation =
        json!({ "method": "POST", "path": "/Users", "bulkId": "1", "data": data, "idempotencyKey": "k" });
    let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": [operation] });
    let ScimRequest::Bulk(mut bulk) = rig.read("POST", "/Bulk", None, &body) else { panic!() };
    for BulkWrite { write, repeat, .. } in bulk.next_piece(&rig.schemas) {
        let terms = WriteTerms {
            repeat: repeat.map(|repeat| Repeat::new(&[1; 32], &repeat)),
            ..WriteTerms::default()
        };
        let origin = Origin::of_actor("scim:test");
        let written = rig.store.write_on_terms(ORG, HERE, &write, terms, &origin, NOW).await.unwrap();
        rig.done(written.map(|written| written.answer)).await.value.unwrap();
    }
}

/// A copy of the database, as a backup would be, that a test may damage.
async fn copy(rig: &Rig, name: &str) -> PathBuf {
    let path = rig.path.with_file_name(format!("{name}.db"));
    change(&rig.path, &format!("vacuum into '{}'", path.display())).await;
    path
}

/// Does what nobody may: without references, checks, or a store.
async fn change(path: &Path, sql: &str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).foreign_keys(false);
    let mut other = options.connect().await.unwrap();
    sqlx::raw_sql("pragma ignore_check_constraints = on; pragma writable_schema = on")
        .execute(&mut other)
        .await
        .unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut other).await.unwrap();
    assert!(
        sql.starts_with("vacuum") || sql.contains("sqlite_schema") || done.rows_affected() > 0,
        "{sql}: it hits no row"
    );
    other.close().await.unwrap();
}

fn broken(outcomes: &[RuleOutcome]) -> Vec<StoreRule> {
    outcomes.iter().filter(|outcome| outcome.broken > 0).map(|outcome| outcome.rule).collect()
}

#[tokio::test]
async fn whatever_is_done_behind_the_store_s_back_is_found() {
    use StoreRule::*;
    let rig = furnished().await;
    let alice = "(select rid from resource where name = 'alice')";
    let (bob, dora) =
        ("(select rid from resource where name = 'bob')", "(select rid from resource where name = 'dora')");
    let of = |name: &str| format!("(select account from resource where name = '{name}')");
    let damages: &[(&str, &[StoreRule], &str)] = &[
        // The file, and what refers to what.
        ("delete from sqlite_schema where name = 'resource_list'", &[File], "never used"),
        (
            "update sqlite_schema set sql = replace(sql, 'kind, modified', 'kind, rid') where name = 'resource_modified'",
            &[File],
            "resource_modified",
        ),
        ("delete from head", &[Log], "ahead of the head"),
        ("delete from resource where name = 'everybody'", &[References, Members], "not there"),
        // Documents and what stands beside them.
        ("update resource set doc = 'x' where name = 'alice'", &[Documents], "cannot be read"),
        ("update resource set name = 'mallory' where name = 'alice'", &[Documents], "unique"),
        ("update resource set display = 'Mallory' where name = 'alice'", &[Documents], "shown by"),
        ("update resource set external_id = 'e-bob' where name = 'alice'", &[Documents], "external id"),
        ("update resource set had_external_id = 0 where name = 'alice'", &[Documents], "none"),
        ("update resource set version = 0 where name = 'alice'", &[Documents], "version"),
        ("update resource set deleted = 1 where name = 'crew'", &[Documents, Search, Members], "removal"),
        // Half a change: the document and not its rows, or the rows and not the document.
        (
            "update resource set doc = replace(doc, 'cc-1', 'cc-2') where name = 'alice'",
            &[Search],
            "1 rows that should",
        ),
        (&format!("delete from attr where rid = {alice} and path = 'userName'"), &[Search], "missing"),
        (
            &format!("update attr set value = 'mallory' where rid = {alice} and path = 'userName'"),
            &[Search],
            "none of its",
        ),
        (
            &format!(
                "update attr set item = 7 where rid = {alice} and path = '{ACME}:skills' and value = 'sql'"
            ),
            &[Search],
            "1 that",
        ),
        (
            &format!("update attr set kind = 'Group' where rid = {alice} and path = 'active'"),
            &[Search],
            "missing",
        ),
        (&format!("update long_value set value = value || 'y' where rid = {alice}"), &[Search], "missing"),
        (&format!("delete from long_value where rid = {alice}"), &[Search], "missing"),
        (
            &format!(
                "insert into long_value select organization, directory, rid, 'nickName', 0, 'x' from resource where rid = {bob}"
            ),
            &[Search],
            "none of its",
        ),
        (
            &format!(
                "insert into attr select organization, directory, kind, 'userName', 'dora', rid, 0 from resource where rid = {dora}"
            ),
            &[Search],
            "1 rows that find",
        ),
        // Memberships.
        (
            &format!(
                "insert into member select organization, directory, rid, {bob} from resource where rid = {alice}"
            ),
            &[Members],
            "no group",
        ),
        (
            &format!(
                "insert into member select organization, directory, rid, {dora} from resource where name = 'crew'"
            ),
            &[Members],
            "not there",
        ),
        // Accounts.
        (&format!("update account set active = 1 where id = {}", of("bob")), &[Accounts], "says inactive"),
        (
            &format!("update account set active = 0 where id = {}", of("alice")),
            &[Accounts, Sessions],
            "says active",
        ),
        (&format!("update account set active = 1 where id = {}", of("dora")), &[Accounts], "removed"),
        (&format!("update account set resource = {bob} where id = {}", of("alice")), &[Accounts], "another"),
        (&format!("update account set directory = null where id = {}", of("alice")), &[Accounts], "another"),
        ("update resource set account = null where name = 'alice'", &[Accounts], "no account"),
        (&format!("delete from account where id = {}", of("erin")), &[Accounts], "not there"),
        ("update resource set account = 1 where name = 'crew'", &[Accounts], "group"),
        // Sessions.
        (
            &format!("update account set generation = -1 where id = {}", of("alice")),
            &[Sessions],
            "ahead of its account",
        ),
        (
            &format!("update session set generation = 99 where account = {}", of("bob")),
            &[Sessions],
            "would count",
        ),
        (
            &format!("update session set generation = 99 where account = {}", of("carol")),
            &[Sessions],
            "would count",
        ),
        ("update session set epoch_deployment = 99", &[Sessions], "epoch"),
        ("update session set epoch_organization = 99", &[Sessions], "epoch"),
        ("update session set epoch_idp = 99", &[Sessions], "epoch"),
        (
            "update session set hash = x'00' where ended is null and epoch_deployment = 1",
            &[Sessions],
            "ahead",
        ),
        // Links and bars.
        (&format!("update link set account = {} where subject = 's-bob'", of("dora")), &[Links], "removed"),
        ("update link set key = 99", &[Links], "key"),
        ("update link set keyed = x''", &[Links], "hashed"),
        ("update barred set key = 99", &[Bars], "key"),
        ("update barred set word = 'maybe'", &[Bars], "no word"),
        (&format!("update account set disabled = 0 where id = {}", of("carol")), &[Bars], "not disabled"),
        // The log.
        ("update head set seq = 3", &[Log], "ahead of the head"),
        ("update head set last_row = 1", &[Log], "ahead of the head"),
        ("update event set n = 5 where seq = 1", &[Log], "missing"),
        ("update audit set n = 5 where seq = 1", &[Log], "missing"),
        ("update revocation set n = 9 where kind = 'out'", &[Log], "missing"),
        ("update revocation set kind = 'in' where kind = 'out'", &[Log], "cannot be read"),
        ("update revocation set account = null where kind = 'out'", &[Log], "cannot be read"),
        ("update account set generation = 0", &[Log], "generation"),
        ("update epoch set number = 0", &[Sessions, Log], "behind"),
        // What a repeat is answered from.
        ("update repeat set version = 99", &[Repeats], "version"),
        ("update repeat set kind = 'Group'", &[Repeats], "version"),
        // What lists tell.
        ("update tally set live = live + 1 where kind = 'User'", &[Totals], "wrong totalResults"),
        ("delete from tally where kind = 'Group'", &[Totals], "not counted"),
    ];
    let mut missed = Vec::new();
    for (nth, (sql, rules, said)) in damages.iter().enumerate() {
        let path = copy(&rig, &format!("damaged-{nth}")).await;
        change(&path, sql).await;
        let outcomes = verify_in(&path, Some(rig.schemas.clone())).await.unwrap();
        let found = broken(&outcomes);
        if !rules.iter().all(|rule| found.contains(rule)) {
            missed.push(format!("{sql}: {rules:?}, but {found:?}"));
        }
        let told: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.told).collect();
        if !told.iter().any(|row| row.what.contains(said)) {
            missed.push(format!("{sql}: nothing says {said:?}: {told:?}"));
        }
        for row in told {
            assert!(!row.remedy.is_empty() && !row.row.is_empty());
            for name in ["alice", "bob", "carol", "dora", "mallory", "cc-1", "crew"] {
                assert!(!format!("{}{}", row.row, row.what).to_lowercase().contains(name), "{sql}: {row:?}");
            }
        }
        std::fs::remove_file(&path).unwrap();
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[tokio::test]
async fn what_nobody_touched_keeps_every_rule_beside_whoever_writes() {
    let rig = Rig::new().await;
    let outcomes = verify_in(&rig.path, None).await.unwrap();
    assert_eq!(broken(&outcomes), [], "an empty one: {outcomes:#?}");
    assert_eq!(outcomes.iter().map(|outcome| outcome.rule).collect::<Vec<_>>(), StoreRule::ALL);
    let rig = furnished().await;
    let outcomes = verify_in(&rig.path, Some(rig.schemas.clone())).await.unwrap();
    assert_eq!(broken(&outcomes), [], "{outcomes:#?}");
    for outcome in &outcomes {
        assert!(outcome.looked_at > 0 && outcome.note.is_none(), "{outcome:?}");
    }
    // The store is open all the while, and writes behind it.
    rig.add_user("frank").await;
}

#[tokio::test]
async fn the_first_twenty_are_told_and_the_rest_is_counted() {
    let rig = Rig::new().await;
    people::fill(&rig.store, &rig.path, &rig.sessions, 1_000).await;
    let outcomes = verify_in(&rig.path, None).await.unwrap();
    assert_eq!(broken(&outcomes), [], "{outcomes:#?}");
    change(&rig.path, "update account set active = 0").await;
    change(&rig.path, "update resource set deleted = 1 where kind = 'User'").await;
    let outcomes = verify_in(&rig.path, None).await.unwrap();
    let of = |rule| outcomes.iter().find(|outcome| outcome.rule == rule).unwrap();
    assert_eq!((of(StoreRule::Members).broken, of(StoreRule::Members).told.len()), (20_000, 20));
    assert_eq!((of(StoreRule::Search).broken, of(StoreRule::Search).told.len()), (1_001, 20));
    assert_eq!(of(StoreRule::Accounts).broken, 0, "removed, and inactive");
}

#[tokio::test]
async fn extensions_that_others_were_declared_for_are_said_and_passed_over() {
    let rig = furnished().await;
    let digest = |outcomes: &[RuleOutcome]| {
        let search = outcomes.iter().find(|outcome| outcome.rule == StoreRule::Search).unwrap();
        assert_eq!(search.broken, 0, "{search:?}");
        search.note.clone().unwrap_or_default()
    };
    let fewer = Arc::new(extension(every_type().split_off(1)));
    assert!(digest(&verify_in(&rig.path, Some(fewer)).await.unwrap()).contains("the next start makes anew"));
    assert!(digest(&verify_in(&rig.path, None).await.unwrap()).contains("-c FILE"));
    let path = copy(&rig, "unfinished").await;
    change(&path, "update search_schema set digest = x''").await;
    assert!(digest(&verify_in(&path, Some(rig.schemas.clone())).await.unwrap()).contains("interrupted"));
    // The core's own rows are looked at all the same.
    change(&path, "delete from attr where path = 'userName'").await;
    assert_eq!(broken(&verify_in(&path, None).await.unwrap()), [StoreRule::Search]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_damaged_and_one_of_others_is_refused() {
    let rig = furnished().await;
    let path = copy(&rig, "torn").await;
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2 / 4_096 * 4_096;
    bytes[half..half + 8 * 4_096].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let outcomes = verify_in(&path, Some(rig.schemas.clone())).await.unwrap();
    assert!(broken(&outcomes).contains(&StoreRule::File), "{outcomes:#?}");

    std::fs::write(&path, "no database".repeat(1_000)).unwrap();
    assert!(matches!(verify_in(&path, None).await, Err(VerifyError::Store { .. } | VerifyError::Open(_))));
    let path = copy(&rig, "older").await;
    change(&path, "delete from migration where number >= 6").await;
    let error = verify_in(&path, None).await.unwrap_err();
    assert!(matches!(error, VerifyError::TooOld { found: 5, .. }), "{error}");
    change(&path, "insert into migration (number, name) values (99, 'later')").await;
    assert!(matches!(verify_in(&path, None).await, Err(VerifyError::Open(_))));
    assert!(verify_in(&path.with_file_name("gone.db"), None).await.is_err());
    assert!(!path.with_file_name("gone.db").exists(), "nothing is made");
}

//! A directory of any size, made by copying rows: people, groups that each hold a tenth of them, and groups around
//! groups, five deep. What a client would have written row for row, in seconds.

use std::path::Path;

use portcullis_policy::{DirectoryId, OrgId, Timestamp};
use portcullis_scim::{Outcome, ResourceRecord, Schemas, ScimRequest};
use portcullis_session::Sessions;
use portcullis_store::{Origin, Store};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions};

/// How many groups hold people; each person is in [`EACH_IN`] of them.
pub(crate) const GROUPS: usize = 200;
/// How many groups a person is in, without those around these.
pub(crate) const EACH_IN: usize = 20;
/// How deep groups stand in groups.
pub(crate) const DEEP: usize = 5;
/// The names of people and groups are these and a number.
pub(crate) const PERSON: &str = "person-";
pub(crate) const TEAM: &str = "team-";

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Reads a request.
pub(crate) fn read(schemas: &Schemas, method: &str, target: &str, body: &Value) -> ScimRequest {
    let request =
        http::Request::builder().method(method).uri(target).header("content-type", "application/scim+json");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    portcullis_scim::read_request(schemas, &request.body(body.into()).unwrap()).unwrap()
}

/// Sends a write and enforces it.
pub(crate) async fn write(
    store: &Store,
    sessions: &Sessions,
    method: &str,
    target: &str,
    body: &Value,
) -> ResourceRecord {
    let ScimRequest::Write(write) = read(&Schemas::core_schemas(), method, target, body) else {
        panic!("{method} {target}")
    };
    let done = store
        .write_resource(OrgId::ONLY, DirectoryId::ONLY, &write, &Origin::of_actor("test"), NOW)
        .await
        .unwrap();
    let gone = sessions.cleared(sessions.apply_changes(done.changes())).await;
    match done.release(gone).answer.unwrap() {
        Outcome::Created(record) | Outcome::Changed(record) => record,
        other => panic!("{other:?}"),
    }
}

/// Fills an empty store with `people`, a multiple of ten.
pub(crate) async fn fill(store: &Store, path: &Path, sessions: &Sessions, people: usize) {
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": format!("{PERSON}0"), "active": true,
        "externalId": "e-0", "displayName": format!("{PERSON}0"),
        "emails": [{ "value": format!("{PERSON}0"), "type": "work", "primary": true }],
    });
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": format!("{TEAM}0") });
    write(store, sessions, "POST", "/Users", &user).await;
    write(store, sessions, "POST", "/Groups", &group).await;

    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    // The first person is row 1 with account 2, the first group row 3; the others follow behind.
    let (rid, account) = ("10 + n", "10000000 + n");
    let team = "20000000 + n";
    let renamed = |column: &str, name: &str| format!("replace({column}, '{name}0', '{name}' || n)");
    let copy = |kind: &str, name: &str, rid: &str, account: &str, many: usize| {
        format!(
            "insert into resource (organization, directory, rid, kind, id, doc, name, display, external_id, \
               had_external_id, account, version, created, modified) \
             with recursive n(n) as (select 1 union all select n + 1 from n where n < {many}) \
             select organization, directory, {rid}, kind, '{kind}-' || n, replace({}, '\"e-0\"', '\"e-' || n || '\"'), {}, {}, \
               case when external_id is null then null else 'e-' || n end, had_external_id, {account}, version, created, modified \
             from resource, n where kind = '{kind}' and name = '{name}0'; \
             insert into attr (organization, directory, kind, path, value, rid, item) \
             with recursive n(n) as (select 1 union all select n + 1 from n where n < {many}) \
             select a.organization, a.directory, a.kind, a.path, \
               case when a.path = 'externalId' then 'e-' || n else replace(a.value, '{name}0', '{name}' || n) end, {rid}, a.item \
             from resource r join attr a on a.organization = r.organization and a.directory = r.directory and a.rid = r.rid, n \
             where r.kind = '{kind}' and r.name = '{name}0'; ",
            renamed("doc", name),
            renamed("name", name),
            renamed("display", name),
        )
    };
    let members = format!(
        "insert into member (organization, directory, team, member) \
         with recursive n(n) as (select 1 union all select n + 1 from n where n < {people}), \
           j(j) as (select 0 union all select j + 1 from j where j < {EACH_IN} - 1) \
         select 1, 1, 20000000 + 1 + (n + j * ({GROUPS} / {EACH_IN})) % {GROUPS}, 10 + n from n, j; \
         insert into member (organization, directory, team, member) \
         with recursive n(n) as (select 1 union all select n + 1 from n where n < {DEEP}) \
         select 1, 1, 20000000 + {GROUPS} + n, 20000000 + {GROUPS} + n - 1 from n;"
    );
    let accounts = format!(
        "insert into account (organization, id, generation, directory, resource, active, disabled, created, used) \
         with recursive n(n) as (select 1 union all select n + 1 from n where n < {people}) \
         select 1, {account}, 0, 1, {rid}, 1, 0, created, used from account, n where id = 2;"
    );
    for sql in [
        copy("User", PERSON, rid, account, people),
        copy("Group", TEAM, team, "null", GROUPS + DEEP),
        members,
        accounts,
        "update head set last_row = 30000000;".to_owned(),
    ] {
        let sql = format!("begin immediate; {sql} commit;");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut other).await.unwrap();
    }
}

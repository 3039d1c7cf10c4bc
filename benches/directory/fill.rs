//! Fills the store of a program that does not run: one person and one group are written as a client would, and their rows
//! are copied.

use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions};

use crate::rig::directory::GROUP;
use crate::rig::program::Program;
use crate::rig::seed::Seed;
use crate::{BIG, GROUPS};

/// How many people load the proxy; they are none of the million.
const LOADING: usize = 64;

/// The name of the person with that number.
pub(crate) fn name(n: u64) -> String {
    format!("person-{n}@corp.test")
}

/// The id of the user or group with that number.
pub(crate) fn id(kind: &str, n: u64) -> String {
    format!("{kind}-{n}")
}

/// Puts people and groups there, and gives the session cookies of whoever loads the proxy.
pub(crate) async fn fill(program: &Program, people: usize) -> Vec<String> {
    let seed = Seed::open(program.folder(), &program.settings).await;
    let names: Vec<String> = (0..LOADING).map(|n| format!("load-{n}@corp.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let first = name(0);
    let all: Vec<&str> = names.iter().copied().chain([first.as_str()]).collect();
    let loading = seed.people(&all).await;
    seed.post("/Groups", json!({ "schemas": [GROUP], "displayName": "team-0" })).await;
    seed.close().await;

    let mut database =
        sqlx::sqlite::SqliteConnectOptions::new().filename(program.database()).connect().await.unwrap();
    let copy = |kind: &str, from: &str, to: &str, rid: &str, account: &str, many: usize| {
        format!(
            "insert into resource (organization, directory, rid, kind, id, doc, name, display, external_id, \
               had_external_id, account, version, created, modified) \
             with recursive n(n) as (select 1 union all select n + 1 from n where n < {many}) \
             select organization, directory, {rid}, kind, '{kind}-' || n, replace(doc, '{from}', {to}), \
               replace(name, '{from}', {to}), replace(display, '{from}', {to}), \
               replace(external_id, '{from}', {to}), had_external_id, {account}, version, created, modified \
             from resource, n where kind = '{kind}' and name = '{from}'; \
             insert into attr (organization, directory, kind, path, value, rid, item) \
             with recursive n(n) as (select 1 union all select n + 1 from n where n < {many}) \
             select a.organization, a.directory, a.kind, a.path, \
               replace(a.value, '{from}', {to}), {rid}, a.item \
             from resource r join attr a on a.organization = r.organization and a.directory = r.directory and a.rid = r.rid, n \
             where r.kind = '{kind}' and r.name = '{from}'; "
        )
    };
    let (person, team) = ("'person-' || n || '@corp.test'", "'team-' || n");
    for sql in [
        copy("User", &name(0), person, "1000 + n", "10000000 + n", people),
        copy("Group", "team-0", team, "20000000 + n", "null", GROUPS),
        format!(
            "insert into account (organization, id, generation, directory, resource, active, disabled, created, used) \
             with recursive n(n) as (select 1 union all select n + 1 from n where n < {people}) \
             select organization, 10000000 + n, 0, 1, 1000 + n, 1, 0, created, used from account, n \
             where id = (select account from resource where name = '{}');",
            name(0)
        ),
        format!(
            "insert into member (organization, directory, team, member) \
             with recursive n(n) as (select 1 union all select n + 1 from n where n < {GROUPS} * 10) \
             select 1, 1, 20000000 + 1 + n / 10, 1000 + 1 + n * 7 % {people} from n where n / 10 between 1 and {GROUPS} - 1; \
             insert or ignore into member (organization, directory, team, member) \
             with recursive n(n) as (select 1 union all select n + 1 from n where n < {BIG}) \
             select 1, 1, 20000001, 1000 + n from n;"
        ),
        "update head set last_row = 30000000;".to_owned(),
    ] {
        let sql = format!("begin immediate; {sql} commit;");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut database).await.unwrap();
    }
    names.iter().map(|name| loading.0[*name].1.clone()).collect()
}

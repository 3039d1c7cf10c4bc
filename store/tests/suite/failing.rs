//! A write that fails leaves nothing: every table it touches is made to fail in turn, by a trigger in the file.

use futures_util::future::join_all;
use portcullis_policy::ResourceId;
use portcullis_scim::ScimRequest;
use portcullis_store::{LoginError, NewUser, Origin, UserError, Which};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions};

use crate::lanes::{lock, release};
use crate::support::{HERE, NOW, ORG, Rig, begin, group_path, user, user_path};

async fn run(rig: &Rig, sql: String) {
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(&rig.path).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut other).await.unwrap();
}

async fn break_table(rig: &Rig, doing: &str, table: &str) {
    let sql =
        format!("create trigger broken before {doing} on {table} begin select raise(abort, 'no disk'); end");
    run(rig, sql).await;
}

async fn mend(rig: &Rig) {
    run(rig, "drop trigger broken".to_owned()).await;
}

/// Everything a reader can see.
async fn sight(rig: &Rig) -> String {
    let users = rig.list("/Users?count=1000").await;
    let groups = rig.list("/Groups?count=1000").await;
    let list = rig.store.user_list(ORG, None, 1_000).await.unwrap();
    let seq = rig.store.last_seq().await.unwrap();
    let audits = rig.store.list_audits(ORG, 1_000).await.unwrap().len();
    let sessions = rig.store.count_sessions(NOW).await.unwrap();
    format!("{users:?} {groups:?} {list:?} {seq:?} {audits} {sessions}")
}

/// A method, a target, a body, and the tables it writes: (doing, table).
type Case<'a> = (&'a str, String, Value, &'a [(&'a str, &'a str)]);

#[tokio::test]
async fn a_scim_write_is_whole_or_nothing() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let crew = rig.add_group("crew", &[&alice.id]).await;
    rig.sign_in("s1", "alice").await;
    let off = json!({ "Operations": [{ "op": "replace", "value": { "active": false, "title": "x" } }],
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"] });
    let rename = json!({ "Operations": [{ "op": "replace", "value": { "displayName": "staff", "members": [] } }],
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"] });
    let writes: [Case<'_>; 5] = [
        (
            "POST",
            "/Users".to_owned(),
            user("bob"),
            &[
                ("insert", "resource"),
                ("insert", "account"),
                ("insert", "attr"),
                ("insert", "event"),
                ("insert", "audit"),
                ("update", "head"),
            ],
        ),
        (
            "PATCH",
            user_path(&alice),
            off,
            &[
                ("update", "resource"),
                ("update", "account"),
                ("insert", "attr"),
                ("insert", "event"),
                ("insert", "audit"),
                ("insert", "revocation"),
            ],
        ),
        (
            "DELETE",
            user_path(&alice),
            Value::Null,
            &[
                ("update", "resource"),
                ("delete", "attr"),
                ("delete", "member"),
                ("insert", "barred"),
                ("delete", "link"),
                ("update", "account"),
                ("insert", "revocation"),
                ("insert", "audit"),
            ],
        ),
        (
            "PATCH",
            group_path(&crew),
            rename,
            &[("update", "resource"), ("delete", "member"), ("insert", "revocation")],
        ),
        ("DELETE", group_path(&crew), Value::Null, &[("delete", "resource"), ("insert", "event")]),
    ];
    for (method, target, body, tables) in writes {
        let ScimRequest::Write(write) = rig.read(method, &target, None, &body) else { panic!() };
        for (doing, table) in tables {
            break_table(&rig, doing, table).await;
            let before = sight(&rig).await;
            let failed = rig.store.write_resource(ORG, HERE, &write, &Origin::of_actor("test"), NOW).await;
            assert!(failed.is_err(), "{method} {target} with {doing} {table} broken");
            assert_eq!(sight(&rig).await, before, "{method} {target} with {doing} {table} broken");
            mend(&rig).await;
        }
    }
    rig.delete(&user_path(&alice)).await.value.unwrap();
}

#[tokio::test]
async fn a_login_is_whole_or_nothing_and_may_be_repeated() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let login = rig.login("s1", "alice");
    for (doing, table) in [
        ("insert", "flow"),
        ("insert", "link"),
        ("insert", "session"),
        ("insert", "audit"),
        ("insert", "revocation"),
    ] {
        break_table(&rig, doing, table).await;
        let before = sight(&rig).await;
        let failed = rig.store.log_in(login.clone(), &Origin::of_actor("login"), NOW).await;
        assert!(matches!(failed, Err(LoginError::Store(_))), "{table}");
        assert_eq!(sight(&rig).await, before, "{table}");
        mend(&rig).await;
    }
    assert!(rig.try_sign_in(login).await.unwrap().value.is_first, "the flow was not spent");
}

#[tokio::test]
async fn an_end_is_whole_or_nothing() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (hash, signed_in) = rig.sign_in("s1", "alice").await;
    for which in [Which::Session(hash), Which::Account(ORG, signed_in.account), Which::Deployment] {
        break_table(&rig, "insert", "revocation").await;
        assert!(rig.store.end_sessions_of(which, &Origin::of_actor("test"), NOW).await.is_err());
        assert!(rig.is_in(&hash).await);
        mend(&rig).await;
    }
}

/// Writes that share a commit: the failure of one is nobody else's, and whoever is told of success is there.
#[tokio::test]
async fn one_failure_in_a_shared_commit_is_its_own() {
    for how in ["abort", "rollback"] {
        let rig = Rig::new().await;
        let sql = format!(
            "create trigger broken before insert on attr when new.value = 'bad' \
             begin select raise({how}, 'no disk'); end"
        );
        run(&rig, sql).await;
        let origin = Origin::of_actor("test");
        let other = lock(&rig).await;
        let new = |name: &str| NewUser { user_name: name.to_owned(), ..NewUser::default() };
        let names: Vec<String> =
            (0..20).map(|n| if n == 7 { "bad".to_owned() } else { format!("user{n}") }).collect();
        let mut waiting: Vec<_> = names
            .iter()
            .map(|name| Box::pin(rig.store.user_add(ORG, HERE, new(name), &origin, NOW)))
            .collect();
        for write in &mut waiting {
            begin(write.as_mut());
        }
        release(other).await;
        let mut succeeded = Vec::new();
        for (name, added) in names.iter().zip(join_all(waiting).await) {
            match added {
                Ok(added) => {
                    let id: ResourceId = rig.done(added).await.value;
                    rig.get(&format!("/Users/{id}")).await.unwrap();
                    succeeded.push(name.clone());
                }
                Err(UserError::Store(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        let there: Vec<_> = rig
            .list("/Users?count=100")
            .await
            .records
            .iter()
            .map(|record| record.resource.user_name().unwrap().to_owned())
            .collect();
        assert_eq!(there, succeeded, "{how}");
        assert!(!succeeded.contains(&"bad".to_owned()));
        if how == "abort" {
            assert_eq!(succeeded.len(), 19);
        }
        assert_eq!(
            rig.store.last_seq().await.unwrap().0,
            i64::try_from(succeeded.len()).unwrap(),
            "{how}: no gaps"
        );
        rig.add_user("after").await;
    }
}

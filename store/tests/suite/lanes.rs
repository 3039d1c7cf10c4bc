//! The writer's lanes: removals overtake, nobody starves, and a write that has begun ends whoever stopped waiting.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use portcullis_scim::ScimRequest;
use portcullis_store::{NewUser, Origin};
use serde_json::Value;
use sqlx::{ConnectOptions, SqliteConnection};

use crate::support::{HERE, NOW, ORG, Rig, begin, is_busy, user_path};

/// Another process that holds the write lock until it is dropped or released.
pub(crate) async fn lock(rig: &Rig) -> SqliteConnection {
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(&rig.path).connect().await.unwrap();
    sqlx::raw_sql("begin immediate").execute(&mut other).await.unwrap();
    other
}

pub(crate) async fn release(mut other: SqliteConnection) {
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
}

fn new(name: String) -> NewUser {
    NewUser { user_name: name, ..NewUser::default() }
}

#[tokio::test]
async fn a_removal_overtakes_everything_that_waits() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let base = rig.store.last_seq().await.unwrap().0;
    let origin = Origin::of_actor("test");
    let other = lock(&rig).await;
    let mut ordinary: Vec<_> = (0..20)
        .map(|n| Box::pin(rig.store.user_add(ORG, HERE, new(format!("user{n}")), &origin, NOW)))
        .collect();
    for write in &mut ordinary {
        begin(write.as_mut());
    }
    let ScimRequest::Write(delete) = rig.read("DELETE", &user_path(&alice), None, &Value::Null) else {
        panic!()
    };
    let mut removal = pin!(rig.store.write_resource(ORG, HERE, &delete, &origin, NOW));
    begin(removal.as_mut());
    release(other).await;
    let (removed, added) = tokio::join!(removal, join_all(ordinary));
    assert_eq!(rig.done(removed.unwrap()).await.seq, base + 1, "it came last and was first");
    for (n, added) in added.into_iter().enumerate() {
        assert_eq!(rig.done(added.unwrap()).await.seq, base + 2 + i64::try_from(n).unwrap());
    }
}

#[tokio::test]
async fn after_each_commit_of_removals_one_ordinary_write_has_its_turn() {
    let rig = Rig::new().await;
    let mut users = Vec::new();
    for n in 0..300 {
        users.push(rig.add_user(&format!("user{n}")).await);
    }
    let base = rig.store.last_seq().await.unwrap().0;
    let origin = Origin::of_actor("test");
    let other = lock(&rig).await;
    let mut ordinary: Vec<_> = (0..3)
        .map(|n| Box::pin(rig.store.user_add(ORG, HERE, new(format!("new{n}")), &origin, NOW)))
        .collect();
    for write in &mut ordinary {
        begin(write.as_mut());
    }
    let deletes: Vec<_> = users
        .iter()
        .map(|user| match rig.read("DELETE", &user_path(user), None, &Value::Null) {
            ScimRequest::Write(delete) => delete,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut removals: Vec<_> = deletes
        .iter()
        .map(|delete| Box::pin(rig.store.write_resource(ORG, HERE, delete, &origin, NOW)))
        .collect();
    for write in &mut removals {
        begin(write.as_mut());
    }
    release(other).await;
    let (removed, added) = tokio::join!(join_all(removals), join_all(ordinary));
    let mut last_removal = 0;
    for removed in removed {
        last_removal = rig.done(removed.unwrap()).await.seq.max(last_removal);
    }
    let mut turns = Vec::new();
    for added in added {
        turns.push(rig.done(added.unwrap()).await.seq);
    }
    assert!(turns[0] > base + 1, "removals go first");
    assert!(turns[0] <= base + 65, "but not for ever");
    assert!(turns.windows(2).all(|pair| pair[1] > pair[0] + 1), "one at a time: {turns:?}");
    assert!(turns[2] < last_removal);
}

#[tokio::test]
async fn a_write_ends_though_its_caller_has_gone() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (hash, _) = rig.sign_in("s1", "alice").await;
    let ScimRequest::Write(delete) = rig.read("DELETE", &user_path(&alice), None, &Value::Null) else {
        panic!()
    };
    let origin = Origin::of_actor("test");
    {
        let mut dropped = pin!(rig.store.write_resource(ORG, HERE, &delete, &origin, NOW));
        begin(dropped.as_mut());
    }
    // Whatever is asked later is written later.
    rig.add_user("bob").await;
    assert!(!rig.is_in(&hash).await);
    assert!(rig.get(&user_path(&alice)).await.is_err());
}

#[tokio::test]
async fn while_another_process_holds_the_lock_ordinary_writes_fail_and_removals_come_late() {
    let rig = Rig::new().await;
    let alice = rig.add_user("alice").await;
    let (hash, _) = rig.sign_in("s1", "alice").await;
    let origin = Origin::of_actor("test");
    let other = lock(&rig).await;
    let ScimRequest::Write(delete) = rig.read("DELETE", &user_path(&alice), None, &Value::Null) else {
        panic!()
    };
    let mut removal = pin!(rig.store.write_resource(ORG, HERE, &delete, &origin, NOW));
    begin(removal.as_mut());
    let began = Instant::now();
    let error = rig.try_add(new("bob".to_owned())).await.err().unwrap();
    assert!(is_busy(&error), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5), "an answer within a bound");
    // Reading goes on, and nothing has changed.
    assert!(rig.is_in(&hash).await);
    begin(removal.as_mut());
    release(other).await;
    rig.done(removal.await.unwrap()).await.value.answer.unwrap();
    assert!(!rig.is_in(&hash).await);
    assert!(rig.try_add(new("bob".to_owned())).await.is_ok(), "and the next write is as ever");
}

#[tokio::test]
async fn closing_writes_what_waits_and_takes_nothing_more() {
    let rig = Rig::new().await;
    let origin = Origin::of_actor("test");
    let mut waiting: Vec<_> = (0..50)
        .map(|n| Box::pin(rig.store.user_add(ORG, HERE, new(format!("user{n}")), &origin, NOW)))
        .collect();
    for write in &mut waiting {
        begin(write.as_mut());
    }
    let (added, ()) = tokio::join!(join_all(waiting), rig.store.close());
    assert!(added.iter().all(Result::is_ok));
    assert!(rig.store.user_add(ORG, HERE, new("late".to_owned()), &origin, NOW).await.is_err());
    let rig = rig.reopened().await;
    assert_eq!(rig.list("/Users").await.total, 50);
}

impl Rig {
    async fn try_add(&self, new: NewUser) -> Result<(), portcullis_store::StoreError> {
        match self.store.user_add(ORG, HERE, new, &Origin::of_actor("test"), NOW).await {
            Ok(added) => {
                self.done(added).await;
                Ok(())
            }
            Err(portcullis_store::UserError::Store(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Directories that ask for much and do not read it: nobody's login, request or readiness waits for them.
#[tokio::test]
async fn long_reads_that_stand_still_keep_nobody_else_waiting() {
    let rig = Rig::new().await;
    rig.add_user("alice").await;
    let (hash, signed_in) = rig.sign_in("s1", "alice").await;
    let ScimRequest::Find(query) = rig.read("GET", "/Users?count=1000", None, &Value::Null) else { panic!() };
    let mut lists: Vec<_> = (0..20).map(|_| Box::pin(rig.store.answer_query(ORG, HERE, &query))).collect();
    for list in &mut lists {
        begin(list.as_mut());
    }
    rig.store.ping().await.unwrap();
    assert!(rig.is_in(&hash).await);
    assert!(rig.store.read_description(ORG, signed_in.account).await.unwrap().is_some());
    rig.sign_in("s1", "alice").await;
    // And once they are gone the next one is read.
    drop(lists);
    assert_eq!(rig.list("/Users").await.total, 1);
}

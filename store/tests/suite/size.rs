//! A hundred thousand live sessions: closed, opened, read cold. Times are printed, not asserted.

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;
use portcullis_policy::{Change, SessionHash};
use portcullis_store::Origin;
use serde_json::json;
use sqlx::ConnectOptions;

use crate::support::{NOW, ORG, Rig};

#[path = "../people/mod.rs"]
pub(crate) mod people;

const SESSIONS: u32 = 100_000;
const LOGINS: u32 = 2_000;
const USERS: u32 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_sessions_survive_a_restart() {
    let rig = Rig::new().await;
    let began = Instant::now();
    for n in 0..USERS {
        rig.add_user(&format!("user{n}")).await;
    }
    println!("a user made, one after another: {:?} each", began.elapsed() / USERS);
    let began = Instant::now();
    let hashes: Vec<SessionHash> = stream::iter(0..LOGINS)
        .map(|n| {
            let (subject, rig) = (format!("user{}", n % USERS), &rig);
            async move {
                let login = rig.login(&subject, &subject);
                let hash = login.session.hash;
                rig.done(rig.store.log_in(login, &Origin::of_actor("seed"), NOW).await.unwrap()).await;
                hash
            }
        })
        .buffer_unordered(256)
        .collect()
        .await;
    println!("a login, 256 at a time: {:?} each", began.elapsed() / LOGINS);

    // The rest as copies of these rows, as another hash each.
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(&rig.path).connect().await.unwrap();
    let copies = "with recursive n(n) as (select 1 union all select n + 1 from n where n < 49) \
                  insert into session select organization, cast(hash || n as blob), account, app, idp, generation, \
                    epoch_deployment, epoch_organization, epoch_idp, created, seen, expires, ended, logout_hint, \
                    idp_subject, idp_session \
                  from session, n";
    sqlx::raw_sql(copies).execute(&mut other).await.unwrap();
    drop(other);

    let began = Instant::now();
    let rig = rig.reopened().await;
    println!("closed and opened: {:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(rig.store.count_sessions(NOW).await.unwrap(), SESSIONS);
    println!("counted: {:?}", began.elapsed());

    let sample: Vec<SessionHash> = hashes.iter().step_by(3).copied().collect();
    let began = Instant::now();
    for hash in &sample {
        assert!(rig.store.guess_owner(hash).await.unwrap().is_some());
        assert!(rig.is_in(hash).await);
    }
    println!(
        "{} cold reads, one after another: {:?} each",
        sample.len(),
        began.elapsed() / sample.len() as u32
    );
    let began = Instant::now();
    stream::iter(&sample)
        .for_each_concurrent(64, |hash| {
            let rig = &rig;
            async move { assert!(rig.is_in(hash).await) }
        })
        .await;
    println!("{} cold reads, 64 at a time: {:?} each", sample.len(), began.elapsed() / sample.len() as u32);
}

/// A directory like a large one, smaller: plans hang on the text and the schema alone, and every statement's plan is
/// looked at in here (`src/plan.rs`). Times are asserted by `tests/long/directory.rs`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_directory_is_read_and_written() {
    let rig = Rig::new().await;
    people::fill(&rig.store, &rig.path, &rig.sessions, 2_000).await;
    let users = rig.list("/Users?count=1000").await;
    assert_eq!(users.total, 2_001);
    let memberships: usize = users.records.iter().map(|user| user.groups.len()).sum();
    assert!((19_900..=20_000).contains(&memberships), "a page is full by memberships too: {memberships}");
    let deep = rig.get("/Users/User-1").await.unwrap();
    assert_eq!(deep.groups.len(), people::EACH_IN);
    let deepest = rig.get(&format!("/Users/User-{}", people::GROUPS - 1)).await.unwrap();
    assert_eq!(deepest.groups.len(), people::EACH_IN + people::DEEP, "in a group within groups, five deep");

    // Groups of 200: a hundred of them fill a page, and the next one begins behind.
    let (mut start, mut found) = (1, Vec::new());
    loop {
        let page = rig.list(&format!("/Groups?count=1000&startIndex={start}")).await;
        let members: usize = page.records.iter().map(|group| group.resource.members().count()).sum();
        assert!(members <= 20_000, "{members}");
        if page.records.is_empty() {
            assert_eq!(found.len() as u64, page.total);
            break;
        }
        start += page.records.len();
        found.extend(page.records.into_iter().map(|group| group.id));
    }
    found.dedup();
    assert_eq!(found.len(), people::GROUPS + people::DEEP + 1);
    assert_eq!(rig.list("/Groups?count=1000&excludedAttributes=members").await.records.len(), found.len());

    for (target, total) in [
        ("/Users?filter=userName%20eq%20%22person-7%22", 1),
        ("/Users?filter=active%20eq%20true%20and%20externalId%20eq%20%22e-7%22", 1),
        ("/Users?filter=emails%5Btype%20eq%20%22work%22%20and%20value%20eq%20%22person-7%22%5D", 1),
        ("/Groups?filter=members.value%20eq%20%22User-7%22", people::EACH_IN),
        ("/Groups?filter=displayName%20eq%20%22team-7%22", 1),
    ] {
        assert_eq!(rig.list(target).await.total, total as u64, "{target}");
    }
    let rename = json!([{ "op": "replace", "value": { "displayName": "crew" } }]);
    let done = rig.patch("/Groups/Group-1", rename).await;
    assert_eq!(done.changes, [Change::ReconsiderAll(ORG)], "more than a hundred are in it");
    rig.sign_in("s1", "person-7").await;
    rig.delete("/Users/User-7").await.value.unwrap();
}

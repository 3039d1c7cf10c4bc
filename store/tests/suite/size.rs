//! A hundred thousand live sessions: closed, opened, read cold. Times are printed, not asserted.

use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream;
use portcullis_policy::SessionHash;
use portcullis_store::Origin;
use sqlx::ConnectOptions;

use crate::support::{NOW, Rig};

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
                rig.done(rig.store.sign_in(login, &Origin::of("seed"), NOW).await.unwrap()).await;
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
                    epoch_deployment, epoch_organization, epoch_idp, created, seen, expires, ended, id_token \
                  from session, n";
    sqlx::raw_sql(copies).execute(&mut other).await.unwrap();
    drop(other);

    let began = Instant::now();
    let rig = rig.reopened().await;
    println!("closed and opened: {:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(rig.store.sessions(NOW).await.unwrap(), SESSIONS);
    println!("counted: {:?}", began.elapsed());

    let sample: Vec<SessionHash> = hashes.iter().step_by(3).copied().collect();
    let began = Instant::now();
    for hash in &sample {
        assert!(rig.store.hint(hash).await.unwrap().is_some());
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

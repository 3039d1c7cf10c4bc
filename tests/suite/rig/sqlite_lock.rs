//! SQLite's write lock, held by another process than the program: this one.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

/// As long as it is held, nobody else commits.
pub struct WriteLock(SqliteConnection);

impl WriteLock {
    /// Takes it.
    pub async fn take(database: &Path) -> Self {
        let mut connection = open(database).await;
        sqlx::query("begin immediate").execute(&mut connection).await.unwrap();
        Self(connection)
    }

    /// Gives it back.
    pub async fn release(mut self) {
        sqlx::query("rollback").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

/// A connection of our own to the program's database.
pub async fn open(database: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(false);
    let options = options.busy_timeout(std::time::Duration::from_secs(10));
    options.connect().await.unwrap()
}

/// Copies the rows of live sessions, under ids of their own, until there are so many.
pub async fn multiply_sessions(database: &mut SqliteConnection, wanted: u32) {
    let sql = "with recursive n(i) as (select 1 union all select i + 1 from n where i < $1) \
               insert into session (organization, hash, account, app, idp, generation, epoch_deployment, \
                 epoch_organization, epoch_idp, created, seen, expires, idp_subject) \
               select s.organization, randomblob(32), s.account, s.app, s.idp, s.generation, s.epoch_deployment, \
                 s.epoch_organization, s.epoch_idp, s.created, s.seen, s.expires, s.idp_subject from n, (select * from session limit 1) s";
    sqlx::query(sql).bind(wanted).execute(&mut *database).await.unwrap();
    let count: i64 = sqlx::query_scalar("select count(*) from session").fetch_one(database).await.unwrap();
    assert!(count >= i64::from(wanted));
}

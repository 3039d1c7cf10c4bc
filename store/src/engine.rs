//! The database behind plain functions: text of SQL in, rows out. SQLite today; with PostgreSQL the connection in here
//! becomes an enum over two engines, and nothing above changes: SQL stays within what both take, columns are
//! integer, text or bytes, flags are integers, and values are always arguments (`$1`).

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis_policy::{
    AccountId, AppId, DirectoryId, Generation, OrgId, ResourceId, Seq, SessionHash, Timestamp,
};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row as _, SqlSafeStr, SqlStr, Sqlite, SqliteConnection, Transaction};

use crate::StoreError;

/// The time that SQLite itself waits for a lock. Short, so that whoever waits can think again.
pub(crate) const LOCK_STEP: Duration = Duration::from_millis(100);
/// The time that a read that somebody's access waits for may wait for a connection.
const READ_PATIENCE: Duration = Duration::from_millis(900);
/// Connections for logins, cold loads, describing and the readiness check.
const READERS: u32 = 8;
/// Connections for whatever may be long: SCIM's reads, plans of its group writes, counts, an operator's lists.
const LISTERS: u32 = 3;
/// The time that such a read may wait for a connection.
const LIST_PATIENCE: Duration = Duration::from_secs(5);
/// The time that one may take, its waits for the client's other reads not counted.
const LIST_TIME: Duration = Duration::from_secs(5);
/// The steps of SQLite's machine between two looks at the clock: a fraction of a millisecond.
const STEPS: i32 = 2_000;
/// "Port": what tells our file from another program's.
pub(crate) const APPLICATION_ID: i64 = 0x506f_7274;

/// One database file: how to connect to it, and the connections that only read. Those for long reads are apart, so
/// that no directory, however it asks, keeps a login or a removal from reading.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    path: PathBuf,
    readers: SqlitePool,
    listers: SqlitePool,
}

impl Engine {
    /// Opens the file, which must be there. The readers are lazy: they come once a writer has made the tables.
    pub(crate) fn new(path: &Path) -> Self {
        Self::with_options(path, connect_options(path).read_only(true))
    }

    /// Opens a file that nobody has open, to be read as it lies there: SQLite makes no file beside it, and looks for none.
    pub(crate) fn of_resting_file(path: &Path) -> Self {
        Self::with_options(path, connect_options(path).read_only(true).immutable(true))
    }

    fn with_options(path: &Path, reading: SqliteConnectOptions) -> Self {
        let pool = |connections, patience| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(patience)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .connect_lazy_with(reading.clone())
        };
        let (readers, listers) = (pool(READERS, READ_PATIENCE), pool(LISTERS, LIST_PATIENCE));
        Self { path: path.to_owned(), readers, listers }
    }

    /// A connection that may write. There is one, the writer's.
    pub(crate) async fn connect(&self) -> Result<Tx, StoreError> {
        let options = connect_options(&self.path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // Checkpoints are another connection's work: they would make one write in a thousand slow.
            .pragma("wal_autocheckpoint", "0");
        Ok(Tx(TxConnection::Writer(options.connect().await?)))
    }

    /// One read transaction: everything asked of it comes from one snapshot, begun now.
    pub(crate) async fn snapshot(&self) -> Result<Tx, StoreError> {
        Ok(Tx(TxConnection::Reader(self.readers.begin().await?)))
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A read transaction for what may be long. It ends in [`StoreError::TooLong`] after some seconds, and as soon as
    /// whoever asked drops it, whatever SQLite is doing then.
    pub(crate) async fn listing(&self) -> Result<Tx, StoreError> {
        self.listing_for(LIST_TIME).await
    }

    async fn listing_for(&self, time: Duration) -> Result<Tx, StoreError> {
        let mut transaction = self.listers.begin().await?;
        let left = Left(Arc::new(AtomicBool::new(false)));
        let (has_left, until) = (left.0.clone(), Instant::now() + time);
        // It takes the place of the handler of the read before, which is over: beginning and taking back a
        // transaction are fewer steps than it counts.
        transaction
            .lock_handle()
            .await?
            .set_progress_handler(STEPS, move || !has_left.load(Ordering::Relaxed) && Instant::now() < until);
        Ok(Tx(TxConnection::Lister { _left: left, transaction }))
    }

    /// Closes the connections that read.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.listers.close().await;
    }
}

fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(LOCK_STEP)
        .statement_cache_capacity(200)
        .disable_statement_logging()
}

/// A connection within a transaction, or the writer's between two of them.
#[derive(Debug)]
pub(crate) struct Tx(TxConnection);

#[derive(Debug)]
enum TxConnection {
    Writer(SqliteConnection),
    Reader(Transaction<'static, Sqlite>),
    Lister {
        /// First: it says so before the transaction is taken back.
        _left: Left,
        transaction: Transaction<'static, Sqlite>,
    },
}

/// Says, once it is dropped, that nobody waits for a read any more.
#[derive(Debug)]
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Tx {
    /// All rows.
    pub(crate) async fn rows(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
    ) -> Result<Vec<SqlRow>, StoreError> {
        let sql = self.looked_at(sql).await;
        let rows = bind_args(sql, args).fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(SqlRow).collect())
    }

    /// All rows, for a text that a client's filter makes: it is not kept prepared.
    pub(crate) async fn searched(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
    ) -> Result<Vec<SqlRow>, StoreError> {
        let sql = self.looked_at(sql).await;
        let rows = bind_args(sql, args).persistent(false).fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(SqlRow).collect())
    }

    /// The first row.
    pub(crate) async fn row(
        &mut self,
        sql: impl SqlSafeStr,
        args: &[Arg<'_>],
    ) -> Result<Option<SqlRow>, StoreError> {
        let sql = self.looked_at(sql).await;
        Ok(bind_args(sql, args).fetch_optional(self.connection()).await?.map(SqlRow))
    }

    /// The only row of a question that always has one.
    pub(crate) async fn one(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<SqlRow, StoreError> {
        let sql = self.looked_at(sql).await;
        Ok(SqlRow(bind_args(sql, args).fetch_one(self.connection()).await?))
    }

    /// Runs a statement and says how many rows it changed.
    pub(crate) async fn run(&mut self, sql: impl SqlSafeStr, args: &[Arg<'_>]) -> Result<u64, StoreError> {
        let sql = self.looked_at(sql).await;
        Ok(bind_args(sql, args).execute(self.connection()).await?.rows_affected())
    }

    /// The rows of one statement or several, with arguments that nobody needs any more.
    pub(crate) async fn all_rows(
        &mut self,
        sql: impl SqlSafeStr,
        args: Vec<Arg<'_>>,
        is_kept: bool,
    ) -> Result<Vec<SqlRow>, StoreError> {
        let query = args.into_iter().fold(sqlx::query(sql), |query, arg| arg.bind_owned(query));
        let rows = query.persistent(is_kept).fetch_all(self.connection()).await?;
        Ok(rows.into_iter().map(SqlRow).collect())
    }

    /// Statements without arguments or answers: transactions, savepoints, schemas.
    pub(crate) async fn plain(&mut self, sql: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(sql).execute(self.connection()).await?;
        Ok(())
    }

    /// Closes the writer's connection.
    pub(crate) async fn close(self) {
        if let TxConnection::Writer(connection) = self.0 {
            let _ = connection.close().await;
        }
    }

    /// The text of a statement, whose plan was looked at where this is no release.
    async fn looked_at(&mut self, sql: impl SqlSafeStr) -> SqlStr {
        let sql = sql.into_sql_str();
        self.look_at(sql.as_str()).await;
        sql
    }

    /// Looks at the plan of a statement, where this is no release.
    pub(crate) async fn look_at(&mut self, _sql: &str) {
        #[cfg(debug_assertions)]
        crate::plan::check_plan(self.connection(), _sql).await;
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        match &mut self.0 {
            TxConnection::Writer(connection) => connection,
            TxConnection::Reader(transaction) | TxConnection::Lister { transaction, .. } => transaction,
        }
    }
}

type SqlQuery<'q> = sqlx::query::Query<'q, Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind_args<'q>(sql: impl SqlSafeStr, args: &[Arg<'_>]) -> SqlQuery<'q> {
    args.iter().fold(sqlx::query(sql), |query, arg| arg.bind(query))
}

/// An argument: integer, text or bytes, or a null of that type.
#[derive(Clone, Debug)]
pub(crate) enum Arg<'a> {
    Int(Option<i64>),
    Text(Option<Cow<'a, str>>),
    Bytes(Option<Cow<'a, [u8]>>),
}

impl Arg<'_> {
    /// Tells whether it is a null.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Int(None) | Self::Text(None) | Self::Bytes(None))
    }

    fn bind<'q>(&self, query: SqlQuery<'q>) -> SqlQuery<'q> {
        match self {
            Self::Int(value) => query.bind(*value),
            Self::Text(value) => query.bind(value.as_deref().map(str::to_owned)),
            Self::Bytes(value) => query.bind(value.as_deref().map(<[u8]>::to_vec)),
        }
    }

    /// The same of one that nobody needs any more.
    fn bind_owned<'q>(self, query: SqlQuery<'q>) -> SqlQuery<'q> {
        match self {
            Self::Int(value) => query.bind(value),
            Self::Text(value) => query.bind(value.map(Cow::into_owned)),
            Self::Bytes(value) => query.bind(value.map(Cow::into_owned)),
        }
    }
}

macro_rules! integers {
    ($($kind:ty: $read:expr),* $(,)?) => {$(
        impl From<$kind> for Arg<'_> {
            fn from(value: $kind) -> Self {
                let read: fn($kind) -> i64 = $read;
                Self::Int(Some(read(value)))
            }
        }
        impl From<Option<$kind>> for Arg<'_> {
            fn from(value: Option<$kind>) -> Self {
                Self::Int(value.map($read))
            }
        }
    )*};
}

integers! {
    i64: |value| value,
    bool: i64::from,
    OrgId: |id| i64::from(id.0),
    AppId: |id| i64::from(id.0),
    DirectoryId: |id| i64::from(id.0),
    AccountId: |id| id.0,
    Generation: |generation| generation.0,
    Seq: |seq| seq.0,
    Timestamp: |at| at.0,
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl From<String> for Arg<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value.map(Into::into))
    }
}

impl<'a> From<&'a ResourceId> for Arg<'a> {
    fn from(id: &'a ResourceId) -> Self {
        Self::Text(Some(id.as_str().into()))
    }
}

impl<'a> From<&'a SessionHash> for Arg<'a> {
    fn from(hash: &'a SessionHash) -> Self {
        Self::Bytes(Some(hash.0.as_slice().into()))
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes.into()))
    }
}

impl<'a> From<Option<&'a [u8]>> for Arg<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        Self::Bytes(bytes.map(Into::into))
    }
}

/// A row of an answer; columns are counted from 0.
#[derive(Debug)]
pub(crate) struct SqlRow(SqliteRow);

impl SqlRow {
    pub(crate) fn int(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.0.try_get(column)?)
    }

    pub(crate) fn maybe_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        Ok(self.0.try_get(column)?)
    }

    pub(crate) fn text(&self, column: usize) -> Result<&str, StoreError> {
        Ok(self.0.try_get(column)?)
    }

    pub(crate) fn maybe_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        Ok(self.0.try_get(column)?)
    }

    pub(crate) fn maybe_bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        Ok(self.0.try_get(column)?)
    }

    pub(crate) fn flag(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    pub(crate) fn at(&self, column: usize) -> Result<Timestamp, StoreError> {
        Ok(Timestamp(self.int(column)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Waker};

    use portcullis_scim::Schemas;

    use super::*;
    use crate::Store;

    const ENDLESS: &str =
        "with recursive n(n) as (select 1 union all select n + 1 from n) select count(*) from n";

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("portcullis.db"), Arc::new(Schemas::core_schemas()))
            .await
            .unwrap();
        (folder, store)
    }

    #[tokio::test]
    async fn a_long_read_is_broken_off_in_time() {
        let (_folder, store) = store().await;
        let mut tx = store.engine.listing_for(Duration::from_millis(50)).await.unwrap();
        let error = tx.one(ENDLESS, &[]).await.unwrap_err();
        assert!(matches!(error, StoreError::TooLong(_)), "{error:?}");
        drop(tx);
        // And the connection is as good as before.
        for _ in 0..LISTERS * 2 {
            crate::head::log_seq(&mut store.engine.listing().await.unwrap()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_ends() {
        let (_folder, store) = store().await;
        for _ in 0..LISTERS {
            let mut tx = store.engine.listing_for(Duration::from_secs(3_600)).await.unwrap();
            let mut endless = Box::pin(async move { tx.one(ENDLESS, &[]).await.map(drop) });
            // Its first step sends it to the thread that works for the connection; then its client leaves.
            for _ in 0..3 {
                let _ = endless.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                tokio::task::yield_now().await;
            }
            drop(endless);
        }
        for _ in 0..LISTERS {
            crate::head::log_seq(&mut store.engine.listing().await.unwrap()).await.unwrap();
        }
    }
}

//! How the store fails. A refusal (a name taken, a login that matches nobody) is an answer and has its own types;
//! here stands only what keeps an answer from being given. An error of a write means: it was not committed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::LockHolder;
use crate::engine::LOCK_STEP;

/// The store could not answer. Whoever asked is told 503, never a guess.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the write lock, for longer than this write may wait.
    #[error("another process has held the write lock of the database for more than {waited_ms} ms")]
    Busy {
        /// The time that the write waited, in milliseconds.
        waited_ms: u64,
    },
    /// So many writes are waiting that this one was given up before it began.
    #[error("the write waited {waited_ms} ms behind others and was given up before it began")]
    Crowded {
        /// The time that the write waited, in milliseconds.
        waited_ms: u64,
    },
    /// The database did not answer in time, or its disk failed.
    #[error("the database does not answer")]
    Unavailable(#[source] Cause),
    /// A long read was broken off.
    #[error("the read took longer than it may and was broken off")]
    TooLong(#[source] Cause),
    /// The disk is full.
    #[error("the disk of the database is full")]
    Full(#[source] Cause),
    /// The database may only be read.
    #[error("the database cannot be written")]
    ReadOnly(#[source] Cause),
    /// The file is damaged.
    #[error("the database is damaged: restore a backup")]
    Corrupt(#[source] Cause),
    /// The code broke a constraint of the schema.
    #[error("a constraint of the database refused the write")]
    Constraint(#[source] Cause),
    /// A row holds what nobody writes.
    #[error("row {row} of table {table} is damaged: {what}")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The name of the row.
        row: String,
        /// The fault of the row.
        what: &'static str,
    },
    /// No master key has opened the keys by which subjects are hashed.
    #[error("the master key has not been read: nobody can be signed in without it")]
    NoKeys,
    /// A write panicked and was taken back.
    #[error("the write stopped at a fault of the program and was taken back")]
    Panicked,
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// The database's own words. Never holds a value of a row.
#[derive(Clone)]
pub struct Cause(Arc<sqlx::Error>);

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Cause {}

impl StoreError {
    /// Tells whether the write lock was not to be had.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<i64>().ok());
        let is_damage = matches!(
            error,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound
        );
        if matches!(error, sqlx::Error::PoolClosed) {
            return Self::Closed;
        }
        let cause = Cause(Arc::new(error));
        if is_damage {
            return Self::Corrupt(cause);
        }
        // Primary result codes of SQLite: the low byte of the extended ones.
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => Self::Busy { waited_ms: u64::try_from(LOCK_STEP.as_millis()).unwrap_or(u64::MAX) },
            Some(8) => Self::ReadOnly(cause),
            Some(9) => Self::TooLong(cause),
            Some(11 | 26) => Self::Corrupt(cause),
            Some(13) => Self::Full(cause),
            Some(19) => Self::Constraint(cause),
            _ => Self::Unavailable(cause),
        }
    }
}

/// Reasons why a store cannot be opened: exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its folder cannot be used.
    #[error("{path}: the database cannot be opened. The folder must exist and be writable")]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "{path}: the database is in use by {holder}: one process at a time, whatever its state folder. End that one first"
    )]
    InUse {
        /// The file.
        path: PathBuf,
        /// The holder of the lock.
        holder: LockHolder,
    },
    /// It has a second name, by which another process would not find its lock, nor SQLite the log beside it.
    #[error(
        "{path}: the database has {links} names (hard links). By each of them another process could take it for its own: remove the others, or copy it"
    )]
    HardLinked {
        /// The file.
        path: PathBuf,
        /// The number of names it has.
        links: u64,
    },
    /// Locks of network file systems cannot be trusted.
    #[error(
        "{path}: this is on a network file system ({kind}), whose locks SQLite cannot rely on. Put the state folder on a local disk"
    )]
    NetworkFileSystem {
        /// The file.
        path: PathBuf,
        /// The kind of the file system.
        kind: &'static str,
    },
    /// Some other program's database.
    #[error("{path}: this is a database of another program. Name another file")]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A newer release wrote it.
    #[error(
        "{path}: its schema is number {found} ({name}) and this release knows {known}. Run the newer release, or restore a backup made before the upgrade"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The name of that schema.
        name: String,
        /// The newest schema known here.
        known: i64,
    },
    /// A migration failed; the schema is as it was.
    #[error("{path}: the schema could not be brought to number {number} ({name}) and is as it was")]
    Migration {
        /// The file.
        path: PathBuf,
        /// The number of the migration.
        number: i64,
        /// Its name.
        name: &'static str,
        /// The fault of the store.
        #[source]
        source: StoreError,
    },
    /// Anything else the database says.
    #[error("{path}: the database cannot be used")]
    Store {
        /// The file.
        path: PathBuf,
        /// The fault of the store.
        #[source]
        source: StoreError,
    },
}

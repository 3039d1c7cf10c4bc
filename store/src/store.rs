//! Opening and closing the store.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use portcullis_scim::Schemas;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::directory::Turns;
use crate::engine::{Engine, Tx};
use crate::sealed_keys::BarKeys;
use crate::writer::{Lane, Writer};
use crate::{FileLock, OpenError, StoreError, file, migrate};

/// The store of a deployment: one SQLite file. Every function that writes runs to its end once it has begun, also if
/// its caller stops waiting; an error of it means that nothing was committed.
#[derive(Debug)]
pub struct Store {
    pub(crate) engine: Engine,
    pub(crate) schemas: Arc<Schemas>,
    /// By which subjects are hashed, once a master key has opened them.
    pub(crate) bar_keys: OnceLock<Arc<BarKeys>>,
    pub(crate) turns: Turns,
    /// Another one after a [rest](Store::rest).
    writer: RwLock<Writer>,
    writing: Mutex<Option<JoinHandle<()>>>,
    /// Gone once everything is closed.
    lock: Mutex<Option<FileLock>>,
}

impl Store {
    /// Opens the file at `path`, making it and its tables where they are not there. Must be called within the runtime
    /// on which the store is to live.
    ///
    /// # Errors
    /// [`OpenError`]: the folder is missing, another process has the file, it is another program's, on a network file system, damaged, or of
    /// a newer release.
    pub async fn open(path: &Path, schemas: Arc<Schemas>) -> Result<Self, OpenError> {
        Self::open_handed(path, schemas, None).await
    }

    /// The same with the lock of the process that hands it over ([`Store::duplicate_lock`]), whose writer rests.
    ///
    /// # Errors
    /// The same; and the lock is of another database.
    pub async fn open_handed(
        path: &Path,
        schemas: Arc<Schemas>,
        handed: Option<OwnedFd>,
    ) -> Result<Self, OpenError> {
        file::prepare_file(path)?;
        let lock = file::lock_file(path, handed)?;
        let engine = Engine::new(path);
        let tx = connect_patiently(&engine, &schemas).await?;
        let (writer, writing) = Writer::start(engine.clone(), tx);
        Ok(Self {
            engine,
            schemas,
            bar_keys: OnceLock::new(),
            turns: Turns::default(),
            writer: RwLock::new(writer),
            writing: Mutex::new(Some(writing)),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// The schemas that its resources are read and written by.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// Has `work` done by the writer, in a transaction of its own.
    pub(crate) async fn write_in<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl for<'t> FnOnce(&'t mut Tx) -> futures_util::future::BoxFuture<'t, Result<T, StoreError>>
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner).clone();
        writer.ask(lane, work).await
    }

    /// Checks that the database answers: reads the head.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.last_seq().await.map(drop)
    }

    /// Writes what waits, and then nothing until it is [awake](Store::wake) again: later writes fail with
    /// [`StoreError::Closed`]. It reads, and nobody else gets its lock.
    pub async fn rest(&self) {
        self.writer.read().unwrap_or_else(PoisonError::into_inner).close();
        if let Some(writing) = self.writing.lock().await.take() {
            let _ = writing.await;
        }
    }

    /// Writes again after a [rest](Store::rest).
    ///
    /// # Errors
    /// [`OpenError`]: what another process did to the database meanwhile, a newer schema for one.
    pub async fn wake(&self) -> Result<(), OpenError> {
        let mut lock = self.lock.lock().await;
        let path = self.engine.path();
        if let Some(lock) = &mut *lock {
            lock.sign().map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        }
        let tx = connect_patiently(&self.engine, &self.schemas).await?;
        let (writer, writing) = Writer::start(self.engine.clone(), tx);
        *self.writer.write().unwrap_or_else(PoisonError::into_inner) = writer;
        *self.writing.lock().await = Some(writing);
        Ok(())
    }

    /// The lock of the database once more, for the process that takes over.
    ///
    /// # Errors
    /// There are no descriptors left, or the store is closed.
    pub async fn duplicate_lock(&self) -> io::Result<OwnedFd> {
        let lock = self.lock.lock().await;
        lock.as_ref().ok_or(io::ErrorKind::NotConnected)?.duplicate()
    }

    /// Leaves the lock to the process that has taken over. It is for a store that rests: it reads on.
    pub async fn leave_lock(&self) {
        drop(self.lock.lock().await.take());
    }

    /// Writes what waits, then closes. Later calls fail with [`StoreError::Closed`] or find nothing to do.
    pub async fn close(&self) {
        self.rest().await;
        self.engine.close().await;
        drop(self.lock.lock().await.take());
    }
}

/// The time that opening waits for a lock that another process has.
const PATIENCE: Duration = Duration::from_secs(5);

async fn connect_patiently(engine: &Engine, schemas: &Schemas) -> Result<Tx, OpenError> {
    let began = Instant::now();
    loop {
        match connect_database(engine, schemas).await {
            // A process that ends, or a hand-over, has the lock for a moment.
            Err(OpenError::Store { source, .. }) if source.is_busy() && began.elapsed() < PATIENCE => {}
            other => return other,
        }
    }
}

async fn connect_database(engine: &Engine, schemas: &Schemas) -> Result<Tx, OpenError> {
    let path = engine.path();
    let mut tx =
        engine.connect().await.map_err(|source| OpenError::Store { path: path.to_owned(), source })?;
    migrate::migrate_schema(&mut tx, path, schemas).await?;
    Ok(tx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_rests_reads_and_keeps_its_lock_and_writes_once_it_is_awake() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        let schemas = Arc::new(Schemas::core_schemas());
        let write = async |store: &Store| {
            store.write_in(Lane::Ordinary, |tx| Box::pin(crate::head::next_seq(tx))).await
        };
        let first = Store::open(&path, schemas.clone()).await.unwrap();
        write(&first).await.unwrap();
        first.rest().await;
        assert!(matches!(write(&first).await, Err(StoreError::Closed)));
        assert!(matches!(Store::open(&path, schemas.clone()).await, Err(OpenError::InUse { .. })));
        let lock = first.duplicate_lock().await.unwrap();
        let second = Store::open_handed(&path, schemas.clone(), Some(lock)).await.unwrap();
        let written = write(&second).await.unwrap();
        assert_eq!(first.last_seq().await.unwrap(), written, "it reads what the other wrote");
        second.close().await;
        first.wake().await.unwrap();
        write(&first).await.unwrap();
        first.rest().await;
        first.leave_lock().await;
        let third = Store::open(&path, schemas).await.unwrap();
        let written = write(&third).await.unwrap();
        assert_eq!(first.last_seq().await.unwrap(), written);
    }

    #[tokio::test]
    async fn a_write_that_panics_is_taken_back_and_the_next_one_is_as_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.db");
        let store = Store::open(&path, Arc::new(Schemas::core_schemas())).await.unwrap();
        for lane in [Lane::Removal, Lane::Ordinary, Lane::Unsynced] {
            let before = store.last_seq().await.unwrap();
            let panicked = store
                .write_in(lane, move |tx| {
                    Box::pin(async move {
                        crate::head::next_seq(tx).await?;
                        if before.0 >= 0 {
                            panic!("a fault of the program");
                        }
                        Ok(())
                    })
                })
                .await;
            assert!(matches!(panicked, Err(StoreError::Panicked)), "{panicked:?}");
            assert_eq!(store.last_seq().await.unwrap(), before);
            let next = store.write_in(lane, |tx| Box::pin(crate::head::next_seq(tx))).await.unwrap();
            assert_eq!(next.0, before.0 + 1);
        }
    }
}

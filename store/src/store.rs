//! Opening and closing the store.

use std::path::Path;
use std::sync::{Arc, OnceLock};
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
    writer: Writer,
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
        file::prepare_file(path)?;
        let lock = file::lock_file(path)?;
        let engine = Engine::new(path);
        let began = Instant::now();
        let tx = loop {
            match connect_database(&engine, path, &schemas).await {
                // A process that ends, or a hand-over, has the lock for a moment.
                Err(OpenError::Store { source, .. }) if source.is_busy() && began.elapsed() < PATIENCE => {}
                other => break other?,
            }
        };
        let (writer, writing) = Writer::start(engine.clone(), tx);
        Ok(Self {
            engine,
            schemas,
            bar_keys: OnceLock::new(),
            turns: Turns::default(),
            writer,
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
        self.writer.ask(lane, work).await
    }

    /// Checks that the database answers: reads the head.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.last_seq().await.map(drop)
    }

    /// Writes what waits, then closes. Later calls fail with [`StoreError::Closed`] or find nothing to do.
    pub async fn close(&self) {
        self.writer.close();
        if let Some(writing) = self.writing.lock().await.take() {
            let _ = writing.await;
        }
        self.engine.close().await;
        drop(self.lock.lock().await.take());
    }
}

/// The time that opening waits for a lock that another process has.
const PATIENCE: Duration = Duration::from_secs(5);

async fn connect_database(engine: &Engine, path: &Path, schemas: &Schemas) -> Result<Tx, OpenError> {
    let mut tx =
        engine.connect().await.map_err(|source| OpenError::Store { path: path.to_owned(), source })?;
    migrate::migrate_schema(&mut tx, path, schemas).await?;
    Ok(tx)
}

#[cfg(test)]
mod tests {
    use super::*;

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

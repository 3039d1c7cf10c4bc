//! The master key, and whether it is the one that the database was written with.
//!
//! It is made at the first start and never again: where a database has been used with a master key that is missing now,
//! or with another one, nothing starts. A new key would silently bring back whoever was removed.

use std::path::Path;

use portcullis_config::{File, MasterKey};
use portcullis_keys::{KeyError, Keyring, Random};
use portcullis_policy::Timestamp;
use portcullis_store::{KeysError, Store, StoreError};

/// The name of the master key in the state folder.
pub(crate) const MASTER: &str = "master.key";

/// Reasons why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is another one.
    #[error(transparent)]
    Fit(#[from] KeysError),
    /// It was there and is not.
    #[error("{MASTER} is missing from the state folder {}", .state.display())]
    Missing { state: std::path::PathBuf, source: KeysError },
    #[error("the keys in the database could not be read")]
    Store(#[from] StoreError),
}

/// Reads the master key, makes it where neither it nor anything that depends on it exists, and opens with it what the
/// store keeps sealed.
///
/// # Errors
/// [`KeyringError`] says what would be lost, and how to go on.
pub(crate) async fn open_keyring(file: &File, store: &Store) -> Result<Keyring, KeyringError> {
    let mut random = Random::from_system();
    let keys = match read_keyring(file.keys.as_ref(), &file.state)? {
        Some(keys) => keys,
        None if store.has_keys().await? => {
            let source = store.without_keys(Timestamp::now()).await?;
            return Err(KeyringError::Missing { state: file.state.clone(), source });
        }
        None => Keyring::load_or_create(&file.state.join(MASTER), &mut random)?,
    };
    store.use_keys(&keys, &mut random, Timestamp::now()).await?;
    Ok(keys)
}

/// The master key that is configured, or that of the state folder if it is there.
///
/// # Errors
/// It is there and cannot be used.
pub(crate) fn read_keyring(
    configured: Option<&MasterKey>,
    state: &Path,
) -> Result<Option<Keyring>, KeyError> {
    match configured {
        Some(master) => Ok(Some(Keyring::from_master(master.expose()))),
        None => Keyring::load_file(&state.join(MASTER)),
    }
}

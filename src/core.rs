//! The core: what its listeners, our own pages and the clock work with, made once at the start.
//!
//! A write that may take access away goes down one road, [`Core::carry_out`]; nobody else commits one.

use std::sync::Arc;

use portcullis_keys::Keyring;
use portcullis_session::{Committed, Sessions};
use portcullis_store::Store;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::assertion_keys::AssertionKeys;
use crate::certificates::ServedCertificates;
use crate::handover::Turn;
use crate::idp_keys::IdpKeys;
use crate::import::turn::Imports;
use crate::metrics::Metrics;
use crate::refusals::Refusals;
use crate::revocation::{LEAVE, Revocation, Underway};
use crate::tokens::TokenBook;

/// The parts that everything outside the data plane shares.
pub(crate) struct Core {
    /// The core runtime.
    pub(crate) runtime: Handle,
    pub(crate) store: Arc<Store>,
    /// The sessions and accounts in memory: who is in right now.
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) keys: Arc<Keyring>,
    /// The keys of the header that is signed.
    pub(crate) assertion_keys: Arc<AssertionKeys>,
    /// The word on the signing keys of identity providers.
    pub(crate) idp_keys: Arc<IdpKeys>,
    /// The tokens by which the directory writes.
    pub(crate) tokens: Arc<TokenBook>,
    pub(crate) revocation: Revocation,
    pub(crate) metrics: Arc<Metrics>,
    /// The records that a reference number leads to.
    pub(crate) refusals: Refusals,
    /// The certificates that are served.
    pub(crate) certificates: Arc<ServedCertificates>,
    /// The files that are imported, one at a time.
    pub(crate) imports: Imports,
    /// Whether this process answers whatever writes.
    pub(crate) turn: Turn,
}

impl Core {
    /// Commits a write and enforces it (R5); what it cuts has [`LEAVE`] to go.
    pub(crate) fn carry_out<T, E>(
        &self,
        write: impl Future<Output = Result<Committed<T>, E>> + Send + 'static,
    ) -> Underway<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        self.revocation.carry_out(write, LEAVE)
    }
}

/// Answers a request in a task of its own, which whoever asked cannot stop by going away. `None` where it has panicked,
/// which the log says.
pub(crate) async fn answer_undisturbed<T: Send + 'static>(
    runtime: &Handle,
    what: &'static str,
    answer: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    runtime.spawn(answer).await.inspect_err(|error| tracing::error!(%error, "{what} failed")).ok()
}

/// Ends a task with what holds this: for what only reads, and is of no use to anybody once whoever asked has gone.
pub(crate) struct EndsWith(pub(crate) AbortHandle);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.abort();
    }
}

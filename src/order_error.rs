//! Why an order by hand was not carried out, in words for the operator.

use portcullis_store::{StoreError, UserError};

use crate::log::error_chain;
use crate::revocation::{NotDone, NotGone};

/// Reasons why an order was not carried out. Their text is for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// There is nobody, or nothing, of that name.
    #[error("{0}")]
    Unknown(String),
    /// It cannot be done as it was said.
    #[error("{0}")]
    Refused(String),
    /// The store did not answer. What takes away may or may not have been committed: it is to be repeated.
    #[error("the store did not answer: nothing is certain, so repeat it")]
    Store(#[source] StoreError),
    /// It is not committed. Whoever it is about is out all the same, in the program that runs.
    #[error("{}", on_hold(*accounts, *exchanges, *is_read, why))]
    OnHold {
        /// The number of accounts that bear the name.
        accounts: usize,
        /// The number of exchanges that were cut.
        exchanges: usize,
        /// True where the store could say whose they are.
        is_read: bool,
        /// The fault of the store.
        why: String,
    },
    /// It is not committed. Everybody of the identity providers is out all the same, in the program that runs.
    #[cfg(feature = "saml")]
    #[error(
        "the order is not stored ({why}); in the program that runs the key is distrusted all the same, and everybody of its \
         identity providers is out, with {exchanges} exchanges ended, and stays out. A restart would let them in: repeat the \
         order until it ends with 0"
    )]
    IdpsOnHold {
        /// The number of exchanges that were cut.
        exchanges: usize,
        /// The fault of the store.
        why: String,
    },
    /// It is not committed. The tokens are refused all the same, in the program that runs.
    #[error(
        "the order is not stored ({why}); in the program that runs the token is refused all the same. A restart would let it \
         in: repeat the order until it ends with 0"
    )]
    TokensOnHold {
        /// The fault of the store.
        why: String,
    },
    /// It is committed and stands, but something it cut has not gone yet.
    #[error("it stands, but not everything that was cut has ended: repeat it")]
    NotGone(#[from] NotGone),
    /// The program failed.
    #[error("the task of the order failed: {0}")]
    Failed(String),
}

fn on_hold(accounts: usize, exchanges: usize, is_read: bool, why: &str) -> String {
    let out = match (accounts, is_read) {
        (0, _) => "nobody of that name is in at the moment, so nobody was put out".to_owned(),
        (_, true) => format!(
            "the person is out all the same, on hold in the program that runs, with {exchanges} exchanges ended"
        ),
        (_, false) => format!(
            "whoever of that name is in ({accounts} accounts) is out all the same, on hold in the program that runs, \
             with {exchanges} exchanges ended"
        ),
    };
    format!(
        "the order is not stored ({why}); {out}. A restart would let them in: repeat the order until it ends \
         with 0"
    )
}

impl From<NotDone<UserError>> for OrderError {
    fn from(error: NotDone<UserError>) -> Self {
        match error {
            NotDone::Write(error) => error.into(),
            NotDone::NotGone(error) => error.into(),
            NotDone::Panicked(why) => Self::Failed(why),
        }
    }
}

impl From<UserError> for OrderError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown(_) => Self::Unknown(error.to_string()),
            UserError::Ambiguous { .. } | UserError::Refused(_) | UserError::NoEntry(_) => {
                Self::Refused(error.to_string())
            }
            UserError::Store(error) => {
                tracing::error!(error = %error_chain(&error), "an operator's order could not be carried out");
                Self::Store(error)
            }
        }
    }
}

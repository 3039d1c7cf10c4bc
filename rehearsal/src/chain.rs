//! An error told with its causes.

use std::error::Error;
use std::fmt;

/// An error and what caused it, on one line: `no answer from 127.0.0.1:8081: connection reset`.
pub(crate) fn error_chain(error: &dyn Error) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        write!(f, "{error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    })
}

//! Why an application gave no answer, or no more of it.

use std::error::Error as _;
use std::{fmt, io};

use crate::upload::UploadFault;

/// The reason why there is no answer, or no more of it.
#[derive(Debug)]
pub(crate) enum UpstreamFault {
    /// The application cannot be connected to.
    Connect(io::Error),
    /// It did not begin to answer in time.
    Late,
    /// It closed the connection, or broke off.
    Ended(Option<Box<dyn std::error::Error + Send + Sync>>),
    /// Its answer can be read two ways, or not at all.
    Answer(&'static str),
    /// The request cannot be asked of it.
    Unfit(&'static str),
    /// The client's body ended before its end.
    Upload(UploadFault),
}

impl fmt::Display for UpstreamFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refused) = self.tls_fault() {
            return write!(
                f,
                "TLS with it fails (look at upstream.ca_file, server_name and certificate): {refused}"
            );
        }
        match self {
            Self::Connect(error) if error.kind() == io::ErrorKind::NotFound => {
                f.write_str("its name has no address")
            }
            Self::Connect(error) if error.kind() == io::ErrorKind::TimedOut => {
                f.write_str("it cannot be connected to in time")
            }
            Self::Connect(error) => write!(f, "it cannot be connected to: {error}"),
            Self::Late => f.write_str("it did not begin to answer in time"),
            // The library's text says the kind of it; it does not quote what could not be read.
            Self::Ended(Some(error)) => write!(f, "it broke off: {error}"),
            Self::Ended(None) => f.write_str("it closed the connection"),
            Self::Answer(what) => write!(f, "its answer {what}"),
            Self::Unfit(what) => write!(f, "it cannot be asked: the request {what}"),
            Self::Upload(fault) => write!(f, "the client's body broke off: {fault}"),
        }
    }
}

impl std::error::Error for UpstreamFault {}

impl UpstreamFault {
    /// The fault of TLS, where it is one: ours when it is connected to, or the application's alert that comes later.
    fn tls_fault(&self) -> Option<&rustls::Error> {
        fn of_socket(error: &io::Error) -> Option<&rustls::Error> {
            error.get_ref()?.downcast_ref()
        }
        match self {
            Self::Connect(error) => of_socket(error),
            Self::Ended(Some(error)) => of_socket(error.source()?.downcast_ref::<io::Error>()?),
            _ => None,
        }
    }

    pub(super) fn from_error(error: hyper::Error) -> Self {
        match error.source().and_then(|source| source.downcast_ref::<UploadFault>()) {
            Some(fault) => Self::Upload(*fault),
            None => Self::Ended(Some(Box::new(error))),
        }
    }

    pub(super) fn from_h2(error: h2::Error) -> Self {
        Self::Ended(Some(Box::new(error)))
    }

    /// Tells whether the application has said that it did nothing of what it was asked (RFC 9113 §6.8, §8.7).
    pub(super) fn was_not_processed(&self) -> bool {
        self.as_h2().is_some_and(|error| {
            let reason = error.reason();
            error.is_remote()
                && (error.is_go_away() && reason == Some(h2::Reason::NO_ERROR)
                    || error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM))
        })
    }

    /// Tells whether the connection broke, and nothing was said.
    pub(super) fn is_of_socket(&self) -> bool {
        matches!(self, Self::Ended(None)) || self.as_h2().is_some_and(h2::Error::is_io)
    }

    fn as_h2(&self) -> Option<&h2::Error> {
        match self {
            Self::Ended(Some(error)) => error.downcast_ref(),
            _ => None,
        }
    }
}

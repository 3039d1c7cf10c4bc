//! `limits`: how much a client may ask of us.

use std::time::Duration;

use crate::read::section;
use crate::units::{Period, Size};

section! {
    /// How much a client may ask of us.
    #[derive(PartialEq, Eq)]
    pub struct Limits {
        /// The largest head of a request; beyond it 431.
        pub head: Size = "64KiB",
        /// How long a client may take to send a head.
        #[schemars(with = "Period")]
        pub head_time: Duration = "10s",
        /// How long a connection may be kept open without a request.
        #[schemars(with = "Period")]
        pub idle: Duration = "75s",
        /// How much of an answer may wait for a slow client on one connection. It bounds what still goes out after a
        /// cut, and slows long, fast links.
        pub send_buffer: Size = "64KiB",
    }
}

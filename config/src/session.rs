//! `session`: how long a signed-in browser stays signed in.

use std::time::Duration;

use crate::read::{section, words};
use crate::units::Period;

section! {
    /// How long a signed-in browser stays signed in.
    pub struct SessionBlock {
        /// A session ends when nothing came from its browser for so long. Bytes of the application do not count.
        #[schemars(with = "Period")]
        pub idle: Duration = "2h",
        /// A session ends so long after the login, whatever happens.
        #[schemars(with = "Period")]
        pub absolute: Duration = "12h",
        /// The `SameSite` of the session cookie.
        pub same_site: SameSite = "lax",
    }
}

words! {
    /// The `SameSite` of the session cookie.
    pub enum SameSite {
        /// Sent with top-level navigations from other sites too.
        Lax = "lax",
    }
    refused {
        "none" => "",
        "strict" => "cannot work: the identity provider's answer is a navigation from another site",
    }
}

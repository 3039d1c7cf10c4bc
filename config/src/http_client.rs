//! `http_client`: the requests we make ourselves, to the identity provider.

use std::path::PathBuf;

use portcullis_policy::AllowedHost;

use crate::network::AllowedHostText;
use crate::read::section;

section! {
    /// The requests we make ourselves, to the identity provider.
    pub struct HttpClient {
        /// Certificate authorities to trust besides those of the system, PEM.
        pub ca_file: Option<PathBuf>,
        /// Hosts that may be reached although their address is not public or they speak no https. The host of a
        /// configured issuer needs no mention.
        #[schemars(with = "Vec<AllowedHostText>")]
        pub allow: Vec<AllowedHost> = "[]",
    }
}

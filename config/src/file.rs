//! A valid configuration: every value typed, every secret read, everything that cannot work refused.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_policy::{App, Bindings, IdentityHeaders, Network, Policy, PublicUrl, RulesVersion};

use crate::{
    Expiry, HttpClient, IdpEntry, ImportBlock, Limits, Listen, LogBlock, MasterKey, ScimBlock, SessionBlock,
    Support, UpstreamBlock, Upstreams,
};

/// A valid configuration. Only [`load_file`](crate::load_file) makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct File {
    /// The URL at which people reach the application.
    pub public_url: PublicUrl,
    /// The application.
    pub upstream: UpstreamBlock,
    /// Further applications, by the names that rules lead to.
    pub upstreams: Upstreams,
    /// The app with its host, its prefix and its rules; none of them clash.
    pub app: App,
    /// The application's name for people; the host of the URL where none is given.
    pub app_name: String,
    /// The help that our own pages name.
    pub support: Option<Support>,
    /// The role bindings; without a bindings file no roles.
    pub bindings: Bindings,
    /// The identity headers, and the source of the user header's value.
    pub identity: IdentityHeaders,
    /// Names of headers that no client may send, beside those of every preset; a final `*` stands for any ending.
    pub stripped: Vec<String>,
    /// The identity providers, in the order in which they are written; at least one.
    pub idps: Vec<IdpEntry>,
    /// The source of users.
    pub provisioning: UserSource,
    /// The folder into which files of people are dropped; only with [`UserSource::Invited`].
    pub import: Option<ImportBlock>,
    /// The times for which a browser stays signed in.
    pub session: SessionBlock,
    /// The addresses we listen on; that of SCIM only counts with [`UserSource::Scim`].
    pub listen: Listen,
    /// The file of the database.
    pub database: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// The path of our own pages, below that of `public_url`: `/.portcullis`.
    pub prefix: String,
    /// The logs.
    pub log: LogBlock,
    /// The limits on what a client may ask of us.
    pub limits: Limits,
    /// The time that exchanges in flight have to end once the program is asked to leave.
    pub stop_grace: Duration,
    /// The time for which a process that was replaced may carry what had begun there.
    pub upgrade_grace: Duration,
    /// The networks that are believed when they say whose request they pass on; empty by default.
    pub trusted_proxies: Vec<Network>,
    /// The requests we make ourselves.
    pub http_client: HttpClient,
    /// The master key, where it is given; else it is made in the state folder.
    pub keys: Option<MasterKey>,
    /// The parts that end of themselves, and when.
    pub expires: Vec<Expiry>,
}

/// The source of users.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one of a file")]
pub enum UserSource {
    /// A SCIM client feeds the directory.
    Scim(ScimBlock),
    /// An operator adds them.
    Invited,
    /// There is no directory; whoever the identity provider lets in.
    None,
}

impl File {
    /// Everything that decides. `version` grows with each reload.
    pub fn compile_policy(&self, version: RulesVersion) -> Policy {
        Policy::new(version, vec![self.app.clone()], self.bindings.clone(), self.identity.clone())
    }
}

//! A valid configuration: every value typed, every secret read, everything that cannot work refused.

use std::path::PathBuf;
use std::time::Duration;

use portcullis_policy::{App, Bindings, IdentityHeaders, Network, Policy, PublicUrl, RulesVersion};

use crate::{
    Expiry, HttpClient, IdpEntry, Limits, Listen, LogBlock, MasterKey, ScimBlock, SessionBlock, UpstreamBlock,
};

/// A valid configuration. Only [`load`](crate::load) makes one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct File {
    /// Where people reach the application.
    pub public_url: PublicUrl,
    /// Where the application is.
    pub upstream: UpstreamBlock,
    /// The app with its host, its prefix and its rules; none of them clash.
    pub app: App,
    /// The role bindings; without a bindings file no roles.
    pub bindings: Bindings,
    /// Where the user header's value comes from.
    pub identity: IdentityHeaders,
    /// The one identity provider.
    pub idp: IdpEntry,
    /// Where users come from.
    pub provisioning: UserSource,
    /// How long a signed-in browser stays signed in.
    pub session: SessionBlock,
    /// The addresses we listen on; that of SCIM only counts with [`UserSource::ScimBlock`].
    pub listen: Listen,
    /// The file of the database.
    pub database: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// Where our own pages are, below the path of `public_url`: `/.portcullis`.
    pub prefix: String,
    /// What is written about what happens.
    pub log: LogBlock,
    /// How much a client may ask of us.
    pub limits: Limits,
    /// How long exchanges in flight may take to end once the program is asked to leave.
    pub stop_grace: Duration,
    /// Who is believed when it says whose request it passes on; empty by default.
    pub trusted_proxies: Vec<Network>,
    /// The requests we make ourselves.
    pub http_client: HttpClient,
    /// The master key, where it is given; else it is made in the state folder.
    pub keys: Option<MasterKey>,
    /// What of it ends of itself, and when.
    pub expires: Vec<Expiry>,
}

/// Where users come from.
#[derive(Clone, Debug)]
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
    pub fn policy(&self, version: RulesVersion) -> Policy {
        Policy::new(version, vec![self.app.clone()], self.bindings.clone(), self.identity)
    }
}

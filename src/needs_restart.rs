//! What takes a restart: the settings that a running program cannot change, and in which of them two files differ.

use std::path::PathBuf;

use portcullis_config::{File, Limits, Listen, ScimExtensions, UserSource};
use portcullis_keys::sha256;
use portcullis_policy::{LogFormat, LogTarget};

/// The settings of a configuration that a running program cannot change.
#[derive(PartialEq, Eq)]
pub(crate) struct Fixed {
    listen: Listen,
    state: PathBuf,
    /// Below the state folder, where it is there: then it moves with it.
    store: PathBuf,
    limits: Limits,
    access_log: LogTarget,
    log_format: Option<LogFormat>,
    /// The listener of a directory is opened at a start.
    has_directory: bool,
    /// The search rows of the store agree with them from a start on.
    extensions: Option<ScimExtensions>,
    /// Tells the authorities of clients from others: they are read at a start.
    authorities: [Option<[u8; 32]>; 2],
    /// Tells one master key from another, and nothing else.
    master_key: Option<[u8; 32]>,
}

/// The addresses, and which of them speak TLS. What is shown there is another matter.
fn without_certificates(listen: &Listen) -> Listen {
    let mut listen = listen.clone();
    for tls in [&mut listen.proxy.tls, &mut listen.scim.tls].into_iter().flatten() {
        tls.certificates.clear();
    }
    listen
}

impl Fixed {
    pub(crate) fn from_file(file: &File) -> Self {
        Self {
            listen: without_certificates(&file.listen),
            state: file.state.clone(),
            store: file.database.strip_prefix(&file.state).unwrap_or(&file.database).to_owned(),
            limits: file.limits.clone(),
            access_log: file.log.access.clone(),
            log_format: file.log.format,
            extensions: match &file.provisioning {
                UserSource::Scim(scim) => Some(scim.extensions.clone()),
                UserSource::Invited | UserSource::None => None,
            },
            has_directory: matches!(file.provisioning, UserSource::Scim(_)),
            authorities: [&file.listen.proxy.client_ca, &file.listen.scim.client_ca]
                .map(|file| std::fs::read(file.as_ref()?).ok().map(|bytes| sha256(&bytes))),
            master_key: file.keys.as_ref().map(|master| sha256(master.expose())),
        }
    }

    /// The state folder and the database.
    pub(crate) fn places(&self) -> (PathBuf, PathBuf) {
        (self.state.clone(), self.state.join(&self.store))
    }

    /// The keys of the file in which the two differ.
    pub(crate) fn changed_keys(&self, other: &Self) -> Vec<&'static str> {
        let (Listen { proxy, scim, health }, there) = (&self.listen, &other.listen);
        let [(proxy_ca, scim_ca), (other_proxy_ca, other_scim_ca)] =
            [self.authorities, other.authorities].map(|[proxy, scim]| (proxy, scim));
        [
            ("listen.proxy.address", proxy.address != there.proxy.address),
            ("listen.proxy.tls", proxy.tls != there.proxy.tls),
            (
                "listen.proxy.client_ca",
                proxy.client_ca != there.proxy.client_ca || proxy_ca != other_proxy_ca,
            ),
            ("listen.proxy.proxy_protocol", proxy.proxy_protocol != there.proxy.proxy_protocol),
            ("listen.proxy.redirect", proxy.redirect != there.proxy.redirect),
            ("listen.scim.address", scim.address != there.scim.address),
            ("listen.scim.plaintext", scim.plaintext != there.scim.plaintext),
            ("listen.scim.tls", scim.tls != there.scim.tls),
            ("listen.scim.client_ca", scim.client_ca != there.scim.client_ca || scim_ca != other_scim_ca),
            ("listen.health.address", health != &there.health),
            ("state", self.state != other.state),
            ("store", self.store != other.store),
            ("limits", self.limits != other.limits),
            ("log.access", self.access_log != other.access_log),
            ("log.format", self.log_format != other.log_format),
            (
                "scim.extensions",
                self.extensions.as_ref().zip(other.extensions.as_ref()).is_some_and(|(one, two)| one != two),
            ),
            ("provisioning", self.has_directory != other.has_directory),
            ("keys", self.master_key != other.master_key),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

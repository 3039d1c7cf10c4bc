//! What no single key can tell: whether the keys fit each other. What cannot work is an error here, before a port is
//! opened. Everything is asked, whatever else was found; only then is there a [`File`]. One file a subject.

mod attributes;
mod bindings;
mod bounds;
mod certificates;
mod findings;
mod headers;
mod idps;
mod listeners;
mod oidc;
mod provisioning;
mod routes;
mod saml;
mod scim;
mod trusted_address;

use std::path::PathBuf;

pub(crate) use self::attributes::KnownAttributes;
use self::findings::Findings;
use crate::document::{ProvisioningWord, RootBlock};
use crate::environment::ReadDepth;
use crate::file::{File, UserSource};
use crate::idps::NamedIdp;
use crate::node::YamlNode;
use crate::pages::AppName;
use crate::report::Report;
use crate::store::{ADMIN_SOCKET, IN_STATE, StoreLocation};
use crate::web::LONGEST_SOCKET;

/// Asks everything and joins the configuration, where nothing was found wrong by anybody.
pub(crate) fn settle_file(document: RootBlock, root: &YamlNode, report: &mut Report<'_>) -> Option<File> {
    let findings = &mut Findings { root, report };
    provisioning::check_provisioning(findings, &document);
    idps::check_idps(findings, &document);
    scim::check_scim(findings, &document);
    listeners::check_listeners(findings, &document);
    listeners::check_upstreams(findings, &document);
    bounds::check_bounds(findings, &document);
    let expires = certificates::check_certificates(findings, &document);
    let bindings = bindings::read_bindings(findings, &document);
    let app = routes::join_app(findings, &document, bindings.as_ref());
    let identity = headers::join_headers(findings, &document);
    let state = find_state(findings, &document);
    if !report.problems.is_empty() {
        return None;
    }
    let identity = identity?;
    let stripped = headers::stripped_names(&identity, &document);
    let (state, idps, public_url) = (state?, document.idps.0?, document.public_url.0?);
    Some(File {
        app_name: document.app.name.map_or_else(|| public_url.host().to_owned(), |AppName(name)| name),
        support: document.support,
        public_url,
        upstream: document.upstream.0?,
        upstreams: document.upstreams,
        app: app?,
        bindings: bindings?,
        stripped,
        identity,
        idps: idps.0.into_iter().map(NamedIdp::into_entry).collect::<Option<_>>()?,
        provisioning: match document.provisioning {
            ProvisioningWord::Scim => UserSource::Scim(document.scim?),
            ProvisioningWord::Invited => UserSource::Invited,
            ProvisioningWord::None => UserSource::None,
        },
        import: document.import,
        session: document.session,
        listen: document.listen,
        database: match document.store {
            StoreLocation::InState => state.join(IN_STATE),
            StoreLocation::File(path) => path,
        },
        state,
        prefix: document.prefix.0,
        log: document.log,
        limits: document.limits,
        stop_grace: document.stop_grace,
        upgrade_grace: document.upgrade_grace,
        trusted_proxies: document.trusted_proxies,
        http_client: document.http_client,
        keys: document.keys,
        expires,
    })
}

/// Finds the state folder: the one that is written, else that of whoever runs the program.
fn find_state(findings: &mut Findings<'_, '_>, document: &RootBlock) -> Option<PathBuf> {
    let state = document.state.clone().or_else(|| findings.report.environment.state_folder());
    if state.is_none() && !findings.has_key("state") {
        let what = "missing, and an ordinary user without HOME has no state folder";
        findings.add_problem("state", what, "Write the path of a folder");
    }
    // The whole path is in the address of a socket. One that begins where the file is will be another on another machine.
    let longest = LONGEST_SOCKET - "/".len() - ADMIN_SOCKET.len();
    let is_of_here = findings.report.environment.read_depth() == ReadDepth::TextOnly
        && document.state.as_ref().is_some_and(|state| state.starts_with(findings.report.folder()));
    if let Some(long) = state.as_ref().filter(|state| state.as_os_str().len() > longest && !is_of_here) {
        let (bytes, shown) = (long.as_os_str().len(), long.display().to_string());
        let what = format!("{shown}: a path of {bytes} bytes, and no socket in that folder could be opened");
        findings.add_problem("state", what, format!("Name a folder by one of at most {longest} bytes"));
    }
    if state.as_ref().is_some_and(|state| state.parent().is_none()) {
        let what =
            "this is the root of the file system, and the state folder is closed to everybody else (0700)";
        findings.add_problem("state", what, "Name a folder that is for Portcullis alone");
    }
    state
}

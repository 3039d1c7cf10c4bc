//! Where the rehearsal takes place: five loopback ports, one folder, fresh secrets, and the configuration that the
//! program is then started with, as an operator would write it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use portcullis_keys::{Random, Secret};

use crate::directory::{DOMAIN, GROUPS};

/// The role of each group, in the order of [`GROUPS`].
pub(crate) const ROLES: [&str; 2] = ["intranet.engineer", "intranet.bookkeeper"];

/// The OpenID client's name at the IdP.
pub(crate) const CLIENT: &str = "fernhill-intranet";

/// The ports, each on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) proxy: u16,
    pub(crate) scim: u16,
    pub(crate) health: u16,
    pub(crate) idp: u16,
    pub(crate) app: u16,
}

impl Ports {
    /// The addresses that browsers use. Without a slash at their ends.
    pub(crate) fn app_url(&self) -> String {
        format!("http://app.localhost:{}", self.proxy)
    }

    pub(crate) fn idp_url(&self) -> String {
        format!("http://idp.localhost:{}", self.idp)
    }
}

/// The ports, and the listeners of the two that the rehearsal serves itself.
pub(crate) struct TakenPorts {
    pub(crate) ports: Ports,
    pub(crate) idp: TcpListener,
    pub(crate) app: TcpListener,
}

/// Takes 8080 to 8084, each replaced by a free one if somebody has it.
///
/// # Errors
/// The machine has no free port left.
pub(crate) fn take_ports() -> io::Result<TakenPorts> {
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    // All five are held until all are chosen, so that none is chosen twice. The IdP's is held to the end: where it is
    // gone there is another rehearsal, whose program may be about to listen on what looks free.
    let idp = take_port(8083)?;
    let wanted = if port(&idp)? == 8083 { [8080, 8081, 8082, 8084] } else { [0; 4] };
    let [proxy, scim, health, app] = wanted.map(take_port);
    let (proxy, scim, health, app) = (proxy?, scim?, health?, app?);
    let ports = Ports {
        proxy: port(&proxy)?,
        scim: port(&scim)?,
        health: port(&health)?,
        idp: port(&idp)?,
        app: port(&app)?,
    };
    Ok(TakenPorts { ports, idp, app })
}

fn take_port(wanted: u16) -> io::Result<TcpListener> {
    // Browsers may try [::1] first: a port that somebody has there would answer in our place.
    let free_on_v6 = !matches!(
        TcpListener::bind((Ipv6Addr::LOCALHOST, wanted)),
        Err(taken) if taken.kind() == io::ErrorKind::AddrInUse
    );
    if free_on_v6 && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)) {
        return Ok(listener);
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// The folder of one rehearsal, 0700.
pub(crate) struct Folder {
    path: PathBuf,
    /// Made by us in the temporary folder: removed at the end.
    passing: bool,
}

impl Folder {
    /// The folder somebody named, which must be new or empty, or else a new one in the temporary folder.
    ///
    /// # Errors
    /// The folder holds something, or cannot be made.
    pub(crate) fn open(named: Option<&Path>, random: &mut Random) -> io::Result<Self> {
        let passing = named.is_none();
        let path = match named {
            Some(path) => std::path::absolute(path)?,
            None => std::path::absolute(std::env::temp_dir())?
                .join(format!("portcullis-rehearsal-{}", random.draw_reference().to_ascii_lowercase())),
        };
        // Without `recursive` a folder that somebody else prepared under our name is refused.
        match DirBuilder::new().mode(0o700).recursive(!passing).create(&path) {
            Err(cause) => return Err(cause),
            Ok(()) if fs::read_dir(&path)?.next().is_some() => {
                return Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, "the folder is not empty"));
            }
            // Whoever may write into it could change the configuration before the program reads it.
            Ok(()) if fs::metadata(&path)?.permissions().mode() & 0o077 != 0 => {
                return Err(io::Error::new(
                    io::ErrorKind::PermissionDenied,
                    "others may enter the folder (chmod 700)",
                ));
            }
            Ok(()) => {}
        }
        Ok(Self { path, passing })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The state folder of the program.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Tells whether it goes when the rehearsal is over.
    pub(crate) fn is_passing(&self) -> bool {
        self.passing
    }

    /// Leaves the place as it was found; a folder that somebody named stays.
    pub(crate) fn leave(self) {
        if self.passing {
            // Nothing depends on it; what cannot be removed lies in the temporary folder.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The secrets between the IdP and Portcullis, new for each rehearsal.
pub(crate) struct Secrets {
    pub(crate) client: Secret,
    pub(crate) scim: Secret,
}

impl Secrets {
    pub(crate) fn fresh(random: &mut Random) -> Self {
        Self { client: random.draw_token(), scim: random.draw_token() }
    }
}

/// Writes configuration, bindings and secrets into the folder: the path of the configuration.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn furnish_folder(folder: &Folder, ports: &Ports, secrets: &Secrets) -> io::Result<PathBuf> {
    let at = |name: &str| folder.path().join(name);
    write_file(&at("oidc.secret"), secrets.client.expose())?;
    write_file(&at("scim.token"), secrets.scim.expose())?;
    write_file(&at("portcullis.bindings.yaml"), &bindings_text())?;
    let file = at("portcullis.yaml");
    write_file(&file, &configuration_text(folder.path(), ports))?;
    Ok(file)
}

fn configuration_text(folder: &Path, ports: &Ports) -> String {
    let Ports { proxy, scim, health, app, .. } = ports;
    let (app_url, idp_url) = (ports.app_url(), ports.idp_url());
    let here = |name: &str| quote_yaml(&folder.join(name).display().to_string());
    let secret = |name: &str| quote_yaml(&format!("${{file:{}}}", folder.join(name).display()));
    let (state, access_log, bindings) = (here("state"), here("access.log"), here("portcullis.bindings.yaml"));
    let (client_secret, token) = (secret("oidc.secret"), secret("scim.token"));
    let bookkeeper = ROLES[1];
    format!(
        r#"# Written by `portcullis-rehearsal`. Everything listens on this machine alone.
public_url: {app_url}
upstream: http://127.0.0.1:{app}
state: {state}
listen:
  proxy: 127.0.0.1:{proxy}
  scim: 127.0.0.1:{scim}
  health: 127.0.0.1:{health}
idps:
  rehearsal:
    domains: [{DOMAIN}]
    oidc:
      issuer: {idp_url}
      client_id: {CLIENT}
      client_secret: {client_secret}
      scopes: [openid, profile, email]
scim:
  public_url: http://127.0.0.1:{scim}
  token: {token}
bindings: {bindings}
routes:
  - path: /ledger/**
    allow: [{bookkeeper}]
  - path: /**
    allow: signed-in
log:
  format: text
  level: warn
  access: {access_log}
"#
    )
}

fn bindings_text() -> String {
    let lines: String = GROUPS
        .iter()
        .zip(ROLES)
        .map(|(group, role)| format!("  - group: {group}\n    role: {role}\n"))
        .collect();
    format!("version: 1\nroles: [{}]\nconflicts: []\nbindings:\n{lines}", ROLES.join(", "))
}

/// A YAML string in double quotes; JSON's escapes are YAML's.
fn quote_yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wanted = held.local_addr().unwrap().port();
        let other = take_port(wanted).unwrap();
        assert_ne!(other.local_addr().unwrap().port(), wanted);
        assert!(other.local_addr().unwrap().ip().is_loopback());
    }

    #[test]
    fn the_folder_is_ours_alone_and_goes_at_the_end() {
        let folder = Folder::open(None, &mut Random::from_system()).unwrap();
        let path = folder.path().to_owned();
        let ports = Ports { proxy: 1, scim: 2, health: 3, idp: 4, app: 5 };
        let file = furnish_folder(&folder, &ports, &Secrets::fresh(&mut Random::from_system())).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        for name in ["portcullis.yaml", "portcullis.bindings.yaml", "oidc.secret", "scim.token"] {
            assert_eq!(mode(&path.join(name)), 0o600, "{name}");
        }
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("issuer: http://idp.localhost:4\n"), "{text}");
        assert!(
            Folder::open(Some(&path), &mut Random::from_system()).is_err(),
            "a folder with something in it"
        );
        folder.leave();
        assert!(!path.exists());
    }

    #[test]
    fn an_odd_path_stays_one_yaml_string() {
        let text = configuration_text(
            Path::new("/tmp/a\": b\n#c"),
            &Ports { proxy: 1, scim: 2, health: 3, idp: 4, app: 5 },
        );
        assert!(text.contains(r#"state: "/tmp/a\": b\n#c/state""#), "{text}");
    }
}

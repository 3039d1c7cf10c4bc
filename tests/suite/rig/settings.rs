//! The configuration of a program under test: a file as an operator would write it, made of a few parts.

use std::fmt::Write;
use std::net::SocketAddr;

use super::{idp::Client, ports};

/// What a test says about its program. `Settings::new` is the whole thing: an OpenID provider, a directory, an upstream.
#[derive(Clone)]
pub struct Settings {
    pub proxy: SocketAddr,
    pub scim: SocketAddr,
    pub health: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host name of the app.
    pub host: String,
    /// What goes after `upstream:`: a URL, or a block.
    pub upstream: String,
    /// `scim`, `invited` or `none`.
    pub provisioning: &'static str,
    /// The lines below `idps:`, already indented.
    pub idps: String,
    /// Contents of the file of the IdP's client secret.
    pub client_secret: String,
    /// The directory's token.
    pub scim_token: String,
    /// Where plain http is sent on, over https.
    pub redirect: Option<SocketAddr>,
    /// Asks browsers for a certificate of the authority that the rig's certificates are of.
    pub asks_browsers: bool,
    /// Connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Lines below `listen.scim` beside its address, where there are any; `{folder}` is the program's.
    pub scim_listener: &'static str,
    /// More lines below `scim`.
    pub scim_more: &'static str,
    /// `scim.groups.patch_answer`: `204` or `200`.
    pub groups_answer: &'static str,
    /// `scim.idps`, where it is written.
    pub scim_idps: Option<&'static str>,
    /// Lines at the top level, appended as they are.
    pub more: String,
    /// The bindings file, where there is one.
    pub bindings: Option<String>,
    /// `session.idle` and `session.absolute`.
    pub idle: &'static str,
    pub absolute: &'static str,
    /// `log.level`.
    pub level: &'static str,
    /// `log.access`.
    pub access: String,
    /// How many files the program may have open; `None` leaves it what this process may.
    pub files: Option<u32>,
}

impl Settings {
    /// A program in front of `upstream` that trusts one client of an OpenID provider, with a directory.
    pub fn new(upstream: SocketAddr) -> Self {
        Self {
            proxy: ports::free(),
            scim: ports::free(),
            health: ports::free(),
            scheme: "http",
            host: "app.localhost".to_owned(),
            upstream: format!("http://{upstream}"),
            provisioning: "scim",
            // Never asked: most tests sign nobody in through an IdP, and an IdP that does not answer never stops a start.
            idps: oidc("op", &format!("http://{}", ports::free()), "nobody"),
            client_secret: "a-client-secret-nobody-uses".to_owned(),
            scim_token: format!("scim-token-{:016x}", rand()),
            redirect: None,
            asks_browsers: false,
            proxy_protocol: false,
            scim_listener: "",
            scim_more: "",
            groups_answer: "204",
            scim_idps: None,
            more: String::new(),
            bindings: None,
            idle: "2h",
            absolute: "12h",
            level: "debug",
            access: "stdout".to_owned(),
            files: None,
        }
    }

    /// The same with a client of an OpenID provider. The IdP is called `op`; `sub` is the directory's `externalId`.
    pub fn with_idp(mut self, issuer: &str, client: &Client) -> Self {
        self.idps = oidc("op", issuer, &client.id);
        self.client_secret.clone_from(&client.secret);
        self
    }

    /// The name and the issuer of the IdP, as they are written.
    pub fn idp(&self) -> (String, String) {
        let name = self.idps.trim_start().split_once(':').unwrap().0;
        let issuer = self.idps.lines().find_map(|line| line.trim().strip_prefix("issuer: ")).unwrap();
        (name.to_owned(), issuer.to_owned())
    }

    /// The origin people see.
    pub fn origin(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.host, self.proxy.port())
    }

    /// Where an IdP sends people back to.
    pub fn callback(&self, idp: &str) -> String {
        format!("{}/.portcullis/callback/{idp}", self.origin())
    }

    /// Where an IdP sends people after a logout.
    pub fn logged_out(&self) -> String {
        format!("{}/.portcullis/logged-out", self.origin())
    }

    /// `session.absolute` in milliseconds; hours or seconds.
    pub fn absolute_ms(&self) -> i64 {
        let (number, unit) = self.absolute.split_at(self.absolute.len() - 1);
        number.parse::<i64>().unwrap() * if unit == "h" { 3_600_000 } else { 1000 }
    }

    /// The SCIM base URL.
    pub fn scim_base(&self) -> String {
        format!("http://{}/scim/v2", self.scim)
    }

    /// The file. `folder` holds the secrets it names.
    pub fn yaml(&self, folder: &std::path::Path) -> String {
        let folder = folder.display();
        let mut file = format!(
            "public_url: {origin}\nupstream: {upstream}\nstate: {folder}/state\nprovisioning: {provisioning}\n\
             listen:\n  proxy: {proxy}\n  scim: {scim}\n  health: {health}\n\
             session:\n  idle: {idle}\n  absolute: {absolute}\n\
             log:\n  format: json\n  level: {level}\n  access: {access}\n\
             idps:\n{idps}",
            origin = self.origin(),
            upstream = self.upstream,
            provisioning = self.provisioning,
            proxy = if self.scheme == "https" { self.tls(&folder.to_string()) } else { self.plain() },
            scim = self.scim_block(&folder.to_string()),
            health = self.health,
            idle = self.idle,
            absolute = self.absolute,
            level = self.level,
            access = self.access,
            idps = self.idps.replace("{folder}", &folder.to_string()),
        );
        if self.provisioning == "scim" {
            writeln!(
                file,
                "scim:\n  public_url: http://{}\n  groups:\n    patch_answer: {}",
                self.scim, self.groups_answer
            )
            .unwrap();
            if !self.scim_token.is_empty() {
                writeln!(file, "  token: ${{file:{folder}/scim-token}}").unwrap();
            }
            file += self.scim_more;
            if let Some(idps) = self.scim_idps {
                writeln!(file, "  idps: {idps}").unwrap();
            }
        }
        if self.bindings.is_some() {
            writeln!(file, "bindings: {folder}/bindings.yml").unwrap();
        }
        file + &self.more
    }

    fn scim_block(&self, folder: &str) -> String {
        if self.scim_listener.is_empty() {
            return self.scim.to_string();
        }
        let more = self.scim_listener.trim_end_matches('\n').replace("{folder}", folder);
        format!("\n    address: {}\n{more}", self.scim)
    }

    fn plain(&self) -> String {
        match self.proxy_protocol {
            true => format!("\n    address: {}\n    proxy_protocol: true", self.proxy),
            false => self.proxy.to_string(),
        }
    }

    fn tls(&self, folder: &str) -> String {
        let redirect = self.redirect.map(|address| format!("\n    redirect: {address}")).unwrap_or_default();
        let redirect = if self.proxy_protocol { redirect + "\n    proxy_protocol: true" } else { redirect };
        let asking =
            if self.asks_browsers { format!("\n    client_ca: {folder}/clients.pem") } else { String::new() };
        format!(
            "\n    address: {}{redirect}{asking}\n    tls:\n      - certificate: {folder}/tls.crt\n        key: {folder}/tls.key",
            self.proxy
        )
    }
}

/// The lines of one OpenID provider.
pub fn oidc(name: &str, issuer: &str, client_id: &str) -> String {
    format!(
        "  {name}:\n    oidc:\n      issuer: {issuer}\n      client_id: {client_id}\n      \
         client_secret: ${{file:{{folder}}/client-secret}}\n"
    )
}

/// A number that no other test of this run has.
pub fn rand() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

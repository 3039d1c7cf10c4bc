//! What no single key can tell: whether the keys fit each other. What cannot work is an error here, before a port is
//! opened. Everything is asked, whatever else was found; only then is there a [`File`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_policy::{
    Allow, App, AppId, Bindings, Clash, IdentityHeaders, OrgId, Rule, RuleError, UserFrom,
};
use zeroize::Zeroizing;

use crate::at::{At, shown};
use crate::bindings;
use crate::certificate::{self, Expiry, Fault, Leaf};
use crate::desk::Desk;
use crate::document::{Document, ProvisioningWord};
use crate::environment::Reach;
use crate::file::{File, Provisioning};
use crate::headers::HeaderPreset;
use crate::idps::{Domains, Idp, IdpBlock, Preset, is_name};
use crate::nearest;
use crate::node::Node;
use crate::read::Given;
use crate::routes::Route;
use crate::secret::warn_of_readers;
use crate::source::bytes_of;
use crate::store::{IN_STATE, Store};
use crate::units::{Size, show};
use crate::web::is_localhost;

/// More rules than anybody reads; each is compared with each.
const MOST_ROUTES: usize = 500;

/// Asks everything and joins the configuration, where nothing was found wrong by anybody.
pub(crate) fn settle(document: Document, root: &Node, desk: &mut Desk<'_>) -> Option<File> {
    let mut cross = Cross { root, desk };
    cross.provisioning(&document);
    cross.idp(&document);
    cross.scim(&document);
    cross.listeners(&document);
    cross.upstream(&document);
    cross.bounds(&document);
    let expires = cross.files(&document);
    let bindings = cross.bindings(&document);
    let app = cross.app(&document, bindings.as_ref());
    let state = cross.state(&document);
    if !desk.problems.is_empty() {
        return None;
    }
    let (state, idps, public_url) = (state?, document.idps.0?, document.public_url.0?);
    let HeaderPreset::XForwarded = document.headers.preset;
    let link = idps.idp.link.unwrap_or_else(|| idps.idp.preset.link());
    let without_directory = document.provisioning == ProvisioningWord::None;
    let user = if without_directory { UserFrom::Email } else { UserFrom::UserName };
    Some(File {
        public_url,
        upstream: document.upstream.0?,
        app: app?,
        bindings: bindings?,
        identity: IdentityHeaders { user: document.headers.user.unwrap_or(user) },
        idp: Idp {
            name: idps.name,
            preset: idps.idp.preset,
            link,
            domains: idps.idp.domains,
            replaces: idps.idp.replaces,
            oidc: idps.idp.oidc,
        },
        provisioning: match document.provisioning {
            ProvisioningWord::Scim => Provisioning::Scim(document.scim?),
            ProvisioningWord::Invited => Provisioning::Invited,
            ProvisioningWord::None => Provisioning::None,
        },
        session: document.session,
        listen: document.listen,
        database: match document.store {
            Store::InState => state.join(IN_STATE),
            Store::File(path) => path,
        },
        state,
        prefix: document.prefix.0,
        log: document.log,
        limits: document.limits,
        stop_grace: document.stop_grace,
        trusted_proxies: document.trusted_proxies,
        http_client: document.http_client,
        keys: document.keys,
        expires,
    })
}

struct Cross<'a, 'e> {
    root: &'a Node,
    desk: &'a mut Desk<'e>,
}

impl Cross<'_, '_> {
    fn say(&mut self, path: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let at = At::from(path);
        self.desk.say_on(self.root.line_of(&at), &at, what, remedy);
    }

    fn warn(&mut self, path: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let at = At::from(path);
        self.desk.warn(self.root.line_of(&at), &at, what, remedy);
    }

    fn has(&self, path: &str) -> bool {
        self.root.find(&At::from(path)).is_some()
    }

    /// Whether a problem was noted at a key, or below it. What it would have said is not known then, and the default
    /// that stands in its place is not what somebody meant: nothing is concluded from it.
    fn failed(&self, path: &str) -> bool {
        let of_it = |other: &str| {
            other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.desk.problems.iter().any(|problem| of_it(&problem.path))
            || self.desk.meant.iter().any(|meant| meant == path)
    }

    /// Provisioning says which blocks have a meaning.
    fn provisioning(&mut self, document: &Document) {
        if self.failed("provisioning") || self.failed("scim") {
            return;
        }
        let word = match document.provisioning {
            ProvisioningWord::Scim if !self.has("scim") => {
                let how = if self.has("provisioning") { "provisioning" } else { "scim" };
                return self.say(
                    how,
                    "users come from the directory (provisioning: scim), and there is no scim: block that feeds it",
                    "Write scim: with public_url and token, or provisioning: invited or none",
                );
            }
            ProvisioningWord::Scim => return,
            ProvisioningWord::Invited => "invited",
            ProvisioningWord::None => "none",
        };
        let what = |of: &str| format!("{of} with provisioning: {word}, since no SCIM client feeds users");
        if self.has("scim") {
            self.say("scim", what("has no meaning"), "Leave it out, or write provisioning: scim");
        }
        if self.has("listen.scim") {
            self.warn("listen.scim", what("nothing listens here"), "Leave it out");
        }
        if document.provisioning == ProvisioningWord::Invited {
            return;
        }
        if let Some(user @ (UserFrom::UserName | UserFrom::Id | UserFrom::ExternalId)) = document.headers.user
        {
            let what =
                format!("{} is an attribute of a directory, and provisioning: none has none", user.word());
            self.say("headers.user", what, "Write email or subject");
        }
    }

    fn idp(&mut self, document: &Document) {
        let Some(idps) = &document.idps.0 else { return };
        let (name, idp) = (&idps.name, &idps.idp);
        let of = |key: &str| format!("idps.{name}.{key}");
        if document.provisioning == ProvisioningWord::None
            && self.has(&of("link"))
            && !self.failed("provisioning")
        {
            let what =
                "has no meaning with provisioning: none, since there is no directory to find a user in";
            self.say(&of("link"), what, "Leave it out");
        }
        if let Some(public) = &document.public_url.0
            && !idp.oidc.issuer.is_https()
            && !public.is_loopback()
        {
            let what = "an issuer on this machine works only where public_url is on this machine too";
            self.say(&of("oidc.issuer"), what, "Write the issuer as https://");
        }
        self.product(name, idp);
        if idp.oidc.trust_email && idp.domains == Domains::Any && !self.failed(&of("domains")) {
            let what = "an unverified address would be believed of every domain";
            self.say(&of("oidc.trust_email"), what, format!("List the e-mail domains in {}", of("domains")));
        }
        let scopes = &idp.oidc.scopes;
        if !scopes.iter().any(|scope| scope == "openid") {
            self.say(&of("oidc.scopes"), "without the scope openid there is no login", "Add openid");
        }
        for (nth, scope) in scopes.iter().enumerate() {
            let path = of(&format!("oidc.scopes[{nth}]"));
            // RFC 6749 §3.3.
            if !scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')) {
                self.say(&path, format!("\"{}\" is not a scope", shown(scope)), "Write one scope an item");
            } else if scope == "offline_access" {
                self.say(
                    &path,
                    "offline_access is not in this version: no token is refreshed",
                    "Leave it out",
                );
            }
        }
        if let Some(replaces) = &idp.replaces {
            if !is_name(replaces) {
                let what = format!("\"{}\" is no name that a provider can have had", shown(replaces));
                self.say(
                    &of("replaces"),
                    what,
                    "Write the name under idps: of the provider that was there before",
                );
            } else if document.provisioning == ProvisioningWord::None {
                let what = "has no meaning with provisioning: none, since there is no directory by which anybody \
                            could be known again";
                self.say(&of("replaces"), what, "Leave it out, and see portcullis user relink");
            }
        }
        if let Some(link) = &idp.link {
            let is_address = link.claim == idp.oidc.claims.email || link.claim == "email";
            // Google verifies every address that it gives out.
            let is_open = !idp.oidc.trust_email && idp.preset != Preset::Google;
            if is_address && is_open && document.provisioning != ProvisioningWord::None {
                let what = "people are matched by an e-mail address, and a login whose address the provider does not \
                            call verified is refused (unverified_email)";
                let remedy = "Write claim: sub and to: externalId; or see that the provider sends email_verified; or, \
                              where nobody there chooses an address, write trust_email: true with domains";
                self.warn(&of("link.claim"), what, remedy);
            }
            return;
        }
        let place = format!("idps.{name}");
        match (document.provisioning, idp.preset) {
            (ProvisioningWord::Scim, Preset::Entra) => self.warn(
                &place,
                "Entra does not send its immutable id by itself, and oid is looked for in externalId",
                "Map objectId to externalId in Entra's provisioning, or write link: with claim: preferred_username and \
                 to: userName",
            ),
            (ProvisioningWord::Invited, preset) => self.warn(
                &place,
                format!("people are found by externalId ({} of the login)", preset.link().claim),
                "Give each `portcullis user add` its --external-id, or write link: with claim: email and to: userName",
            ),
            _ => {}
        }
    }

    /// What is known of a product, and makes a login impossible.
    fn product(&mut self, name: &str, idp: &IdpBlock) {
        let of = |key: &str| format!("idps.{name}.{key}");
        if idp.preset == Preset::Google && idp.domains == Domains::Any && !self.failed(&of("domains")) {
            self.say(
                &of("domains"),
                "with preset: google only accounts of a Workspace that is listed here may sign in, and none is",
                "Write the primary domain of yours: [example.com]",
            );
        }
        if let Some(tenant) = idp.oidc.issuer.of_every_tenant() {
            self.say(
                &of("oidc.issuer"),
                format!(
                    "{tenant} is no tenant: whoever has any could sign in, and Entra's documents name another issuer"
                ),
                "Write that of your tenant: https://login.microsoftonline.com/TENANT-ID/v2.0",
            );
        }
    }

    fn scim(&mut self, document: &Document) {
        let Some(scim) = &document.scim else { return };
        if scim.public_url.path().ends_with("/scim/v2") {
            let what = "this is the base URL already: it is public_url and /scim/v2";
            self.say("scim.public_url", what, "Leave /scim/v2 away");
        }
        let Some(idps) = &document.idps.0 else { return };
        let Some(named) = &scim.idps else { return };
        if named.is_empty() {
            self.say(
                "scim.idps",
                "an empty list lets nobody of this directory in",
                "Name a provider, or leave it out",
            );
        }
        for (nth, name) in named.iter().enumerate().filter(|(_, name)| **name != idps.name) {
            let what = format!("\"{}\" is not a provider of idps", shown(name));
            self.say(&format!("scim.idps[{nth}]"), what, nearest::all([idps.name.as_str()]));
        }
    }

    fn listeners(&mut self, document: &Document) {
        let listen = &document.listen;
        let fed = document.provisioning == ProvisioningWord::Scim && !self.failed("provisioning");
        let open = self.open(document);
        for (nth, (path, address)) in open.iter().enumerate() {
            if let Some((other, at)) = open[..nth].iter().find(|(_, other)| overlap(*address, *other)) {
                // Said where the hand is: a default may be in the way of what is written.
                let (place, (other, at)) =
                    if self.has(path) { (path, (other, at)) } else { (other, (path, address)) };
                let what = format!("port {} is taken by {other} ({at})", address.port());
                self.say(place, what, "Give one of them another port");
            }
        }
        if fed
            && !listen.scim.address.ip().is_loopback()
            && !self.has("listen.scim.plaintext")
            && !self.has("listen.scim.tls")
        {
            let what = "tokens and people would cross the network in the clear";
            let remedy =
                "Listen on 127.0.0.1, or write plaintext: behind-proxy where a proxy before it ends TLS";
            self.say("listen.scim.address", what, remedy);
        }
        if let Some(public) = &document.public_url.0
            && listen.proxy.tls.is_some()
            && !public.is_https()
        {
            let what = "the listener speaks TLS, but public_url says http, so browsers would not";
            self.warn("listen.proxy.tls", what, "Write public_url as https://");
        }
    }

    /// The upstream must not be ourselves.
    fn upstream(&mut self, document: &Document) {
        let Some(upstream) = &document.upstream.0 else { return };
        let (host, port) = (upstream.url.host(), upstream.url.port());
        let here: Vec<IpAddr> = if is_localhost(host) {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else {
            host.parse().into_iter().collect()
        };
        let ours = |own: SocketAddr| own.port() == port && here.iter().any(|ip| is_reached_at(own.ip(), *ip));
        if let Some((name, _)) = self.open(document).into_iter().find(|(_, own)| ours(*own)) {
            let what = format!("this is {name}: Portcullis would forward to itself");
            self.say("upstream.url", what, "Write where the application listens, or move the listener");
        }
    }

    /// Values that can be written and cannot work.
    fn bounds(&mut self, document: &Document) {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3600);
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let Document { session, limits, .. } = document;
        let span = |cross: &mut Self, path: &str, value: Duration, least: Duration, most: Duration| {
            cross.between(path, value, least, most, show);
        };
        span(self, "session.idle", session.idle, SECOND, YEAR);
        span(self, "session.absolute", session.absolute, SECOND, YEAR);
        if session.idle > session.absolute && self.has("session") {
            let what = "longer than session.absolute, so it never ends a session";
            self.warn("session.idle", what, format!("Write at most {}", show(session.absolute)));
        }
        if let Some(upstream) = &document.upstream.0 {
            let least = Duration::from_millis(10);
            span(self, "upstream.connect_timeout", upstream.connect_timeout, least, HOUR);
            span(self, "upstream.first_byte_timeout", upstream.first_byte_timeout, least, 24 * HOUR);
        }
        span(self, "limits.head_time", limits.head_time, SECOND, HOUR);
        span(self, "limits.idle", limits.idle, SECOND, HOUR);
        span(self, "stop_grace", document.stop_grace, Duration::ZERO, HOUR);
        self.between("limits.head", limits.head, Size::kib(8), Size::kib(512), |size| size.to_string());
        // Above it more than 256 KiB may go out after a cut (measured: 2.4 times the setting).
        let (least, most) = (Size::kib(16), Size::kib(96));
        self.between("limits.send_buffer", limits.send_buffer, least, most, |size| size.to_string());
        if let Some(idps) = &document.idps.0 {
            let path = format!("idps.{}.oidc.skew", idps.name);
            span(self, &path, idps.idp.oidc.skew, Duration::ZERO, Duration::from_secs(300));
        }
    }

    fn between<T: PartialOrd + Copy>(
        &mut self,
        path: &str,
        value: T,
        least: T,
        most: T,
        show: impl Fn(T) -> String,
    ) {
        if value < least || value > most {
            let what = format!("{} is out of bounds", show(value));
            self.say(path, what, format!("Write {} at least and {} at most", show(least), show(most)));
        }
    }

    /// Certificates that are named are there, are what they are to be, and go together; says when they end.
    fn files(&mut self, document: &Document) -> Vec<Expiry> {
        if let Some(authorities) = &document.http_client.ca_file
            && let Some(bytes) =
                self.pem("http_client.ca_file", authorities, &["CERTIFICATE"], "a certificate")
            && let Err(what) = certificate::judge_authorities(&bytes)
        {
            self.say("http_client.ca_file", format!("{} {what}", named(authorities)), "");
        }
        let Some(tls) = &document.listen.proxy.tls else { return Vec::new() };
        let (certificate, key) = (&tls.certificate.certificate, &tls.certificate.key);
        let kinds = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
        let chain =
            self.pem("listen.proxy.tls[0].certificate", certificate, &["CERTIFICATE"], "a certificate");
        let secret = self
            .pem("listen.proxy.tls[0].key", key, &kinds, "a private key without a passphrase")
            .map(Zeroizing::new);
        if secret.is_some() {
            let at = At::from("listen.proxy.tls[0].key");
            warn_of_readers(key, self.root.line_of(&at), &at, self.desk);
        }
        let (Some(chain), Some(secret)) = (chain, secret) else { return Vec::new() };
        let host = document.public_url.0.as_ref().map(|url| url.host());
        match certificate::judge(&chain, &secret, host.unwrap_or_default(), self.desk.environment.now()) {
            Ok(leaf) => {
                self.certificate("listen.proxy.tls[0].certificate", certificate, &leaf, host);
                vec![Expiry { kind: "certificate", name: "listen.proxy.tls[0]".into(), at: leaf.ends.at }]
            }
            Err(fault) => {
                let (place, what, remedy) = match fault {
                    Fault::Certificate(what) => ("certificate", format!("{} {what}", named(certificate)), ""),
                    Fault::Key(what) => ("key", format!("{} {what}", named(key)), ""),
                    Fault::Pair => (
                        "key",
                        format!("{} is not the key of the certificate {}", named(key), named(certificate)),
                        "Name the key the certificate was made for; the server's own certificate comes first in its \
                         file",
                    ),
                };
                self.say(&format!("listen.proxy.tls[0].{place}"), what, remedy);
                Vec::new()
            }
        }
    }

    /// What works with a certificate and deserves a look.
    fn certificate(&mut self, path: &str, file: &Path, leaf: &Leaf, host: Option<&str>) {
        const DAY: i64 = 24 * 3600;
        let (now, name) = (self.desk.environment.now(), named(file));
        let days = (leaf.ends.at - now) / DAY;
        let renew = "Renew it, and restart";
        if leaf.ends.at <= now {
            self.warn(path, format!("{name} has expired on {}: browsers refuse it", leaf.ends.day), renew);
        } else if days < 30 {
            let left = match days {
                0 => "within a day".to_owned(),
                1 => "in a day".to_owned(),
                more => format!("in {more} days"),
            };
            self.warn(path, format!("{name} ends {left}, on {}", leaf.ends.day), renew);
        }
        if leaf.begins.at > now {
            let what = format!("{name} is not valid before {}: browsers refuse it", leaf.begins.day);
            self.warn(path, what, "Look at the clock of this machine, or wait");
        }
        if let Some(end) = &leaf.stale {
            let what = format!("a certificate further down in {name} has expired on {}", end.day);
            self.warn(path, what, "Take the chain that the authority gives out today");
        }
        if let Some(host) = host
            && !leaf.names_host
        {
            let names = match leaf.names.as_slice() {
                [] => "names no host".to_owned(),
                names => format!("is for {}", names.join(", ")),
            };
            let what = format!("{name} {names}, and not for {host}, the host of public_url");
            self.warn(
                path,
                what,
                "Browsers refuse it, unless something before Portcullis has one of its own",
            );
        }
    }

    /// The bytes of a file with such PEM blocks; `None` where a problem was noted, or where files are left alone.
    fn pem(&mut self, path: &str, file: &Path, kinds: &[&str], wanted: &str) -> Option<Vec<u8>> {
        self.desk.watch(file);
        if self.desk.environment.reach() == Reach::TextOnly {
            return None;
        }
        let name = named(file);
        match bytes_of(file) {
            Err(what) => self.say(path, format!("{name} {what}"), ""),
            Ok(bytes) => {
                let begins = |kind: &&str| {
                    let head = format!("-----BEGIN {kind}-----");
                    bytes.windows(head.len()).any(|window| window == head.as_bytes())
                };
                if kinds.iter().any(begins) {
                    return Some(bytes);
                }
                self.say(path, format!("{name} holds no PEM block of {wanted}"), "");
            }
        }
        None
    }

    fn bindings(&mut self, document: &Document) -> Option<Bindings> {
        let Some(written) = &document.bindings else {
            return (!self.has("bindings")).then(Bindings::default);
        };
        let path = self.desk.resolve(written);
        self.desk.watch(&path);
        if document.provisioning == ProvisioningWord::Invited {
            self.say(
                "bindings",
                "with provisioning: invited nobody is in a group, so nobody could ever get a role",
                "Leave it out, and let routes say signed-in; or let a directory tell the groups (provisioning: scim)",
            );
        }
        match bytes_of(&path) {
            Ok(text) => bindings::read(&text, &self.desk.name_beside(written), self.desk),
            Err(what) => {
                let remedy = "A relative path starts in the folder of this file";
                self.say("bindings", format!("{} {what}", shown(written)), remedy);
                None
            }
        }
    }

    /// The rules, each for itself and against each other.
    fn app(&mut self, document: &Document, bindings: Option<&Bindings>) -> Option<App> {
        let prefix = &document.prefix.0;
        let (host, base) = match &document.public_url.0 {
            Some(url) => (url.host(), url.path()),
            None => ("unknown.invalid", ""),
        };
        let routes = document.routes.as_deref().unwrap_or_default();
        if document.routes.is_some() && routes.is_empty() {
            let remedy = "Leave it out, and the whole site is for signed-in people; or write a rule";
            self.say("routes", "an empty list names no path", remedy);
        }
        if routes.len() > MOST_ROUTES {
            self.say("routes", format!("more than {MOST_ROUTES} rules"), "Join some with * and /**");
            return None;
        }
        let mut rules: Vec<(usize, Rule)> = Vec::new();
        for (nth, route) in routes.iter().enumerate() {
            let Given(Some(route)) = route else { continue };
            self.route(nth, route, base, prefix);
            self.roles(nth, route, document.bindings.as_deref(), bindings);
            rules.push((nth, route.rule()));
        }
        let whole_site = format!("{base}/**");
        let takes_all =
            |route: &Route| matches!(route.path.text(), text if text == "/**" || text == whole_site);
        if !routes.is_empty() && !rules.iter().any(|(nth, _)| routes[*nth].0.as_ref().is_some_and(takes_all))
        {
            self.warn(
                "routes",
                format!(
                    "no rule is for {whole_site}, so every path that no rule names is refused, to everybody"
                ),
                format!("Write a last rule for {whole_site}, for the rest of the site"),
            );
        }
        let app = |rules| App::new(AppId::ONLY, OrgId::ONLY, host, base, prefix, rules);
        let whole = app(rules.iter().map(|(_, rule)| rule.clone()).collect()).ok();
        if whole.is_some() {
            return whole;
        }
        // Policy names the first pair that clashes; here each rule is told of the first one before it.
        for (nth, (later, rule)) in rules.iter().enumerate() {
            let clash = rules[..nth].iter().find_map(|(earlier, other)| {
                let RuleError(_, _, how) = app(vec![other.clone(), rule.clone()]).err()?;
                Some((earlier, other, how))
            });
            let Some((earlier, other, how)) = clash else { continue };
            let line = self.root.line_of(&At::from(format!("routes[{earlier}]").as_str()));
            let written = shown(rule.pattern.text());
            let (what, remedy) = match how {
                Clash::Same => (
                    format!(
                        "\"{written}\" takes the same paths and methods as routes[{earlier}] on line {line}, and \
                         differs in what it allows"
                    ),
                    "Leave one out, or make one more exact",
                ),
                Clash::Folded => (
                    format!(
                        "\"{written}\" is \"{}\" of routes[{earlier}] on line {line} to an application that does not \
                         tell upper from lower case, nor a slash, dot or blank at the end, and differs in what it \
                         allows",
                        shown(other.pattern.text())
                    ),
                    "Let both allow the same, or leave one out",
                ),
            };
            self.say(&format!("routes[{later}].path"), what, remedy);
        }
        None
    }

    /// A rule that no request would ever reach.
    fn route(&mut self, nth: usize, route: &Route, base: &str, prefix: &str) {
        let text = route.path.text();
        let path = format!("routes[{nth}].path");
        let own = format!("{base}{prefix}");
        if below(text.strip_suffix("/**").unwrap_or(text), &own) && !self.failed("prefix") {
            let what = format!("below {own} are our own pages, and no rule is asked there");
            self.say(&path, what, "Leave the rule out");
        } else if !reaches(text, base) {
            let what = format!("\"{}\" is outside {base}, the path of public_url", shown(text));
            self.say(&path, what, format!("Write the whole path: {base}{}", shown(text)));
        }
    }

    fn roles(&mut self, nth: usize, route: &Route, file: Option<&str>, bindings: Option<&Bindings>) {
        let (Allow::Roles(roles), Some(bindings)) = (&route.allow.0, bindings) else { return };
        for (item, role) in roles.iter().enumerate() {
            if bindings.known().contains(role) {
                continue;
            }
            let line = self.root.line_of(&At::from(format!("routes[{nth}].allow[{item}]").as_str()));
            let (what, remedy) = match file {
                Some(file) => (
                    format!("\"{}\" is not a role of {}", shown(role), shown(file)),
                    nearest::all(bindings.known().iter().map(|role| &**role)),
                ),
                None => (
                    format!("\"{}\" is a role, and there is no bindings file that gives roles", shown(role)),
                    "Write bindings: with the path of one".into(),
                ),
            };
            self.desk.say_on(line, &At::from(format!("routes[{nth}].allow").as_str()), what, remedy);
        }
    }

    /// The listeners that will be opened, as far as it is known where.
    fn open(&self, document: &Document) -> Vec<(&'static str, SocketAddr)> {
        let listen = &document.listen;
        let mut open = vec![("listen.proxy", listen.proxy.address)];
        if document.provisioning == ProvisioningWord::Scim && !self.failed("provisioning") {
            open.push(("listen.scim", listen.scim.address));
        }
        open.push(("listen.health", listen.health.address));
        open.retain(|(path, _)| !self.failed(&format!("{path}.address")));
        open
    }

    fn state(&mut self, document: &Document) -> Option<PathBuf> {
        let state = document.state.clone().or_else(|| self.desk.environment.state_folder());
        if state.is_none() && !self.has("state") {
            let what = "missing, and an ordinary user without HOME has no state folder";
            self.say("state", what, "Write the path of a folder");
        }
        state
    }
}

fn named(file: &Path) -> String {
    shown(&file.to_string_lossy())
}

/// Whether who connects to `ip` on this machine reaches a listener on `own`. Another address of this machine is not
/// known here: it may be another machine's.
fn is_reached_at(own: IpAddr, ip: IpAddr) -> bool {
    let here = ip.is_loopback() || ip.is_unspecified();
    own == ip || here && own.is_unspecified() || ip.is_unspecified() && own.is_loopback()
}

/// Whether two listeners cannot both be opened.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let every = |ip: IpAddr, other: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4());
    let (one, other) = (a.ip(), b.ip());
    a.port() == b.port() && a.port() != 0 && (one == other || every(one, other) || every(other, one))
}

/// Whether a path is `base` or below it.
fn below(path: &str, base: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a pattern matches any path at or below `base`.
fn reaches(pattern: &str, base: &str) -> bool {
    let mut own = base.split('/').skip(1);
    let mut parts = pattern.split('/').skip(1);
    loop {
        match (own.next(), parts.next()) {
            (None, _) | (Some(_), Some("**")) => return true,
            (Some(own), Some(part)) if part == "*" || part == own => {}
            (Some(_), _) => return false,
        }
    }
}

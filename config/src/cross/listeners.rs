//! The addresses: listeners against each other, and an upstream that must not be ourselves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::findings::Findings;
use crate::document::{ProvisioningWord, RootBlock};
use crate::upstream::UpstreamBlock;
use crate::web::UpstreamUrl;

/// Asks whether all listeners can be opened together, and whether what is told on them stays private.
pub(super) fn check_listeners(findings: &mut Findings<'_, '_>, document: &RootBlock) {
    let listen = &document.listen;
    let fed = document.provisioning == ProvisioningWord::Scim && !findings.has_failed("provisioning");
    let open = open_listeners(findings, document);
    for (nth, (path, address)) in open.iter().enumerate() {
        if let Some((other, at)) = open[..nth].iter().find(|(_, other)| are_overlapping(*address, *other)) {
            // Said where the hand is: a default may be in the way of what is written.
            let (place, (other, at)) =
                if findings.has_key(path) { (path, (other, at)) } else { (other, (path, address)) };
            let what = format!("port {} is taken by {other} ({at})", address.port());
            findings.add_problem(place, what, "Give one of them another port");
        }
    }
    if fed
        && !listen.scim.address.ip().is_loopback()
        && !findings.has_key("listen.scim.plaintext")
        && !findings.has_key("listen.scim.tls")
    {
        let what = "tokens and people would cross the network in the clear";
        let remedy = "Listen on 127.0.0.1, name a certificate in listen.scim.tls, or write plaintext: behind-proxy where a \
                      proxy before it ends TLS";
        findings.add_problem("listen.scim.address", what, remedy);
    }
    if listen.scim.plaintext.is_some() && findings.has_key("listen.scim.tls") {
        let what = "with tls nothing is in the clear: the two contradict each other";
        findings.add_problem("listen.scim.plaintext", what, "Keep one of them");
    }
    for (key, authorities, tls) in [
        ("listen.proxy.client_ca", &listen.proxy.client_ca, "listen.proxy.tls"),
        ("listen.scim.client_ca", &listen.scim.client_ca, "listen.scim.tls"),
    ] {
        if authorities.is_some() && !findings.has_key(tls) {
            let what = "clients show a certificate over TLS only";
            findings.add_problem(key, what, format!("Name a certificate in {tls}"));
        }
    }
    if listen.proxy.proxy_protocol && document.trusted_proxies.is_empty() {
        let what = "the header of the PROXY protocol is believed of trusted_proxies alone, and none are named: nobody could connect";
        findings.add_problem(
            "listen.proxy.proxy_protocol",
            what,
            "Name the proxy's address in trusted_proxies",
        );
    }
    if let Some(public) = document.scim.as_ref().map(|scim| &scim.public_url)
        && listen.scim.tls.is_some()
        && !public.is_https()
    {
        let what = "the listener speaks TLS, but scim.public_url says http, so the provider would not";
        findings.add_warning("listen.scim.tls", what, "Write scim.public_url as https://");
    }
    if let Some(public) = &document.public_url.0
        && listen.proxy.redirect.is_some()
        && !public.is_https()
    {
        let what = "public_url says http, so everybody would be sent round in a circle";
        findings.add_problem("listen.proxy.redirect", what, "Write public_url as https://, or leave it out");
    }
    if let Some(public) = &document.public_url.0
        && listen.proxy.tls.is_some()
        && !public.is_https()
    {
        let what = "the listener speaks TLS, but public_url says http, so browsers would not";
        findings.add_warning("listen.proxy.tls", what, "Write public_url as https://");
    }
}

/// Refuses an upstream that is a listener of our own, and what its kind has no use for.
pub(super) fn check_upstreams(findings: &mut Findings<'_, '_>, document: &RootBlock) {
    for (path, upstream) in all_upstreams(document) {
        check_tls(findings, &path, upstream);
        check_own(findings, document, &path, upstream);
    }
    let routes = document.routes.as_deref().unwrap_or_default();
    let is_led_to = |name: &str| {
        let named = routes.iter().filter_map(|route| route.0.as_ref()?.upstream.as_deref());
        named.into_iter().any(|led| led == name)
    };
    for (name, _) in document.upstreams.0.iter().filter(|(name, _)| !is_led_to(name)) {
        let what = "no rule leads to it";
        findings.add_warning(
            &format!("upstreams.{name}"),
            what,
            "Name it in a rule: upstream: ".to_owned() + name,
        );
    }
}

/// Every upstream, with its place in the file.
pub(super) fn all_upstreams(document: &RootBlock) -> Vec<(String, &UpstreamBlock)> {
    let main = document.upstream.0.as_ref().map(|upstream| ("upstream".to_owned(), upstream));
    let others = document.upstreams.0.iter().map(|(name, upstream)| (format!("upstreams.{name}"), upstream));
    main.into_iter().chain(others).collect()
}

fn check_own(findings: &mut Findings<'_, '_>, document: &RootBlock, path: &str, upstream: &UpstreamBlock) {
    if let UpstreamUrl::Unix(socket) = &upstream.url {
        // Through a link too: whoever reaches a socket in there gives orders.
        let whole = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let state = document.state.clone().or_else(|| findings.report.environment.state_folder());
        let is_ours =
            state.is_some_and(|state| socket.starts_with(&state) || whole(socket).starts_with(whole(&state)));
        if is_ours {
            let what = "this is in the state folder, where operators give orders to Portcullis";
            findings.add_problem(
                &format!("{path}.url"),
                what,
                "Put the application's socket elsewhere, such as /run",
            );
        }
    }
    let Some((host, port)) = upstream.url.tcp() else { return };
    let here: Vec<IpAddr> = match host.ip() {
        Some(ip) => vec![ip],
        None if host.is_loopback() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        None => Vec::new(),
    };
    let ours = |own: SocketAddr| own.port() == port && here.iter().any(|ip| is_reached_at(own.ip(), *ip));
    if let Some((name, _)) = open_listeners(findings, document).into_iter().find(|(_, own)| ours(*own)) {
        let what = format!("this is {name}: Portcullis would forward to itself");
        findings.add_problem(
            &format!("{path}.url"),
            what,
            "Write where the application listens, or move the listener",
        );
    }
}

/// Refuses what only https has use for, and half a certificate.
fn check_tls(findings: &mut Findings<'_, '_>, path: &str, upstream: &UpstreamBlock) {
    let keys = [
        ("ca_file", upstream.ca_file.is_some()),
        ("server_name", upstream.server_name.is_some()),
        ("certificate", upstream.certificate.is_some()),
        ("key", upstream.key.is_some()),
    ];
    let is_https = matches!(upstream.url, UpstreamUrl::Https { .. });
    for (key, _) in keys.into_iter().filter(|(_, is_said)| *is_said && !is_https) {
        let what = "the application is not spoken to over TLS, so this has no meaning";
        findings.add_problem(&format!("{path}.{key}"), what, "Leave it out, or write the url as https://");
    }
    for (key, other, is_half) in [
        ("certificate", "key", upstream.certificate.is_some() && upstream.key.is_none()),
        ("key", "certificate", upstream.key.is_some() && upstream.certificate.is_none()),
    ] {
        if is_half {
            findings.add_problem(
                &format!("{path}.{key}"),
                format!("there is no {other} beside it"),
                "Name both",
            );
        }
    }
}

/// The listeners that will be opened, as far as it is known where.
fn open_listeners(findings: &Findings<'_, '_>, document: &RootBlock) -> Vec<(&'static str, SocketAddr)> {
    let listen = &document.listen;
    let mut open = vec![("listen.proxy", listen.proxy.address)];
    open.extend(listen.proxy.redirect.map(|address| ("listen.proxy.redirect", address)));
    if document.provisioning == ProvisioningWord::Scim && !findings.has_failed("provisioning") {
        open.push(("listen.scim", listen.scim.address));
    }
    open.push(("listen.health", listen.health.address));
    open.retain(|(path, _)| !findings.has_failed(&format!("{path}.address")));
    open
}

/// Tells whether who connects to `ip` on this machine reaches a listener on `own`. Another address of this machine is
/// not known here: it may be another machine's.
fn is_reached_at(own: IpAddr, ip: IpAddr) -> bool {
    let here = ip.is_loopback() || ip.is_unspecified();
    own == ip || here && own.is_unspecified() || ip.is_unspecified() && own.is_loopback()
}

/// Tells whether two listeners cannot both be opened.
fn are_overlapping(a: SocketAddr, b: SocketAddr) -> bool {
    let every = |ip: IpAddr, other: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4());
    let (one, other) = (a.ip(), b.ip());
    a.port() == b.port() && a.port() != 0 && (one == other || every(one, other) || every(other, one))
}

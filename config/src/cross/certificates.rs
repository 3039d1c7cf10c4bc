//! The files of certificates and keys: they are there, are what they are to be, and go together.

use std::path::Path;

use zeroize::Zeroizing;

use super::findings::Findings;
use super::listeners::all_upstreams;
use crate::at::{At, show_value};
use crate::certificate::{self, CertificateFault, Expiry, Leaf};
use crate::document::RootBlock;
use crate::environment::ReadDepth;
use crate::listen::Certificate;
use crate::secret::warn_of_readers;
use crate::source::bytes_of;

/// Reads the certificates that are named, refuses what cannot serve, and says when they end.
pub(super) fn check_certificates(findings: &mut Findings<'_, '_>, document: &RootBlock) -> Vec<Expiry> {
    if let Some(authorities) = &document.http_client.ca_file {
        check_authorities(findings, "http_client.ca_file", authorities);
    }
    let upstreams = all_upstreams(document);
    for (path, upstream) in &upstreams {
        if let Some(authorities) = &upstream.ca_file {
            check_authorities(findings, &format!("{path}.ca_file"), authorities);
        }
    }
    let heard = [
        ("listen.proxy.client_ca", &document.listen.proxy.client_ca),
        ("listen.scim.client_ca", &document.listen.scim.client_ca),
    ];
    for (path, authorities) in heard {
        if let Some(authorities) = authorities {
            check_client_authorities(findings, path, authorities);
        }
    }
    let proxy_host = document.public_url.0.as_ref().map(|url| url.host().to_owned());
    let scim_host = document.scim.as_ref().map(|scim| scim.public_url.host().to_owned());
    let served = [
        (&document.listen.proxy.tls, "listen.proxy.tls", proxy_host, "public_url"),
        (&document.listen.scim.tls, "listen.scim.tls", scim_host, "scim.public_url"),
    ];
    let mut expiries = Vec::new();
    for (path, upstream) in upstreams {
        let Some((certificate, key)) = upstream.certificate.as_ref().zip(upstream.key.as_ref()) else {
            continue;
        };
        let pair = Certificate { certificate: certificate.clone(), key: key.clone() };
        if let Some(leaf) = check_pair(findings, &path, &pair) {
            warn_of_leaf(findings, &format!("{path}.certificate"), certificate, &leaf, None, "upstream");
            expiries.push(Expiry { kind: "certificate", name: path, at: leaf.ends.at });
        }
    }
    for (tls, path, host, named) in served {
        let Some(tls) = tls else { continue };
        let mut judged = Vec::new();
        for (nth, certificate) in tls.certificates.iter().enumerate() {
            let path = format!("{path}[{nth}]");
            judged.extend(check_pair(findings, &path, certificate).map(|leaf| (path, certificate, leaf)));
        }
        // Of several the first that is for the host is shown; one of another name is for another name.
        let is_shown = judged.iter().position(|(_, _, leaf)| leaf.is_for(host.as_deref())).unwrap_or(0);
        for (nth, (path, certificate, leaf)) in judged.iter().enumerate() {
            let host = host.as_deref().filter(|_| nth == is_shown);
            warn_of_leaf(
                findings,
                &format!("{path}.certificate"),
                &certificate.certificate,
                leaf,
                host,
                named,
            );
            expiries.push(Expiry { kind: "certificate", name: path.clone(), at: leaf.ends.at });
        }
    }
    expiries
}

/// Certificates of authorities that somebody is believed by; what is in the file, where that is good.
fn check_authorities(findings: &mut Findings<'_, '_>, path: &str, file: &Path) -> Option<Vec<u8>> {
    let bytes = read_pem(findings, path, file, &["CERTIFICATE"], "a certificate")?;
    match certificate::judge_authorities(&bytes) {
        Ok(()) => Some(bytes),
        Err(what) => {
            findings.add_problem(path, format!("{} {what}", name_file(file)), "");
            None
        }
    }
}

/// Those that clients are heard by have to be authorities, and are believed after their end too.
fn check_client_authorities(findings: &mut Findings<'_, '_>, path: &str, file: &Path) {
    let Some(bytes) = check_authorities(findings, path, file) else { return };
    match certificate::judge_client_authorities(&bytes, findings.report.environment.now()) {
        Err(what) => {
            let remedy = "Name the certificate of the authority, not one that it has made";
            findings.add_problem(path, format!("{} {what}", name_file(file)), remedy);
        }
        Ok(over) => {
            for day in over {
                let name = name_file(file);
                let what = format!("{name} holds an authority that was over on {day}, and is believed still");
                findings.add_warning(path, what, "Take it out, or name the one that took its place");
            }
        }
    }
}

/// A certificate and its key.
fn check_pair(findings: &mut Findings<'_, '_>, path: &str, pair: &Certificate) -> Option<Leaf> {
    let (certificate, key) = (&pair.certificate, &pair.key);
    let kinds = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
    let (certificate_path, key_path) = (format!("{path}.certificate"), format!("{path}.key"));
    let chain = read_pem(findings, &certificate_path, certificate, &["CERTIFICATE"], "a certificate");
    let secret =
        read_pem(findings, &key_path, key, &kinds, "a private key without a passphrase").map(Zeroizing::new);
    if secret.is_some() {
        let at = At::from(key_path.as_str());
        warn_of_readers(key, findings.root.line_of(&at), &at, findings.report);
    }
    let (chain, secret) = (chain?, secret?);
    let now = findings.report.environment.now();
    match certificate::judge_certificate(&chain, &secret, now) {
        Ok(leaf) => Some(leaf),
        Err(fault) => {
            let (place, what, remedy) = match fault {
                CertificateFault::Certificate(what) => {
                    (certificate_path, format!("{} {what}", name_file(certificate)), "")
                }
                CertificateFault::Key(what) => (key_path, format!("{} {what}", name_file(key)), ""),
                CertificateFault::Pair => (
                    key_path,
                    format!(
                        "{} is not the key of the certificate {}",
                        name_file(key),
                        name_file(certificate)
                    ),
                    "Name the key the certificate was made for; the server's own certificate comes first in its \
                     file",
                ),
            };
            findings.add_problem(&place, what, remedy);
            None
        }
    }
}

/// Warns of what works with a certificate and deserves a look.
fn warn_of_leaf(
    findings: &mut Findings<'_, '_>,
    path: &str,
    file: &Path,
    leaf: &Leaf,
    host: Option<&str>,
    named: &str,
) {
    const DAY: i64 = 24 * 3600;
    let (now, name) = (findings.report.environment.now(), name_file(file));
    let days = (leaf.ends.at - now) / DAY;
    let (who, renew) = match named {
        "public_url" => ("browsers", "Renew it: the new one is served within seconds"),
        "upstream" => ("applications", "Renew it, and reload"),
        _ => ("clients", "Renew it: the new one is served within seconds"),
    };
    if leaf.ends.at <= now {
        findings.add_warning(
            path,
            format!("{name} has expired on {}: {who} refuse it", leaf.ends.day),
            renew,
        );
    } else if days < 30 {
        let left = match days {
            0 => "within a day".to_owned(),
            1 => "in a day".to_owned(),
            more => format!("in {more} days"),
        };
        findings.add_warning(path, format!("{name} ends {left}, on {}", leaf.ends.day), renew);
    }
    if leaf.begins.at > now {
        let what = format!("{name} is not valid before {}: {who} refuse it", leaf.begins.day);
        findings.add_warning(path, what, "Look at the clock of this machine, or wait");
    }
    if let Some(end) = &leaf.stale {
        let what = format!("a certificate further down in {name} has expired on {}", end.day);
        findings.add_warning(path, what, "Take the chain that the authority gives out today");
    }
    if let Some(host) = host
        && !leaf.is_for(Some(host))
    {
        let names = match leaf.names.as_slice() {
            [] => "names no host".to_owned(),
            names => format!("is for {}", names.join(", ")),
        };
        let what = format!("{name} {names}, and not for {host}, the host of {named}");
        findings.add_warning(
            path,
            what,
            if named == "public_url" {
                "Browsers refuse it, unless something before Portcullis has one of its own"
            } else {
                "Clients refuse it, unless something before Portcullis has one of its own"
            },
        );
    }
}

/// Reads the bytes of a file with such PEM blocks; `None` where a problem was noted, or where files are left alone.
fn read_pem(
    findings: &mut Findings<'_, '_>,
    path: &str,
    file: &Path,
    kinds: &[&str],
    wanted: &str,
) -> Option<Vec<u8>> {
    findings.report.watch_file(file);
    if findings.report.environment.read_depth() == ReadDepth::TextOnly {
        return None;
    }
    let name = name_file(file);
    match bytes_of(file) {
        Err(what) => findings.add_problem(path, format!("{name} {what}"), ""),
        Ok(bytes) => {
            let begins = |kind: &&str| {
                let head = format!("-----BEGIN {kind}-----");
                bytes.windows(head.len()).any(|window| window == head.as_bytes())
            };
            if kinds.iter().any(begins) {
                return Some(bytes);
            }
            findings.add_problem(path, format!("{name} holds no PEM block of {wanted}"), "");
        }
    }
    None
}

fn name_file(file: &Path) -> String {
    show_value(&file.to_string_lossy())
}

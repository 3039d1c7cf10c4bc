//! Certificates as a start reads them: whether a chain and a key go together, whom a certificate is for, when it ends.
//!
//! The same library that serves with them judges them here, from the bytes of the files alone, so that what it would
//! refuse is a problem of the configuration and not of a start. Nothing of a key is ever told.

use std::path::Path;

use rustls::RootCertStore;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;
use zeroize::Zeroizing;

use crate::at::show_value;
use crate::source::bytes_of;

/// The end of something of the configuration that ends of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The kind of thing: `certificate`.
    pub kind: &'static str,
    /// The key of the configuration that names it: `listen.proxy.tls[0]`.
    pub name: String,
    /// The time, in seconds since 1970.
    pub at: i64,
}

/// A server's certificate that goes with its key.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// Seconds since 1970.
    pub(crate) begins: CertificateTime,
    pub(crate) ends: CertificateTime,
    /// The first certificate behind it in the chain whose time is over.
    pub(crate) stale: Option<CertificateTime>,
    /// The certificate itself, to ask whom it is for.
    der: CertificateDer<'static>,
    /// The names it is for, few of them and cut.
    pub(crate) names: Vec<String>,
}

/// A time, to compare and to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateTime {
    /// Seconds since 1970.
    pub(crate) at: i64,
    /// `2026-01-31`, in UTC.
    pub(crate) day: String,
}

/// The fault of one of the two files, or of both.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CertificateFault {
    Certificate(&'static str),
    Key(&'static str),
    /// Each is fine, and they do not belong together.
    Pair,
}

impl Leaf {
    /// Tells whether it is for a host.
    pub(crate) fn is_for(&self, host: Option<&str>) -> bool {
        let host = host.unwrap_or_default();
        let name = ServerName::try_from(host.trim_start_matches('[').trim_end_matches(']'));
        let readable = ParsedCertificate::try_from(&self.der);
        name.ok().zip(readable.ok()).is_some_and(|(name, leaf)| verify_server_name(&leaf, &name).is_ok())
    }
}

/// Reads when a certificate ends that a running program is about to serve, in seconds since 1970.
///
/// # Errors
/// A sentence, for a file that cannot be read or a key that is another certificate's.
pub fn read_expiry(certificate: &Path, key: &Path) -> Result<i64, String> {
    let read = |file: &Path| {
        bytes_of(file).map_err(|what| format!("{} {what}", show_value(&file.to_string_lossy())))
    };
    let (chain, secret) = (read(certificate)?, Zeroizing::new(read(key)?));
    let judged = judge_certificate(&chain, &secret, 0).map_err(|fault| match fault {
        CertificateFault::Certificate(what) => {
            format!("{} {what}", show_value(&certificate.to_string_lossy()))
        }
        CertificateFault::Key(what) => format!("{} {what}", show_value(&key.to_string_lossy())),
        CertificateFault::Pair => format!(
            "{} is not the key of the certificate {}",
            show_value(&key.to_string_lossy()),
            show_value(&certificate.to_string_lossy())
        ),
    })?;
    Ok(judged.ends.at)
}

/// Judges a chain and its key, both PEM; `now` is in seconds since 1970.
pub(crate) fn judge_certificate(chain: &[u8], key: &[u8], now: i64) -> Result<Leaf, CertificateFault> {
    let chain = read_certificates(chain).map_err(CertificateFault::Certificate)?;
    let Some((leaf, rest)) = chain.split_first() else {
        return Err(CertificateFault::Certificate("holds no certificate"));
    };
    let parsed = X509Certificate::from_der(leaf);
    let readable = ParsedCertificate::try_from(leaf);
    let (Ok((_, fields)), Ok(_)) = (parsed, readable) else {
        return Err(CertificateFault::Certificate("holds a certificate that cannot be read"));
    };
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| CertificateFault::Key("holds no private key that can be read"))?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain.clone(), key, &provider) {
        Ok(_) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(CertificateFault::Pair),
        Err(_) => return Err(CertificateFault::Key("holds a private key of a kind that is not supported")),
    }
    let of = |certificate: &X509Certificate<'_>| {
        (
            to_certificate_time(certificate.validity().not_before),
            to_certificate_time(certificate.validity().not_after),
        )
    };
    let stale = rest
        .iter()
        .filter_map(|der| Some(of(&X509Certificate::from_der(der).ok()?.1).1))
        .find(|end| end.at <= now);
    let (begins, ends) = of(&fields);
    Ok(Leaf { begins, ends, stale, der: leaf.clone().into_owned(), names: list_names(&fields) })
}

/// Judges a file of authorities, PEM, as the client reads it: all of it must be certificates that can be trusted.
pub(crate) fn judge_authorities(pem: &[u8]) -> Result<(), &'static str> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(pem)? {
        roots.add(certificate).map_err(|_| "holds a certificate that is none of an authority")?;
    }
    if roots.is_empty() { Err("holds no certificate") } else { Ok(()) }
}

/// Judges the authorities of clients, which [`judge_authorities`] found good: none may be an ordinary certificate, whose
/// holder could make others then. Gives the days at which some were over at a time, in seconds since 1970.
pub(crate) fn judge_client_authorities(pem: &[u8], now: i64) -> Result<Vec<String>, &'static str> {
    let mut over = Vec::new();
    for der in read_certificates(pem)? {
        let (_, read) =
            X509Certificate::from_der(&der).map_err(|_| "holds a certificate that cannot be read")?;
        let constraints = read.basic_constraints().map_err(|_| "holds a certificate that cannot be read")?;
        // RFC 5280 §4.2.1.9: one of version 3 that does not say so is none; version 1 cannot say it.
        if !constraints.map_or(read.version() == X509Version::V1, |constraints| constraints.value.ca) {
            return Err("holds a certificate that is none of an authority (CA:FALSE)");
        }
        let end = to_certificate_time(read.validity().not_after);
        if end.at < now {
            over.push(end.day);
        }
    }
    Ok(over)
}

fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| "holds PEM that cannot be read")
}

fn to_certificate_time(time: ASN1Time) -> CertificateTime {
    let date = time.to_datetime();
    let day = format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day());
    CertificateTime { at: time.timestamp(), day }
}

/// Lists the first few names, each cut: they are somebody else's text.
fn list_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(all)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(crate::at::show_value(name)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    };
    all.value.general_names.iter().filter_map(text).take(5).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    const NOW: i64 = 1_780_000_000; // 2026-05-28

    fn params(names: &[&str], end: (i32, u8, u8)) -> CertificateParams {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(end.0, end.1, end.2);
        params
    }

    fn own(names: &[&str]) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params(names, (2027, 2, 3)).self_signed(&key).unwrap().pem(), key)
    }

    fn judged(chain: &str, key: &str) -> Result<Leaf, CertificateFault> {
        judge_certificate(chain.as_bytes(), key.as_bytes(), NOW)
    }

    #[test]
    fn a_pair_says_its_end_and_whom_it_is_for() {
        let (pem, key) = own(&["wiki.example.com", "*.apps.example.com", "127.0.0.1"]);
        for (host, is_named) in [
            ("wiki.example.com", true),
            ("a.apps.example.com", true),
            ("127.0.0.1", true),
            ("a.b.apps.example.com", false),
            ("other.example.com", false),
            ("[::1]", false),
        ] {
            let leaf = judged(&pem, &key.serialize_pem()).unwrap();
            assert_eq!(leaf.is_for(Some(host)), is_named, "{host}");
            assert_eq!((leaf.begins.day.as_str(), leaf.ends.day.as_str()), ("2026-01-01", "2027-02-03"));
            assert_eq!(leaf.ends.at, 1_801_612_800);
            assert_eq!(leaf.names, ["wiki.example.com", "*.apps.example.com", "127.0.0.1"]);
            assert_eq!(leaf.stale, None);
        }
        let (pem, key) = own(&[]);
        assert!(!judged(&pem, &key.serialize_pem()).unwrap().is_for(Some("wiki.example.com")));
    }

    #[test]
    fn a_key_of_another_certificate_and_what_is_neither_are_told_apart() {
        let (pem, key) = own(&["a.test"]);
        let (_, other) = own(&["a.test"]);
        let key = key.serialize_pem();
        assert_eq!(judged(&pem, &other.serialize_pem()).unwrap_err(), CertificateFault::Pair);
        let fake = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        assert!(matches!(judged(fake, &key).unwrap_err(), CertificateFault::Certificate(_)));
        assert!(matches!(judged("", &key).unwrap_err(), CertificateFault::Certificate(_)));
        assert!(matches!(
            judged("-----BEGIN CERTIFICATE-----\n?", &key).unwrap_err(),
            CertificateFault::Certificate(_)
        ));
        for none in ["", &pem, "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"] {
            assert!(matches!(judged(&pem, none).unwrap_err(), CertificateFault::Key(_)), "{none}");
        }
    }

    #[test]
    fn a_certificate_of_the_chain_that_is_over_is_found() {
        let mut authority = params(&[], (2026, 5, 1));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = params(&["a.test"], (2027, 1, 1)).signed_by(&key, &authority).unwrap();
        let chain = leaf.pem() + &authority.pem();
        let judged = judged(&chain, &key.serialize_pem()).unwrap();
        assert_eq!(judged.stale.map(|end| end.day).as_deref(), Some("2026-05-01"));
        assert_eq!(judged.ends.day, "2027-01-01", "the server's own");
        assert_eq!(judge_authorities(authority.pem().as_bytes()), Ok(()));
    }

    #[test]
    fn authorities_are_read_whole_or_not_at_all() {
        let (pem, _) = own(&["a.test"]);
        assert_eq!(judge_authorities(pem.as_bytes()), Ok(()), "one that signed itself");
        let fake = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        for wrong in ["", fake, &format!("{pem}{fake}"), "-----BEGIN CERTIFICATE-----\n?"] {
            assert!(judge_authorities(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

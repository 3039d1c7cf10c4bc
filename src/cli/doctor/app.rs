//! The way to the application: whether it connects, what its own health check says, and whether there is a way around.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use portcullis_proxy::{ProbeError, Upstream, UpstreamSettings};
use rustls::CertificateError as Bad;
use tokio::time::timeout;

use super::check::{DoctorCheck, split_reason};
use super::checkup::Checkup;
use crate::application;
use crate::log::error_chain;
use crate::settings;
use crate::way_around::find_way_around;

const APP: &str = "upstream";
/// The time that an application may take for all of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at the application, and at those that rules lead to.
pub(super) async fn look_at_app(checkup: &Checkup) -> Vec<DoctorCheck> {
    let ways = match application::read_ways(&checkup.file) {
        Ok(ways) => ways,
        Err(error) => return vec![DoctorCheck::failed_by("connection", APP, &error_chain(&error))],
    };
    let main = (APP.to_owned(), &ways.main);
    let others = ways.others.iter().map(|(name, way)| (format!("upstreams.{name}"), way));
    let named: Vec<_> = std::iter::once(main).chain(others).collect();
    let connecting = named.iter().map(|(name, way)| look_at_connection(name, way));
    let mut checks = join_all(connecting).await;
    if let Some(health) = settings::app_health(&checkup.file, &ways) {
        let path = health.path.clone();
        checks.push(match timeout(PATIENCE, health.probe()).await {
            Ok(Ok(status)) if status.is_success() || status.is_redirection() => {
                DoctorCheck::ok("health", APP, format!("{path} answers {status}"))
            }
            Ok(Ok(status)) => DoctorCheck::fail(
                "health",
                APP,
                format!("{path} answers {status}"),
                "Look into the application's log, or correct upstream.health",
            ),
            Ok(Err(error)) => tell_probe_error("health", APP, &error),
            Err(_) => tell_late("health", APP, &ways.main),
        });
    }
    for ((name, _), url) in named.iter().zip(settings::upstream_urls(&checkup.file)) {
        // The table of a busy machine's sockets is long.
        let around = tokio::task::spawn_blocking(move || find_way_around(&url)).await.unwrap_or_default();
        checks.push(match around {
            Some(way) => {
                let way = way.to_string();
                let (what, remedy) = split_reason(&way);
                DoctorCheck::warn("way_around", name, what, remedy)
            }
            None => DoctorCheck::ok("way_around", name, "none that this machine shows"),
        });
    }
    checks
}

async fn look_at_connection(name: &str, way: &UpstreamSettings) -> DoctorCheck {
    match timeout(PATIENCE, Upstream::new(way).probe_connection()).await {
        Ok(Ok(())) => DoctorCheck::ok("connection", name, format!("{} connects", way.at)),
        Ok(Err(error)) => tell_probe_error("connection", name, &error),
        Err(_) => tell_late("connection", name, way),
    }
}

fn tell_late(id: &'static str, name: &str, way: &UpstreamSettings) -> DoctorCheck {
    DoctorCheck::fail(
        id,
        name,
        format!("{} did not answer within {} s", way.at, PATIENCE.as_secs()),
        "See that the application runs and is not busy",
    )
}

fn tell_probe_error(id: &'static str, name: &str, error: &ProbeError) -> DoctorCheck {
    let refused = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let tls = refused.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let remedy = match tls {
        Some(error) => advise_tls(error).replace("upstream.", &format!("{name}.")),
        None => format!("Start the application, or correct {name}"),
    };
    DoctorCheck::fail(id, name, error_chain(error).to_string(), remedy)
}

/// The advice where TLS was refused.
fn advise_tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidMessage(_) => {
            "It does not speak TLS on that port, but perhaps plain http: look at the port and at https:// in upstream"
        }
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "Name the certificate of the authority that signed the application's in upstream.ca_file"
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "Name the host that its certificate is for in upstream.server_name"
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "Renew the application's certificate, or set the clock of this machine"
        }
        rustls::Error::AlertReceived(_) => {
            "It refuses us: where it asks for a certificate, name ours in upstream.certificate and upstream.key"
        }
        _ => "Look at upstream.ca_file, upstream.server_name and upstream.certificate",
    }
}

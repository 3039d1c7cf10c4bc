//! The program seen from outside: whether its health listener says ready, and whether the public address leads to it.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use portcullis_policy::{AllowedHost, shown};
use portcullis_sso::{Fetch, FetchError};

use super::check::DoctorCheck;
use super::checkup::Checkup;
use crate::fetch::{self, FetchReach};
use crate::log::error_chain;

const US: &str = "portcullis";

/// Asks the health listener and the public address. A client of its own: these two hosts and no other.
pub(super) async fn look_at_listeners(checkup: &Checkup) -> Vec<DoctorCheck> {
    let (file, health) = (&checkup.file, address_here(checkup.file.listen.health.address));
    let public = file.public_url.host().trim_matches(['[', ']']).to_owned();
    let allowed = |host: String, port| AllowedHost { host, port };
    let reach = FetchReach {
        issuers: Vec::new(),
        allow: vec![
            allowed(health.ip().to_string(), Some(health.port())),
            allowed(public, file.public_url.port()),
        ],
        loopback: file.public_url.is_loopback(),
    };
    let fetch = match fetch::build_client(reach, file.http_client.ca_file.clone()) {
        Ok(fetch) => fetch,
        Err(error) => return vec![DoctorCheck::failed_by("health", US, &error_chain(&error))],
    };
    let ready = look_at_health(checkup, &fetch, health).await;
    let counts = checkup.condition().is_some() && ready.is_none();
    let ready =
        ready.unwrap_or_else(|| DoctorCheck::ok("health", US, format!("http://{health}/readyz says ready")));
    vec![ready, look_at_public_url(checkup, &fetch, health, counts).await]
}

/// The address at which somebody on this machine reaches a listener.
fn address_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A reason why a page could not be had.
struct Unhad {
    why: String,
    /// Nobody listens there.
    is_refused: bool,
}

async fn fetch_page(fetch: &Fetch, address: &str) -> Result<Response<Bytes>, Unhad> {
    let request = Request::get(address)
        .body(Bytes::new())
        .map_err(|error| Unhad { why: error.to_string(), is_refused: false })?;
    fetch(request).await.map_err(|error: FetchError| {
        let chain = std::iter::successors(Some(&error as &dyn Error), |error| (*error).source());
        let is_refused = chain
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .any(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        Unhad { why: error_chain(&error).to_string(), is_refused }
    })
}

/// Finds what is wrong with the health listener; `None` where it says ready.
async fn look_at_health(checkup: &Checkup, fetch: &Fetch, health: SocketAddr) -> Option<DoctorCheck> {
    const OWN_PORT: &str = "Give listen.health a port of its own";
    let address = format!("http://{health}/readyz");
    Some(match fetch_page(fetch, &address).await {
        Ok(answer) if answer.status() == StatusCode::OK && answer.body().as_ref() == b"ready\n" => {
            if !matches!(checkup.program, Ok(None)) || crate::lock::find_holder(&checkup.file.state).is_some()
            {
                return None;
            }
            let detail =
                format!("{address} says ready, and no program runs with this state folder: another one does");
            DoctorCheck::fail("health", US, detail, OWN_PORT)
        }
        Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
            let said = String::from_utf8_lossy(answer.body()).trim().to_owned();
            DoctorCheck::fail(
                "health",
                US,
                format!("{address} says: {}", shown(&said)),
                "Where the store does not answer, look at the disk and the log; a program that drains is leaving",
            )
        }
        Ok(answer) => DoctorCheck::fail(
            "health",
            US,
            format!("{address} answers {}: something else listens there", answer.status()),
            OWN_PORT,
        ),
        Err(unhad) => match &checkup.program {
            Ok(Some(_)) => DoctorCheck::fail(
                "health",
                US,
                format!("{address} does not answer: {}", unhad.why),
                "Compare listen.health with the file that the program was started with",
            ),
            Ok(None) if unhad.is_refused => {
                DoctorCheck::warn("health", US, format!("{address}: nobody listens, as no program runs"), "")
            }
            Ok(None) => DoctorCheck::fail(
                "health",
                US,
                format!("{address} is listened at by something else, as no program runs: {}", unhad.why),
                OWN_PORT,
            ),
            Err(_) => DoctorCheck::warn(
                "health",
                US,
                format!("{address} does not answer: {}", unhad.why),
                "See above at program",
            ),
        },
    })
}

/// Asks the public address for the page that every Portcullis has. Where `counts`, the program that runs has to see it.
async fn look_at_public_url(
    checkup: &Checkup,
    fetch: &Fetch,
    health: SocketAddr,
    counts: bool,
) -> DoctorCheck {
    let file = &checkup.file;
    let address = format!("{}{}{}/ping", file.public_url.origin(), file.public_url.path(), file.prefix);
    let before = if counts { count_own_pages(fetch, health).await } else { None };
    let id = "public_url";
    let pass = format!(
        "Whatever listens there has to pass requests, with their Host, to listen.proxy ({})",
        file.listen.proxy.address
    );
    let answer = match fetch_page(fetch, &address).await {
        Ok(answer) => answer,
        Err(Unhad { why, .. }) => {
            let runs = checkup.condition().is_some();
            let detail = format!("{address} cannot be had from this machine: {why}");
            let remedy = "See that its name leads here, that its certificate is for it, and that something listens \
                          there. Where this machine cannot reach its own public address, ask from another: curl -i";
            let check = DoctorCheck::fail(id, US, detail, remedy);
            return if runs { check } else { check.into_warning() };
        }
    };
    if answer.status().is_redirection() {
        let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let detail = format!("{address} leads on to {}, and is not Portcullis", shown(to));
        return DoctorCheck::fail(id, US, detail, format!("Write public_url as people see it. {pass}"));
    }
    if answer.status() != StatusCode::NO_CONTENT {
        let detail = format!("{address} answers {} instead of 204: that is not Portcullis", answer.status());
        return DoctorCheck::fail(id, US, detail, pass);
    }
    let Some(before) = before else {
        return DoctorCheck::ok(id, US, format!("{address} answers as Portcullis does"));
    };
    match tokio::time::timeout(COUNTED, has_counted(fetch, health, before)).await {
        Ok(Some(true)) => {
            return DoctorCheck::ok(id, US, format!("{address} answers, and leads to the program that runs"));
        }
        Ok(Some(false)) => {}
        Ok(None) | Err(_) => {
            let detail = format!(
                "{address} answers as Portcullis does; whether it leads to the program that runs is not known"
            );
            return DoctorCheck::warn(id, US, detail, "Ask again once the program answers at /metrics");
        }
    }
    DoctorCheck::fail(
        id,
        US,
        format!(
            "{address} answers as Portcullis does, and the program that runs here did not see the request"
        ),
        format!("Another Portcullis answers there. {pass}"),
    )
}

/// The time that the count of a page may take to be told.
const COUNTED: Duration = Duration::from_secs(6);

/// Waits a moment for the count of our own pages to grow: a request is counted once its answer has gone out. `None` where the
/// count is not told.
async fn has_counted(fetch: &Fetch, health: SocketAddr, before: f64) -> Option<bool> {
    for _ in 0..20 {
        if count_own_pages(fetch, health).await? > before {
            return Some(true);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some(false)
}

async fn count_own_pages(fetch: &Fetch, health: SocketAddr) -> Option<f64> {
    let answer = fetch_page(fetch, &format!("http://{health}/metrics")).await.ok()?;
    read_own_pages(std::str::from_utf8(answer.body()).ok()?)
}

fn read_own_pages(metrics: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix("portcullis_requests_total{kind=\"own\"} ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_for_everybody_is_asked_on_this_machine() {
        for (address, asked) in
            [("0.0.0.0:8082", "127.0.0.1:8082"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(address_here(address.parse().unwrap()).to_string(), asked);
        }
    }

    #[test]
    fn our_own_pages_are_found_among_the_metrics() {
        let metrics = "# TYPE x\nportcullis_requests_total{kind=\"allow\"} 7\nportcullis_requests_total{kind=\"own\"} 3\n";
        assert_eq!(read_own_pages(metrics), Some(3.0));
        assert_eq!(read_own_pages("<html>"), None);
    }
}

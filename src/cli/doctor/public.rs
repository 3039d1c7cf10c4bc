//! The program seen from outside: whether its health listener says ready, and whether the public address leads to it.

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
    let runs = checkup.condition().is_some();
    let ready = look_at_health(&fetch, health, runs).await;
    let is_ready = ready.is_none();
    let ready =
        ready.unwrap_or_else(|| DoctorCheck::ok("health", US, format!("http://{health}/readyz says ready")));
    vec![ready, look_at_public_url(checkup, &fetch, health, runs && is_ready).await]
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

async fn fetch_page(fetch: &Fetch, address: &str) -> Result<Response<Bytes>, String> {
    let request = Request::get(address).body(Bytes::new()).map_err(|error| error.to_string())?;
    fetch(request).await.map_err(|error: FetchError| error_chain(&error).to_string())
}

/// Finds what is wrong with the health listener; `None` where it says ready.
async fn look_at_health(fetch: &Fetch, health: SocketAddr, runs: bool) -> Option<DoctorCheck> {
    let address = format!("http://{health}/readyz");
    Some(match fetch_page(fetch, &address).await {
        Ok(answer) if answer.status() == StatusCode::OK && answer.body().as_ref() == b"ready\n" => {
            return None;
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
            "Give listen.health a port of its own",
        ),
        Err(why) if runs => DoctorCheck::fail(
            "health",
            US,
            format!("{address} does not answer: {why}"),
            "Compare listen.health with the file that the program was started with",
        ),
        Err(_) => {
            DoctorCheck::warn("health", US, format!("{address}: nobody listens, as no program runs"), "")
        }
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
        Err(why) => {
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
    if has_counted(fetch, health, before).await {
        return DoctorCheck::ok(id, US, format!("{address} answers, and leads to the program that runs"));
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

/// Waits a moment for the count of our own pages to grow: a request is counted once its answer has gone out.
async fn has_counted(fetch: &Fetch, health: SocketAddr, before: f64) -> bool {
    for _ in 0..20 {
        if count_own_pages(fetch, health).await.is_none_or(|after| after > before) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
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

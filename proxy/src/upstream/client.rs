//! Asking an application: on a connection that was kept, or on a new one.
//!
//! A connection goes back to the pool only when its answer was read to its end and nothing else has come of it.

use http::{request, response};
use hyper::body::Incoming;

use super::address::AppAddress;
use super::app_connection::AppConnection;
use super::download::Download;
use super::fault::UpstreamFault;
use super::framing::is_framed_one_way;
use super::outgoing_body::Outgoing;
use super::{Upstream, h2c, pool};
use crate::clock::{Wait, Waits};
use crate::told::Told;
use crate::upload::Upload;

/// Asks the application. A request goes out a second time only where nothing of it was sent, or where the connection
/// had been idle and asking twice changes nothing.
///
/// # Errors
/// [`UpstreamFault`].
pub(crate) async fn send_request(
    upstream: &Upstream,
    head: Box<request::Parts>,
    told: &Told,
    upload: Option<Upload>,
    waits: &Waits,
) -> Result<(response::Parts, Download), UpstreamFault> {
    if upstream.speaks_h2c() {
        return h2c::send_request(upstream, head, told, upload, waits).await;
    }
    let addresses = upstream.addresses().await;
    let mut request = http::Request::from_parts(*head, Outgoing(upload));
    if let Some(mut connection) = pool::take_connection(&addresses, upstream) {
        let is_repeatable = request.method().is_idempotent() && request.body().0.is_none();
        waits.arm(Wait::Answer, upstream.first_byte_timeout);
        match connection.send_request(request, told, is_repeatable, waits).await {
            Ok(answer) => return read_answer(answer, connection),
            Err((_, Some(unsent))) => request = *unsent,
            // Not a byte came back: it was closed while it was idle.
            Err((UpstreamFault::Ended(_), None))
                if is_repeatable && let Some(again) = connection.unanswered() =>
            {
                request = again;
            }
            Err((fault, None)) => return Err(fault),
        }
        waits.disarm(Wait::Answer);
    }
    let mut connection = connect_anew(upstream, &addresses).await?;
    waits.arm(Wait::Answer, upstream.first_byte_timeout);
    match connection.send_request(request, told, false, waits).await {
        Ok(answer) => read_answer(answer, connection),
        Err((fault, _)) => Err(fault),
    }
}

/// Asks on a connection of its own, which is never kept: for what may switch protocols.
///
/// # Errors
/// [`UpstreamFault`].
pub(crate) async fn ask_alone(
    upstream: &Upstream,
    head: Box<request::Parts>,
    told: &Told,
    waits: &Waits,
) -> Result<(response::Parts, Download), UpstreamFault> {
    if upstream.speaks_h2c() {
        return Err(UpstreamFault::Unfit("opens a WebSocket, which is carried to no application over h2c"));
    }
    let mut connection = connect_anew(upstream, &upstream.addresses().await).await?;
    waits.arm(Wait::Answer, upstream.first_byte_timeout);
    match connection.send_request(http::Request::from_parts(*head, Outgoing(None)), told, false, waits).await
    {
        Ok(answer) => {
            let (head, download) = read_answer(answer, connection)?;
            Ok((head, download.not_kept()))
        }
        Err((fault, _)) => Err(fault),
    }
}

async fn connect_anew(
    upstream: &Upstream,
    addresses: &[AppAddress],
) -> Result<Box<AppConnection>, UpstreamFault> {
    let (socket, to) = upstream.connect(addresses).await?;
    AppConnection::speak_over(socket, to, upstream).await
}

fn read_answer(
    answer: http::Response<Incoming>,
    connection: Box<AppConnection>,
) -> Result<(response::Parts, Download), UpstreamFault> {
    let (head, body) = answer.into_parts();
    is_framed_one_way(&head.headers).map_err(UpstreamFault::Answer)?;
    Ok((head, Download::new(body, connection)))
}

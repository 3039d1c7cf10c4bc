//! A request as the gate is asked about it: its head, how long that was, and who is at the other end.

use std::sync::Arc;

use portcullis_session::InFlight;

use crate::peer::Peer;

/// A request as the gate is asked about it.
pub struct GateRequest<'a> {
    /// Its head.
    pub parts: &'a http::request::Parts,
    /// The length of the head on the wire; 0 where HTTP/2 has bounded it already.
    pub bytes: usize,
    /// The other end of the socket.
    pub peer: &'a Arc<Peer>,
    /// Its name in the register of exchanges.
    pub exchange: &'a InFlight,
}

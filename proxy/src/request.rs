//! A request as the gate is asked about it: its head, how long that was, and who is at the other end.

use std::sync::Arc;

use portcullis_session::InFlight;

use crate::field_set::FieldSet;
use crate::peer::Peer;

/// A request as the gate is asked about it.
pub struct GateRequest<'a> {
    /// Its head.
    pub(crate) parts: &'a http::request::Parts,
    /// The fields of its head.
    pub(crate) has: FieldSet,
    /// The length of the head on the wire; 0 where HTTP/2 has bounded it already.
    pub(crate) bytes: usize,
    /// The other end of the socket.
    pub(crate) peer: &'a Arc<Peer>,
    /// Its name in the register of exchanges.
    pub(crate) exchange: &'a InFlight,
}

impl<'a> GateRequest<'a> {
    /// A request with this head, which was so many bytes long on the wire (0: HTTP/2 has bounded it), from this peer, under
    /// this name in the register of exchanges.
    pub fn new(
        parts: &'a http::request::Parts,
        bytes: usize,
        peer: &'a Arc<Peer>,
        exchange: &'a InFlight,
    ) -> Self {
        Self { parts, has: FieldSet::of_headers(&parts.headers), bytes, peer, exchange }
    }
}

//! The gate as Pingora calls it: each hook is a call into a room.

use std::mem;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HeaderName;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session as Exchange};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::{Gate, Verdict};
use crate::forward::Underway;
use crate::record::Over;
use crate::request::Request;
use crate::{accept, cut, forward, upgrade};

/// What Pingora carries from hook to hook.
pub(crate) enum Passage {
    /// Not decided yet, or answered by us.
    Arrived,
    /// Decided: it may go up.
    Open(Box<Underway>),
}

impl Passage {
    /// The request, if it may go up. Forward has no other way to one.
    pub(crate) fn open(&mut self) -> Result<&mut Underway> {
        match self {
            Self::Open(underway) => Ok(underway),
            _ => Error::e_explain(ErrorType::InternalError, "this request may not go up"),
        }
    }

    /// Takes it out, to where Pingora calls no more hooks.
    pub(crate) fn take(&mut self) -> Option<Box<Underway>> {
        match mem::replace(self, Self::Arrived) {
            Self::Open(underway) => Some(underway),
            _ => None,
        }
    }
}

/// What Pingora is given.
pub(crate) struct Hooks(pub(crate) Arc<Gate>);

impl Gate {
    /// What a socket's settings must be before anything waits on it, and what Accept does not carry.
    fn settle(&self, exchange: &mut Exchange) -> Result<()> {
        // How long a connection is kept between requests is the clock's to say: a limit of Pingora's is a timer each.
        if self.draining.load(Ordering::Relaxed) {
            exchange.set_keepalive(None);
        }
        forward::forget_spelling(exchange.req_header_mut())?;
        for name in accept::unwanted_upgrade(exchange.req_header()) {
            exchange.req_header_mut().remove_header::<HeaderName>(name);
        }
        // A WebSocket may be silent for as long as its session lives.
        let upgrades = exchange.is_upgrade_req();
        let limit = (!upgrades).then_some(self.idle);
        exchange.set_read_timeout(limit);
        // Whoever takes nothing for so long holds the application's answer, and a buffer, for nobody.
        exchange.set_write_timeout(limit);
        Ok(())
    }
}

#[async_trait]
impl ProxyHttp for Hooks {
    type CTX = Passage;

    fn new_ctx(&self) -> Passage {
        Passage::Arrived
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, exchange: &mut Exchange, passage: &mut Passage) -> Result<bool> {
        let slot = cut::slot().ok_or_else(|| Error::new_in(ErrorType::InternalError))?;
        slot.head_is_read();
        self.0.settle(exchange)?;
        let (parts, bytes) = (exchange.req_header(), head_bytes(exchange));
        let request = Request { parts, bytes, peer: slot.peer(), exchange: &slot.in_flight };
        let mut record = self.0.record(&request);
        match self.0.pass(&request, &mut record).await {
            Ok(Verdict::Open(open)) => {
                record.opened(open.pass());
                *passage = Passage::Open(Box::new(Underway::new(open, slot, record)));
                if !exchange.is_upgrade_req() {
                    return Ok(false);
                }
                upgrade::carry(exchange, passage, &self.0.recorder.metrics).await?;
            }
            Ok(Verdict::Own) => self.0.own_page(exchange, &mut record).await,
            Err(refusal) => self.0.refuse(exchange, &mut record, refusal).await,
        }
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Exchange, passage: &mut Passage) -> Result<Box<HttpPeer>> {
        passage.open()?.upstream().await
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Exchange,
        _: bool,
        _: &HttpPeer,
        socket: RawFd,
        _: Option<&Digest>,
        passage: &mut Passage,
    ) -> Result<()> {
        passage.open().map(|underway| underway.connected(socket))
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Exchange,
        up: &mut RequestHeader,
        passage: &mut Passage,
    ) -> Result<()> {
        passage.open()?.up(up, &self.0.recorder.metrics)
    }

    async fn request_body_filter(
        &self,
        _: &mut Exchange,
        body: &mut Option<Bytes>,
        _: bool,
        passage: &mut Passage,
    ) -> Result<()> {
        let underway = passage.open()?;
        body.iter().filter(|piece| !piece.is_empty()).for_each(|piece| underway.took(piece.len()));
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Exchange,
        down: &mut ResponseHeader,
        passage: &mut Passage,
    ) -> Result<()> {
        passage.open()?.down(false, down, &self.0.recorder.metrics).await // upgrades do not come this way
    }

    fn response_body_filter(
        &self,
        _: &mut Exchange,
        body: &mut Option<Bytes>,
        _: bool,
        passage: &mut Passage,
    ) -> Result<Option<Duration>> {
        let underway = passage.open()?;
        body.iter().for_each(|piece| underway.gave(piece.len()));
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _: &mut Exchange,
        _: &HttpPeer,
        passage: &mut Passage,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(passage.open().is_ok_and(Underway::tries_another));
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
        passage: &mut Passage,
        reused: bool,
    ) -> Box<Error> {
        let Ok(underway) = passage.open() else { return error };
        underway.disconnected();
        match exchange.req_header().method.is_idempotent() && !exchange.as_ref().retry_buffer_truncated() {
            true if !underway.was_late() => error.retry.decide_reuse(reused),
            _ => error.set_retry(false),
        }
        error
    }

    async fn fail_to_proxy(
        &self,
        exchange: &mut Exchange,
        error: &Error,
        passage: &mut Passage,
    ) -> FailToProxy {
        let error_code = self.0.fault(exchange, error, passage).await;
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    fn request_summary(&self, exchange: &Exchange, _: &Passage) -> String {
        exchange.req_header().uri.path().to_owned() // a query is never logged
    }

    fn suppress_error_log(&self, _: &Exchange, _: &Passage, _: &Error) -> bool {
        true // a client that hangs up is no error, and the application's faults are logged where they are answered
    }

    async fn logging(&self, _: &mut Exchange, error: Option<&Error>, passage: &mut Passage) {
        if let Passage::Open(underway) = passage {
            underway.finished(match error.map(Error::esource) {
                None => Over::Done,
                Some(ErrorSource::Downstream) => Over::Client,
                Some(_) => Over::Upstream,
            });
        }
    }
}

fn head_bytes(exchange: &Exchange) -> usize {
    exchange.as_http1().map_or(0, |session| session.get_headers_raw_bytes().len())
}

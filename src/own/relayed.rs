//! A logout that an identity provider says on a connection from before an upgrade: such a client follows no redirection,
//! so the process that leads is asked in its place.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use portcullis_keys::Random;
use portcullis_policy::AppId;
use portcullis_proxy::{Kind, Visitor, WhoIsIn};

use super::{BACK_CHANNEL, Own};
use crate::handover;
use crate::listeners::PeerAddress;

/// The name under which the process that leads hears it.
pub(crate) const PORT: &str = "back-channel";

/// The most bytes of a form: what the process that hands it on has taken.
const MOST: usize = 1024 * 1024;

/// Answers those that were replaced.
pub(crate) fn back_channel_router(own: Arc<Own>) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let own = own.clone();
        async move { own.answer_relayed(request).await.map(Body::from) }
    })
}

impl Own {
    /// Has the process that leads answer.
    pub(super) async fn relay_back_channel(
        &self,
        request: Request<Bytes>,
        visitor: &Visitor,
    ) -> Response<Bytes> {
        let (state, _) = self.live.in_force().fixed.places();
        let mut request = request.map(Body::from);
        request.extensions_mut().insert(PeerAddress(visitor.client));
        let answer = handover::relay_request(&state.join(handover::RELAY_SOCKET), PORT, request).await;
        whole_answer(answer).await
    }

    async fn answer_relayed(self: Arc<Self>, request: Request<Body>) -> Response<Bytes> {
        let live = self.live.in_force();
        let (mut head, body) = request.into_parts();
        let page = head.uri.path().strip_prefix(&live.site.ours).unwrap_or_default().trim_start_matches('/');
        let client = head.extensions.get::<PeerAddress>().map(|PeerAddress(peer)| *peer);
        let body = Limited::new(body, MOST).collect().await;
        let (true, Some(client), Ok(body)) = (page.split('/').next() == Some(BACK_CHANNEL), client, body)
        else {
            return status_answer(StatusCode::NOT_FOUND);
        };
        head.extensions.insert(Visitor {
            app: AppId::ONLY,
            client,
            detail: live.terms.log,
            kind: Kind::Api,
            is_from_us: false,
            session: None,
            who: WhoIsIn::nobody(),
            request_id: Random::from_system().draw_bytes::<16>().map(|byte| format!("{byte:02x}")).concat(),
        });
        let site = live.site.clone();
        self.serve_page(site, Request::from_parts(head, body.to_bytes())).await
    }
}

async fn whole_answer(answer: Response<Body>) -> Response<Bytes> {
    let (head, body) = answer.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(head, body.to_bytes()),
        Err(_) => status_answer(StatusCode::SERVICE_UNAVAILABLE),
    }
}

fn status_answer(status: StatusCode) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

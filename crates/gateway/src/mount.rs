//! The routers of services, each under its prefix.

use crate::gate::{Asked, Gate};
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request};
use axum::response::Response;
use axum::routing::any;
use banyan::Mount;
use banyan_core::{Context, Result, Tasks};
use banyan_rpc::{HttpChannel, Peer, is_event_stream, problem};
use futures::StreamExt;
use http::HeaderMap;
use std::sync::Arc;

/// What stands before the router of one service.
#[derive(Clone)]
pub(crate) struct Mounted {
    pub(crate) gate: Arc<Gate>,
    pub(crate) channel: HttpChannel,
    pub(crate) mount: Mount,
    /// Streams of events end when these stop: they would not end by themselves.
    pub(crate) tasks: Tasks,
}

impl Mounted {
    /// Passes everything under the prefix on.
    pub(crate) fn router(self) -> Router {
        let prefix = self.mount.prefix().trim_end_matches('/');
        let answer =
            move |Extension(cx): Extension<Context>, Extension(peer): Extension<Peer>, request: Request| {
                let this = self.clone();
                async move {
                    let (correlation_id, mut told) = (cx.correlation_id().to_owned(), HeaderMap::new());
                    let answer = this.answer(cx, peer, request, &mut told).await;
                    let mut response = answer.unwrap_or_else(|error| problem(&error, &correlation_id));
                    response.headers_mut().extend(told);
                    response
                }
            };
        let router = Router::new()
            .route(&format!("{prefix}/"), any(answer.clone()))
            .route(&format!("{prefix}/{{*rest}}"), any(answer.clone()));
        if prefix.is_empty() { router } else { router.route(prefix, any(answer)) }
    }

    async fn answer(
        &self,
        cx: Context,
        Peer(peer): Peer,
        request: Request,
        told: &mut HeaderMap,
    ) -> Result<Response> {
        let (route, access, headers) = (self.mount.prefix(), self.mount.access(), request.headers());
        let asked = Asked { route, access, headers, peer, own_credentials: true };
        let cx = self.gate.pass(asked, cx, told).await?;
        let response = self.channel.send(&cx, request).await?;
        if !is_event_stream(response.headers()) {
            return Ok(response);
        }
        let tasks = self.tasks.clone();
        let stopping = Box::pin(async move { tasks.stopping().await });
        Ok(response.map(|body| Body::from_stream(body.into_data_stream().take_until(stopping))))
    }
}

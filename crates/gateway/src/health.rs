//! What a probe of the gateway is told: `/health`, `/health/live`, `/health/ready[/SERVICE]`, `/health/detailed`, and the gRPC
//! health protocol.
//!
//! Liveness asks for an answer and nothing more; readiness of the gateway for what is known anyway; only the details, and how one
//! service is, ask every process, and they do it once for all who ask in the same moment. The rules are those of `docs/specs/health.md`.

use crate::gate::Gate;
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Request};
use axum::response::Response;
use axum::routing::get;
use banyan::{HealthNode, HealthSource, HealthStatus, System};
use banyan_core::{BoxFuture, Code, Context, Error, Reason, Result};
use banyan_rpc::{Fitness, Peer, problem};
use banyan_transcoding::Access;
use http::request::Parts;
use http::{HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where the routes are.
pub(crate) const PREFIX: &str = "/health";
/// Their requests leave no trace.
pub(crate) const UNTRACED: &[&str] = &[PREFIX];

/// The gateway is about to stop: send requests elsewhere.
pub const DRAINING: Reason = Reason::new("DRAINING");

/// How long it may take to find out whether a token is an administrator's: its key may have to be fetched.
const TOKEN_MAX: Duration = Duration::from_millis(500);
/// Who sent a request on, as proxies say it.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Answers probes.
pub(crate) struct Health {
    gate: Arc<Gate>,
    /// Without it the gateway is ready until it drains, and knows nothing more.
    source: Option<Arc<dyn HealthSource>>,
    services: BTreeSet<&'static str>,
    /// Which service has a contract.
    contracts: HashMap<&'static str, &'static str>,
    draining: AtomicBool,
}

impl Health {
    pub(crate) fn new(gate: Arc<Gate>, source: Option<Arc<dyn HealthSource>>, system: &System) -> Arc<Self> {
        let services = system.services();
        let of_service = |service: &'static str, contracts: &[&'static str]| {
            contracts.iter().map(|contract| (*contract, service)).collect::<Vec<_>>()
        };
        let contracts = services.iter().flat_map(|def| of_service(def.name(), def.contracts())).collect();
        let services = services.iter().map(|service| service.name()).collect();
        Arc::new(Self { gate, source, services, contracts, draining: AtomicBool::new(false) })
    }

    /// Is not ready any more from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        let live = || std::future::ready(answer(StatusCode::OK, &json!({"status": HealthStatus::Ok})));
        let (ready, one, detailed) = (self.clone(), self.clone(), self.clone());
        let ready = move |Extension(cx): Extension<Context>| std::future::ready(ready.readiness(&cx));
        let one = move |Extension(cx): Extension<Context>, Path(service): Path<String>| {
            let this = one.clone();
            async move { told(this.service_ready(&service).await, &cx) }
        };
        let detailed =
            move |Extension(cx): Extension<Context>, Extension(peer): Extension<Peer>, request: Request| {
                // Its body is nobody's, and cannot be shared.
                let (this, (request, _)) = (detailed.clone(), request.into_parts());
                async move { this.details(&cx, peer, &request).await }
            };
        Router::new()
            .route(PREFIX, get(live))
            .route(&format!("{PREFIX}/live"), get(live))
            .route(&format!("{PREFIX}/ready"), get(ready))
            .route(&format!("{PREFIX}/ready/{{service}}"), get(one))
            .route(&format!("{PREFIX}/detailed"), get(detailed))
    }

    /// # Errors
    /// `DRAINING`; `NOT_READY`.
    fn ready(&self) -> Result<()> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Error::new(Code::Unavailable, DRAINING, "the gateway is about to stop"));
        }
        self.source.as_ref().map_or(Ok(()), |source| source.ready())
    }

    fn readiness(&self, cx: &Context) -> Response {
        told(self.ready(), cx)
    }

    /// Finds out whether a service can work: it has a place, and its store answers there.
    ///
    /// # Errors
    /// [`Code::NotFound`] if there is no such service; `DRAINING`; `NOT_READY`.
    async fn service_ready(&self, service: &str) -> Result<()> {
        if !self.services.contains(service) {
            return Err(Error::not_found("service", service));
        }
        if self.draining.load(Ordering::Relaxed) {
            return Err(Error::new(Code::Unavailable, DRAINING, "the gateway is about to stop"));
        }
        match &self.source {
            Some(source) => source.health().await.service_ready(service),
            None => Ok(()),
        }
    }

    async fn details(&self, cx: &Context, Peer(peer): Peer, request: &Parts) -> Response {
        let node = match &self.source {
            Some(source) => source.health().await,
            None => {
                Arc::new(HealthNode::new("system", "system", HealthStatus::Unknown, cx.env().clock.unix_ms()))
            }
        };
        let status = match node.status {
            HealthStatus::Ok | HealthStatus::Degraded => StatusCode::OK,
            HealthStatus::Failed | HealthStatus::Unknown => StatusCode::SERVICE_UNAVAILABLE,
        };
        let may_know = is_local(peer, request) || self.is_admin(cx, request).await;
        match serde_json::to_value(&*node) {
            Ok(tree) if may_know => answer(status, &tree),
            _ => answer(status, &json!({"status": node.status})),
        }
    }

    async fn is_admin(&self, cx: &Context, request: &Parts) -> bool {
        let headers = &request.headers;
        let admitting = self.gate.admit(Access::Admin, headers, cx.clone());
        headers.contains_key(header::AUTHORIZATION)
            && matches!(tokio::time::timeout(TOKEN_MAX, admitting).await, Ok(Ok(_)))
    }

    /// Describes the routes for the OpenAPI document.
    pub(crate) fn describe() -> Vec<(String, Value)> {
        let operation = |id: &str, summary: &str| {
            let status = json!({"type": "object", "properties": {"status": {"type": "string"}}});
            json!({"get": {
                "operationId": id, "summary": summary, "security": [], "x-banyan-access": "public",
                "responses": {
                    "200": {"description": "OK", "content": {"application/json": {"schema": status}}},
                    "default": {"$ref": "#/components/responses/Problem"},
                },
            }})
        };
        let mut of_service = operation("GetServiceReadiness", "Tells whether one service can work");
        of_service["get"]["parameters"] =
            json!([{"name": "service", "in": "path", "required": true, "schema": {"type": "string"}}]);
        vec![
            (PREFIX.to_owned(), operation("GetLiveness", "Tells that the gateway's process answers")),
            (format!("{PREFIX}/ready"), operation("GetReadiness", "Tells whether requests can be served")),
            (format!("{PREFIX}/ready/{{service}}"), of_service),
            (
                format!("{PREFIX}/detailed"),
                operation("GetHealth", "Tells how every part is, to administrators and on this machine"),
            ),
        ]
    }
}

impl Fitness for Health {
    fn is_fit<'a>(&'a self, contract: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            match (self.contracts.get(contract), &self.source) {
                (Some(service), Some(source)) => source.health().await.service_ready(service).is_ok(),
                _ => true,
            }
        })
    }
}

/// Answers who asks whether something is ready.
fn told(ready: Result<()>, cx: &Context) -> Response {
    match ready {
        Ok(()) => answer(StatusCode::OK, &json!({"status": HealthStatus::Ok})),
        Err(error) => unstored(problem(&error, cx.correlation_id())),
    }
}

/// Tells whether a request was made on this machine, and by nobody else's page: not sent on by a proxy, and to a name that
/// means this machine.
fn is_local(peer: IpAddr, request: &Parts) -> bool {
    let headers = &request.headers;
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Uri>().ok());
    let host = request.uri.host().or_else(|| named.as_ref().and_then(Uri::host)).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let names_it = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    peer.to_canonical().is_loopback() && names_it && !FORWARDED.iter().any(|name| headers.contains_key(*name))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    unstored(response)
}

/// Has nobody answer in the gateway's place.
fn unstored(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_for_this_machine() {
        let local = |peer: &str, host: &str, more: &[(&'static str, &str)]| {
            let mut request = http::Request::builder().uri("/health/detailed").header("host", host);
            for (name, value) in more {
                request = request.header(*name, *value);
            }
            is_local(peer.parse().unwrap(), &request.body(()).unwrap().into_parts().0)
        };
        assert!(local("127.0.0.1", "localhost:8080", &[]));
        assert!(local("127.0.0.1", "127.0.0.1:8080", &[]));
        assert!(local("::1", "[::1]:8080", &[]));
        assert!(local("::ffff:127.0.0.1", "127.0.0.1", &[]));
        assert!(!local("10.0.0.7", "localhost:8080", &[]));
        assert!(!local("127.0.0.1", "evil.example", &[]), "a page of another name in this machine's browser");
        assert!(!local("127.0.0.1", "localhost", &[("x-forwarded-for", "10.0.0.7")]), "a proxy before us");
        assert!(!local("127.0.0.1", "localhost", &[("forwarded", "for=10.0.0.7")]));
    }
}

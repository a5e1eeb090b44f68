//! Everything a server answers: gRPC, JSON by contract, the OpenAPI document, foreign routes.

use crate::server::edge::{Arrival, Call, Peer};
use crate::server::table::Table;
use crate::server::{Inner, grpc, json, problem};
use crate::{MethodInfo, metadata};
use axum::body::Body;
use banyan_core::{Code, Context, Error, Identity, Reason, Result, SpanKind};
use banyan_transcoding::RouteMatch;
use futures::FutureExt;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use tower::ServiceExt;

/// No contract and no router has the path.
pub const ROUTE_NOT_FOUND: Reason = Reason::new("ROUTE_NOT_FOUND");
/// The path exists, but not with this HTTP method.
pub const METHOD_NOT_ALLOWED: Reason = Reason::new("METHOD_NOT_ALLOWED");

/// Where every server describes the HTTP rules of its contracts.
const OPENAPI: &str = "/openapi.json";

impl Inner {
    /// Answers one request.
    pub(crate) async fn handle(&self, peer: IpAddr, request: Request<Incoming>) -> Response<Body> {
        let _active = self.load.begin();
        if is_grpc(request.headers()) {
            let request = match Box::pin(self.grpc(peer, request)).await {
                Ok(response) => return response.map(Body::new),
                Err(request) => request,
            };
            let path = request.uri().path().to_owned();
            let cx = self.context(request.headers(), true);
            return match cx {
                Ok(cx) => {
                    let call = Call::new(cx, peer);
                    self.foreign(&call, request).await.unwrap_or_else(|| grpc::unknown(&path).map(Body::new))
                }
                Err(error) => grpc::refuse(&error).map(Body::new),
            };
        }
        match self.context(request.headers(), true) {
            Ok(cx) => {
                let mut call = self.arrived(self.bound(cx), peer, &request);
                let response = Box::pin(self.http(&mut call, request)).await;
                if let Some(mut span) = call.span.take() {
                    let status =
                        response.as_ref().map_or_else(|error| problem(error, "").status(), Response::status);
                    span.attribute("http.response.status_code", u32::from(status.as_u16()));
                    span.end(&response);
                }
                let response = response.unwrap_or_else(|error| problem(&error, call.cx.correlation_id()));
                finish(response, call)
            }
            Err(error) => {
                let cx = Context::new(&self.env, Identity::anonymous());
                finish(problem(&error, cx.correlation_id()), Call::new(cx, peer))
            }
        }
    }

    /// Reads the context of a request.
    ///
    /// # Errors
    /// Those of [`metadata::read`]; a stranger is refused only if the server is internal and the path `guarded`.
    pub(crate) fn context(&self, headers: &HeaderMap, guarded: bool) -> Result<Context> {
        let options = &self.options;
        metadata::read(headers, &self.env, options.peer_secret.as_ref(), guarded && options.internal)
    }

    /// Begins the span of a request from outside: the first of its trace, unless its sender says that it goes on there.
    fn arrived(&self, cx: Context, peer: IpAddr, request: &Request<Incoming>) -> Call {
        if self.edge.is_none() || !cx.signals().is_on() || self.is_untraced(request.uri().path()) {
            return Call::new(cx, peer);
        }
        let name = request.method().as_str().to_owned();
        let (cx, mut span) = match metadata::trace(request.headers()) {
            Some(_) => cx.begin(SpanKind::Server, name),
            None => {
                let span = cx.begin_here(0, SpanKind::Server, name);
                (cx, span)
            }
        };
        span.attribute("http.request.method", request.method().as_str());
        Call { span: Some(span), ..Call::new(cx, peer) }
    }

    fn is_untraced(&self, path: &str) -> bool {
        let below = |prefix: &&str| {
            path.strip_prefix(*prefix).is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/', ..]))
        };
        self.options.untraced.iter().any(below)
    }

    /// Gives a call that has no deadline the default one.
    pub(crate) fn bound(&self, cx: Context) -> Context {
        if cx.deadline().is_some() { cx } else { cx.with_timeout(self.options.timeout_default) }
    }

    /// Asks the edge, if there is one.
    pub(crate) async fn authorize(
        &self,
        table: &Table,
        method: &MethodInfo,
        headers: &HeaderMap,
        call: &mut Call,
    ) -> Result<Context> {
        let cx = call.cx.clone();
        let Some(edge) = &self.edge else {
            return Ok(cx);
        };
        let json = table.json()?;
        match json.methods.get(method.path) {
            Some(method) => {
                edge.authorize(Arrival { method, headers, peer: call.peer }, cx, &mut call.told).await
            }
            None => Err(Error::permission_denied("the method is not described, so nothing permits it")),
        }
    }

    async fn http(&self, call: &mut Call, request: Request<Incoming>) -> Result<Response<Body>> {
        let table = self.tables.current();
        let contracts = table.json()?;
        // HTTP itself leaves the body out of the answer to HEAD.
        let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let allowed = match contracts.transcoder.route(method.as_str(), request.uri().path()) {
            RouteMatch::Found(matched) => {
                if let Some(span) = &mut call.span {
                    span.rename(format!("{method} {}", matched.template()));
                    span.attribute("http.route", matched.template());
                }
                return self.transcode(call, &table, &contracts, &matched, request).await;
            }
            RouteMatch::MethodNotAllowed { allowed } => Some(allowed),
            RouteMatch::NotFound if method == Method::GET && request.uri().path() == OPENAPI => {
                return Ok(json::response(contracts.openapi(&self.options.document)));
            }
            RouteMatch::NotFound => None,
        };
        let path = request.uri().path().to_owned();
        if let Some(response) = self.foreign(call, request).await {
            return Ok(response);
        }
        match allowed {
            Some(allowed) => Ok(not_allowed(&call.cx, &method, &path, &allowed.join(", "))),
            None => {
                Err(Error::new(Code::NotFound, ROUTE_NOT_FOUND, format!("nothing serves {method} {path}")))
            }
        }
    }

    /// Asks the merged routers; `None` if they have no such route.
    async fn foreign(&self, call: &Call, mut request: Request<Incoming>) -> Option<Response<Body>> {
        let router = self.router.clone()?;
        let correlation_id = call.cx.correlation_id();
        request.extensions_mut().insert(call.cx.clone());
        request.extensions_mut().insert(Peer(call.peer));
        let answering = AssertUnwindSafe(router.oneshot(request.map(Body::new))).catch_unwind();
        let response = match answering.await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => {
                tracing::error!(correlation_id, "a handler of a merged router panicked");
                return Some(problem(
                    &Error::internal("a handler of a merged router panicked"),
                    correlation_id,
                ));
            }
        };
        // What a router without a route answers by itself is bare; a handler's own 404 has something to say.
        let bare =
            response.status() == StatusCode::NOT_FOUND && response.body().size_hint().exact() == Some(0);
        (!bare).then_some(response)
    }
}

fn not_allowed(cx: &Context, method: &Method, path: &str, allowed: &str) -> Response<Body> {
    let message = format!("{path} has no {method}, only {allowed}");
    let error = Error::new(Code::Unimplemented, METHOD_NOT_ALLOWED, message);
    let mut response = problem(&error, cx.correlation_id());
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// Tells the client what the edge has to tell, and by which id its request is found in logs and traces.
fn finish(mut response: Response<Body>, call: Call) -> Response<Body> {
    response.headers_mut().extend(call.told);
    if let Ok(id) = HeaderValue::from_str(call.cx.correlation_id()) {
        response.headers_mut().insert(metadata::CORRELATION_ID, id);
    }
    response
}

/// Tells gRPC from gRPC-Web and everything else (`application/grpc`, `application/grpc+proto`, …).
fn is_grpc(headers: &HeaderMap) -> bool {
    let rest = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

//! JSON, problems, foreign routes, and the edge.

use crate::bed::{COUNT, DESCRIPTORS, DO, GET, NAME, Probe, options, probe, secret, unary};
use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, Method, Request, StatusCode};
use banyan_core::{BoxFuture, Code, Context, Env, Error, Identity, Reason, Result, TraceContext};
use banyan_rpc::{Access, Arrival, Directory, Document, Edge, Server, ServerOptions, Service, Target};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::sync::Arc;

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    /// Checks that the answer is a problem, and returns its reason.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["type"], format!("/errors/{}", problem["reason"].as_str().unwrap()));
        assert_eq!(problem["instance"], self.headers["x-correlation-id"].to_str().unwrap());
        (self.status.as_u16(), problem["reason"].as_str().unwrap().to_owned())
    }
}

async fn send(
    server: &Server,
    request: ::http::request::Builder,
    path: &str,
    body: impl Into<Bytes>,
) -> Answer {
    let uri = format!("http://{}{path}", server.address());
    let request: Request<Full<Bytes>> = request.uri(uri).body(Full::new(body.into())).unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

async fn get(server: &Server, path: &str) -> Answer {
    send(server, Request::get("/"), path, "").await
}

async fn post(server: &Server, path: &str, body: impl Into<Bytes>) -> Answer {
    send(server, Request::post("/").header(CONTENT_TYPE, "application/json"), path, body).await
}

async fn serving(service: Service) -> Server {
    let server = Server::builder(&Env::default(), ServerOptions::default()).bind().await.unwrap();
    server.add(service);
    server
}

fn doubling() -> Service {
    unary(|_, request: Probe| async move {
        match request.number {
            ..0 => Err(Error::invalid("number", "must not be negative")),
            13 => Err(Error::failed_precondition(Reason::new("UNLUCKY"), "not that one")),
            number => Ok(probe(&request.text, 2 * number)),
        }
    })
}

#[tokio::test]
async fn a_contract_is_served_as_json() {
    let server = serving(doubling()).await;
    let answer = post(&server, "/v1/probes:do", r#"{"text": "a", "number": "21"}"#).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"text": "a", "number": "42"})));
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json");

    let answer = get(&server, "/v1/probes/b%20c?number=4").await;
    assert_eq!(answer.json(), json!({"text": "b c", "number": "8"}));
}

#[tokio::test]
async fn the_contracts_are_described() {
    let options = ServerOptions { document: Document::new("Probes", "1.2.3"), ..Default::default() };
    let server = Server::builder(&Env::default(), options).bind().await.unwrap();
    assert_eq!(get(&server, "/openapi.json").await.json()["paths"], json!({}));
    server.add(doubling());
    let document = get(&server, "/openapi.json").await.json();
    assert_eq!(document["info"], json!({"title": "Probes", "version": "1.2.3"}));
    assert!(document["paths"]["/v1/probes/{text}"]["get"].is_object(), "{document}");
}

#[tokio::test]
async fn bad_requests_are_problems() {
    let server = serving(doubling()).await;
    for (path, body, expected) in [
        ("/v1/probes:do", "{", (400, "INVALID_FIELD")),
        ("/v1/probes:do", r#"{"number": "many"}"#, (400, "INVALID_FIELD")),
        ("/v1/probes:do", r#"{"unknown": 1}"#, (400, "INVALID_FIELD")),
        ("/v1/probes:do", r#"{"number": -1}"#, (400, "INVALID_FIELD")),
        ("/v1/probes:do", r#"{"number": 13}"#, (400, "UNLUCKY")),
        ("/v1/probes/x", "{}", (405, "METHOD_NOT_ALLOWED")),
        ("/v1/nothing", "{}", (404, "ROUTE_NOT_FOUND")),
    ] {
        let answer = post(&server, path, body).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{path} {body}");
    }
    let answer = post(&server, "/v1/probes:do", r#"{"number": "many"}"#).await;
    assert_eq!(answer.json()["violations"][0]["field"], "number");
    let answer = post(&server, "/v1/probes/x", "{}").await;
    assert_eq!(answer.headers["allow"], "GET");
}

#[tokio::test]
async fn a_body_that_is_too_large_or_not_json_is_refused() {
    let server = serving(doubling()).await;
    let large = Bytes::from(vec![b' '; 10_000_000]);
    assert_eq!(
        post(&server, "/v1/probes:do", large.clone()).await.problem(),
        (413, "MESSAGE_TOO_LARGE".into())
    );
    let refused =
        send(&server, Request::post("/").header(CONTENT_TYPE, "text/plain"), "/v1/probes:do", "a=b").await;
    assert_eq!(refused.problem(), (415, "UNSUPPORTED_MEDIA_TYPE".into()));

    // Without a length in its head, the body itself must show that it is too large.
    let uri = format!("http://{}/v1/probes:do", server.address());
    let frames =
        futures::stream::iter((0..10).map(move |_| Ok::<_, std::io::Error>(large.slice(..1_000_000))));
    let request = Request::post(uri).body(axum::body::Body::from_stream(frames)).unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    assert_eq!(client.request(request).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn headers_reach_the_handler() {
    let server = serving(unary(|cx: Context, _| async move {
        let seen = format!("{:x} {:?} {}", cx.trace().trace_id, cx.idempotency_key(), cx.correlation_id());
        Ok(probe(&seen, 0))
    }))
    .await;
    let trace = TraceContext::root(&Env::default().rng);
    let request = Request::get("/")
        .header("traceparent", trace.to_header())
        .header("idempotency-key", "\"k-1\"")
        .header("x-correlation-id", "c-1");
    let answer = send(&server, request, "/v1/probes/x", "").await;
    assert_eq!(answer.json()["text"], format!("{:x} Some(\"k-1\") c-1", trace.trace_id));
    assert_eq!(answer.headers["x-correlation-id"], "c-1");

    let refused = send(&server, Request::get("/").header("idempotency-key", ""), "/v1/probes/x", "").await;
    assert_eq!(refused.problem(), (400, "INVALID_FIELD".into()));
}

#[tokio::test]
async fn an_axum_router_joins_unchanged() {
    use axum::routing::get as route;
    let router = axum::Router::new()
        .route("/hello", route(|| async { "hello" }))
        .route("/mine", route(|| async { (StatusCode::NOT_FOUND, "my own") }))
        .route("/panic", route(async || -> &'static str { panic!("a route that hurts") }));
    let server =
        Server::builder(&Env::default(), ServerOptions::default()).merge(router).bind().await.unwrap();
    server.add(doubling());
    assert_eq!(get(&server, "/hello").await.body, "hello");
    assert_eq!(get(&server, "/mine").await.body, "my own");
    assert_eq!(get(&server, "/panic").await.problem(), (500, "INTERNAL".into()));
    assert_eq!(get(&server, "/nothing").await.problem(), (404, "ROUTE_NOT_FOUND".into()));
    assert_eq!(get(&server, "/v1/probes/a?number=1").await.json()["number"], "2");
}

/// Lets in whoever names himself.
struct Naming;

impl Edge for Naming {
    fn authorize<'a>(
        &'a self,
        arrival: Arrival<'a>,
        cx: Context,
        told: &'a mut HeaderMap,
    ) -> BoxFuture<'a, Result<Context>> {
        Box::pin(async move {
            told.insert("x-peer", arrival.peer.to_string().parse().unwrap());
            let name = arrival.headers.get("x-name").and_then(|name| name.to_str().ok());
            match (arrival.method.access, name) {
                (Access::Internal, _) => Err(Error::permission_denied("internal")),
                (Access::Public, None) => Ok(cx),
                (_, None) => Err(Error::unauthenticated("who are you?")),
                (_, Some(name)) => Ok(cx.with_identity(Identity::user(name, &[]))),
            }
        })
    }
}

#[tokio::test]
async fn an_edge_decides_before_a_channel_is_called() {
    let subject = unary(|cx: Context, _| async move { Ok(probe(cx.identity().subject(), 0)) });
    let directory = Directory::with_options(&Env::default(), options());
    directory.set(NAME, Target::Local(subject));
    let options = ServerOptions { peer_secret: Some(secret()), ..Default::default() };
    let edge = Server::builder(&Env::default(), options).edge(Arc::new(Naming)).bind().await.unwrap();
    edge.expose(NAME, *DESCRIPTORS, directory.channel(NAME), Access::Internal).unwrap();

    assert_eq!(get(&edge, "/v1/probes/x").await.json(), json!({}));
    let refused = post(&edge, "/v1/probes:do", "{}").await;
    assert_eq!(refused.problem(), (401, "UNAUTHENTICATED".into()));
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    assert_eq!(refused.headers["x-peer"], "127.0.0.1");
    let named = Request::builder().method(Method::POST).header("x-name", "u-7");
    assert_eq!(send(&edge, named, "/v1/probes:do", "{}").await.json()["text"], "u-7");

    // The same over gRPC.
    let outside = Directory::new(&Env::default());
    outside.set(NAME, Target::Remote(vec![edge.address().into()]));
    let cx = Context::background();
    let refused = outside.channel(NAME).unary::<_, Probe>(&cx, &DO, Probe::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let answer: Probe = outside.channel(NAME).unary(&cx, &GET, Probe::default()).await.unwrap();
    assert_eq!(answer.text, "");
    let channel = outside.channel(NAME);
    let counting = channel.server_streaming::<_, Probe>(&cx, &COUNT, Probe::default()).await;
    assert_eq!(counting.unwrap_err().code(), Code::PermissionDenied);

    // What the contract does not say, its host may.
    edge.expose(NAME, *DESCRIPTORS, directory.channel(NAME), Access::Public).unwrap();
    let counting = channel.server_streaming::<_, Probe>(&cx, &COUNT, Probe::default()).await;
    assert_eq!(counting.unwrap_err().code(), Code::Unimplemented);
    let refused = channel.unary::<_, Probe>(&cx, &DO, Probe::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

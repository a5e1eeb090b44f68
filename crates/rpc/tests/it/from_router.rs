//! A router that was written with axum behaves like one of our services, wherever it is.

use crate::bed::{DEADLINE, PATIENCE, Placement, Signal, in_both_placements, options, server, target};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use banyan_core::{Context, Env, Error, Identity, Reason, Result};
use banyan_resilience::{FaultInjector, FaultOptions};
use banyan_rpc::{BODY_BYTES_MAX, Directory, HttpChannel, MESSAGE_TOO_LARGE, Server, Service, http_contract};
use futures::StreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

in_both_placements!(
    a_request_arrives_as_it_was_sent,
    what_a_client_claims_is_not_believed,
    a_response_arrives_as_it_was_made,
    events_flow_past_the_deadline_of_the_head,
    closing_ends_streams_of_events,
    a_dropped_response_drops_the_work,
    a_panic_is_an_internal_error,
    a_panic_in_a_body_cuts_it_off,
    a_body_that_is_too_large_is_refused,
    only_reads_are_sent_twice,
    a_client_may_set_the_deadline,
);

struct Bed {
    directory: Directory,
    channel: HttpChannel,
    service: Service,
    cx: Context,
    _server: Option<Server>,
}

impl Bed {
    async fn new(placement: Placement, router: Router) -> Self {
        let service = Service::from_router("legacy", router);
        let env = Env::default();
        let directory = Directory::with_options(&env, options());
        let server = match placement {
            Placement::Local => None,
            Placement::Remote => Some(server(&service).await),
        };
        directory.set(http_contract("legacy"), target(server.as_ref(), &service));
        let cx = Context::new(&env, Identity::user("u-1", &["admin".into()]));
        let cx = cx.with_timeout(PATIENCE).with_correlation_id("c-1");
        let channel = HttpChannel::new(&directory, "legacy", "/old/shop");
        Self { directory, channel, service, cx, _server: server }
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Body>) -> Result<Response<Body>> {
        let request = Request::builder().method(method).uri(path).body(body.into()).unwrap();
        self.channel.send(&self.cx, request).await
    }

    async fn get(&self, path: &str) -> Result<Response<Body>> {
        self.send(Method::GET, path, "").await
    }
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Answers with what it sees: a line each for method and target, headers, and the body.
async fn mirror(request: Request<Body>) -> String {
    let (head, body) = request.into_parts();
    let mut headers: Vec<_> =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    headers.sort();
    let cx = head.extensions.get::<Context>().unwrap();
    assert_eq!(head.headers["traceparent"], cx.trace().to_header());
    let body = body.collect().await.unwrap().to_bytes();
    format!("{} {}\n{}\n\n{}", head.method, head.uri, headers.join("\n"), String::from_utf8_lossy(&body))
}

async fn a_request_arrives_as_it_was_sent(placement: Placement) {
    let bed = Bed::new(placement, Router::new().fallback(mirror)).await;
    let request = Request::patch("http://shop.example/old/shop/a%2Fb/?q=1&q=%20")
        .header("content-type", "text/plain")
        .header("x-list", "1")
        .header("x-list", "2")
        .header("idempotency-key", "k-1")
        .body(Body::from("good morning"))
        .unwrap();
    let seen = text(bed.channel.send(&bed.cx, request).await.unwrap()).await;
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!((lines[0], *lines.last().unwrap()), ("PATCH /a%2Fb/?q=1&q=%20", "good morning"));
    for line in [
        "content-type: text/plain",
        "x-list: 1",
        "x-list: 2",
        "idempotency-key: k-1",
        "host: shop.example",
        "x-forwarded-prefix: /old/shop",
        "x-banyan-identity: user;u-1;admin",
        "x-correlation-id: c-1",
    ] {
        assert!(lines.contains(&line), "{line:?} is missing in {seen}");
    }
    for (path, target) in
        [("/old/shop", "/"), ("/old/shop?x", "/?x"), ("/old/shop//evil.example/", "//evil.example/")]
    {
        let seen = text(bed.get(path).await.unwrap()).await;
        assert_eq!(seen.lines().next().unwrap(), format!("GET {target}"));
    }
    // The gateway does not send what is not under the prefix; if it did, nothing would be called.
    assert!(bed.get("/old/shopping").await.unwrap_err().is(Reason::INTERNAL));
}

async fn what_a_client_claims_is_not_believed(placement: Placement) {
    let bed = Bed::new(placement, Router::new().fallback(mirror)).await;
    let request = Request::get("/old/shop/")
        .header("x-banyan-identity", "service;payments;")
        .header("x-banyan-peer", "guess")
        .header("x-forwarded-prefix", "/admin")
        .header("x-correlation-id", "forged")
        .header("traceparent", "00-00000000000000000000000000000001-0000000000000001-01")
        .header("connection", "close, x-secret")
        .header("x-secret", "between us")
        .header("te", "trailers")
        .body(Body::empty())
        .unwrap();
    let seen = text(bed.channel.send(&bed.cx, request).await.unwrap()).await;
    for gone in ["payments", "guess", "/admin", "forged", "0001-01", "connection", "x-secret", "te:"] {
        assert!(!seen.contains(gone), "{gone:?} went through: {seen}");
    }
    assert!(seen.contains("x-banyan-identity: user;u-1;admin"), "{seen}");
}

async fn a_response_arrives_as_it_was_made(placement: Placement) {
    const BODY_BYTES: usize = 9 << 20;
    let made = || async {
        let mut headers = HeaderMap::new();
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        headers.insert("connection", "close".parse().unwrap());
        (StatusCode::IM_A_TEAPOT, headers, vec![7u8; BODY_BYTES])
    };
    let bed = Bed::new(placement, Router::new().route("/tea", get(made))).await;
    let response = bed.get("/old/shop/tea").await.unwrap();
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(response.headers()["content-length"], BODY_BYTES.to_string());
    assert!(!response.headers().contains_key("connection"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.len() == BODY_BYTES && body.iter().all(|b| *b == 7));

    // An error of the router is a response like any other.
    assert_eq!(bed.get("/old/shop/coffee").await.unwrap().status(), StatusCode::NOT_FOUND);
    let head = bed.send(Method::HEAD, "/old/shop/tea", "").await.unwrap();
    assert_eq!((head.status(), text(head).await), (StatusCode::IM_A_TEAPOT, String::new()));
}

/// Sends one event and then nothing more for ever.
fn events(dropped: &Signal) -> Router {
    let dropped = dropped.clone();
    let handler = move || {
        let guard = dropped.on_drop();
        let first = futures::stream::iter([Ok::<_, Infallible>(Event::default().data("one"))]);
        let events = first.chain(futures::stream::pending().inspect(move |_| _ = &guard));
        std::future::ready(Sse::new(events))
    };
    Router::new().route("/events", get(handler))
}

async fn first_event(response: Response<Body>) -> axum::body::BodyDataStream {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "data: one\n\n");
    body
}

async fn events_flow_past_the_deadline_of_the_head(placement: Placement) {
    let bed = Bed::new(placement, events(&Signal::default())).await;
    let cx = bed.cx.with_timeout(DEADLINE);
    let request = Request::get("/old/shop/events").body(Body::empty()).unwrap();
    let mut body = first_event(bed.channel.send(&cx, request).await.unwrap()).await;
    assert_eq!(bed.service.in_flight(), 1);
    let later = tokio::time::timeout(DEADLINE * 3 / 2, body.next()).await;
    assert!(later.is_err(), "the stream ended: {later:?}");
}

async fn closing_ends_streams_of_events(placement: Placement) {
    let bed = Bed::new(placement, events(&Signal::default())).await;
    let mut body = first_event(bed.get("/old/shop/events").await.unwrap()).await;
    let closing = tokio::time::timeout(PATIENCE, bed.service.close());
    let (closed, rest) = tokio::join!(closing, body.next());
    assert!(closed.is_ok() && rest.is_none(), "{rest:?}");
}

async fn a_dropped_response_drops_the_work(placement: Placement) {
    let dropped = Signal::default();
    let bed = Bed::new(placement, events(&dropped)).await;
    let body = first_event(bed.get("/old/shop/events").await.unwrap()).await;
    drop(body);
    dropped.received().await;
}

async fn a_panic_is_an_internal_error(placement: Placement) {
    async fn panics() -> String {
        panic!("as told")
    }
    let bed = Bed::new(placement, Router::new().route("/", any(panics))).await;
    let error = bed.get("/old/shop").await.unwrap_err();
    assert!(error.is(Reason::INTERNAL) && !error.to_string().contains("as told"), "{error}");
    assert_eq!(bed.service.in_flight(), 0);
}

async fn a_panic_in_a_body_cuts_it_off(placement: Placement) {
    let body = || async {
        let parts = futures::stream::iter(0..3).map(|n| {
            assert!(n < 2, "as told");
            Ok::<_, Infallible>(Bytes::from_static(b"part"))
        });
        Body::from_stream(parts)
    };
    let bed = Bed::new(placement, Router::new().route("/", get(body))).await;
    let response = bed.get("/old/shop").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.into_body().collect().await.is_err());
}

async fn a_body_that_is_too_large_is_refused(placement: Placement) {
    let count = |body: Bytes| async move { body.len().to_string() };
    let router = Router::new().route("/", any(count)).layer(axum::extract::DefaultBodyLimit::disable());
    let bed = Bed::new(placement, router).await;
    let most = bed.send(Method::POST, "/old/shop/", vec![0; BODY_BYTES_MAX]).await.unwrap();
    assert_eq!(text(most).await, BODY_BYTES_MAX.to_string());
    let error = bed.send(Method::POST, "/old/shop/", vec![0; BODY_BYTES_MAX + 1]).await.unwrap_err();
    assert!(error.is(MESSAGE_TOO_LARGE), "{error}");
}

async fn only_reads_are_sent_twice(placement: Placement) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready("counted")
    };
    let bed = Bed::new(placement, Router::new().route("/", any(count))).await;
    let duplicate = FaultOptions { duplicate_probability: 1.0, ..FaultOptions::default() };
    bed.directory.set_faults(Some(FaultInjector::new(duplicate).unwrap()));
    for (method, expected) in [(Method::GET, 2), (Method::HEAD, 2), (Method::POST, 1), (Method::DELETE, 1)] {
        requests.store(0, Ordering::Relaxed);
        // A key is the router's to understand; it promises the channel nothing.
        let request = Request::builder().method(&method).uri("/old/shop").header("idempotency-key", "k");
        let cx = bed.cx.with_idempotency_key("k");
        bed.channel.send(&cx, request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(requests.load(Ordering::Relaxed), expected, "{method}");
    }
}

async fn a_client_may_set_the_deadline(placement: Placement) {
    let bed = Bed::new(placement, events(&Signal::default())).await;
    let request = Request::get("/old/shop/events").header("grpc-timeout", "1S").body(Body::empty());
    let cx = bed.cx.with_timeout(DEADLINE);
    let mut body = first_event(bed.channel.send(&cx, request.unwrap()).await.unwrap()).await;
    let ended = tokio::time::timeout(PATIENCE, body.next()).await.unwrap();
    let error = ended.unwrap().unwrap_err();
    let mut causes = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
    let late = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<Error>().is_some_and(|error| error.is(Reason::DEADLINE_EXCEEDED))
    };
    assert!(causes.any(late), "{error:?}");
}

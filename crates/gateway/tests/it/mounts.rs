//! Routers of services, mounted under their prefixes.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use banyan::cache::{RateLimitStore, SharedStores};
use banyan::{Access, GatewaySettings, ServiceDef, System};
use banyan_core::Env;
use banyan_gateway::{Gateway, GatewayOptions, GatewayParts, Tokens};
use banyan_identity::{Claims, Jwks, SigningKey};
use banyan_rpc::{BODY_BYTES_MAX, Directory, Service, Target, http_contract};
use futures::StreamExt;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A gateway before services that are routers.
pub(crate) struct Bed {
    pub(crate) gateway: Gateway,
    key: SigningKey,
}

impl Bed {
    pub(crate) async fn new<const N: usize>(
        routers: [(&'static str, &'static str, Access, Router); N],
    ) -> Self {
        let counts = SharedStores::in_memory(&Env::default()).limits;
        Self::limited(routers, GatewaySettings::default(), counts).await
    }

    pub(crate) async fn limited<const N: usize>(
        routers: [(&'static str, &'static str, Access, Router); N],
        settings: GatewaySettings,
        counts: Arc<dyn RateLimitStore>,
    ) -> Self {
        let (env, key) = (Env::default(), SigningKey::generate().unwrap());
        let directory = Directory::new(&env);
        let mut system = System::new("test");
        for (name, prefix, access, router) in routers {
            directory.set(http_contract(name), Target::Local(Service::from_router(name, router)));
            system = system.service(ServiceDef::new(name, [], |_| async { Ok(()) }).router(prefix, access));
        }
        let keys = Jwks { keys: vec![key.jwk().clone()] };
        let tokens = Tokens::new("issuer", "test", move |_, _| std::future::ready(Ok(keys.clone())));
        let options = GatewayOptions { tokens: Some(tokens), ..GatewayOptions::default() };
        let gateway = Gateway::start(
            GatewayParts { env, system, directory, options, settings, counts, health: None },
            0,
        )
        .await
        .unwrap();
        Self { gateway, key }
    }

    /// Returns the header of a signed-in person without roles.
    pub(crate) fn token(&self) -> String {
        self.token_of("u-1")
    }

    pub(crate) fn token_of(&self, subject: &str) -> String {
        let now_s = Env::default().clock.unix_ms() / 1000;
        let claims = Claims {
            sub: subject.into(),
            roles: Vec::new(),
            iss: "issuer".into(),
            aud: vec!["test".into()],
            iat: now_s,
            exp: now_s + 60,
            nbf: None,
            jti: "t-1".into(),
        };
        format!("Bearer {}", self.key.sign(&claims).unwrap())
    }

    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        path: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = request.uri(format!("{}{path}", self.gateway.url())).body(body.into()).unwrap();
        Answer(
            Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap().map(Body::new),
        )
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get("/"), path, "").await
    }
}

pub(crate) struct Answer(pub(crate) Response<Body>);

impl Answer {
    pub(crate) async fn text(self) -> (StatusCode, String) {
        let (head, body) = self.0.into_parts();
        (head.status, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    /// Checks that the answer is a problem, and returns its status and reason.
    pub(crate) async fn problem(self) -> (u16, String) {
        assert_eq!(self.0.headers()["content-type"], "application/problem+json");
        let (status, text) = self.text().await;
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["status"], status.as_u16());
        (status.as_u16(), problem["reason"].as_str().unwrap().to_owned())
    }
}

/// Tells a test that something was dropped.
#[derive(Clone, Default)]
struct Dropped(Arc<Notify>);

struct Guard(Dropped);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.notify_one();
    }
}

impl Dropped {
    async fn wait(&self) {
        tokio::time::timeout(Duration::from_secs(60), self.0.notified()).await.expect("it was never dropped");
    }
}

/// Answers with a name, the path it sees, and its caller.
pub(crate) fn naming(name: &'static str) -> Router {
    Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
        let header = |key: &str| headers.get(key).map_or("", |value| value.to_str().unwrap()).to_owned();
        std::future::ready(format!("{name} {uri} {}", header("x-banyan-identity")))
    })
}

/// Sends one event and then nothing more for ever.
fn events(dropped: &Dropped) -> Router {
    let dropped = dropped.clone();
    let handler = move || {
        let guard = Guard(dropped.clone());
        let first = futures::stream::iter([Ok::<_, Infallible>(Event::default().data("one"))]);
        std::future::ready(Sse::new(first.chain(futures::stream::pending().inspect(move |_| _ = &guard))))
    };
    Router::new().route("/events", get(handler))
}

#[tokio::test]
async fn the_longest_prefix_wins() {
    let routers = [
        ("all", "/", Access::Public, naming("all")),
        ("old", "/old", Access::Public, naming("old")),
        ("shop", "/old/shop", Access::Public, naming("shop")),
    ];
    let bed = Bed::new(routers).await;
    for (path, expected) in [
        ("/", "all / "),
        ("/a?b", "all /a?b "),
        ("/older", "all /older "),
        ("/old", "old / "),
        ("/old/?x", "old /?x "),
        ("/old/shops/1", "old /shops/1 "),
        ("/old/shop/1", "shop /1 "),
    ] {
        let (status, text) = bed.get(path).await.text().await;
        assert_eq!((status, &*text), (StatusCode::OK, &*format!("{expected}anonymous;;")), "{path}");
    }
    // What every server has itself comes first.
    assert_eq!(bed.get("/openapi.json").await.0.headers()["content-type"], "application/json");
}

#[tokio::test]
async fn access_is_that_of_the_mount() {
    let open = ("open", "/open", Access::Public, naming("open"));
    let shut = ("shut", "/shut", Access::User, naming("shut"));
    let admin = ("admin", "/admin", Access::Admin, naming("admin"));
    let bed = Bed::new([open, shut, admin, ("inner", "/inner", Access::Internal, naming("inner"))]).await;
    assert_eq!(bed.get("/nowhere").await.problem().await, (404, "ROUTE_NOT_FOUND".into()));
    assert_eq!(bed.get("/shut").await.problem().await, (401, "UNAUTHENTICATED".into()));
    assert_eq!(bed.get("/inner").await.problem().await, (403, "PERMISSION_DENIED".into()));

    let signed_in = || Request::get("/").header("authorization", bed.token());
    let (_, text) = bed.send(signed_in(), "/shut", "").await.text().await;
    assert_eq!(text, "shut / user;u-1;");
    let (_, text) = bed.send(signed_in(), "/open", "").await.text().await;
    assert_eq!(text, "open / user;u-1;");
    assert_eq!(bed.send(signed_in(), "/admin", "").await.problem().await.0, 403);

    // What proves nobody to us leaves a public router to itself, and opens nothing else.
    for claim in [
        ("authorization", "Basic dTpw"),
        ("authorization", "Bearer x.y.z"),
        ("x-banyan-identity", "user;u-1;"),
    ] {
        let claiming = || Request::get("/").header(claim.0, claim.1);
        let (_, text) = bed.send(claiming(), "/open", "").await.text().await;
        assert_eq!(text, "open / anonymous;;", "{claim:?}");
        assert_eq!(bed.send(claiming(), "/shut", "").await.problem().await.0, 401, "{claim:?}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_a_problem() {
    async fn panics() -> String {
        panic!("as told")
    }
    let count = |body: Bytes| async move { body.len().to_string() };
    let router = Router::new().route("/panic", get(panics)).route("/count", any(count));
    let bed = Bed::new([("old", "/old", Access::Public, router)]).await;
    assert_eq!(bed.get("/old/panic").await.problem().await, (500, "INTERNAL".into()));
    let large = bed.send(Request::post("/"), "/old/count", vec![0; BODY_BYTES_MAX + 1]).await;
    assert_eq!(large.problem().await, (413, "MESSAGE_TOO_LARGE".into()));
    // Also when its length is not known before.
    let chunks = futures::stream::repeat(Ok::<_, Infallible>(Bytes::from(vec![0; 1 << 16]))).take(100);
    let large = bed.send(Request::post("/"), "/old/count", Body::from_stream(chunks)).await;
    assert_eq!(large.problem().await, (413, "MESSAGE_TOO_LARGE".into()));
    // The router's own answer stays as it is.
    let (status, text) = bed.get("/old/nothing").await.text().await;
    assert_eq!((status, &*text), (StatusCode::NOT_FOUND, ""));
    assert_eq!(bed.send(Request::post("/"), "/old/count", "four").await.text().await.1, "4");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_work() {
    let dropped = Dropped::default();
    let bed = Bed::new([("old", "/old", Access::Public, events(&dropped))]).await;
    let mut body = bed.get("/old/events").await.0.into_body().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "data: one\n\n");
    drop(body);
    dropped.wait().await;
}

#[tokio::test]
async fn streams_of_events_do_not_hold_up_the_end() {
    let dropped = Dropped::default();
    let bed = Bed::new([("old", "/old", Access::Public, events(&dropped))]).await;
    let mut body = bed.get("/old/events").await.0.into_body().into_data_stream();
    body.next().await.unwrap().unwrap();
    let ended = async { while let Some(Ok(_)) = body.next().await {} };
    let stopped = async { tokio::join!(bed.gateway.stop(), ended) };
    tokio::time::timeout(Duration::from_secs(60), stopped).await.expect("the stream went on");
    dropped.wait().await;
}

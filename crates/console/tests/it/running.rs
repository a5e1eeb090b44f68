//! A root process with a console, and how it is asked.

use crate::contract::{ADD, COUNT, COUNTER, Counted, GET, SUM, descriptors};
use axum::body::Body;
use banyan::prelude::*;
use banyan::rpc::{Service, Streaming};
use banyan::{Config, System};
use banyan_console::{Console, ConsoleParts};
use banyan_control::root::Root;
use banyan_identity::{PasswordOptions, Passwords, Secret};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::LazyLock;
use tempfile::TempDir;

/// The password of every user.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// The event that `counter` does not handle.
pub(crate) const POISON: &str = "poison";

/// What each service has heard.
pub(crate) type Heard = Arc<Mutex<Vec<(&'static str, Counted)>>>;

pub(crate) struct Running {
    pub(crate) root: Root,
    pub(crate) console: Console,
    pub(crate) heard: Heard,
    pub(crate) folder: TempDir,
    client: Client<HttpConnector, Full<Bytes>>,
}

pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

struct Hears(&'static str, Heard);

impl Subscriber<Counted> for Hears {
    async fn on_event(&self, _: &Context, event: Counted) -> Result<()> {
        if self.0 == "counter" && event.name == POISON {
            return Err(Error::invalid("name", "is poison"));
        }
        self.1.lock().push((self.0, event));
        Ok(())
    }
}

async fn counter(host: Host, heard: Heard) -> Result<()> {
    let store = host.store(&[], &[]).await?;
    let service = Service::builder(COUNTER, descriptors())
        .unary(&ADD, move |cx: Context, counted: Counted| {
            let store = store.clone();
            async move {
                let event = counted.clone();
                store.transact(&cx, move |tx| tx.publish(&event)).await?;
                Ok(counted)
            }
        })
        .unary(&GET, |_, counted: Counted| async move {
            match counted.name.as_str() {
                "" => Err(Error::invalid("name", "is empty")),
                _ => Ok(counted),
            }
        })
        .server_streaming(&COUNT, |_: Context, counted: Counted| async move { count(counted) })
        .client_streaming(&SUM, |_: Context, _: Streaming<Counted>| async move { Ok(Counted::default()) });
    host.serve(service.build());
    host.subscribe::<Counted, _>(Arc::new(Hears("counter", heard)));
    Ok(())
}

/// Three numbers; without end where the name is `endless`; one and no more for a long time where it is `slow`.
fn count(from: Counted) -> Result<Streaming<Counted>> {
    if from.name.is_empty() {
        return Err(Error::invalid("name", "is empty"));
    }
    let numbers = (from.number..).take(if from.name == "endless" { usize::MAX } else { 3 });
    let (name, slow, breaks) = (from.name.clone(), from.name == "slow", from.name == "breaks");
    Ok(Streaming::new(futures::stream::iter(numbers.enumerate()).then(move |(at, number)| {
        let name = name.clone();
        async move {
            match at {
                1 if slow => std::future::pending().await,
                1 if breaks => Err(Error::unavailable("it broke")),
                _ => Ok(Counted { name, number }),
            }
        }
    })))
}

fn system(heard: &Heard) -> System {
    let (counting, other) = (heard.clone(), heard.clone());
    System::new("test")
        .contracts(descriptors())
        .service(ServiceDef::new("counter", [COUNTER], move |host| counter(host, counting.clone())))
        .service(ServiceDef::new("other", [], move |host: Host| {
            let heard = other.clone();
            async move {
                host.store(&[], &[]).await?;
                host.subscribe::<Counted, _>(Arc::new(Hears("other", heard)));
                Ok(())
            }
        }))
}

/// Returns the section of a user with [`PASSWORD`].
pub(crate) async fn user(name: &str, role: &str) -> String {
    static CHEAP: LazyLock<Passwords> = LazyLock::new(|| {
        let options = PasswordOptions { memory_kib: 8, iterations: 1, ..PasswordOptions::default() };
        Passwords::new(&options).unwrap()
    });
    let hash = CHEAP.hash(&Context::background(), Secret::new(PASSWORD.to_owned())).await.unwrap();
    format!("[console.users.{name}]\npassword_hash = {hash:?}\nrole = {role:?}\n")
}

impl Running {
    /// Starts a system with these lines in its configuration.
    pub(crate) async fn start(config: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let text = format!("data = {:?}\nlimits.delivery_attempts_max = 1\n{config}", folder.path());
        let (config, heard) = (Config::parse(&text).unwrap(), Heard::default());
        let root = Root::start(system(&heard), config, Env::default()).await.unwrap();
        let parts = ConsoleParts::of(&root, "http://127.0.0.1:8080").unwrap();
        let console = Console::start(parts, 0).await.unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { root, console, heard, folder, client }
    }

    /// Starts one with a user of each role: `vic`, `oli` and `ada`.
    pub(crate) async fn with_users() -> Self {
        let users = [user("vic", "viewer").await, user("oli", "operator").await, user("ada", "admin").await];
        Self::start(&users.concat()).await
    }

    /// Sends a request; the body of its answer may be read as it comes.
    pub(crate) async fn respond(&self, request: Request<Full<Bytes>>) -> Response<Body> {
        self.client.request(request).await.unwrap().map(Body::new)
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Told {
        let (parts, body) = self.respond(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
        Told { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("{}{path}", self.console.url()))
    }

    pub(crate) async fn get_as(&self, cookie: &str, path: &str) -> Told {
        let request = self.request(Method::GET, path).header(header::COOKIE, cookie);
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub(crate) async fn post_as(&self, cookie: &str, path: &str, body: Value) -> Told {
        let request = self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json");
        let request = request.header(header::COOKIE, cookie);
        self.send(request.body(Full::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Told {
        self.get_as("", path).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Told {
        self.post_as("", path, body).await
    }

    /// Logs in and returns the cookie.
    pub(crate) async fn log_in(&self, name: &str) -> String {
        let told = self.post("/api/session", json!({"name": name, "password": PASSWORD})).await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.body);
        let cookie = told.headers[header::SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// Has `counter` publish an event, through the console.
    pub(crate) async fn count(&self, name: &str, number: i32) {
        let message = json!({"name": name, "number": number});
        let told =
            self.post("/api/call", json!({"method": "test.v1.CounterService/Add", "message": message})).await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.body);
    }

    /// Returns the operations of the audit log as `USER ACTION TARGET: OUTCOME`, the latest first.
    pub(crate) fn operations(&self) -> Vec<String> {
        let path = banyan_console::audit::path(self.folder.path());
        let operations = banyan_console::audit::operations(&path, None, 100).unwrap();
        let line = |o: &banyan_console::audit::Operation| {
            let outcome = o.outcome.as_deref().unwrap_or("unknown");
            let outcome = outcome.split(':').next().unwrap_or_default();
            format!("{} {} {}: {outcome}", o.user, o.action, o.target)
        };
        operations.iter().map(line).collect()
    }

    pub(crate) async fn stop(self) {
        self.console.stop().await;
        self.root.stop().await;
    }
}

impl Told {
    /// Checks that it is a problem of this status and returns its reason.
    pub(crate) fn refused(&self, status: u16) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        self.body["reason"].as_str().unwrap()
    }

    /// Returns the fields that a refusal names.
    pub(crate) fn fields(&self) -> Vec<&str> {
        let violations = self.body["violations"].as_array().map(Vec::as_slice).unwrap_or_default();
        violations.iter().map(|violation| violation["field"].as_str().unwrap()).collect()
    }
}

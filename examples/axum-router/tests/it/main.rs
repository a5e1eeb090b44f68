//! The program from outside: its gateway over HTTP, in one process and apart.

#![allow(clippy::unwrap_used, reason = "in a test, a failed unwrap is a failed test")]

mod program;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use program::Program;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

struct Browser<'a> {
    program: &'a Program,
    client: Client<HttpConnector, Full<axum::body::Bytes>>,
}

impl<'a> Browser<'a> {
    fn new(program: &'a Program) -> Self {
        Self { program, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    fn get(&self, path: &str) -> ResponseFuture {
        let request = Request::get(format!("{}{path}", self.program.url));
        self.client.request(request.body(Full::default()).unwrap())
    }

    async fn text(&self, path: &str) -> (StatusCode, String) {
        read(self.get(path).await.unwrap()).await
    }

    async fn post(&self, path: &str, content_type: &str, body: String) -> (StatusCode, String) {
        let request =
            Request::post(format!("{}{path}", self.program.url)).header("content-type", content_type);
        read(self.client.request(request.body(Full::from(body)).unwrap()).await.unwrap()).await
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> (StatusCode, String) {
    let (head, body) = response.into_parts();
    (head.status, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

async fn keeps_entries(program: Program) {
    let browser = Browser::new(&program);
    let mut live = browser.get("/guest-book/live").await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");

    let entry = json!({"name": "Ada", "text": "Hello!"});
    let written = browser.post("/guest-book/entries", "application/json", entry.to_string()).await;
    assert_eq!(written, (StatusCode::CREATED, "0".to_owned()));
    let (status, entries) = browser.text("/guest-book/entries").await;
    let entries: Value = serde_json::from_str(&entries).unwrap();
    assert_eq!((status, entries), (StatusCode::OK, json!([entry])));
    assert_eq!(browser.text("/guest-book").await.1, "<h1>Guest book</h1><p>1 entries</p>");

    let frame = live.frame().await.unwrap().unwrap().into_data().unwrap();
    let event = std::str::from_utf8(&frame).unwrap().strip_prefix("data: ").unwrap();
    assert_eq!(serde_json::from_str::<Value>(event).unwrap(), entry);

    // What the application refuses, it refuses in its own words.
    assert_eq!(browser.text("/guest-book/entries/7").await, (StatusCode::NOT_FOUND, String::new()));
    let (status, text) = browser.post("/guest-book/entries", "text/plain", "hi".to_owned()).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(text.contains("Content-Type: application/json"), "{text}");
    let (status, text) = browser.text("/guests").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.contains("ROUTE_NOT_FOUND"), "{text}");
    // The open stream of events does not hold up the end.
    program.stop().await;
}

#[tokio::test]
async fn it_keeps_entries_in_one_process() {
    let program = Program::start(&[]).await;
    assert_eq!(program.process_of("guest-book").await, "main");
    keeps_entries(program).await;
}

#[tokio::test]
async fn it_keeps_entries_apart() {
    let program = Program::start(&["--apart", "all"]).await;
    assert_eq!(program.process_of("guest-book").await, "guest-book");
    keeps_entries(program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_it_moves() {
    let program = Program::start(&[]).await;
    let browser = Browser::new(&program);
    let mut live = browser.get("/guest-book/live").await.unwrap();
    let moved = AtomicBool::new(false);
    let requesting = async {
        let mut requests = 0u32;
        while !moved.load(Ordering::Relaxed) {
            assert_eq!(browser.text("/guest-book/entries").await.0, StatusCode::OK);
            let entry = json!({"name": "Ada", "text": "Hello!"}).to_string();
            let written = browser.post("/guest-book/entries", "application/json", entry).await;
            assert_eq!(written.0, StatusCode::CREATED);
            requests += 1;
        }
        requests
    };
    let moving = async {
        program.command(&["move", "guest-book", "--apart"]).await;
        assert_eq!(program.process_of("guest-book").await, "guest-book");
        program.command(&["move", "guest-book", "--into", "main"]).await;
        moved.store(true, Ordering::Relaxed);
    };
    let (requests, ()) = tokio::join!(requesting, moving);
    assert!(requests > 0);
    // The stream of events ended when the application left; its reader would connect again.
    while let Some(frame) = live.frame().await {
        frame.unwrap();
    }
    program.stop().await;
}

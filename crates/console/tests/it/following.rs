//! Server-sent events: they come at once, are bounded, and end with their browser or its session.

use crate::running::Running;
use banyan_testkit::eventually;
use http::{Method, StatusCode, header};
use http_body_util::Full;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// As many as may follow at once.
const FOLLOWERS_MAX: usize = 64;

/// How long anything may take that is to come soon.
const SOON: Duration = Duration::from_secs(60);

/// Begins to follow; returns the connection when the first event has come, or the status of a refusal.
async fn follow(running: &Running, cookie: &str) -> Result<TcpStream, String> {
    let address = running.console.url().strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request =
        format!("GET /api/live HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let read = connection.read_buf(&mut seen).await.unwrap();
        let text = String::from_utf8_lossy(&seen);
        match text.lines().next() {
            Some(status) if status.ends_with("200 OK") && text.contains("event: map") => {
                return Ok(connection);
            }
            Some(status) if !status.ends_with("200 OK") => return Err(status.to_owned()),
            _ => assert_ne!(read, 0, "it ended: {text}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_browser_and_with_the_console() {
    let running = Running::start("").await;
    let mut open = Vec::new();
    for _ in 0..FOLLOWERS_MAX {
        open.push(follow(&running, "").await.unwrap());
    }
    let full = follow(&running, "").await.unwrap_err();
    assert!(full.contains(StatusCode::TOO_MANY_REQUESTS.as_str()), "{full}");
    drop(open);
    let mut last = eventually("a place", async || follow(&running, "").await.ok()).await;
    // The next events come without being asked for.
    let mut more = [0; 1];
    tokio::time::timeout(SOON, last.read_exact(&mut more)).await.unwrap().unwrap();
    running.stop().await;
    ends(last).await;
}

/// Reads to the end, and checks that it was said that this is it.
async fn ends(mut connection: TcpStream) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(SOON, connection.read_to_end(&mut rest)).await;
    read.expect("the stream ends").unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "the stream was ended, not cut off");
}

/// Reads until another map has come.
async fn goes_on(connection: &mut TcpStream) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("event: map") {
        let read = tokio::time::timeout(SOON, connection.read_buf(&mut seen)).await;
        assert_ne!(read.expect("more comes").unwrap(), 0, "it ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_session_alone() {
    let running = Running::with_users().await;
    let (vic, oli) = (running.log_in("vic").await, running.log_in("oli").await);
    let left = follow(&running, &vic).await.unwrap();
    let mut stays = follow(&running, &oli).await.unwrap();
    let leave = running.request(Method::DELETE, "/api/session").header(header::COOKIE, &vic);
    assert_eq!(running.send(leave.body(Full::default()).unwrap()).await.status, 204);
    ends(left).await;
    goes_on(&mut stays).await;
    let refused = follow(&running, &vic).await.unwrap_err();
    assert!(refused.contains(StatusCode::UNAUTHORIZED.as_str()), "{refused}");
    drop(stays);
    running.stop().await;
}

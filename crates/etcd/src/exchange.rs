//! One request to one server, on a connection of its own.

use crate::answers::{away, said};
use banyan_core::{Error, Result};
use banyan_identity::Secret;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a server may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long it may take to answer; a watch may take longer between its lines.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest answer, and longest line of a watch, in bytes: all settings of a system, in base64, with room to spare.
const BYTES_MAX: usize = 128 << 20;

/// Looks at each line of a stream, and tells whether it is what was waited for.
pub(crate) type Line<'l> = &'l (dyn Fn(&[u8]) -> Result<bool> + Send + Sync);

/// Asks `server` (`host:port`) and returns the whole answer; with `line`, asks for a stream and ends with the line that it finds.
pub(crate) async fn ask(
    server: &str,
    path: &str,
    token: Option<&Secret<String>>,
    body: String,
    line: Option<Line<'_>>,
) -> Result<Bytes> {
    let connecting = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(server));
    let stream = match connecting.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(away(format!("etcd at {server} is not reached: {error}"))),
        Err(_) => return Err(away(format!("etcd at {server} accepts no connection"))),
    };
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| broken(server, &error))?;
    let request = request(server, path, token, body)?;
    let silent =
        |_| away(format!("etcd at {server} does not answer {path} within {} s", ANSWER_MAX.as_secs()));
    let work = async move {
        let response = tokio::time::timeout(ANSWER_MAX, sender.send_request(request)).await;
        let response = response.map_err(silent)?.map_err(|error| broken(server, &error))?;
        let status = response.status();
        if !status.is_success() {
            let body =
                tokio::time::timeout(ANSWER_MAX, response.into_body().collect()).await.map_err(silent)?;
            let said = said(&body.map(|body| body.to_bytes()).unwrap_or_default());
            return Err(away(format!(
                "etcd at {server} refuses {path} with status {}{said}",
                status.as_u16()
            )));
        }
        match line {
            Some(line) => follow(server, response.into_body(), line).await,
            None => {
                tokio::time::timeout(ANSWER_MAX, whole(server, response.into_body())).await.map_err(silent)?
            }
        }
    };
    tokio::pin!(work, connection);
    tokio::select! {
        done = &mut work => done,
        // What it had received is still to be read.
        _ = &mut connection => work.await,
    }
}

async fn whole(server: &str, mut body: Incoming) -> Result<Bytes> {
    let mut read = BytesMut::new();
    while let Some(piece) = next(server, &mut body).await? {
        append(server, &mut read, &piece)?;
    }
    Ok(read.freeze())
}

async fn follow(server: &str, mut body: Incoming, line: Line<'_>) -> Result<Bytes> {
    let mut read = BytesMut::new();
    while let Some(piece) = next(server, &mut body).await? {
        append(server, &mut read, &piece)?;
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let whole = read.split_to(end + 1);
            if line(&whole)? {
                return Ok(whole.freeze());
            }
        }
    }
    Err(away(format!("etcd at {server} ended a watch")))
}

fn broken(server: &str, error: &hyper::Error) -> Error {
    away(format!("the connection to etcd at {server} broke: {error}"))
}

fn request(
    server: &str,
    path: &str,
    token: Option<&Secret<String>>,
    body: String,
) -> Result<Request<Full<Bytes>>> {
    let mut builder = Request::post(path).header(HOST, server).header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        let value = HeaderValue::from_str(token.expose());
        let mut value = value.map_err(|_| away(format!("etcd at {server} gave a token that is none")))?;
        value.set_sensitive(true);
        builder = builder.header(AUTHORIZATION, value);
    }
    builder.body(Full::new(body.into())).map_err(|_| away(format!("{server} is no server's address")))
}

async fn next(server: &str, body: &mut Incoming) -> Result<Option<Bytes>> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(broken(server, &error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn append(server: &str, read: &mut BytesMut, piece: &[u8]) -> Result<()> {
    if read.len() + piece.len() > BYTES_MAX {
        return Err(away(format!("etcd at {server} answers with more than {BYTES_MAX} bytes")));
    }
    read.extend_from_slice(piece);
    Ok(())
}

//! What is refused before anybody looks at it: other names, other pages, other forms; and what is wrong with the rest.

use crate::running::Running;
use bytes::Bytes;
use http::{Method, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::test(flavor = "multi_thread")]
async fn other_names_and_other_pages_are_refused() {
    let running = Running::start("console.hosts = ['ops.example.com']").await;
    let own = running.console.url().strip_prefix("http://").unwrap().to_owned();
    let ask = async |method: Method, name: &str, origin: Option<&str>| {
        let mut request = running.request(method, "/api/config/reload").header(header::HOST, name);
        request = request.header(header::CONTENT_TYPE, "application/json");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        running.send(request.body(Full::from("{}")).unwrap()).await
    };
    for name in ["evil.example", "127.0.0.1.evil.example:80", ""] {
        assert_eq!(ask(Method::GET, name, None).await.refused(403), "PERMISSION_DENIED", "{name}");
    }
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        for method in [Method::POST, Method::GET] {
            let told = ask(method, &own, Some(origin)).await;
            assert_eq!(told.refused(403), "PERMISSION_DENIED", "{origin}");
        }
    }
    // What came in so far was not even noted; this is, and fails because the test's system reads no file.
    assert!(running.operations().is_empty());
    let own_page = format!("http://{own}");
    assert_eq!(ask(Method::POST, &own, Some(&own_page)).await.refused(400), "CONFIG_NOT_REREADABLE");
    let elsewhere = ask(Method::POST, "ops.example.com", Some("https://ops.example.com")).await;
    assert_eq!(elsewhere.refused(400), "CONFIG_NOT_REREADABLE");
    assert_eq!(running.operations().len(), 2);

    let form = running.request(Method::POST, "/api/config/reload");
    let form = form.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let told = running.send(form.body(Full::from("a=b")).unwrap()).await;
    assert_eq!(told.refused(415), "UNSUPPORTED_MEDIA_TYPE");
    running.stop().await;
}

/// Browsers speak HTTP/2 where there is TLS; it has no `Host`.
#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_answered_by_the_same_rules() {
    let running = Running::start("").await;
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let request = |host: Option<&str>| {
        let request = running.request(Method::GET, "/api/session");
        let request = host.into_iter().fold(request, |request, host| request.header(header::HOST, host));
        client.request(request.body(Full::default()).unwrap())
    };
    let told = request(None).await.unwrap();
    assert_eq!((told.version(), told.status().as_u16()), (http::Version::HTTP_2, 200));
    assert_eq!(request(Some("evil.example")).await.unwrap().status(), 403);
    drop(client);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_question_is_named() {
    let running = Running::start("").await;
    for (path, field) in [
        ("/api/map?window_s=0", "window_s"),
        ("/api/map?window_s=x", "window_s"),
        ("/api/traces?limit=0", "limit"),
        ("/api/traces?limit=100000", "limit"),
        ("/api/traces?wrong=1", "wrong"),
        ("/api/logs?level=loud", "level"),
        ("/api/logs?limit=0", "limit"),
        ("/api/sagas?limit=501", "limit"),
        ("/api/dead-letters?limit=1001", "limit"),
        ("/api/topics/counted/messages?offset=1", "partition"),
        ("/api/topics/counted/messages?limit=201", "limit"),
        ("/api/metrics?name=nothing", "name"),
        ("/api/metrics?step_s=0", "step_s"),
        ("/api/audit?limit=0", "limit"),
    ] {
        running.count("a", 1).await;
        let told = running.get(path).await;
        assert_eq!((told.refused(400), told.fields()), ("INVALID_FIELD", vec![field]), "{path}");
    }
    let get = |message: Value| json!({"method": "test.v1.CounterService/Get", "message": message});
    for (path, body, fields) in [
        ("/api/call", json!({"method": "test.v1.CounterService/None"}), vec!["method"]),
        ("/api/call", json!({"method": 3}), vec!["method"]),
        ("/api/call", get(json!({"name": 3, "number": "x"})), vec!["message.name", "message.number"]),
        ("/api/call", get(json!({"nam": "a"})), vec!["message.nam"]),
        ("/api/dead-letters/redrive", json!({"group": "counter", "letters": []}), vec!["letters"]),
        ("/api/dead-letters/redrive", json!({"group": "counter", "letters": ["x"]}), vec!["letters[0]"]),
        (
            "/api/dead-letters/drop",
            json!({"group": "counter", "letters": ["0/1"], "payload": 1}),
            vec!["payload"],
        ),
        ("/api/groups/counter/seek", json!({"topic": "counted", "to": "middle"}), vec!["to"]),
        ("/api/services/counter/move", json!({"new": true}), vec!["body"]),
        ("/api/sagas/counter/s-1/cancel", json!({"reason": " "}), vec!["reason"]),
    ] {
        let told = running.post(path, body.clone()).await;
        assert_eq!((told.refused(400), told.fields()), ("INVALID_FIELD", fields), "{path} {body}");
    }
    for (path, reason) in [
        ("/api/nothing", "ROUTE_NOT_FOUND"),
        ("/api/services/nobody", "NOT_FOUND"),
        ("/api/topics/nothing/messages", "NOT_FOUND"),
        ("/api/dead-letters?group=nobody", "NOT_FOUND"),
        ("/api/traces/ffffffffffffffffffffffffffffffff", "NOT_FOUND"),
        ("/api/contracts/test.v1.Nothing", "NOT_FOUND"),
        ("/api/invariants", "NOT_FOUND"),
    ] {
        assert_eq!(running.get(path).await.refused(404), reason, "{path}");
    }
    assert_eq!(running.get("/api/call").await.refused(405), "METHOD_NOT_ALLOWED");
    running.stop().await;
}

/// Makes a certificate that signs itself, for 127.0.0.1; returns the files that hold it and its key.
fn certificate(folder: &Path) -> [String; 2] {
    let files = ["own.pem", "own.key"].map(|file| folder.join(file).display().to_string());
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=console"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-out", &files[0], "-keyout", &files[1]])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_it_speaks_tls_alone() {
    let folder = TempDir::new().unwrap();
    let [cert, key] = certificate(folder.path());
    let running = Running::start(&format!("console.tls_cert = {cert:?}\nconsole.tls_key = {key:?}")).await;
    let address = running.console.url().strip_prefix("https://").unwrap().to_owned();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&cert).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let request = format!("GET /api/session HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");

    let stream = TcpStream::connect(&address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    // A peer need not say that it closes.
    let _ = stream.read_to_end(&mut told).await;
    let told = String::from_utf8_lossy(&told);
    assert!(told.starts_with("HTTP/1.1 200 OK") && told.contains("\"role\":\"admin\""), "{told}");

    let mut plain = TcpStream::connect(&address).await.unwrap();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut told = Vec::new();
    let _ = plain.read_to_end(&mut told).await;
    assert!(!told.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&told));
    running.stop().await;
}

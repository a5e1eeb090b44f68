//! Targets whose connections are encrypted, and those that cannot be trusted.

use crate::load::{GET, plan};
use crate::server::Server;
use axum::serve::Listener;
use banyan_core::{Code, Env, Result};
use banyan_load::{Overrides, Run, Summary, Target};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Takes encrypted connections, one after the other.
struct Encrypted {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, peer) = self.listener.accept().await.expect("it is bound");
            // One who does not trust us goes away.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Makes a certificate that signs itself, for 127.0.0.1; returns the files that hold it and its key.
fn certificate(folder: &Path, name: &str) -> [PathBuf; 2] {
    let files = ["pem", "key"].map(|end| folder.join(format!("{name}.{end}")));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=load"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args([Path::new("-out"), &files[0], Path::new("-keyout"), &files[1]])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    files
}

/// Starts a server with this certificate, which speaks HTTP/1.1 and HTTP/2.
async fn encrypted([cert, key]: &[PathBuf; 2]) -> Server {
    let certificate = CertificateDer::from_pem_file(cert).expect("it was just made");
    let key = PrivateKeyDer::from_pem_file(key).expect("it was just made");
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certificate], key).expect("they fit");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("it is bound"));
    Server::serve(Encrypted { listener, acceptor: TlsAcceptor::from(Arc::new(config)) }, url)
}

async fn loaded(server: &Server, ca: Option<&Path>, more: &str) -> Result<Summary> {
    let text = format!("[load]\nrate = 50\nfor = '1s'\narrivals = 'uniform'\n{more}\n{GET}");
    let target = Target::parse(&server.url, false, ca)?;
    Run::new(plan(&text, &Overrides::default()), target, Env::default()).go().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_target_is_loaded_if_who_signed_it_is_trusted() {
    let folder = TempDir::new().expect("a folder");
    let own = certificate(folder.path(), "own");
    let server = encrypted(&own).await;
    for (more, sent) in [("", 50), ("http2 = true", 100)] {
        let summary = loaded(&server, Some(&own[0]), more).await.expect("it runs");
        assert_eq!((summary.requests.count, summary.requests.errors), (50, 0), "{:?}", summary.failures);
        assert_eq!(server.seen.requests.load(Ordering::Relaxed), sent);
        assert_eq!(summary.target, server.url);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_target_of_nobody_who_is_trusted_is_sent_nothing() {
    let folder = TempDir::new().expect("a folder");
    let (own, other) = (certificate(folder.path(), "own"), certificate(folder.path(), "other"));
    let server = encrypted(&own).await;
    // Another's certificate, and whatever this machine trusts: nothing, or those who sign for the world.
    for ca in [Some(other[0].as_path()), None] {
        let error = loaded(&server, ca, "").await.expect_err("nobody signed it");
        match error.code() {
            Code::FailedPrecondition => {
                assert_eq!(error.reason(), "LOAD_TARGET_UNTRUSTED");
                assert!(error.message().contains(&server.url), "{error}");
            }
            _ => assert!(ca.is_none() && error.violations()[0].field == "ca", "{error}"),
        }
    }
    // A certificate is of a host, also where both are the same machine.
    let elsewhere = server.url.replace("127.0.0.1", "localhost");
    let target = Target::parse(&elsewhere, false, Some(&own[0])).expect("it is this machine");
    let text = format!("[load]\nrate = 1\nfor = '1s'\n{GET}");
    let error = Run::new(plan(&text, &Overrides::default()), target, Env::default()).go().await;
    assert!(error.expect_err("it is of 127.0.0.1").message().contains("localhost"));
    assert_eq!(server.seen.requests.load(Ordering::Relaxed), 0);

    let plain = Server::start().await;
    let target = Target::parse(&plain.url.replace("http", "https"), false, Some(&own[0])).expect("a URL");
    let error = Run::new(plan(&text, &Overrides::default()), target, Env::default()).go().await;
    let error = error.expect_err("it is in the clear");
    assert!(error.message().ends_with("does not speak TLS"), "{error}");
    let error = Target::parse(&plain.url, false, Some(&own[0])).expect_err("nothing is signed there");
    assert_eq!(error.violations()[0].field, "ca");
}

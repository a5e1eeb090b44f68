//! Rotel, a collector: it takes OTLP over gRPC and over HTTP, and sends it on to where its exporter says.

use super::{Facts, Launch, Launcher, Site, ask};
use crate::install::Packages;
use anyhow::Result;
use futures::future::BoxFuture;
use rustix::process::Signal;
use std::time::Duration;

pub(crate) struct Rotel;

impl Launcher for Rotel {
    fn facts(&self) -> &'static Facts {
        // The package's own command is a Python program that starts this one.
        static FACTS: Facts = Facts {
            name: "rotel",
            programs: &["lib/python*/site-packages/rotel/rotel-agent"],
            packages: Packages::pip(&["rotel==0.0.1a15"]),
            start_limit: Duration::from_secs(60),
            stop_signal: Signal::TERM,
            abort_signal: Signal::KILL,
        };
        &FACTS
    }

    fn launch(&self, site: &Site) -> Result<Launch> {
        let (grpc, http) = (format!("127.0.0.1:{}", site.port), format!("127.0.0.1:{}", site.inner_ports[0]));
        let launch = Launch::new(&site.program).args(["start", "--pid-file"]).arg(site.data().join("pid"));
        // An argument wins over its variable: whoever starts it with an exporter gets that.
        Ok(launch
            .args(["--otlp-grpc-endpoint", &grpc, "--otlp-http-endpoint", &http])
            .env("ROTEL_EXPORTER", "blackhole")
            .env("ROTEL_DEBUG_LOG", "traces"))
    }

    fn probe<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            ask(site.inner_ports[0], b"GET / HTTP/1.1\r\nHost: rotel\r\n\r\n", b"HTTP/1.1").await?;
            tokio::net::TcpStream::connect(("127.0.0.1", site.port)).await?;
            Ok(())
        })
    }

    fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }
}

//! Where telemetry is sent: `[telemetry.otlp]`.

use banyan_core::{Error, Result};
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// What is shown in place of a header's value.
const REDACTED: &str = "[redacted]";
/// Headers of a request beside the protocol's own.
const HEADERS_MAX: usize = 20;

/// Where a collector is, and how it is spoken to.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpOptions {
    /// The collector's address, for example `http://127.0.0.1:4317` or `https://otlp.example`; nothing is sent without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    pub protocol: Protocol,
    /// What is sent; everything by default.
    pub signals: Vec<Signal>,
    /// Headers of every request, by which a hosted collector knows who sends. A value may be, or hold, `${env:NAME}`.
    pub headers: Headers,
    /// A file with the certificates, in PEM, that may sign the collector's; those of the machine when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Size of what waits while the collector is away, in MiB; 1 to 1,024. What is more is dropped, the oldest first, and counted.
    pub waiting_mib_max: u64,
    /// How often measurements are sent, in milliseconds; 1,000 to 3,600,000.
    pub measurements_every_ms: u64,
}

impl Default for OtlpOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: Protocol::default(),
            signals: vec![Signal::Traces, Signal::Metrics, Signal::Logs],
            headers: Headers::default(),
            ca_file: None,
            waiting_mib_max: 32,
            measurements_every_ms: 10_000,
        }
    }
}

/// How the collector is spoken to.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// OTLP/gRPC; by custom on port 4317.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf, below the endpoint's path; by custom on port 4318.
    Http,
}

/// What is sent.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    Traces,
    Metrics,
    Logs,
}

/// Names and values of headers; a value is never shown, unless it is a reference to a secret.
#[derive(Clone, Default, Deserialize, PartialEq)]
#[serde(transparent)]
pub struct Headers(pub BTreeMap<String, String>);

impl Headers {
    fn shown(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_reference = |value: &str| value.starts_with("${") && value.find('}') == Some(value.len() - 1);
        self.0.iter().map(move |(name, value)| {
            (name.as_str(), if is_reference(value) { value.as_str() } else { REDACTED })
        })
    }

    /// Returns them as a request has them.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the header.
    pub(super) fn parsed(&self) -> Result<Vec<(HeaderName, HeaderValue)>> {
        if self.0.len() > HEADERS_MAX {
            return Err(Error::invalid("telemetry.otlp.headers", format!("must be at most {HEADERS_MAX}")));
        }
        let parsed = self.0.iter().map(|(name, value)| {
            let wrong =
                |problem: &str| Error::invalid(format!("telemetry.otlp.headers.{name}"), problem.to_owned());
            let key = name.parse::<HeaderName>().map_err(|_| wrong("is not the name of a header"))?;
            let mut value =
                HeaderValue::from_str(value).map_err(|_| wrong("its value cannot be in a header"))?;
            value.set_sensitive(true);
            Ok((key, value))
        });
        parsed.collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.shown()).finish()
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.shown())
    }
}

impl OtlpOptions {
    /// Checks the endpoint, the headers and the bounds.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the field.
    pub fn check(&self) -> Result<()> {
        let wrong =
            |field: &str, problem: &str| Err(Error::invalid(format!("telemetry.otlp.{field}"), problem));
        if !(1..=1_024).contains(&self.waiting_mib_max) {
            return wrong("waiting_mib_max", "must be between 1 and 1024");
        }
        if !(1_000..=3_600_000).contains(&self.measurements_every_ms) {
            return wrong("measurements_every_ms", "must be between 1000 and 3600000");
        }
        self.headers.parsed()?;
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        match endpoint.parse::<http::Uri>() {
            Ok(uri) if uri.authority().is_none() => wrong("endpoint", "has no host"),
            Ok(uri) if uri.authority().is_some_and(|host| host.as_str().contains('@')) => {
                wrong("endpoint", "must not name a user; say who sends in telemetry.otlp.headers")
            }
            Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
                wrong("endpoint", "must begin with http:// or https://")
            }
            Ok(uri) if self.protocol == Protocol::Grpc && !matches!(uri.path(), "" | "/") => {
                wrong("endpoint", "must have no path, unless telemetry.otlp.protocol is \"http\"")
            }
            Ok(_) => Ok(()),
            Err(_) => wrong("endpoint", "is not a URL"),
        }
    }

    pub(super) fn waiting_bytes_max(&self) -> usize {
        usize::try_from(self.waiting_mib_max << 20).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_cannot_be_reached_is_refused_by_name() {
        let check = |endpoint: &str| {
            OtlpOptions { endpoint: Some(endpoint.into()), ..OtlpOptions::default() }.check()
        };
        assert!(check("http://127.0.0.1:4317").is_ok() && check("https://otlp.example").is_ok());
        assert!(OtlpOptions::default().check().is_ok());
        for (endpoint, problem) in [
            ("ftp://collector.example", "http://"),
            ("127.0.0.1:4317", "http://"),
            ("/v1", "no host"),
            ("a b", "not a URL"),
            ("https://me:secret@otlp.example", "headers"),
            ("https://otlp.example/v1", "path"),
        ] {
            let error = check(endpoint).unwrap_err();
            assert!(error.message().contains(problem) && !error.message().contains("secret"), "{error}");
            assert_eq!(error.violations()[0].field, "telemetry.otlp.endpoint");
        }
    }

    #[test]
    fn the_value_of_a_header_is_not_shown() {
        let headers = |value: &str| Headers(BTreeMap::from([("x-api-key".into(), value.into())]));
        let options = OtlpOptions { headers: headers("hunter2"), ..OtlpOptions::default() };
        let shown = format!("{options:?} {}", serde_json::to_string(&options).expect("it is plain"));
        assert!(shown.contains("x-api-key") && !shown.contains("hunter2"), "{shown}");
        let shown = format!("{:?}", headers("${env:OTLP_KEY}"));
        assert!(shown.contains("${env:OTLP_KEY}"), "{shown}");
        assert!(!format!("{:?}", headers("${env:A}hunter2}")).contains("hunter2"));
        let error = headers("a\nb").parsed().unwrap_err();
        assert_eq!(error.violations()[0].field, "telemetry.otlp.headers.x-api-key");
    }
}

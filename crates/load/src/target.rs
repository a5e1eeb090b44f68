//! Where the load goes: this machine, unless somebody says that another one may be loaded.

use crate::tls;
use banyan_core::{Code, Error, Reason, Result};
use http::uri::{Authority, Scheme, Uri};
use rustls::ClientConfig;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// The target is on another machine, and nobody said that it may be loaded.
const LOAD_TARGET_REFUSED: Reason = Reason::new("LOAD_TARGET_REFUSED");

/// A server that may be loaded.
#[derive(Clone, Debug)]
pub struct Target {
    /// How connections are encrypted, if they are.
    tls: Option<Arc<ClientConfig>>,
    authority: Authority,
    /// What all paths begin with; without a slash at its end.
    prefix: String,
}

impl Target {
    /// Reads `http://HOST[:PORT][/PREFIX]`, or `https://…`, whose certificate one in `ca` (a PEM file) must have signed, or
    /// otherwise one that this machine trusts. A host that is not this machine must be `allowed`.
    ///
    /// # Errors
    /// If it is no such URL, the host is another machine and not allowed, or there is nobody to trust; if `ca` is given for a
    /// target in the clear.
    pub fn parse(url: &str, allowed: bool, ca: Option<&Path>) -> Result<Self> {
        let uri: Uri = url.parse().map_err(|_| Error::invalid("target", format!("{url:?} is no URL")))?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let Some(scheme) = scheme.filter(|_| uri.query().is_none()) else {
            let problem = format!("{url:?}: expected http://HOST[:PORT] or https://HOST[:PORT]");
            return Err(Error::invalid("target", problem));
        };
        let authority = uri.authority().cloned().ok_or_else(|| Error::invalid("target", "names no host"))?;
        if !allowed && !is_loopback(authority.host()) {
            let message = format!(
                "{} is not this machine: load on somebody else's server is an attack unless they agreed to it",
                authority.host()
            );
            return Err(Error::new(Code::PermissionDenied, LOAD_TARGET_REFUSED, message));
        }
        let tls = match (scheme, ca) {
            ("https", ca) => Some(Arc::new(tls::config(ca)?)),
            (_, None) => None,
            (_, Some(_)) => return Err(Error::invalid("ca", "is for a target with https://")),
        };
        Ok(Self { tls, authority, prefix: uri.path().trim_end_matches('/').to_owned() })
    }

    /// Makes the URI of a path that begins with `/`.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, http::Error> {
        let path = format!("{}{path}", self.prefix);
        Uri::builder().scheme(self.scheme()).authority(self.authority.clone()).path_and_query(path).build()
    }

    /// How connections are encrypted; `None` if they are not.
    pub(crate) fn tls(&self) -> Option<&ClientConfig> {
        self.tls.as_deref()
    }

    fn scheme(&self) -> Scheme {
        if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.prefix)
    }
}

/// Tells whether a host is this machine by its name alone: what a name resolves to is somebody else's word.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    address || host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_loaded_and_no_other_one_unasked() {
        for url in [
            "http://127.0.0.1:8080",
            "http://localhost/shop/",
            "http://[::1]:80",
            "http://127.9.9.9",
            "http://shop.localhost",
        ] {
            Target::parse(url, false, None).unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        for url in
            ["http://10.0.0.7:80", "http://example.com", "http://127.0.0.1.example.com", "http://0.0.0.0:80"]
        {
            assert_eq!(Target::parse(url, false, None).unwrap_err().reason(), "LOAD_TARGET_REFUSED", "{url}");
            assert!(Target::parse(url, true, None).is_ok(), "{url}");
        }
        for url in ["wss://localhost", "localhost:80", "ftp://localhost", "http://", "http://localhost/?q=1"]
        {
            assert_eq!(Target::parse(url, true, None).unwrap_err().code(), Code::InvalidArgument, "{url}");
        }
        let target = Target::parse("http://localhost:81/shop/", false, None).unwrap();
        assert_eq!(target.uri("/v1?q=1").unwrap().to_string(), "http://localhost:81/shop/v1?q=1");
        assert_eq!(target.to_string(), "http://localhost:81/shop");
    }
}

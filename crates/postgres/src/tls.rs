//! Encrypted connections: the server's certificate and name are always verified.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What a URL says about encryption, and to us.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) mode: Option<String>,
    /// How events leave the outbox: `replication`, or as the stores say themselves.
    pub(crate) outbox: Option<String>,
    /// A file with the certificates that may sign the server's; otherwise those of the system.
    pub(crate) root: Option<String>,
}

/// Why no connection can be encrypted.
#[derive(Debug)]
pub(crate) struct NoRoots(String);

impl fmt::Display for NoRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoRoots {}

/// Takes `sslmode`, `sslrootcert` and `outbox` out of a URL: the driver knows fewer modes, and nothing of the others.
pub(crate) fn take_parameters(url: &str) -> (String, Parameters) {
    let mut taken = Parameters::default();
    // A question mark may be part of a password.
    let start = url.rfind('@').unwrap_or_default();
    let Some((before, query)) = url[start..].split_once('?') else { return (url.to_owned(), taken) };
    let mut kept = Vec::new();
    for parameter in query.split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", mode)) => taken.mode = Some(mode.to_owned()),
            Some(("sslrootcert", file)) => taken.root = Some(file.replace("%2F", "/").replace("%2f", "/")),
            Some(("outbox", how)) => taken.outbox = Some(how.to_owned()),
            _ => kept.push(parameter),
        }
    }
    let mark = if kept.is_empty() { "" } else { "?" };
    (format!("{}{before}{mark}{}", &url[..start], kept.join("&")), taken)
}

/// Makes what encrypts connections, trusting the certificates of the file `root` or else of the system.
pub(crate) fn connector(root: Option<&str>) -> Result<MakeRustlsConnect, NoRoots> {
    let mut roots = RootCertStore::empty();
    match root {
        Some(path) => {
            let unreadable =
                |e: &dyn fmt::Display| NoRoots(format!("sslrootcert {path} cannot be read: {e}"));
            let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unreadable(&e))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| unreadable(&e))?;
                roots.add(certificate).map_err(|e| unreadable(&e))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(NoRoots("no certificate is trusted; give a file with sslrootcert=PATH".to_owned()));
    }
    Ok(MakeRustlsConnect::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_does_not_know_is_taken_out() {
        let of = |mode: Option<&str>, root: Option<&str>| Parameters {
            mode: mode.map(str::to_owned),
            root: root.map(str::to_owned),
            outbox: None,
        };
        for (url, kept, taken) in [
            ("postgres://me@host/shop", "postgres://me@host/shop", of(None, None)),
            ("postgres://me:a?b@host/shop?sslmode=x", "postgres://me:a?b@host/shop", of(Some("x"), None)),
            (
                "postgres://host/shop?a=1&sslrootcert=%2Fca.pem&sslmode=verify-full&b=2",
                "postgres://host/shop?a=1&b=2",
                of(Some("verify-full"), Some("/ca.pem")),
            ),
        ] {
            assert_eq!(take_parameters(url), (kept.to_owned(), taken));
        }
    }
}

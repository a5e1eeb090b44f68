//! Whom a load believes that a server is what its certificate says: who signed it must be known.

use banyan_core::{Code, Error, Reason, Result};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use std::path::Path;

/// The certificate of the target is of nobody who is trusted, or of another server.
const LOAD_TARGET_UNTRUSTED: Reason = Reason::new("LOAD_TARGET_UNTRUSTED");

/// Makes what encrypted connections begin with. The certificates of `ca`, a PEM file, are trusted and no others; without it,
/// those that this machine trusts.
///
/// # Errors
/// [`Code::InvalidArgument`] if there are none.
pub(crate) fn config(ca: Option<&Path>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let unusable = |problem: String| Error::invalid("ca", format!("{}: {problem}", path.display()));
            let found = CertificateDer::pem_file_iter(path).map_err(|e| unusable(e.to_string()))?;
            for certificate in found {
                let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
                roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("holds no certificate".to_owned()));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let problem =
                    "this machine trusts nobody's certificates; name a file of those that sign the target's";
                return Err(Error::invalid("ca", problem));
            }
        }
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Makes a client that connects in the clear: nobody has to be trusted.
pub(crate) fn nobody() -> ClientConfig {
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

/// Finds what TLS said in what a connection failed of.
pub(crate) fn failure<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let told = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let told = told.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(found) = told.or_else(|| error.downcast_ref()) {
            return Some(found);
        }
        // An error that an I/O error holds is not its source, but that one's source is.
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Refuses a target with which no encrypted connection comes about.
pub(crate) fn untrusted(target: &dyn std::fmt::Display, problem: &rustls::Error) -> Error {
    let message = match problem {
        rustls::Error::InvalidCertificate(CertificateError::Other(problem)) => {
            format!("the certificate of {target} is not to be trusted: {}", problem.0)
        }
        rustls::Error::InvalidCertificate(problem) => {
            format!("the certificate of {target} is not to be trusted: {problem}")
        }
        rustls::Error::InvalidMessage(_) => format!("{target} does not speak TLS"),
        problem => format!("no encrypted connection to {target}: {problem}"),
    };
    Error::new(Code::FailedPrecondition, LOAD_TARGET_UNTRUSTED, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_file_of_certificates_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ca.pem");
        let refused = || config(Some(&path)).expect_err("it is not usable");
        assert_eq!(refused().violations()[0].field, "ca");
        std::fs::write(&path, "no certificate").expect("a file");
        assert!(refused().message().contains("ca.pem: holds no certificate"), "{}", refused());
    }
}

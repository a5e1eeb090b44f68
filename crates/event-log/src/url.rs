//! The URL of an event log on a server: `SCHEME://PLACE[?NAME=VALUE&…]`.

use banyan_core::{Error, Result};
use std::path::PathBuf;
use std::str::FromStr;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 4_096;

/// What an encrypted connection needs besides the server's name: files in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates that the server's must go back to; without it those that the system trusts.
    pub ca: Option<PathBuf>,
    /// The certificate by which the server knows us, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// A URL, taken apart. A provider takes the parameters it knows out of it; what is left at [`LogUrl::finish`] is refused.
///
/// No error repeats a value: what is written in the wrong place may be a secret.
pub struct LogUrl {
    /// Names the engine in errors: `kafka` makes the field `kafka.url`.
    engine: &'static str,
    scheme: String,
    place: String,
    given: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl LogUrl {
    /// Takes a URL apart; the values of its parameters are percent-decoded.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] for a URL without a scheme, over 4 KiB, or with a parameter that has no
    /// value, is there twice or is no text.
    pub fn parse(engine: &'static str, url: &str) -> Result<Self> {
        let wrong = |why: String| Error::invalid(format!("{engine}.url"), why);
        if url.len() > URL_BYTES_MAX {
            return Err(wrong(format!("must have at most {URL_BYTES_MAX} bytes")));
        }
        let Some((scheme, rest)) = url.trim().split_once("://") else {
            return Err(wrong("must begin with a scheme and ://".to_owned()));
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut given: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if value.is_empty() {
                return Err(wrong(format!("the parameter {name:?} has no value")));
            }
            if given.iter().any(|(known, _)| known == name) {
                return Err(wrong(format!("the parameter {name:?} is there twice")));
            }
            let value = decode(value);
            given.push((name.to_owned(), value.ok_or_else(|| wrong(format!("{name:?} is no text")))?));
        }
        let (scheme, place) = (scheme.to_owned(), place.to_owned());
        Ok(Self { engine, scheme, place, given, known: Vec::new() })
    }

    /// Returns what stands before `://`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns what stands between `://` and the parameters, as it is written.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Takes a parameter.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let at = self.given.iter().position(|(given, _)| given == name)?;
        Some(self.given.swap_remove(at).1)
    }

    /// Takes a parameter that is a number.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] naming it.
    pub fn number<N: FromStr>(&mut self, name: &'static str) -> Result<Option<N>> {
        let Some(value) = self.text(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| self.wrong(name, "must be a number"))
    }

    /// Takes a parameter that is `on` or `off`; it is off when it is not there.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] naming it.
    pub fn switch(&mut self, name: &'static str) -> Result<bool> {
        match self.text(name).as_deref() {
            Some("on") => Ok(true),
            None | Some("off") => Ok(false),
            Some(_) => Err(self.wrong(name, "must be on or off")),
        }
    }

    /// Takes the parameters `ca`, `cert` and `key`, the files of an encrypted connection.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] if one of them is given and `is_encrypted` is false, or a certificate without
    /// its key.
    pub fn tls_files(&mut self, is_encrypted: bool) -> Result<TlsFiles> {
        let ca = self.text("ca").map(PathBuf::from);
        let identity = match (self.text("cert"), self.text("key")) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            (Some(_), None) => return Err(self.wrong("key", "is missing: cert and key belong together")),
            (None, Some(_)) => return Err(self.wrong("cert", "is missing: cert and key belong together")),
        };
        if !is_encrypted && (ca.is_some() || identity.is_some()) {
            let scheme = &self.scheme;
            return Err(self.wrong("url", format!("has files for TLS, but {scheme}:// is not encrypted")));
        }
        Ok(TlsFiles { ca, identity })
    }

    /// Says what is wrong with a parameter.
    pub fn wrong(&self, name: &str, why: impl Into<String>) -> Error {
        Error::invalid(format!("{}.{name}", self.engine), why)
    }

    /// Refuses parameters that nobody took.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] naming one, and all that there are.
    pub fn finish(self) -> Result<()> {
        let Some((name, _)) = self.given.first() else { return Ok(()) };
        let known = match self.known.as_slice() {
            [] => "none".to_owned(),
            known => known.join(", "),
        };
        Err(self.wrong("url", format!("has no parameter {name:?}; it has: {known}")))
    }
}

/// Decodes `%XX`; `None` if that is no UTF-8 or not complete.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let mut url =
            LogUrl::parse("some", "some+tls://a:1,b:2/c?replicas=3&ca=%2Fetc%2Fca.pem&on=on").unwrap();
        assert_eq!((url.scheme(), url.place()), ("some+tls", "a:1,b:2/c"));
        assert_eq!(
            (url.number::<u16>("replicas").unwrap(), url.number::<u16>("other").unwrap()),
            (Some(3), None)
        );
        assert_eq!(url.text("ca").as_deref(), Some("/etc/ca.pem"));
        assert!(url.switch("on").unwrap() && !url.switch("off").unwrap());
        url.finish().unwrap();
    }

    #[test]
    fn files_for_tls_belong_together() {
        let files = |text: &str| LogUrl::parse("some", text).unwrap().tls_files(text.starts_with("tls"));
        let found = files("tls://a?ca=/ca&key=/key&cert=/cert").unwrap();
        assert_eq!((found.ca, found.identity), (Some("/ca".into()), Some(("/cert".into(), "/key".into()))));
        assert_eq!(files("plain://a").unwrap(), TlsFiles::default());
        for wrong in ["plain://a?ca=/ca", "tls://a?cert=/cert", "tls://a?key=/key"] {
            assert!(files(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        for text in ["a:1", "x://a?p=tiger&p=tiger", "x://a?tiger", "x://a?p=tiger%zz", "x://a?p=%ff"] {
            assert!(LogUrl::parse("some", text).is_err(), "{text}");
        }
        let mut url = LogUrl::parse("some", "x://a?password=tiger&replicas=tiger&on=tiger").unwrap();
        let errors = [url.number::<u16>("replicas").unwrap_err(), url.switch("on").unwrap_err()];
        assert_eq!(errors[0].violations()[0].field, "some.replicas");
        let error = url.finish().unwrap_err();
        assert!(error.message().contains("it has: replicas, on"), "{error}");
        for error in errors.iter().chain([&error]) {
            assert!(!format!("{error:?}").contains("tiger"), "{error:?}");
        }
    }
}

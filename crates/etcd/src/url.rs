//! Where etcd is, and below which prefix the settings are.

use banyan_core::{Error, Result};
use banyan_identity::Secret;
use percent_encoding::percent_decode_str;

/// What a URL says.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// `host:port` of each server.
    pub(crate) servers: Vec<String>,
    pub(crate) user: Option<(String, Secret<String>)>,
    /// Without slashes at its ends.
    pub(crate) prefix: String,
    /// The URL without credentials.
    pub(crate) shown: String,
}

impl Place {
    /// Reads `etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/PREFIX`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let form = "is written etcd://[USER:PASSWORD@]HOST:PORT[,HOST:PORT…]/PREFIX";
        let wrong = |problem: &str| Error::invalid("source.url", format!("{problem}: it {form}"));
        let rest = url.strip_prefix("etcd://").ok_or_else(|| wrong("it does not begin with etcd://"))?;
        // A password may hold what should have been encoded: everything to the last @ counts.
        let (who, rest) = rest.rsplit_once('@').map_or((None, rest), |(who, rest)| (Some(who), rest));
        let (servers, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_matches('/');
        if prefix.is_empty() {
            return Err(wrong("it names no prefix"));
        }
        if prefix.contains(['?', '#']) {
            return Err(wrong("it has parameters"));
        }
        let servers: Vec<String> = servers.split(',').map(|server| server.trim().to_owned()).collect();
        let complete = |server: &String| {
            server
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if !servers.iter().all(complete) {
            return Err(wrong("a server is not HOST:PORT"));
        }
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(|text| text.into_owned()).map_err(|_| wrong("its user or password is not UTF-8"))
        };
        let user = match who.map(|who| who.split_once(':')) {
            None => None,
            Some(None) => return Err(wrong("it has a user without a password")),
            Some(Some((user, password))) => Some((decoded(user)?, Secret::new(decoded(password)?))),
        };
        let shown = format!("etcd://{}/{prefix}", servers.join(","));
        Ok(Self { servers, user, prefix: prefix.to_owned(), shown })
    }

    /// Returns the key of a setting in etcd.
    pub(crate) fn key(&self, setting: &str) -> String {
        format!("{}/{setting}", self.prefix)
    }

    /// Returns the first key that no setting has any more, after those that some may have.
    pub(crate) fn end(&self) -> String {
        // '0' comes after '/'.
        format!("{}0", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_who_and_what() {
        let place = Place::parse("etcd://me:hunter%2f2@a:1,b:2/one/two/").unwrap();
        assert_eq!(
            (place.servers.as_slice(), place.prefix.as_str()),
            (&["a:1".into(), "b:2".into()][..], "one/two")
        );
        let (user, password) = place.user.as_ref().unwrap();
        assert_eq!((user.as_str(), password.expose().as_str()), ("me", "hunter/2"));
        assert_eq!((place.key("port").as_str(), place.end().as_str()), ("one/two/port", "one/two0"));
        assert!(place.shown == "etcd://a:1,b:2/one/two" && !format!("{place:?}").contains("hunter"));
    }

    #[test]
    fn a_wrong_url_is_told_without_its_password() {
        for url in
            ["etcd://a:1", "etcd://a:1/", "etcd://a/shop", "etcd://u:hunter2@a/x", "etcd://hunter2@a:1/x"]
        {
            let error = Place::parse(url).unwrap_err();
            assert!(error.message().contains("etcd://[USER"), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}

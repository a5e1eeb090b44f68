//! Where the values of a configuration come from, and the secrets that they refer to.

use super::mistake::{invalid, refusal};
use super::origin::{Origin, Origins};
use super::reference::{Part, parts};
use super::tree::{Kind, Node, join};
use banyan_core::{Code, Error, Result};
use banyan_identity::{SECRET_MISSING, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;
use std::fmt;

/// What is encoded in a secret that is part of a URL: all but RFC 3986's unreserved characters.
const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The origins of the values that were set, and the secrets that were read, by reference.
#[derive(Clone, Default)]
pub struct Sources {
    pub(crate) origins: Origins,
    /// By what stands between `${` and `}`.
    pub(crate) secrets: BTreeMap<String, Secret<String>>,
}

impl Sources {
    /// Returns where the value at `key`, or the table that it is in, was set.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.of(key).cloned().unwrap_or(Origin::Default)
    }

    /// Tells whether the same secrets were read, with the same values.
    pub(crate) fn same_secrets(&self, other: &Self) -> bool {
        let exposed = |of: &Secret<String>, other: &Secret<String>| of.expose() == other.expose();
        let same =
            |name: &String, secret| other.secrets.get(name).is_some_and(|found| exposed(secret, found));
        self.secrets.len() == other.secrets.len() && self.secrets.iter().all(|(name, s)| same(name, s))
    }

    /// Puts the secrets into the text at `key`. Next to other text they are percent-encoded.
    pub(crate) fn fill_url(&self, key: &str, url: &str) -> Result<Secret<String>> {
        self.filled(key, url, true)
    }

    /// Puts the secrets, as they are, into the text at `key`.
    pub(crate) fn fill_text(&self, key: &str, text: &str) -> Result<Secret<String>> {
        self.filled(key, text, false)
    }

    /// As [`Sources::fill_url`], with a word in the place of each secret that was not read; `None` if nothing else is there.
    pub(crate) fn outline(&self, key: &str, url: &str) -> Result<Option<String>> {
        let parts = parts(url).map_err(|problem| invalid(key, &problem, self.origins.of(key)))?;
        let is_read = |part: &Part<'_>| match part {
            Part::Text(_) => true,
            Part::Reference(reference) => self.secrets.contains_key(*reference),
        };
        if parts.iter().all(is_read) {
            return self.filled(key, url, true).map(|url| Some(url.expose().clone()));
        }
        if parts.len() == 1 {
            return Ok(None);
        }
        let text = |part: &Part<'_>| match part {
            Part::Text(text) => (*text).to_owned(),
            Part::Reference(_) => "secret".to_owned(),
        };
        Ok(Some(parts.iter().map(text).collect()))
    }

    /// Puts the secrets into every text of a tree.
    pub(crate) fn fill(&self, key: &str, node: &mut Node) -> Result<()> {
        match &mut node.kind {
            Kind::Table(entries) => {
                entries.iter_mut().try_for_each(|(name, node)| self.fill(&join(key, name), node))
            }
            Kind::Array(nodes) => nodes.iter_mut().try_for_each(|node| self.fill(key, node)),
            Kind::Scalar(toml::Value::String(text)) | Kind::Text(text) if text.contains("${") => {
                node.kind = Kind::Secret(self.filled(key, text, false)?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn filled(&self, key: &str, text: &str, url: bool) -> Result<Secret<String>> {
        let parts = parts(text).map_err(|problem| invalid(key, &problem, self.origins.of(key)))?;
        let alone = parts.len() == 1;
        let mut filled = String::with_capacity(text.len());
        for part in parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Reference(reference) => {
                    let secret = self.secrets.get(reference);
                    let secret = secret.ok_or_else(|| self.missing(key, reference, "was not read"))?.expose();
                    match url && !alone {
                        true => filled.extend(utf8_percent_encode(secret, IN_URL)),
                        false => filled.push_str(secret),
                    }
                }
            }
        }
        Ok(Secret::new(filled))
    }

    pub(crate) fn missing(&self, key: &str, reference: &str, why: &str) -> Error {
        let problem = format!("the secret ${{{reference}}} {why}");
        refusal(Code::FailedPrecondition, SECRET_MISSING, key.to_owned(), &problem, self.origins.of(key))
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("origins", &self.origins).field("secrets", &self.secrets).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Handover};
    use super::*;
    use crate::{ServiceDef, System};
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        limit: u16,
        password: Option<Secret<String>>,
    }

    fn system() -> System {
        let service = ServiceDef::new("orders", [], |_| async { Ok(()) }).settings::<Settings>();
        System::new("test").service(service).stores(crate::engines::tests::Away)
    }

    #[tokio::test]
    async fn secrets_are_put_where_they_are_used_and_shown_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2/@\n").unwrap();
        let file = file.display();
        let text = format!(
            "stores.orders = 'postgres://u:${{file:{file}}}@h/orders'\nsource.url = '${{file:{file}}}'\n\
             services.orders.password = 'x-${{file:{file}}}'"
        );
        let mut config = Config::parse(&text).unwrap();
        let error = config.settings::<Settings>("orders").unwrap_err();
        assert!(
            error.is(SECRET_MISSING) && error.violations()[0].field == "services.orders.password",
            "{error}"
        );

        system().resolve(&mut config).await.unwrap();
        let line = serde_json::to_string(&Handover::from(&config)).unwrap();
        let child: Config = serde_json::from_str::<Handover>(&line).unwrap().into();
        for config in [&config, &child] {
            let url = config.store_url("orders").unwrap().unwrap();
            assert_eq!(url.expose(), "postgres://u:hunter2%2F%40@h/orders");
            assert_eq!(config.source_url().unwrap().unwrap().expose(), "hunter2/@");
            let settings: Settings = config.settings("orders").unwrap();
            assert_eq!(settings.password.unwrap().expose(), "x-hunter2/@");
            let shown =
                format!("{config:?} {:?} {:?} {:?}", config.sources, config.source, system().entries(config));
            assert!(!shown.contains("hunter2") && shown.contains("${file:"), "{shown}");
            assert!(!serde_json::to_string(config).unwrap().contains("hunter2"));
        }
        assert_eq!(child.sources.origin("stores.orders"), config.sources.origin("stores.orders"));
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_secret_is_told_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("limit");
        std::fs::write(&file, "hunter2").unwrap();
        let resolve =
            async |text: &str| system().resolve(&mut Config::parse(text).unwrap()).await.unwrap_err();
        let error = resolve("\nservices.orders.password = '${env:BANYAN_TEST_UNSET}'").await;
        assert_eq!(
            error.message(),
            "services.orders.password: the secret ${env:BANYAN_TEST_UNSET} is missing: the environment variable \
             BANYAN_TEST_UNSET is not set (configuration:2)"
        );
        let error = resolve("stores.orders = 'postgres://${evn:X}@h'").await;
        assert!(error.is(super::super::SECRET_SOURCE_UNKNOWN), "{error:?}");
        assert!(error.message().contains("the nearest is \"env\""), "{error}");
        let error = resolve(&format!("services.orders.limit = '${{file:{}}}'", file.display())).await;
        assert!(
            error.message().starts_with("services.orders.limit: the secret that it refers to is not"),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        std::fs::write(&file, "7").unwrap();
        let text = format!("services.orders.limit = '${{file:{}}}'", file.display());
        let mut config = Config::parse(&text).unwrap();
        system().resolve(&mut config).await.unwrap();
        assert_eq!(config.settings::<Settings>("orders").unwrap().limit, 7);
    }

    #[test]
    fn a_value_in_the_wrong_place_is_told_without_its_password() {
        for text in [
            "events = 'nats://u:hunter2@h'",
            "limits.drain_ms_max = 'p://u:hunter2@h'",
            "stores = 'p://u:hunter2@h'",
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(
                error.message().contains("must be") && !format!("{error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only the mistake matters")]
        struct Keyed {
            api_key: u64,
        }
        let error =
            Config::parse("services.a.api_key = 'hunter2'").unwrap().settings::<Keyed>("a").unwrap_err();
        assert!(
            error.violations()[0].field == "services.a.api_key" && !format!("{error:?}").contains("hunter2")
        );
    }

    #[test]
    fn settings_are_checked_without_secrets() {
        let check = |text: &str| system().check(&Config::parse(text).unwrap());
        check("services.orders = { limit = '${env:BANYAN_TEST_UNSET}' }").unwrap();
        let error =
            check("services.orders = { password = '${env:BANYAN_TEST_UNSET}', pasword = 1 }").unwrap_err();
        assert!(error.message().contains("nearest is \"password\""), "{error}");
        let error = check("services.orders.limits = 1").unwrap_err();
        let expected =
            "services.orders.limits: there is no such key; the nearest is \"limit\" (configuration:1)";
        assert_eq!(error.message(), expected);
    }
}

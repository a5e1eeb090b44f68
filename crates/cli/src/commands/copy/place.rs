//! Which store a word stands for.

use crate::args::{Globals, base_layers};
use crate::problem::Problem;
use anyhow::Result;
use banyan::{Config, System};
use banyan_identity::Secret;
use std::path::{Path, PathBuf};

/// The word for the file in the data folder.
const SQLITE: &str = "sqlite";
/// The key of `stores` that holds for services that are not named.
const DEFAULT_STORE: &str = "default";
/// Engines, by the schemes of their URLs.
const ENGINES: [(&str, &[&str]); 3] = [
    ("PostgreSQL", &["postgres", "postgresql"]),
    ("MySQL or MariaDB", &["mysql", "mariadb"]),
    // The scheme is never written; the word is.
    ("SQLite", &[SQLITE]),
];

/// A store.
pub(super) struct Place {
    /// With its secrets; `None` for the file.
    pub(super) url: Option<Secret<String>>,
    pub(super) file: PathBuf,
    /// Where it is, without secrets.
    pub(super) shown: String,
    /// What `stores.<service>` says for it: without secrets, references to them as they are written.
    pub(super) setting: String,
    /// Whether a password is left out of that.
    pub(super) has_password: bool,
}

/// What words are looked up in.
pub(super) struct Places<'a> {
    pub(super) system: &'a System,
    pub(super) service: &'a str,
    pub(super) config: &'a Config,
    pub(super) file: Option<&'a Path>,
    pub(super) globals: &'a Globals,
}

impl Places<'_> {
    /// Finds what `word` stands for, which the argument `argument` gives.
    ///
    /// # Errors
    /// If nothing makes that clear; with what to give instead.
    pub(super) async fn find(&self, argument: &str, word: &str) -> Result<Place> {
        if word == SQLITE {
            return self.in_data_folder();
        }
        if word.contains("://") {
            let mut config = Config::default();
            config.stores.insert(self.service.to_owned(), word.to_owned());
            return self.at_url(config).await;
        }
        if let Some((engine, schemes)) = ENGINES.iter().find(|(_, schemes)| schemes.contains(&word)) {
            return self.on_engine(argument, word, engine, schemes).await;
        }
        if !self.is_profile(word) {
            let problem = format!("{word:?} is no store: no URL, no engine, no profile");
            return Err(Problem::usage(argument, problem, self.example(argument, "postgres")).into());
        }
        let config = base_layers(self.file, Some(word), self.globals)?.load()?;
        self.by(config).await
    }

    /// Tells whether a profile has this name.
    fn is_profile(&self, name: &str) -> bool {
        let base = self.file.unwrap_or(Path::new("banyan.toml"));
        let beside = base.with_file_name(format!("banyan.{name}.toml"));
        self.globals.built_in.iter().any(|(known, _)| known == name) || beside.exists()
    }

    /// Looks for the only URL of an engine: in the configuration, then in the profiles that are built in.
    async fn on_engine(&self, argument: &str, word: &str, engine: &str, schemes: &[&str]) -> Result<Place> {
        let is_there = |place: &Place| {
            let url = place.url.as_ref().map_or("", |url| url.expose().as_str());
            schemes.contains(&url.split_once("://").map_or("", |(scheme, _)| scheme))
        };
        if let Ok(place) = self.by(self.config.clone()).await
            && is_there(&place)
        {
            return Ok(place);
        }
        let mut found: Vec<Place> = Vec::new();
        for (name, _) in self.globals.built_in.iter() {
            // One whose secrets are not there is not meant.
            let Ok(config) =
                base_layers(self.file, Some(name), self.globals).and_then(|layers| Ok(layers.load()?))
            else {
                continue;
            };
            if let Ok(place) = self.by(config).await
                && is_there(&place)
                && found.iter().all(|known| known.shown != place.shown)
            {
                found.push(place);
            }
        }
        let service = self.service;
        let problem = match found.len() {
            1 => return Ok(found.remove(0)),
            0 => format!("nothing in the configuration says where {service} has a store on {engine}"),
            _ => {
                let places: Vec<_> = found.iter().map(|place| place.shown.as_str()).collect();
                format!("{service} has several stores on {engine}: {}", places.join(", "))
            }
        };
        Err(Problem::usage(argument, problem, self.example(argument, word)).into())
    }

    fn example(&self, argument: &str, word: &str) -> String {
        let scheme = if word.starts_with("m") { "mysql" } else { "postgres" };
        let service = self.service;
        format!(
            "give its URL: {argument} {scheme}://USER@HOST/{service} (a password as ${{env:NAME}}), or the profile that names it in \
             stores.{service}; `sqlite` is the file in the data folder"
        )
    }

    /// Returns the store that a configuration names.
    async fn by(&self, config: Config) -> Result<Place> {
        let key = if config.stores.contains_key(self.service) { self.service } else { DEFAULT_STORE };
        let Some(url) = config.stores.get(key).filter(|url| *url != SQLITE).cloned() else {
            return self.in_data_folder();
        };
        let mut config = config;
        config.stores.clear();
        config.stores.insert(self.service.to_owned(), url.replace("{service}", self.service));
        self.at_url(config).await
    }

    fn in_data_folder(&self) -> Result<Place> {
        let file = self.config.data.join("stores").join(format!("{}.db", self.service));
        let file = std::path::absolute(&file)?;
        Ok(Place {
            url: None,
            shown: file.display().to_string(),
            setting: SQLITE.to_owned(),
            has_password: false,
            file,
        })
    }

    /// Returns the one store of `config`, and reads the secrets of its URL.
    async fn at_url(&self, mut config: Config) -> Result<Place> {
        // Only this URL's.
        config.services.clear();
        (config.events.url, config.cache.url) = (None, None);
        (config.placement, config.faults) = (Default::default(), None);
        let setting = self.redacted(&config)?;
        let has_password = config.stores.get(self.service).is_some_and(|written| *written != setting);
        self.system.resolve(&mut config).await?;
        let Some(url) = config.store_url(self.service)? else { return self.in_data_folder() };
        let mut resolved = Config::default();
        resolved.stores.insert(self.service.to_owned(), url.expose().clone());
        let shown = self.redacted(&resolved)?;
        Ok(Place { url: Some(url), file: PathBuf::new(), shown, setting, has_password })
    }

    /// Returns the service's URL in `config` without its password.
    fn redacted(&self, config: &Config) -> Result<String> {
        let key = format!("stores.{}", self.service);
        let entries = self.system.entries(config)?;
        let url = entries.iter().find(|entry| entry.key == key).and_then(|entry| entry.value.as_str());
        Ok(url.unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan::ServiceDef;
    use banyan::store::{Store, StoreOptions, StoreProvider};
    use banyan_core::{BoxFuture, Error};
    use std::sync::Arc;

    /// Knows URLs; what they lead to is never opened here.
    struct Servers;

    impl StoreProvider for Servers {
        fn schemes(&self) -> &'static [&'static str] {
            &["postgres", "mysql"]
        }

        fn open<'a>(&'a self, _: &'a str, _: StoreOptions) -> BoxFuture<'a, banyan_core::Result<Store>> {
            Box::pin(std::future::ready(Err(Error::unavailable("it is away"))))
        }
    }

    /// Looks a word up for payments, with these profiles built in.
    async fn find(word: &str, profiles: &[(&str, &str)]) -> Result<Place, String> {
        let built_in = profiles.iter().map(|(name, toml)| ((*name).to_owned(), (*toml).to_owned())).collect();
        let globals = Globals { built_in: Arc::new(built_in), ..Globals::default() };
        let service = ServiceDef::new("payments", [], |_| std::future::ready(Ok(())));
        let system = System::new("test").service(service).stores(Servers);
        let config = Config { data: "/data".into(), ..Config::default() };
        let places =
            Places { system: &system, service: "payments", config: &config, file: None, globals: &globals };
        places.find("--to", word).await.map_err(|error| match error.downcast_ref::<Problem>() {
            Some(problem) => format!("{problem} {}", problem.next_step()),
            None => error.to_string(),
        })
    }

    const FLEET: (&str, &str) = ("fleet", "stores.payments = 'mysql://shop:geheim@db/payments'");
    const OTHER: (&str, &str) = ("other", "stores.default = 'postgres://db/{service}'");

    #[tokio::test]
    async fn a_word_stands_for_the_only_store_that_it_can_mean() {
        let file = find("sqlite", &[]).await.unwrap();
        assert!(file.url.is_none() && file.shown == "/data/stores/payments.db" && file.setting == "sqlite");
        for (word, shown) in [
            ("mysql", "mysql://shop:[redacted]@db/payments"),
            ("mariadb", "mysql://shop:[redacted]@db/payments"),
            ("fleet", "mysql://shop:[redacted]@db/payments"),
            ("postgres", "postgres://db/payments"),
            ("other", "postgres://db/payments"),
            ("postgres://me:secret@there/x", "postgres://me:[redacted]@there/x"),
        ] {
            let place = find(word, &[FLEET, OTHER]).await.unwrap();
            assert_eq!((place.shown.as_str(), place.setting.as_str()), (shown, shown), "{word}");
            assert!(!place.url.expect("it is on a server").expose().contains("[redacted]"), "{word}");
        }
    }

    #[tokio::test]
    async fn a_word_that_may_mean_anything_is_refused_with_what_to_give() {
        let more = ("more", "stores.payments = 'mysql://elsewhere/payments'");
        for (word, profiles, said) in [
            (
                "postgres",
                &[FLEET][..],
                "nothing in the configuration says where payments has a store on PostgreSQL",
            ),
            ("mysql", &[FLEET, more], "several stores on MySQL or MariaDB"),
            ("flee", &[FLEET], "no URL, no engine, no profile"),
        ] {
            let refused = find(word, profiles).await.map(drop).unwrap_err();
            assert!(refused.contains(said) && refused.contains("--to "), "{word}: {refused}");
            assert!(!refused.contains("geheim"), "{refused}");
        }
    }
}

//! What there is to examine.

use super::secrets::Secrets;
use super::{DoctorOptions, data, provider_limit};
use crate::config::{self, DEFAULT_STORE, SQLITE};
use crate::engines::{log_options, malformed, scheme, unknown};
use crate::{Config, ENGINE_UNKNOWN, ServiceDef, StoreSchema, System};
use banyan_cache::{CacheExamination, SharedOptions};
use banyan_core::{BoxFuture, Check, Error, Finding};
use banyan_event_log::LogExamination;
use banyan_identity::{Secret, SecretExamination};
use banyan_store::{MigrationSet, StoreExamination, StoreOptions, examine_file};
use std::collections::{BTreeMap, BTreeSet};

/// One use of one engine.
pub(super) struct Job<'a> {
    /// As [`super::EngineReport::engine`].
    pub(super) engine: String,
    pub(super) used_by: String,
    /// The service whose store it is.
    pub(super) service: Option<String>,
    pub(super) work: BoxFuture<'a, Vec<Finding>>,
}

/// What jobs are made of.
struct Planned<'a> {
    system: &'a System,
    config: &'a Config,
    options: &'a DoctorOptions,
    /// In how many processes each service runs.
    processes: BTreeMap<String, Vec<String>>,
    /// Of the services that could be wired as far as their stores.
    schemas: BTreeMap<String, StoreSchema>,
    jobs: Vec<Job<'a>>,
}

/// Lists what there is to examine, in the order of the report.
pub(super) fn jobs<'a>(
    system: &'a System,
    config: &'a Config,
    options: &'a DoctorOptions,
    secrets: Secrets,
    schemas: BTreeMap<String, StoreSchema>,
) -> Vec<Job<'a>> {
    let names: Vec<_> = system.services().iter().map(ServiceDef::name).collect();
    let processes = config.place(&names).unwrap_or_default();
    let mut planned = Planned { system, config, options, processes, schemas, jobs: Vec::new() };
    planned.secrets(secrets);
    planned.data();
    planned.stores();
    planned.events();
    planned.cache();
    planned.jobs
}

impl<'a> Planned<'a> {
    fn add(
        &mut self,
        engine: String,
        used_by: String,
        service: Option<&str>,
        work: BoxFuture<'a, Vec<Finding>>,
    ) {
        self.jobs.push(Job { engine, used_by, service: service.map(str::to_owned), work });
    }

    fn secrets(&mut self, secrets: Secrets) {
        for (source, findings) in secrets.found {
            self.add(source, "secrets of the configuration".to_owned(), None, done(findings));
        }
        for (index, (schemes, paths)) in secrets.sources.into_iter().enumerate() {
            let Some(source) = self.system.secret_sources().get(index).filter(|_| !paths.is_empty()) else {
                continue;
            };
            let limit = provider_limit(self.options.limit);
            let asked = SecretExamination { paths, env: self.options.env.clone(), limit };
            let used_by = "secrets of the configuration".to_owned();
            self.add(schemes, used_by, None, source.examine(asked));
        }
    }

    fn data(&mut self) {
        let Config { data, events, limits, .. } = self.config;
        let embedded_log = events.url.is_none();
        let used_by = if embedded_log { "run files, event log" } else { "run files" };
        let work = data::examine(data.clone(), embedded_log.then_some(limits.log_bytes_max));
        self.add(format!("data folder {}", data.display()), used_by.to_owned(), None, Box::pin(work));
    }

    /// Returns the names of the services whose stores there are: of the linked ones, or else of those with a URL.
    fn services(&self) -> Vec<String> {
        match self.system.services() {
            [] => self.config.stores.keys().filter(|name| *name != DEFAULT_STORE).cloned().collect(),
            services => services.iter().map(|service| service.name().to_owned()).collect(),
        }
    }

    fn stores(&mut self) {
        let services = self.services();
        let mut connections: BTreeMap<String, u32> = BTreeMap::new();
        let mut asked = Vec::new();
        for service in services {
            let mut examination = self.examination(&service);
            let processes = self.processes.get(&service).map_or(1, Vec::len);
            let needed = examination.connections.saturating_mul(u32::try_from(processes).unwrap_or(u32::MAX));
            let url = self.config.store_url(&service);
            if let Ok(Some(url)) = &url {
                let sum = connections.entry(place(url.expose())).or_default();
                *sum = sum.saturating_add(needed);
            }
            examination.connections = needed;
            asked.push((service, url, examination));
        }
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for (service, url, mut examination) in asked {
            let used_by = format!("store of {service}");
            match url {
                Ok(Some(url)) => {
                    let engine = place(url.expose());
                    let first =
                        taken.entry(database(url.expose())).or_insert_with(|| service.clone()).clone();
                    if first != service {
                        let finding = done(vec![shared_database(&service, &first)]);
                        self.add(engine.clone(), used_by.clone(), Some(&service), finding);
                    }
                    examination.connections = connections[&engine];
                    let work = self.store(&service, url, examination);
                    self.add(engine, used_by, Some(&service), work);
                }
                Ok(None) => self.file(&service, used_by, examination),
                Err(error) => self.unread(&format!("stores.{service}"), used_by, Some(&service), &error),
            }
        }
    }

    fn examination(&self, service: &str) -> StoreExamination {
        let shared = self.config.is_replicated(service);
        let options = StoreOptions { shared, ..StoreOptions::new(service, self.options.env.clone()) };
        let mut examination = StoreExamination::new(options, provider_limit(self.options.limit));
        if let Some(def) = self.system.find(service) {
            let migrations = self.schemas.get(service).map(|schema| schema.migrations);
            let own = MigrationSet { namespace: def.name(), migrations, optional: false };
            let (namespace, sagas) = banyan_saga::MIGRATIONS;
            let of_sagas = MigrationSet { namespace, migrations: Some(sagas), optional: true };
            examination.migrations = vec![own, of_sagas];
        }
        examination
    }

    fn store(
        &self,
        service: &str,
        url: Secret<String>,
        asked: StoreExamination,
    ) -> BoxFuture<'a, Vec<Finding>> {
        let stores = &self.system.engines().stores;
        match stores.iter().find(|p| p.schemes().contains(&scheme(url.expose()))) {
            Some(provider) => match provider.check(url.expose(), service) {
                Ok(()) => Box::pin(async move { provider.examine(url.expose(), asked).await }),
                Err(error) => done(vec![self.malformed(&self.store_key(service), &error)]),
            },
            None => {
                let known = stores.iter().flat_map(|p| p.schemes()).copied();
                done(vec![not_linked(&unknown(&self.store_key(service), url.expose(), known))])
            }
        }
    }

    /// Returns the key that says where the store of `service` is.
    fn store_key(&self, service: &str) -> String {
        let named = self.config.stores.contains_key(service);
        format!("stores.{}", if named { service } else { DEFAULT_STORE })
    }

    fn malformed(&self, key: &str, error: &Error) -> Finding {
        let error = malformed(self.config, key, error);
        Finding::of_error(Check::Configuration, "URL", &error, format!("correct {key}"))
    }

    fn file(&mut self, service: &str, used_by: String, asked: StoreExamination) {
        let folder = self.config.data.join("stores");
        let path = folder.join(format!("{service}.db"));
        let engine = format!("SQLite in {}", folder.display());
        self.add(engine, used_by, Some(service), Box::pin(async move { examine_file(&path, asked).await }));
    }

    fn events(&mut self) {
        let (config, used_by) = (self.config, "event log".to_owned());
        let url = match config.events_url() {
            Ok(Some(url)) => url,
            // The data folder is examined as such.
            Ok(None) => return,
            Err(error) => return self.unread("events.url", used_by, None, &error),
        };
        let engine = place(url.expose());
        let logs = &self.system.engines().logs;
        let Some(provider) = logs.iter().find(|p| p.schemes().contains(&scheme(url.expose()))) else {
            let known = logs.iter().flat_map(|p| p.schemes()).copied();
            let finding = not_linked(&unknown("events.url", url.expose(), known));
            return self.add(engine, used_by, None, done(vec![finding]));
        };
        let options = log_options(self.system.name(), "doctor", config, &self.options.env);
        if let Err(error) = provider.check(url.expose(), options.clone()) {
            let finding = self.malformed("events.url", &error);
            return self.add(engine, used_by, None, done(vec![finding]));
        }
        let limit = provider_limit(self.options.limit);
        let asked = LogExamination { options, needs: config.events.needed().unwrap_or_default(), limit };
        let work = Box::pin(async move { provider.examine(url.expose(), asked).await });
        self.add(engine, used_by, None, work);
    }

    fn cache(&mut self) {
        let used_by = "caches and rate limits".to_owned();
        let url = match self.config.cache_url() {
            Ok(Some(url)) => url,
            Ok(None) => return,
            Err(error) => return self.unread("cache.url", used_by, None, &error),
        };
        let engine = place(url.expose());
        let caches = &self.system.engines().caches;
        let Some(provider) = caches.iter().find(|p| p.schemes().contains(&scheme(url.expose()))) else {
            let known = caches.iter().flat_map(|p| p.schemes()).copied();
            let finding = not_linked(&unknown("cache.url", url.expose(), known));
            return self.add(engine, used_by, None, done(vec![finding]));
        };
        if let Err(error) = provider.check(url.expose()) {
            let finding = self.malformed("cache.url", &error);
            return self.add(engine, used_by, None, done(vec![finding]));
        }
        let processes: BTreeSet<&String> = self.processes.values().flatten().collect();
        let asked = CacheExamination {
            options: SharedOptions { system: self.system.name().to_owned() },
            env: self.options.env.clone(),
            connections: u32::try_from(processes.len().max(1)).unwrap_or(u32::MAX),
            limit: provider_limit(self.options.limit),
        };
        let work = Box::pin(async move { provider.examine(url.expose(), asked).await });
        self.add(engine, used_by, None, work);
    }

    /// Says that an engine cannot be examined, because its URL refers to a secret that was not read.
    fn unread(&mut self, key: &str, used_by: String, service: Option<&str>, error: &Error) {
        let written = match (key, service) {
            ("events.url", _) => self.config.events.url.as_deref(),
            ("cache.url", _) => self.config.cache.url.as_deref(),
            (_, service) => {
                let own = service.and_then(|service| self.config.stores.get(service));
                own.or_else(|| self.config.stores.get(DEFAULT_STORE)).map(String::as_str)
            }
        };
        let engine = config::shown_url(written.unwrap_or(SQLITE));
        let found = format!("not examined: {}", error.message());
        let finding = Finding::unknown(Check::Reachable, "server", found);
        self.add(engine, used_by, service, done(vec![finding]));
    }
}

/// Returns where an engine is, without who asks and what for.
fn place(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "?".to_owned() };
    let place = rest.split_once('?').map_or(rest, |(place, _)| place);
    // A password may hold what should have been encoded: everything to the last @ counts.
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let host = place.split_once('/').map_or(place, |(host, _)| host);
    match rest.split_once('?').is_some_and(|(_, query)| query.contains('@')) {
        true => format!("{scheme}://[redacted]"),
        false => format!("{scheme}://{host}"),
    }
}

/// Returns what is the same for two URLs of one database: a user of PostgreSQL may have a schema of its own in it.
fn database(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (who, at) = rest.rsplit_once('@').unwrap_or(("", rest));
    let user = who.split_once(':').map_or(who, |(user, _)| user);
    match scheme {
        "mysql" | "mariadb" => format!("mysql://{at}"),
        _ => {
            let scheme = if scheme == "postgresql" { "postgres" } else { scheme };
            let options = query.split('&').find(|part| part.starts_with("options=")).unwrap_or_default();
            format!("{scheme}://{user}@{at}?{options}")
        }
    }
}

fn shared_database(service: &str, first: &str) -> Finding {
    let found = format!(
        "the configuration gives {service} the database of {first}; the one that starts second is refused"
    );
    let next = format!("give {service} a database, or a schema, of its own in stores.{service}");
    Finding::fail(Check::Configuration, "database", found, next)
}

fn not_linked(error: &Error) -> Finding {
    let next = format!(
        "build the program with the feature of that engine, and run this command of the system's own program \
         (docs/errors/{}.md)",
        ENGINE_UNKNOWN.as_str()
    );
    Finding::fail(Check::Configuration, "engine", error.message(), next)
}

fn done<'a>(findings: Vec<Finding>) -> BoxFuture<'a, Vec<Finding>> {
    Box::pin(std::future::ready(findings))
}

#[cfg(test)]
mod tests {
    use super::{database, place};

    #[test]
    fn a_database_is_the_same_whoever_asks_how() {
        for (one, two, same) in [
            ("postgres://u:a@h:5432/db?sslmode=require", "postgresql://u:b@h:5432/db", true),
            (
                "postgres://u@h/db?options=-csearch_path%3Da",
                "postgres://u@h/db?options=-csearch_path%3Db",
                false,
            ),
            ("postgres://u@h/db", "postgres://v@h/db", false),
            ("postgres://u@h/one", "postgres://u@h/two", false),
            ("mysql://u:a@h/db", "mariadb://v:b@h/db?ssl=1", true),
            ("mysql://u@h/one", "mysql://u@h/two", false),
        ] {
            assert_eq!(database(one) == database(two), same, "{one} {two}");
        }
    }

    #[test]
    fn a_place_has_no_secret() {
        for (url, shown) in [
            ("postgres://u:hunter2@h:5432/db?sslmode=require", "postgres://h:5432"),
            ("postgres://u:hun/ter@2@one,two:6000/db", "postgres://one,two:6000"),
            ("postgres://u:hun?ter2@h/db", "postgres://[redacted]"),
            ("nats://hunter2@h:4222", "nats://h:4222"),
            ("kafka://a:9092,b:9092?replicas=3", "kafka://a:9092,b:9092"),
            ("hunter2", "?"),
        ] {
            assert_eq!(place(url), shown);
        }
    }
}

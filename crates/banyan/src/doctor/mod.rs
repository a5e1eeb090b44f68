//! Examines every engine that a configuration names, before the system is started with it.
//!
//! Nothing is changed that stays: what is made to see whether it can be made has a name of its own and is removed.

mod data;
mod plan;
mod secrets;

use crate::{Config, StoreSchema, System};
use banyan_core::{Check, Env, Finding, Result, Verdict};
use futures::StreamExt as _;
use plan::Job;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the examination of one engine takes at most unless set.
const LIMIT: Duration = Duration::from_secs(10);
/// What a provider does not get of an engine's time, so that its own words about a silent engine come in time: one
/// part in so many.
const GRACE_PART: u32 = 10;
/// Engines that are examined at the same time unless set.
const AT_ONCE: usize = 8;

/// How the engines of a system are examined.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    pub env: Env,
    /// Time for each engine; an engine that does not answer in it is a finding.
    pub limit: Duration,
    /// Engines that are examined at the same time, at least one.
    pub at_once: usize,
}

impl DoctorOptions {
    pub fn new(env: Env) -> Self {
        Self { env, limit: LIMIT, at_once: AT_ONCE }
    }
}

/// What was found, engine by engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub engines: Vec<EngineReport>,
}

/// One engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineReport {
    /// Where it is, without user and password: `postgres://127.0.0.1:5432`.
    pub engine: String,
    /// What uses it, for example `store of orders`.
    pub used_by: Vec<String>,
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns how many findings have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.engines.iter().flat_map(|e| &e.findings).filter(|f| f.verdict == verdict).count()
    }

    /// Takes what was found for one user of an engine.
    fn add(&mut self, engine: &str, used_by: &str, service: Option<&str>, findings: Vec<Finding>) {
        let known = self.engines.iter().position(|report| report.engine == engine);
        let at = known.unwrap_or_else(|| {
            let (used_by, findings) = (Vec::new(), Vec::new());
            self.engines.push(EngineReport { engine: engine.to_owned(), used_by, findings });
            self.engines.len() - 1
        });
        self.engines[at].add(used_by, service, findings);
    }
}

impl EngineReport {
    /// Returns the worst verdict.
    pub fn verdict(&self) -> Verdict {
        self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok)
    }

    fn add(&mut self, used_by: &str, service: Option<&str>, findings: Vec<Finding>) {
        if !self.used_by.iter().any(|user| user == used_by) {
            self.used_by.push(used_by.to_owned());
        }
        for mut finding in findings {
            if let Some(service) = service.filter(|_| !is_of_server(&finding)) {
                finding.subject = match finding.subject == service {
                    true => finding.subject,
                    false => format!("{service}: {}", finding.subject),
                };
            }
            let same = |known: &&mut Finding| {
                is_of_server(known) && known.check == finding.check && known.subject == finding.subject
            };
            match self.findings.iter_mut().find(same) {
                // Several databases of one server have seen the same: the worst counts.
                Some(known) if known.verdict < finding.verdict => *known = finding,
                Some(_) => {}
                None => self.findings.push(finding),
            }
        }
        self.findings.sort_by_key(|finding| finding.check);
    }
}

/// Tells whether a finding is about the server, and so the same for all that use it.
fn is_of_server(finding: &Finding) -> bool {
    match finding.check {
        Check::Reachable => finding.subject == "server" && finding.verdict == Verdict::Ok,
        Check::Version | Check::Clock | Check::Limits | Check::Durability => true,
        _ => false,
    }
}

impl System {
    /// Examines every engine that `config` names: each service's store, the event log, the cache, the sources of secrets,
    /// the data folder. `progress` is told, as each part ends, what it was, and how many of how many have ended.
    ///
    /// # Errors
    /// `CONFIG_INVALID` if the configuration itself is not valid. What is wrong with an engine is a finding.
    pub async fn examine(
        &self,
        mut config: Config,
        options: &DoctorOptions,
        progress: &(dyn Fn(&str, usize, usize) + Sync),
    ) -> Result<Report> {
        if !self.services().is_empty() {
            self.check_services(&config)?;
        }
        let secrets = secrets::read(self, &mut config, options).await?;
        let schemas = self.schemas(&config, &options.env).await;
        let jobs = plan::jobs(self, &config, options, secrets, schemas);
        let total = jobs.len();
        let limit = options.limit;
        let running = jobs.into_iter().enumerate().map(|(place, job)| async move {
            let Job { engine, used_by, service, work } = job;
            let findings = match tokio::time::timeout(limit, work).await {
                Ok(findings) => findings,
                Err(_) => vec![silent(limit)],
            };
            (place, engine, used_by, service, findings)
        });
        let mut running = futures::stream::iter(running).buffer_unordered(options.at_once.max(1));
        let mut ended = Vec::with_capacity(total);
        while let Some(part) = running.next().await {
            ended.push(part);
            let (_, engine, used_by, ..) = &ended[ended.len() - 1];
            progress(&format!("{engine} ({used_by})"), ended.len(), total);
        }
        ended.sort_by_key(|(place, ..)| *place);
        let mut report = Report::default();
        for (_, engine, used_by, service, findings) in ended {
            report.add(&engine, &used_by, service.as_deref(), findings);
        }
        Ok(report)
    }

    /// Finds out the schemas of the services' stores. A service that cannot be wired so far, for example because a secret
    /// of its settings is missing, has none.
    async fn schemas(&self, config: &Config, env: &Env) -> BTreeMap<String, StoreSchema> {
        let mut schemas = BTreeMap::new();
        for service in self.services() {
            if let Ok(Some(schema)) = self.store_schema(service.name(), config, env).await {
                schemas.insert(service.name().to_owned(), schema);
            }
        }
        schemas
    }
}

/// Returns the time that a provider gets.
fn provider_limit(limit: Duration) -> Duration {
    limit - limit / GRACE_PART
}

fn silent(limit: Duration) -> Finding {
    let next = "look whether it hangs or is overloaded; give it more time with --timeout";
    Finding::silent("server", limit, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServiceDef;

    #[test]
    fn what_several_databases_say_of_their_server_is_said_once() {
        let mut report = Report::default();
        let findings = |version: Finding| {
            vec![
                Finding::reached("server", Duration::from_millis(1)),
                Finding::ok(Check::Permissions, "make tables", "may"),
                version,
            ]
        };
        let good = Finding::ok(Check::Version, "server", "15");
        let bad = Finding::warn(Check::Version, "server", "19", "try it");
        report.add("postgres://h:1", "store of users", Some("users"), findings(good));
        report.add("postgres://h:1", "store of orders", Some("orders"), findings(bad.clone()));
        let gone = Finding::fail(Check::Reachable, "server", "no such database", "make it");
        report.add("postgres://h:1", "store of cart", Some("cart"), vec![gone]);
        let engine = &report.engines[0];
        assert_eq!(engine.used_by, ["store of users", "store of orders", "store of cart"]);
        let shown: Vec<_> = engine.findings.iter().map(|f| (f.check.name(), f.subject.as_str())).collect();
        let expected = [
            ("reachable", "server"),
            ("reachable", "cart: server"),
            ("version", "server"),
            ("permissions", "users: make tables"),
            ("permissions", "orders: make tables"),
        ];
        assert_eq!(shown, expected);
        assert!(engine.findings.contains(&bad) && engine.verdict() == Verdict::Fail);
        assert_eq!((report.count(Verdict::Fail), report.count(Verdict::Warn)), (1, 1));
    }

    fn of<'r>(report: &'r Report, engine: &str, subject: &str) -> &'r Finding {
        let engine = report.engines.iter().find(|report| report.engine.starts_with(engine));
        let finding = engine.and_then(|report| report.findings.iter().find(|f| f.subject == subject));
        finding.unwrap_or_else(|| panic!("{engine:?} {subject} is not in {report:#?}"))
    }

    async fn examined(system: System, text: &str, limit: Duration) -> Report {
        let options = DoctorOptions { limit, ..DoctorOptions::new(Env::default()) };
        let told = std::sync::Mutex::new(Vec::new());
        let progress =
            |_: &str, done: usize, total: usize| told.lock().expect("no panic").push((done, total));
        let report = system.examine(Config::parse(text).expect("it is valid"), &options, &progress).await;
        let report = report.expect("it is examined");
        let told = told.into_inner().expect("no panic");
        assert!(told.last().is_some_and(|(done, total)| done == total), "{told:?}");
        assert!(!format!("{report:?}").contains("hunter2"), "a secret is shown: {report:#?}");
        report
    }

    fn system() -> System {
        let service = |name| ServiceDef::new(name, [], |_| async { Ok(()) });
        System::new("test").service(service("orders")).service(service("users")).service(service("cart"))
    }

    #[tokio::test]
    async fn what_cannot_be_resolved_or_opened_is_a_finding() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "data = '{}'\nstores.orders = '${{env:BANYAN_TEST_DOCTOR_URL}}'\n\
             stores.users = 'oracle://scott:hunter2@db/users'\ncache.url = '${{bao:kv/a#b}}'",
            folder.path().join("data").display()
        );
        let report = examined(system(), &text, LIMIT).await;
        let variable = of(&report, "environment", "BANYAN_TEST_DOCTOR_URL");
        assert!(
            variable.verdict == Verdict::Fail && variable.found == "is not set (stores.orders)",
            "{variable:?}"
        );
        let next = variable.next_step.as_deref().unwrap_or_default();
        assert!(next.starts_with("export BANYAN_TEST_DOCTOR_URL='SCHEME://"), "{next}");
        let store = of(&report, "${env:BANYAN_TEST_DOCTOR_URL}", "orders: server");
        assert_eq!(store.verdict, Verdict::Unknown, "{store:?}");
        let unknown = of(&report, "oracle://db", "users: engine");
        assert!(unknown.verdict == Verdict::Fail && unknown.found.contains("oracle"), "{unknown:?}");
        assert_eq!(of(&report, "secrets", "${bao:kv/a#b}").verdict, Verdict::Fail);
        assert_eq!(of(&report, "data folder", "folder").verdict, Verdict::Ok);
        assert!(of(&report, "SQLite in", "cart: file").found.contains("first start"));
        assert!(!folder.path().join("data").exists(), "nothing is made");
    }

    #[tokio::test]
    async fn a_silent_engine_ends_with_its_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it has an address").port();
        let limit = Duration::from_secs(1);
        let text = format!("data = '/nonexistent/banyan'\ncache.url = 'redis://:hunter2@127.0.0.1:{port}'");
        let report = examined(system().caches(banyan_redis::RedisCaches), &text, limit).await;
        let silent = of(&report, &format!("redis://127.0.0.1:{port}"), "server");
        assert!(silent.verdict == Verdict::Fail && silent.check == Check::Reachable, "{silent:?}");
    }
}

//! What a store is examined for, and what its migrations tell.

use crate::migrations::{MARK_COPYING, MARK_MOVED, MIGRATION_DRIFT, elsewhere, standing};
use crate::server::connections_of;
use crate::statement::Dialect;
use crate::{Migration, StoreOptions};
use banyan_core::{Check, Error, Finding};
use std::time::Duration;

/// The namespace in which the owner of a database is noted.
pub(crate) const OWNER_NAMESPACE: &str = "banyan.owner";

/// What a store is examined for.
#[derive(Clone, Debug)]
pub struct StoreExamination {
    /// As the store would be opened; the limits of what is asked follow `limit`.
    pub options: StoreOptions,
    pub migrations: Vec<MigrationSet>,
    /// Connections that all processes of the system make to the server of this store, for all of its stores.
    pub connections: u32,
    /// How long the whole may take; what is still asked then is dropped.
    pub limit: Duration,
}

/// Migrations that a program would apply.
#[derive(Clone, Copy, Debug)]
pub struct MigrationSet {
    pub namespace: &'static str,
    /// `None` if the program does not say which there are.
    pub migrations: Option<&'static [Migration]>,
    /// Whether nothing is wrong if none of them was applied although others were: not every service uses them.
    pub optional: bool,
}

/// A migration that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedMigration {
    pub namespace: String,
    pub version: u32,
    pub name: String,
    pub checksum: Vec<u8>,
}

impl StoreExamination {
    /// Examines a store as it would be opened with `options`, within `limit`.
    pub fn new(options: StoreOptions, limit: Duration) -> Self {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
        let connections = connections_of(&options);
        let options = StoreOptions {
            connect_ms_max: options.connect_ms_max.min(limit_ms),
            transaction_ms_max: limit_ms,
            ..options
        };
        Self { options, migrations: Vec::new(), connections, limit }
    }

    /// Says which migrations are applied and pending, and where they do not agree with the program's. `applied` is what
    /// the database has, `None` if it has no table of them: no service has opened it yet.
    pub fn migration_findings(&self, dialect: Dialect, applied: Option<&[AppliedMigration]>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let service = &self.options.service;
        let owner = applied.unwrap_or_default().iter().find(|row| row.namespace == OWNER_NAMESPACE);
        if let Some(owner) = owner.filter(|owner| owner.name != *service) {
            let found = format!("the database belongs to the service {}", owner.name);
            let next = format!("give {service} a database, or a schema, of its own in stores.{service}");
            findings.push(Finding::fail(Check::Configuration, "owner", found, next));
        }
        let is_mark = |row: &&AppliedMigration| [MARK_MOVED, MARK_COPYING].contains(&row.namespace.as_str());
        for mark in applied.unwrap_or_default().iter().filter(is_mark) {
            let (reason, found, next) = elsewhere(&mark.namespace, &mark.name, service);
            let next = format!("{next} (docs/errors/{}.md)", reason.as_str());
            findings.push(Finding::fail(Check::Storage, "data", found, next));
        }
        let of_set = |set: &MigrationSet| match applied {
            None if set.optional => None,
            None => Some(new_database(set)),
            Some(all) => {
                let own: Vec<_> = all.iter().filter(|row| row.namespace == set.namespace).collect();
                (!(set.optional && own.is_empty())).then(|| compared(set, &own, dialect))
            }
        };
        findings.extend(self.migrations.iter().filter_map(of_set));
        findings
    }
}

fn new_database(set: &MigrationSet) -> Finding {
    let first = match set.migrations.map(<[_]>::len) {
        Some(count) => format!("new: the first start applies {count}"),
        None => "new: the first start applies them".to_owned(),
    };
    Finding::ok(Check::Migrations, set.namespace, first)
}

fn compared(set: &MigrationSet, applied: &[&AppliedMigration], dialect: Dialect) -> Finding {
    let MigrationSet { namespace, .. } = *set;
    let last = applied.last().map(|row| format!(" (the last is {} {:?})", row.version, row.name));
    let last = last.unwrap_or_default();
    let Some(migrations) = set.migrations else {
        let found = format!("{} applied{last}; the program does not say which it has", applied.len());
        return Finding::unknown(Check::Migrations, namespace, found);
    };
    let known = applied.len().min(migrations.len());
    if let Err(error) = standing(namespace, migrations, &applied[..known], dialect) {
        return drifted(namespace, &error);
    }
    if let [ahead, ..] = &applied[known..] {
        let found = format!(
            "the database is ahead of this program: {} of {} applied are unknown here, the first is {} {:?}",
            applied.len() - known,
            applied.len(),
            ahead.version,
            ahead.name
        );
        let next = "run the newer program that applied them, or bring back the database from before that";
        return Finding::fail(Check::Migrations, namespace, found, next);
    }
    match &migrations[known..] {
        [] => Finding::ok(Check::Migrations, namespace, format!("all {known} are applied{last}")),
        pending => {
            let names: Vec<_> = pending.iter().map(|m| format!("{} {:?}", m.version, m.name)).collect();
            let found = format!("{known} of {} are applied; pending: {}", migrations.len(), names.join(", "));
            let next = "the next start of the service applies them; make a copy of the database before";
            Finding::warn(Check::Migrations, namespace, found, next)
        }
    }
}

fn drifted(namespace: &str, error: &Error) -> Finding {
    let next = format!(
        "bring back the migration as it was released, and correct it with a new one (docs/errors/{}.md)",
        MIGRATION_DRIFT.as_str()
    );
    Finding::fail(Check::Migrations, namespace, error.message(), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Statement;
    use crate::migrations::applied_as;
    use banyan_core::{Env, Verdict};

    const ONE: Migration = Migration::new(1, "one", Statement::new("CREATE TABLE one (id TEXT)"));
    const TWO: Migration = Migration::new(2, "two", Statement::new("CREATE TABLE two (id TEXT)"));
    const CHANGED: Migration = Migration::new(1, "one", Statement::new("CREATE TABLE one (id INTEGER)"));

    fn found(migrations: Option<&'static [Migration]>, applied: Option<&[Migration]>) -> Finding {
        let options = StoreOptions::new("orders", Env::default());
        let mut asked = StoreExamination::new(options, Duration::from_secs(1));
        asked.migrations = vec![MigrationSet { namespace: "orders", migrations, optional: false }];
        let of = |m: &Migration| applied_as("orders", m, Dialect::Sqlite);
        let applied: Option<Vec<_>> = applied.map(|all| all.iter().map(of).collect());
        asked.migration_findings(Dialect::Sqlite, applied.as_deref()).remove(0)
    }

    #[test]
    fn migrations_are_new_pending_done_drifted_or_ahead() {
        for (program, database, verdict, said) in [
            (Some(&[ONE, TWO][..]), None, Verdict::Ok, "new: the first start applies 2"),
            (Some(&[ONE, TWO]), Some(&[ONE, TWO][..]), Verdict::Ok, "all 2 are applied"),
            (Some(&[ONE, TWO]), Some(&[ONE]), Verdict::Warn, "pending: 2 \"two\""),
            (Some(&[ONE]), Some(&[ONE, TWO]), Verdict::Fail, "ahead of this program: 1 of 2"),
            (Some(&[CHANGED, TWO]), Some(&[ONE]), Verdict::Fail, "was changed after it was applied"),
            (None, Some(&[ONE]), Verdict::Unknown, "1 applied (the last is 1 \"one\")"),
        ] {
            let finding = found(program, database);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.found.contains(said), "{finding:?}");
        }
    }

    #[test]
    fn a_store_that_its_service_would_refuse_fails() {
        for (namespace, said, next) in [
            (MARK_MOVED, "were moved", "--unmark"),
            (MARK_COPYING, "not all are here", "the same copy again"),
        ] {
            let asked =
                StoreExamination::new(StoreOptions::new("orders", Env::default()), Duration::from_secs(1));
            let (namespace, name) = (namespace.to_owned(), "postgres://there".to_owned());
            let mark = AppliedMigration { namespace, version: 1, name, checksum: Vec::new() };
            let findings = asked.migration_findings(Dialect::Sqlite, Some(&[mark]));
            assert_eq!((findings.len(), findings[0].verdict), (1, Verdict::Fail), "{findings:?}");
            assert!(findings[0].found.contains(said) && findings[0].found.contains("postgres://there"));
            assert!(findings[0].next_step.as_deref().is_some_and(|n| n.contains(next)), "{findings:?}");
        }
    }

    #[test]
    fn a_database_has_one_owner_and_not_every_service_has_sagas() {
        let options = StoreOptions::new("orders", Env::default());
        let mut asked = StoreExamination::new(options, Duration::from_secs(1));
        asked.migrations =
            vec![MigrationSet { namespace: "banyan-saga", migrations: Some(&[ONE]), optional: true }];
        let owner = AppliedMigration {
            namespace: OWNER_NAMESPACE.to_owned(),
            version: 1,
            name: "users".to_owned(),
            checksum: Vec::new(),
        };
        let findings = asked.migration_findings(Dialect::Sqlite, Some(&[owner]));
        assert_eq!((findings.len(), findings[0].verdict), (1, Verdict::Fail), "{findings:?}");
        assert!(findings[0].found.contains("users") && findings[0].subject == "owner");
    }
}

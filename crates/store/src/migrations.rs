//! Changes to a store's schema: ordered, applied once, and recognised when they changed afterwards.

use crate::examination::AppliedMigration;
use crate::statement::{Dialect, Statement};
use crate::transaction::{Query, Tx};
use crate::{Purpose, Store, StoreOptions, params};
use banyan_core::{Context, Error, Identity, Reason, Result};
use sha2::{Digest, Sha256};

/// The migrations of the program and those applied to the file do not agree.
pub const MIGRATION_DRIFT: Reason = Reason::new("MIGRATION_DRIFT");
/// A migration could not be applied.
pub const MIGRATION_FAILED: Reason = Reason::new("MIGRATION_FAILED");

/// The data of the store were moved to another one.
pub const STORE_MOVED: Reason = Reason::new("STORE_MOVED");
/// The data of another store are being copied into this one, and not all of them are here.
pub const STORE_INCOMPLETE: Reason = Reason::new("STORE_INCOMPLETE");

/// The namespace, among the migrations, of the mark that the data of the store were moved; its name says where to.
pub const MARK_MOVED: &str = "banyan.moved";
/// The namespace, among the migrations, of the mark that a copy into the store was begun and not finished; its name says
/// where from. Its version is 0 if it was set with the platform's own tables, before the copy looked into the store, else 1.
pub const MARK_COPYING: &str = "banyan.copying";

/// Characters of the place in a mark that is set with the platform's own tables.
const MARK_CHARS_MAX: usize = 480;

/// A statement of the service does not work on the engine of its store.
pub const STATEMENT_REFUSED: Reason = Reason::new("STATEMENT_REFUSED");

/// One step of a schema. Never changed once it was released: the next step corrects it.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Position in its namespace; versions ascend.
    pub version: u32,
    pub name: &'static str,
    /// One or several statements, without transaction control.
    pub sql: Statement,
}

impl Migration {
    /// Makes a migration of one text for every engine, or of a [`Statement`] with variants.
    pub const fn new(version: u32, name: &'static str, sql: Statement) -> Self {
        Self { version, name, sql }
    }
}

impl Store {
    /// Applies those of `migrations` that were not applied yet, in order, all in one transaction.
    ///
    /// # Errors
    /// `MIGRATION_DRIFT` if an applied one was changed, is missing, or would have to come after a later one;
    /// `MIGRATION_FAILED` if one cannot be applied. Nothing was applied then, unless the engine cannot roll changes of the
    /// schema back ([`crate::engine::Traits::transactional_schema`]): there the next attempt goes on where this one stopped.
    /// [`STORE_MOVED`] and [`STORE_INCOMPLETE`] if the service's data are, or are not all, elsewhere.
    pub async fn migrate(&self, namespace: &'static str, migrations: &'static [Migration]) -> Result<()> {
        let options = &self.shared().options;
        let cx = Context::new(&options.env, Identity::service(&options.service));
        let (purpose, service) = (options.purpose, options.service.clone());
        let work = move |tx: &mut Tx<'_>| {
            if purpose == Purpose::Service {
                refuse_moved(tx, &service)?;
            }
            apply(tx, namespace, migrations)
        };
        self.shared().submit(&cx, false, work).await
    }

    /// Changes the schema outside of migrations, for what is no part of a service: `script` is one or several statements
    /// without parameters. May take any time.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if it does not work, with what is wrong as its source.
    pub async fn alter(&self, script: Statement) -> Result<()> {
        let options = &self.shared().options;
        let cx = Context::new(&options.env, Identity::service(&options.service));
        self.shared().submit(&cx, false, move |tx| tx.session().script(script)).await
    }
}

impl Store {
    /// Checks that every one of `statements` parses on the store's engine and fits its tables, without running any: a
    /// statement that lacks a variant for the engine is found before the service starts.
    ///
    /// # Errors
    /// `STATEMENT_REFUSED`, with the statement.
    pub async fn verify(&self, statements: &'static [Statement]) -> Result<()> {
        let options = &self.shared().options;
        let cx = Context::new(&options.env, Identity::service(&options.service));
        let check = move |tx: &mut Tx<'_>| {
            statements.iter().try_for_each(|statement| {
                let session = tx.session();
                session.prepare(*statement).map_err(|e| {
                    let text = statement.text(session.dialect());
                    let message = format!("the store's engine refuses a statement of the service: {text}");
                    Error::failed_precondition(STATEMENT_REFUSED, message).with_source(e)
                })
            })
        };
        self.shared().submit(&cx, false, check).await
    }
}

/// Refuses a store whose data are elsewhere, or not all here.
fn refuse_moved(tx: &mut Tx<'_>, service: &str) -> Result<()> {
    let marks = tx.query(
        "SELECT namespace, name FROM banyan_migrations WHERE namespace IN ($1, $2)",
        params![MARK_MOVED, MARK_COPYING],
        |row| Ok((row.get::<String>("namespace")?, row.get::<String>("name")?)),
    )?;
    let Some((mark, place)) = marks.into_iter().next() else { return Ok(()) };
    let (reason, found, next) = elsewhere(&mark, &place, service);
    Err(Error::failed_precondition(reason, format!("{found}: {next}")))
}

/// Says what a mark means: why the store is refused, in words, and what to do.
pub(crate) fn elsewhere(mark: &str, place: &str, service: &str) -> (Reason, String, String) {
    match mark {
        MARK_MOVED => (
            STORE_MOVED,
            format!("the data of {service} were moved from this store to {place}"),
            format!(
                "set stores.{service} to that place; to use this one again, without what was written there since, run copy \
                 {service} --from STORE --unmark"
            ),
        ),
        _ => (
            STORE_INCOMPLETE,
            format!(
                "the data of {service} are being copied into this store from {place}, and not all are here"
            ),
            "run the same copy again, it goes on where it was".to_owned(),
        ),
    }
}

/// Returns the script `schema` of the platform's own tables as `options` want it: with the mark that a copy begins, in the
/// transaction that makes the table of the marks, or, where tables are not made in transactions, right behind it.
pub(crate) fn script_of(schema: &str, options: &StoreOptions, dialect: Dialect) -> String {
    const TABLE: &str = "CREATE TABLE IF NOT EXISTS banyan_migrations";
    let Some(place) = &options.copied_from else { return schema.to_owned() };
    // A literal, which no engine may read otherwise; the copy notes the place anew as it is.
    let place: String =
        place.chars().filter(|c| !matches!(c, '\'' | '\\') && !c.is_control()).take(MARK_CHARS_MAX).collect();
    let (empty, from) = match dialect {
        Dialect::Postgres => ("CAST('' AS BYTEA)", ""),
        Dialect::MySql => ("x''", "FROM DUAL"),
        Dialect::Sqlite => ("x''", ""),
    };
    let at_ms = options.env.clock.unix_ms();
    let mark = format!(
        "\nINSERT INTO banyan_migrations (namespace, version, name, checksum, at_ms) SELECT '{MARK_COPYING}', 0, '{place}', \
         {empty}, {at_ms} {from} WHERE NOT EXISTS (SELECT 1 FROM banyan_migrations);"
    );
    let end = schema.find(TABLE).and_then(|at| schema[at..].find(';').map(|end| at + end + 1));
    let (before, behind) = schema.split_at(end.unwrap_or(schema.len()));
    format!("{before}{mark}{behind}")
}

fn apply(tx: &mut Tx<'_>, namespace: &'static str, migrations: &'static [Migration]) -> Result<()> {
    let dialect = tx.session().dialect();
    let applied = tx.query(
        "SELECT version, name, checksum FROM banyan_migrations WHERE namespace = $1 ORDER BY version",
        params![namespace],
        |row| {
            Ok(AppliedMigration {
                namespace: namespace.to_owned(),
                version: row.get("version")?,
                name: row.get("name")?,
                checksum: row.get("checksum")?,
            })
        },
    )?;
    check_order(namespace, migrations)?;
    standing(namespace, migrations, &applied.iter().collect::<Vec<_>>(), dialect)?;
    for migration in &migrations[applied.len()..] {
        let failed = |reason: &str| {
            let Migration { version, name, .. } = migration;
            Error::failed_precondition(
                MIGRATION_FAILED,
                format!("migration {namespace}/{version} {name:?}: {reason}"),
            )
        };
        if migration.sql.text(dialect).to_ascii_lowercase().contains("deferrable") {
            // It would be checked at the commit, which belongs to several transactions.
            return Err(failed("a deferrable constraint cannot be attributed to one transaction"));
        }
        tx.session().script(migration.sql).map_err(|e| failed("it cannot be applied").with_source(e))?;
        let at_ms = tx.now_ms();
        tx.execute(
            "INSERT INTO banyan_migrations (namespace, version, name, checksum, at_ms) VALUES ($1, $2, $3, $4, $5)",
            params![namespace, migration.version, migration.name, checksum(migration, dialect), at_ms],
        )?;
    }
    Ok(())
}

fn drift(message: String) -> Result<()> {
    Err(Error::failed_precondition(MIGRATION_DRIFT, message))
}

/// Checks that the versions ascend.
fn check_order(namespace: &str, migrations: &[Migration]) -> Result<()> {
    if let Some(pair) = migrations.windows(2).find(|pair| pair[0].version >= pair[1].version) {
        return drift(format!(
            "migration {namespace}/{} does not come after the one before",
            pair[1].version
        ));
    }
    Ok(())
}

/// Checks that `applied` is where `migrations` begin.
pub(crate) fn standing(
    namespace: &str,
    migrations: &[Migration],
    applied: &[&AppliedMigration],
    dialect: Dialect,
) -> Result<()> {
    for (index, applied) in applied.iter().enumerate() {
        let AppliedMigration { version, name, checksum: applied_checksum, .. } = applied;
        match migrations.get(index) {
            Some(next) if next.version == *version && checksum(next, dialect) == *applied_checksum => {}
            Some(next) if next.version == *version => {
                return drift(format!(
                    "migration {namespace}/{version} {name:?} was changed after it was applied"
                ));
            }
            Some(next) if next.version < *version => {
                let Migration { version: late, name: late_name, .. } = next;
                return drift(format!(
                    "migration {namespace}/{late} {late_name:?} was added after {version} {name:?} was applied"
                ));
            }
            _ => {
                return drift(format!(
                    "migration {namespace}/{version} {name:?} was applied and is unknown to this program"
                ));
            }
        }
    }
    Ok(())
}

fn checksum(migration: &Migration, dialect: Dialect) -> Vec<u8> {
    Sha256::digest(migration.sql.text(dialect)).to_vec()
}

/// Returns what is noted of a migration that was applied.
#[cfg(test)]
pub(crate) fn applied_as(namespace: &str, migration: &Migration, dialect: Dialect) -> AppliedMigration {
    let (version, name) = (migration.version, migration.name.to_owned());
    AppliedMigration {
        namespace: namespace.to_owned(),
        version,
        name,
        checksum: checksum(migration, dialect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration::new(1, "one", Statement::new("CREATE TABLE one (id TEXT)"));
    const TWO: Migration = Migration::new(2, "two", Statement::new("CREATE TABLE two (id TEXT)"));
    const THREE: Migration = Migration::new(3, "three", Statement::new("CREATE TABLE three (id TEXT)"));

    fn outcome(migrations: &[Migration], applied: &[Migration]) -> Result<()> {
        let applied: Vec<_> = applied.iter().map(|m| applied_as("test", m, Dialect::Sqlite)).collect();
        check_order("test", migrations)?;
        standing("test", migrations, &applied.iter().collect::<Vec<_>>(), Dialect::Sqlite)
    }

    #[test]
    fn what_was_applied_must_be_where_the_program_begins() {
        let changed = Migration { sql: Statement::new("CREATE TABLE one (id TEXT, note TEXT)"), ..ONE };
        outcome(&[ONE, TWO], &[]).unwrap();
        outcome(&[ONE, TWO], &[ONE]).unwrap();
        outcome(&[ONE, TWO], &[ONE, TWO]).unwrap();
        for (migrations, applied, said) in [
            (&[changed, TWO][..], &[ONE, TWO][..], "was changed"),
            (&[ONE], &[ONE, TWO], "unknown to this program"),
            (&[ONE, TWO, THREE], &[ONE, THREE], "was added after"),
            (&[TWO, ONE], &[], "does not come after"),
            (&[ONE, ONE], &[], "does not come after"),
        ] {
            let error = outcome(migrations, applied).unwrap_err();
            assert!(error.is(MIGRATION_DRIFT) && error.message().contains(said), "{error}");
        }
    }
}

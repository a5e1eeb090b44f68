//! Looks into a database file without opening it as a store.

use super::failure::translate;
use super::lock::{Holder, holder};
use crate::examination::{AppliedMigration, StoreExamination};
use crate::statement::Dialect;
use banyan_core::{Check, Error, Finding, Result};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for whoever writes to the file, when it is in use.
const BUSY_MAX: Duration = Duration::from_millis(500);

/// Looks whether the SQLite file at `path` can be used, and says what to do where it cannot. It is not made, not locked
/// for longer than a moment, and not changed.
pub async fn examine_file(path: &Path, asked: StoreExamination) -> Vec<Finding> {
    let path = path.to_owned();
    let looked = tokio::task::spawn_blocking(move || look(&path, &asked)).await;
    looked.unwrap_or_else(|e| {
        vec![Finding::of_error(Check::Storage, "file", &Error::internal(e), "look at the file")]
    })
}

fn look(path: &Path, asked: &StoreExamination) -> Vec<Finding> {
    if !path.exists() {
        let mut findings = vec![Finding::ok(Check::Storage, "file", "the first start makes it")];
        findings.extend(asked.migration_findings(Dialect::Sqlite, None));
        return findings;
    }
    let mut findings = vec![in_use(path)];
    match applied(path) {
        Ok((bytes, applied)) => {
            findings.push(Finding::ok(Check::Storage, "size", size(bytes)));
            findings.extend(asked.migration_findings(Dialect::Sqlite, applied.as_deref()));
        }
        Err(error) => {
            let next = format!(
                "see docs/errors/{}.md; the file must be readable and writable for this user",
                error.reason()
            );
            findings.push(Finding::of_error(Check::Storage, "file", &error, next));
        }
    }
    findings
}

fn in_use(path: &Path) -> Finding {
    let by = match holder(path) {
        Ok(Holder::Nobody) => return Finding::ok(Check::Storage, "lock", "not in use"),
        Ok(Holder::Process(pid)) => format!("in use by process {pid}"),
        Ok(Holder::Somebody) => "in use by processes that share it".to_owned(),
        Err(error) => {
            let next =
                "let this user read and write the folder, or put it on a local disk that can lock files";
            return Finding::of_error(Check::Storage, "lock", &error, next);
        }
    };
    Finding::ok(Check::Storage, "lock", by)
}

/// Returns the size of the database, and its migrations if it has a table of them.
fn applied(path: &Path) -> Result<(u64, Option<Vec<AppliedMigration>>)> {
    let failed = |error| translate("looking into the file", error);
    let connection = read_only(path).map_err(failed)?;
    let bytes = connection.query_row(
        "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
        (),
        |row| row.get::<_, i64>(0),
    );
    let bytes = u64::try_from(bytes.map_err(failed)?).unwrap_or_default();
    let present: bool = connection
        .query_row("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'banyan_migrations'", (), |row| {
            row.get(0)
        })
        .map_err(failed)?;
    if !present {
        return Ok((bytes, None));
    }
    let all = || -> rusqlite::Result<Vec<AppliedMigration>> {
        let sql =
            "SELECT namespace, version, name, checksum FROM banyan_migrations ORDER BY namespace, version";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map((), |row| {
            Ok(AppliedMigration {
                namespace: row.get(0)?,
                version: row.get(1)?,
                name: row.get(2)?,
                checksum: row.get(3)?,
            })
        })?;
        rows.collect()
    };
    Ok((bytes, Some(all().map_err(failed)?)))
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    // A file without a log was closed in order. Read as one that nobody changes, it gets no files beside it.
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let at_rest = !PathBuf::from(log).exists();
    let text = path.to_string_lossy();
    let encoded: String = text
        .chars()
        .map(|c| match c {
            '%' | '?' | '#' => format!("%{:02x}", u32::from(c)),
            other => other.to_string(),
        })
        .collect();
    let uri = format!("file:{encoded}?mode=ro{}", if at_rest { "&immutable=1" } else { "" });
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    Ok(connection)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examination::MigrationSet;
    use crate::{Migration, Statement, Store, StoreOptions};
    use banyan_core::{Env, Verdict};

    const MIGRATIONS: &[Migration] =
        &[Migration::new(1, "one", Statement::new("CREATE TABLE one (id TEXT)"))];
    const MORE: &[Migration] =
        &[MIGRATIONS[0], Migration::new(2, "two", Statement::new("CREATE TABLE two (id TEXT)"))];

    fn asked(migrations: &'static [Migration]) -> StoreExamination {
        let options = StoreOptions::new("orders", Env::default());
        let mut asked = StoreExamination::new(options, Duration::from_secs(1));
        asked.migrations =
            vec![MigrationSet { namespace: "orders", migrations: Some(migrations), optional: false }];
        asked
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_file_is_examined_in_use_at_rest_and_before_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders?#%.db");
        let findings = examine_file(&path, asked(MIGRATIONS)).await;
        assert!(findings.iter().all(|f| f.verdict == Verdict::Ok), "{findings:?}");
        assert!(names(folder.path()).is_empty(), "nothing is made");

        let store = Store::open(&path, StoreOptions::new("orders", Env::default())).await.unwrap();
        store.migrate("orders", MIGRATIONS).await.unwrap();
        let findings = examine_file(&path, asked(MIGRATIONS)).await;
        let holder = Finding::of(&findings, Check::Storage, "lock");
        assert!(holder.found.contains(&std::process::id().to_string()), "{holder:?}");
        assert_eq!(Finding::of(&findings, Check::Migrations, "orders").verdict, Verdict::Ok, "{findings:?}");
        store.close().await.unwrap();

        let before = names(folder.path());
        let findings = examine_file(&path, asked(MORE)).await;
        assert_eq!(Finding::of(&findings, Check::Storage, "lock").found, "not in use");
        let pending = Finding::of(&findings, Check::Migrations, "orders");
        assert!(pending.verdict == Verdict::Warn && pending.found.contains("2 \"two\""), "{pending:?}");
        assert_eq!(names(folder.path()), before, "nothing stays");
        Store::open(&path, StoreOptions::new("orders", Env::default())).await.expect("it is not locked");
    }

    #[tokio::test]
    async fn what_is_no_database_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.db");
        std::fs::write(&path, "this is no database at all, but it is long enough to be one".repeat(100))
            .unwrap();
        let findings = examine_file(&path, asked(MIGRATIONS)).await;
        assert_eq!(Finding::of(&findings, Check::Storage, "file").verdict, Verdict::Fail, "{findings:?}");
    }
}

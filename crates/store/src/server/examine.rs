//! Looks whether a database server can be used, and changes nothing.

use super::{Connection, Connector};
use crate::examination::{AppliedMigration, StoreExamination};
use crate::statement::Statement;
use crate::{STORE_NOT_OPENED, StoreOptions, params};
use banyan_core::{Check, ClockReading, Error, Finding, Result};
use std::sync::Arc;

/// Times that the smallest question is asked; the fastest answer counts.
const LATENCY_ROUNDS: usize = 3;
/// The name of the lock that is taken and let go of to see that locks work.
const PROBE_LOCK: &str = "banyan_doctor";

const NOW: Statement =
    Statement::new("SELECT CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS now_ms")
        .mysql("SELECT CAST(FLOOR(UNIX_TIMESTAMP(SYSDATE(6)) * 1000) AS SIGNED) AS now_ms");
const HAS_MIGRATIONS: Statement =
    Statement::new("SELECT CAST(to_regclass('banyan_migrations') IS NOT NULL AS INTEGER) AS present").mysql(
        "SELECT COUNT(*) AS present FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name = 'banyan_migrations'",
    );
const MIGRATIONS: Statement = Statement::new(
    "SELECT namespace, version, name, checksum FROM banyan_migrations ORDER BY namespace, version",
);

/// Returns how many connections one process keeps to the server of a store: those of its writers and readers, of the
/// relay, of the news between processes, and of the lead.
pub(crate) fn connections_of(options: &StoreOptions) -> u32 {
    let kept = options.writers + options.readers + 2 + usize::from(options.shared);
    u32::try_from(kept).unwrap_or(u32::MAX)
}

/// Examines the database of `connector`: what is the same on every server, and then what `own` of its provider looks at.
/// Every question has the time limit of a transaction.
pub async fn examine(
    connector: Arc<dyn Connector>,
    asked: StoreExamination,
    own: impl FnOnce(&mut dyn Connection, &StoreExamination, &mut Vec<Finding>) + Send + 'static,
) -> Vec<Finding> {
    let look = move || {
        let mut findings = Vec::new();
        match connector.connect() {
            Ok(mut connection) => {
                let connection = &mut *connection;
                match reached(connection, &*connector, &asked, &mut findings) {
                    Ok(()) => own(connection, &asked, &mut findings),
                    Err(error) => findings.push(unexpected(Check::Reachable, "server", &error)),
                }
            }
            Err(error) => findings.push(not_connected(&error)),
        }
        findings
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|error| vec![unexpected(Check::Reachable, "server", &Error::internal(error))])
}

/// Says that a question failed that every server should answer.
pub fn unexpected(check: Check, subject: &str, error: &Error) -> Finding {
    let next = format!("look into the server's log; see docs/errors/{}.md", error.reason());
    Finding::of_error(check, subject, error, next)
}

/// Says why there is no connection. The messages of these errors end with what to do.
fn not_connected(error: &Error) -> Finding {
    let message = error.message();
    let (found, next) = match message.split_once("; ") {
        Some((found, next)) => (found, next.to_owned()),
        None if error.is(STORE_NOT_OPENED) => (message, "correct the URL of the store".to_owned()),
        None => (message, "start the server, or correct host and port in the URL of the store".to_owned()),
    };
    let finding = Finding::of_error(Check::Reachable, "server", error, next);
    // The cause stays, the next step does not stand in it twice.
    Finding { found: finding.found.replacen(message, found, 1), ..finding }
}

fn reached(
    connection: &mut dyn Connection,
    connector: &dyn Connector,
    asked: &StoreExamination,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let (clock, dialect) = (&asked.options.env.clock, connector.dialect());
    let mut fastest = None;
    for _ in 0..LATENCY_ROUNDS {
        let began = clock.now();
        connection.execute("SELECT 1", &[])?;
        fastest = fastest.into_iter().chain([clock.now() - began]).min();
    }
    findings.push(Finding::reached("server", fastest.unwrap_or_default()));
    // The first time, the statement is prepared.
    let mut reading = ClockReading { before_ms: 0, engine_ms: 0, after_ms: 0, resolution_ms: 1 };
    for _ in 0..2 {
        reading.before_ms = clock.unix_ms();
        connection.query(NOW.text(dialect), &[], &mut |row| {
            reading.engine_ms = row.get("now_ms")?;
            Ok(true)
        })?;
        reading.after_ms = clock.unix_ms();
    }
    findings.push(Finding::clock("server", &reading));
    let locked = connection.try_lock(PROBE_LOCK);
    findings.push(match locked {
        Ok(true) => Finding::ok(Check::Permissions, "locks", "may take locks"),
        Ok(false) => {
            Finding::ok(Check::Permissions, "locks", "another one is examining the database just now")
        }
        Err(error) => unexpected(Check::Permissions, "locks", &error),
    });
    let mut present = 0i64;
    connection.query(HAS_MIGRATIONS.text(dialect), params![], &mut |row| {
        present = row.get("present")?;
        Ok(true)
    })?;
    let applied = match present {
        0 => Ok(None),
        _ => applied(connection, MIGRATIONS.text(dialect)).map(Some),
    };
    match applied {
        Ok(applied) => findings.extend(asked.migration_findings(dialect, applied.as_deref())),
        Err(error) => {
            let next = "grant the user all rights on the tables of the store, or let it own them";
            findings.push(Finding::of_error(Check::Migrations, "banyan_migrations", &error, next));
        }
    }
    Ok(())
}

fn applied(connection: &mut dyn Connection, sql: &'static str) -> Result<Vec<AppliedMigration>> {
    let mut applied = Vec::new();
    connection.query(sql, &[], &mut |row| {
        applied.push(AppliedMigration {
            namespace: row.get("namespace")?,
            version: row.get("version")?,
            name: row.get("name")?,
            checksum: row.get("checksum")?,
        });
        Ok(true)
    })?;
    Ok(applied)
}

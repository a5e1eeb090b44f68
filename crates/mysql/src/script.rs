//! Changes to the schema, which the server commits one by one: the platform's tables, and migrations.
//!
//! Each statement of a migration is noted before it runs and again when it has taken effect, by a digest of the migration up
//! to there. So a migration that failed halfway goes on where it stopped, and one that was interrupted does too: a
//! statement that was begun, and whose effect is there, has taken effect. When the last one has, the notes are deleted in
//! the same transaction in which the store notes the migration as applied.

use crate::connection::control;
use crate::connector::{Flavor, MySql};
use crate::failure::{is_denied, translate};
use crate::statement::{behind_comments, first_word};
use banyan_core::{Error, Result};
use banyan_store::STORE_NOT_OPENED;
use mysql::Conn;
use mysql::prelude::Queryable as _;
use sha2::{Digest as _, Sha256};

/// Errors that say that the effect of a statement is there already: a database, table, column, key, index, or that what it
/// removes is gone.
const DONE_BEFORE: &[u16] = &[1007, 1008, 1050, 1051, 1060, 1061, 1091, 1826];

/// Runs a migration's statements that did not take effect before. Leaves a transaction open.
///
/// # Errors
/// What the first statement that fails says, and which one it is.
pub(crate) fn migrate(conn: &mut Conn, sql: &str) -> Result<()> {
    let steps = steps(sql);
    for step in &steps {
        let known: Option<i64> = conn
            .exec_first("SELECT done FROM banyan_migration_steps WHERE step = ?", (&step.digest,))
            .map_err(|e| translate("looking for a migration's step", e))?;
        match known {
            Some(0) => take(conn, step, steps.len(), true)?,
            Some(_) => {}
            None => {
                note(conn, "INSERT INTO banyan_migration_steps (step, done) VALUES (?, 0)", step)?;
                take(conn, step, steps.len(), false)?;
            }
        }
    }
    for step in &steps {
        let forget = "DELETE FROM banyan_migration_steps WHERE step = ?";
        conn.exec_drop(forget, (&step.digest,)).map_err(|e| translate(forget, e))?;
    }
    Ok(())
}

/// One statement of a migration.
struct Step<'a> {
    /// From 1.
    number: usize,
    statement: &'a str,
    /// Of the migration up to here.
    digest: Vec<u8>,
}

fn steps(sql: &str) -> Vec<Step<'_>> {
    let mut digest = Sha256::new();
    let step = |(index, statement)| {
        digest.update(statement);
        digest.update([0]);
        Step { number: index + 1, statement, digest: digest.clone().finalize().to_vec() }
    };
    split(sql).into_iter().enumerate().map(step).collect()
}

/// Runs a statement and notes that it took effect; `interrupted` says that an earlier attempt may have run it.
fn take(conn: &mut Conn, step: &Step<'_>, count: usize, interrupted: bool) -> Result<()> {
    match apply(conn, step.statement) {
        Ok(()) => {}
        Err(e) if interrupted && is_done_before(&e) => {
            tracing::info!(
                statement = step.statement,
                "an interrupted attempt has applied a statement of a migration"
            );
        }
        Err(e) => {
            if matches!(e, mysql::Error::MySqlError(_)) {
                // The server says that it had no effect. If that cannot be noted, the next attempt looks closer.
                let forget = "DELETE FROM banyan_migration_steps WHERE step = ?";
                drop(control(conn, "ROLLBACK; START TRANSACTION").and_then(|()| note(conn, forget, step)));
            }
            return Err(stopped(e, step, count));
        }
    }
    // In the transaction of what the statement changed in tables; a change of the schema is committed by now.
    note(conn, "UPDATE banyan_migration_steps SET done = 1 WHERE step = ?", step)
}

/// Runs `sql` with the digest of a step, and commits.
fn note(conn: &mut Conn, sql: &str, step: &Step<'_>) -> Result<()> {
    conn.exec_drop(sql, (&step.digest,)).map_err(|e| translate(sql, e))?;
    control(conn, "COMMIT; START TRANSACTION")
}

fn apply(conn: &mut Conn, statement: &str) -> Result<(), mysql::Error> {
    let mut result = conn.query_iter(statement)?;
    while let Some(set) = result.iter() {
        for row in set {
            row?;
        }
    }
    Ok(())
}

fn is_done_before(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(answer) if DONE_BEFORE.contains(&answer.code))
}

fn stopped(source: mysql::Error, step: &Step<'_>, count: usize) -> Error {
    let Step { number, statement, .. } = step;
    let before = match number {
        1 => "nothing was changed before".to_owned(),
        2 => "the one before it took effect and is not run again".to_owned(),
        _ => format!("the {} before it took effect and are not run again", number - 1),
    };
    translate(&format!("statement {number} of {count} of the migration ({before}): {statement}"), source)
}

/// Gives an empty database the collation of a store, and refuses another one.
///
/// # Errors
/// [`STORE_NOT_OPENED`], with the next step.
pub(crate) fn prepare_database(conn: &mut Conn, server: &MySql, flavor: Flavor) -> Result<()> {
    let wanted = flavor.collation();
    let sql = "SELECT CAST(default_collation_name AS CHAR), (SELECT COUNT(*) FROM information_schema.tables \
               WHERE table_schema = DATABASE()) FROM information_schema.schemata WHERE schema_name = DATABASE()";
    let found: Option<(String, i64)> = conn.query_first(sql).map_err(|e| translate(sql, e))?;
    let (collation, tables) = found.unwrap_or_default();
    if collation == wanted {
        return Ok(());
    }
    let quoted = server.database().replace('`', "``");
    let change = format!("ALTER DATABASE `{quoted}` CHARACTER SET utf8mb4 COLLATE {wanted}");
    let refused = |what: String| Error::failed_precondition(STORE_NOT_OPENED, what);
    if tables > 0 {
        return Err(refused(format!(
            "the store {} cannot be opened: the database has {tables} tables and the collation {collation}, with which texts \
             do not compare as they do on other engines; use an empty database, or convert the tables and run: {change}",
            server.place()
        )));
    }
    match apply(conn, &change) {
        Err(e) if is_denied(&e) => Err(refused(format!(
            "the store {} cannot be opened: the user may not change the database; run as one who may: {change}",
            server.place()
        ))
        .with_source(translate(&change, e))),
        outcome => outcome.map_err(|e| translate(&change, e)),
    }
}

/// Runs the script of the platform's tables.
///
/// # Errors
/// [`STORE_NOT_OPENED`] if the user may not make tables.
pub(crate) fn make_tables(conn: &mut Conn, server: &MySql, sql: &str) -> Result<()> {
    match apply(conn, sql) {
        Err(e) if is_denied(&e) => {
            let message = format!(
                "the store {} cannot be opened: the user may not make tables in the database; GRANT it all rights on it",
                server.place()
            );
            Err(Error::failed_precondition(STORE_NOT_OPENED, message)
                .with_source(translate("making tables", e)))
        }
        outcome => outcome.map_err(|e| translate("making the platform's tables", e)),
    }
}

/// Splits a script at the `;` outside of literals, quoted names and comments. What makes a routine reaches to the end.
fn split(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut rest = sql;
    while !rest.trim().is_empty() {
        let end = if makes_routine(rest) { rest.len() } else { end_of_statement(rest) };
        let statement = rest[..end].trim();
        if !behind_comments(statement).is_empty() {
            statements.push(statement);
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    statements
}

/// Tells whether a statement begins that may hold others.
fn makes_routine(sql: &str) -> bool {
    let head = &sql[..end_of_statement(sql)];
    let head = head.split('(').next().unwrap_or_default().to_ascii_uppercase();
    let mut words = head.split_whitespace().take_while(|w| !matches!(*w, "TABLE" | "INDEX" | "VIEW"));
    first_word(&head) == "CREATE"
        && words.any(|w| matches!(w, "TRIGGER" | "PROCEDURE" | "FUNCTION" | "EVENT"))
}

/// Returns where the first statement ends: at a `;`, or at the end.
fn end_of_statement(sql: &str) -> usize {
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let skipped = match first {
            ';' => return at,
            '\'' | '"' | '`' => rest[1..].find(first).map(|end| end + 2),
            '#' => rest.find('\n'),
            '-' if rest.starts_with("--") => rest.find('\n'),
            '/' if rest.starts_with("/*") => rest.find("*/").map(|end| end + 2),
            _ => Some(first.len_utf8()),
        };
        at += skipped.unwrap_or(rest.len());
    }
    sql.len()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_script_is_split_where_the_server_would() {
        for (script, statements) in [
            ("A; B ;\n", &["A", "B"][..]),
            ("A 'x;''y;' \"n;\" `m;` B; C", &["A 'x;''y;' \"n;\" `m;` B", "C"]),
            ("-- one; two\nA; /* x;y */ B # z;\n; ; C", &["-- one; two\nA", "/* x;y */ B # z;", "C"]),
            (
                "A;\nCREATE TRIGGER t BEFORE x BEGIN y; z; END;",
                &["A", "CREATE TRIGGER t BEFORE x BEGIN y; z; END;"],
            ),
            ("CREATE TABLE event (trigger INT); B", &["CREATE TABLE event (trigger INT)", "B"]),
            (" ; -- nothing\n", &[]),
        ] {
            assert_eq!(split(script), statements, "{script}");
        }
    }
}

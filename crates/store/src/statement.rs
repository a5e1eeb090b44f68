//! The text of a statement: one for every engine, or one of its own for an engine whose dialect differs.

use banyan_core::{Error, Result};

/// Whose SQL an engine speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    Sqlite,
    Postgres,
    /// MySQL and MariaDB.
    MySql,
}

impl Dialect {
    /// Returns the name that OpenTelemetry has for it (`db.system.name`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgresql",
            Self::MySql => "mysql",
        }
    }
}

/// A statement with `$1…` placeholders. A literal is one text for every engine; an engine whose dialect differs gets a
/// variant:
///
/// ```
/// # use banyan_store::Statement;
/// const ADD: Statement = Statement::new("INSERT INTO seen (id) VALUES ($1) ON CONFLICT DO NOTHING")
///     .mysql("INSERT IGNORE INTO seen (id) VALUES ($1)");
/// ```
///
/// Statements that a store is opened with (see [`crate::Store::verify`]) are checked before the service starts: on the
/// engine that it has, each of them parses and fits the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    text: &'static str,
    sqlite: Option<&'static str>,
    postgres: Option<&'static str>,
    mysql: Option<&'static str>,
}

impl Statement {
    /// Makes a statement of one text for every engine.
    pub const fn new(text: &'static str) -> Self {
        Self { text, sqlite: None, postgres: None, mysql: None }
    }

    /// Gives SQLite a text of its own.
    pub const fn sqlite(self, text: &'static str) -> Self {
        Self { sqlite: Some(text), ..self }
    }

    /// Gives PostgreSQL a text of its own.
    pub const fn postgres(self, text: &'static str) -> Self {
        Self { postgres: Some(text), ..self }
    }

    /// Gives MySQL and MariaDB a text of their own.
    pub const fn mysql(self, text: &'static str) -> Self {
        Self { mysql: Some(text), ..self }
    }

    /// Returns the text for engines that speak `dialect`.
    pub const fn text(&self, dialect: Dialect) -> &'static str {
        let variant = match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
            Dialect::MySql => self.mysql,
        };
        match variant {
            Some(text) => text,
            None => self.text,
        }
    }
}

/// Declares the statements of a service, and the list of them that [`crate::Store::verify`] takes:
///
/// ```
/// # use banyan_store::statements;
/// statements! {
///     pub(crate) STATEMENTS;
///     FIND = "SELECT name FROM users WHERE user_id = $1";
///     WRITE = "INSERT INTO users (user_id, name) VALUES ($1, $2) ON CONFLICT (user_id) DO UPDATE SET name = $2",
///         mysql "INSERT INTO users (user_id, name) VALUES ($1, $2) ON DUPLICATE KEY UPDATE name = $2";
/// }
/// assert_eq!(STATEMENTS, [FIND, WRITE]);
/// ```
#[macro_export]
macro_rules! statements {
    ($visibility:vis $list:ident; $($(#[$doc:meta])* $name:ident = $text:literal $(, $engine:ident $variant:literal)*;)*) => {
        $($(#[$doc])* $visibility const $name: $crate::Statement = $crate::Statement::new($text)$(.$engine($variant))*;)*
        /// What the service's store is asked to run; verified before the service starts.
        $visibility const $list: &[$crate::Statement] = &[$($name),*];
    };
}

impl From<&'static str> for Statement {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

/// Statements that only the store itself may run: they would end somebody else's transaction, reach other data, or change
/// or take over the connection.
const RESERVED: &[&str] = &[
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ABORT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "PREPARE",
    "SET",
    "USE",
    "ATTACH",
    "DETACH",
    "PRAGMA",
    "VACUUM",
    "LOCK",
    "UNLOCK",
    "RESET",
    "DISCARD",
    "DEALLOCATE",
    "COPY",
    "LISTEN",
    "UNLISTEN",
    // In a transaction it makes all commits of the server wait for each other.
    "NOTIFY",
    "XA",
    "LOAD",
    "HANDLER",
];

/// Refuses what is the store's own business (see `RESERVED`).
///
/// # Errors
/// [`banyan_core::Code::Internal`], with the statement in its source.
pub fn refuse_reserved(sql: &str) -> Result<()> {
    let mut rest = sql.trim_start();
    while let Some(comment) = rest.strip_prefix("--") {
        rest = comment.split_once(['\n', '\r']).map_or("", |(_, after)| after).trim_start();
    }
    let word = rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    // An engine may skip an empty statement, or run what a comment holds.
    if rest.starts_with(';')
        || rest.starts_with("/*")
        || RESERVED.iter().any(|r| r.eq_ignore_ascii_case(word))
    {
        return Err(Error::internal(format!(
            "a statement inside a transaction cannot start like this: {sql}"
        )));
    }
    Ok(())
}

/// Replaces every placeholder `$n` outside of literals, quoted names and comments by what `replace` returns for its
/// digits. A placeholder is never part of a name (`a$1`).
pub fn replace_placeholders(sql: &str, mut replace: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let literal = match first {
            '\'' | '"' | '`' => rest[1..].find(first).map(|end| end + 2),
            '-' if rest.starts_with("--") => rest.find('\n'),
            '/' if rest.starts_with("/*") => rest.find("*/").map(|end| end + 2),
            '$' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let digits = rest[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - 1);
                out.push_str(&replace(&rest[1..=digits]));
                rest = &rest[1 + digits..];
                continue;
            }
            _ => Some(first.len_utf8()),
        };
        let (copied, after) = rest.split_at(literal.unwrap_or(rest.len()));
        out.push_str(copied);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_gets_its_own_text() {
        const ADD: Statement = Statement::new("all").mysql("mine");
        assert_eq!((ADD.text(Dialect::MySql), ADD.text(Dialect::Postgres)), ("mine", "all"));
    }

    #[test]
    fn placeholders_are_replaced_and_literals_are_not() {
        for (portable, replaced) in [
            ("SELECT $1, $12", "SELECT ?1, ?12"),
            ("SELECT '$1', \"$2\", $3", "SELECT '$1', \"$2\", ?3"),
            ("SELECT 'it''s $1', $2", "SELECT 'it''s $1', ?2"),
            ("SELECT 1 -- $1\n, $2 /* $3 */", "SELECT 1 -- $1\n, ?2 /* $3 */"),
            ("SELECT 'ü€', $1 - 2 / 3 || '$", "SELECT 'ü€', ?1 - 2 / 3 || '$"),
            ("SELECT a$b, $", "SELECT a$b, $"),
        ] {
            assert_eq!(replace_placeholders(portable, |n| format!("?{n}")), replaced);
        }
    }

    #[test]
    fn a_statement_cannot_end_the_transaction_or_reach_other_data() {
        for sql in [
            "COMMIT",
            " rollback to x",
            "-- hi\nATTACH 'x' AS y",
            "-- hi\rCOMMIT",
            "; COMMIT",
            "/* a */ END",
            "/*! COMMIT */",
            "Pragma foreign_keys=off",
            "COPY t FROM STDIN",
            "deallocate all",
            "RESET statement_timeout",
            "NOTIFY x",
        ] {
            assert!(refuse_reserved(sql).is_err(), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "INSERT INTO commits VALUES ($1)",
            "-- why\nDELETE FROM t",
            "WITH x AS (SELECT 1) SELECT 1",
        ] {
            assert!(refuse_reserved(sql).is_ok(), "{sql}");
        }
    }
}

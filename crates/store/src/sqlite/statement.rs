//! Turns the portable text of a statement into SQLite's, once per statement.

use banyan_core::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Texts kept by one connection. They are literals of the program, so a program that exceeds this leaks them.
const TEXTS_MAX: usize = 4096;

/// Statements that only the store itself may run: they would end somebody else's transaction or reach another file.
const RESERVED: [&str; 10] =
    ["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "ATTACH", "DETACH", "PRAGMA", "VACUUM"];

/// The rewritten texts of the statements seen so far, by the address of their literal.
#[derive(Default)]
pub(crate) struct Statements(HashMap<(usize, usize), Arc<str>>);

impl Statements {
    /// Returns the text of `sql` for SQLite: `$n` placeholders become `?n`.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if the statement is the store's own business (see `RESERVED`).
    pub(crate) fn text(&mut self, sql: &'static str) -> Result<Arc<str>> {
        let key = (sql.as_ptr() as usize, sql.len());
        if let Some(text) = self.0.get(&key) {
            return Ok(text.clone());
        }
        refuse_reserved(sql)?;
        if self.0.len() >= TEXTS_MAX {
            self.0.clear();
        }
        let text: Arc<str> = rewrite(sql).into();
        self.0.insert(key, text.clone());
        Ok(text)
    }
}

fn refuse_reserved(sql: &str) -> Result<()> {
    let mut rest = sql.trim_start();
    while let Some(comment) = rest.strip_prefix("--") {
        rest = comment.split_once('\n').map_or("", |(_, after)| after).trim_start();
    }
    let word = rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    if rest.starts_with("/*") || RESERVED.iter().any(|r| r.eq_ignore_ascii_case(word)) {
        return Err(Error::internal(format!(
            "a statement inside a transaction cannot start like this: {sql}"
        )));
    }
    Ok(())
}

/// Replaces `$` before a digit by `?`, outside of literals, quoted names and comments.
fn rewrite(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let literal = match first {
            '\'' | '"' => rest[1..].find(first).map(|end| end + 2),
            '-' if rest.starts_with("--") => rest.find('\n'),
            '/' if rest.starts_with("/*") => rest.find("*/").map(|end| end + 2),
            '$' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                out.push('?');
                rest = &rest[1..];
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
    fn placeholders_are_rewritten_and_literals_are_not() {
        for (portable, sqlite) in [
            ("SELECT $1, $12", "SELECT ?1, ?12"),
            ("SELECT '$1', \"$2\", $3", "SELECT '$1', \"$2\", ?3"),
            ("SELECT 'it''s $1', $2", "SELECT 'it''s $1', ?2"),
            ("SELECT 1 -- $1\n, $2 /* $3 */", "SELECT 1 -- $1\n, ?2 /* $3 */"),
            ("SELECT 'ü€', $1 - 2 / 3 || '$", "SELECT 'ü€', ?1 - 2 / 3 || '$"),
            ("SELECT a$b, $", "SELECT a$b, $"),
        ] {
            assert_eq!(rewrite(portable), sqlite);
        }
    }

    #[test]
    fn one_literal_is_rewritten_once_and_its_prefix_is_another() {
        let mut statements = Statements::default();
        let sql = "SELECT $1, $2";
        let first = statements.text(sql).unwrap();
        assert!(Arc::ptr_eq(&first, &statements.text(sql).unwrap()));
        assert_eq!(&*statements.text(&sql[..9]).unwrap(), "SELECT ?1");
    }

    #[test]
    fn a_statement_cannot_end_the_transaction_or_reach_another_file() {
        for sql in
            ["COMMIT", " rollback to x", "-- hi\nATTACH 'x' AS y", "/* a */ END", "Pragma foreign_keys=off"]
        {
            assert!(Statements::default().text(sql).is_err(), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "INSERT INTO commits VALUES ($1)",
            "-- why\nDELETE FROM t",
            "WITH x AS (SELECT 1) SELECT 1",
        ] {
            assert!(Statements::default().text(sql).is_ok(), "{sql}");
        }
    }
}

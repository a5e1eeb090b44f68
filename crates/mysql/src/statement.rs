//! Statements as the server takes them: `?` for `$n`, and nothing that would end the transaction.

use crate::value::bind;
use banyan_core::{Error, Result};
use banyan_store::Value;
use banyan_store::statement::replace_placeholders;

/// What a closure may run. Nearly everything else commits the transaction that runs: changes to the schema, to rights, the
/// locking of tables, a procedure that does such a thing.
const ALLOWED: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "TABLE"];

/// A statement whose placeholders are marked as the server wants it.
#[derive(Debug, PartialEq)]
pub(crate) struct Marked {
    pub(crate) text: String,
    /// For each `?`, the number of its parameter, from 1.
    order: Vec<usize>,
    /// How many parameters there are.
    count: usize,
    /// Whether the server turns errors of the statement into warnings.
    pub(crate) ignores: bool,
}

/// Words between the verb of a statement and its table.
const MODIFIERS_MAX: usize = 4;

impl Marked {
    /// Replaces `$n` by `?` in the order of appearance.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if a transaction cannot run `sql`, or a placeholder's number is wrong.
    pub(crate) fn new(sql: &str) -> Result<Self> {
        let word = first_word(sql);
        if !word.starts_with('(') && !ALLOWED.iter().any(|allowed| allowed.eq_ignore_ascii_case(word)) {
            return Err(Error::internal(format!(
                "a statement inside a transaction on MySQL cannot start like this, it would commit: {sql}"
            )));
        }
        let mut order = Vec::new();
        let text = replace_placeholders(sql, |digits| {
            order.push(digits.parse().unwrap_or(0));
            "?".to_owned()
        });
        let count = order.iter().copied().max().unwrap_or(0);
        if (1..=count).any(|n| !order.contains(&n)) || order.contains(&0) {
            return Err(Error::internal(format!("the placeholders are not $1, $2, … without a gap: {sql}")));
        }
        let modifiers = behind_comments(sql).split_whitespace().take(MODIFIERS_MAX);
        let ignores = modifiers.into_iter().any(|word| word.eq_ignore_ascii_case("IGNORE"));
        Ok(Self { text, order, count, ignores })
    }

    /// Returns the values for each `?`.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if their number is wrong; [`banyan_core::Code::OutOfRange`] if one cannot be
    /// stored.
    pub(crate) fn arrange(&self, sql: &str, params: &[Value]) -> Result<Vec<mysql::Value>> {
        if params.len() != self.count {
            let (given, wanted) = (params.len(), self.count);
            return Err(Error::internal(format!("{given} parameters given, {wanted} wanted, in: {sql}")));
        }
        self.order.iter().map(|n| bind(sql, *n, &params[n - 1])).collect()
    }
}

/// Returns the first word, or the parenthesis before it, behind white space and comments.
pub(crate) fn first_word(sql: &str) -> &str {
    let rest = behind_comments(sql);
    match rest.starts_with('(') {
        true => &rest[..1],
        false => rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default(),
    }
}

/// Returns what follows white space and comments; what the server runs of a comment (`/*!`) is none.
pub(crate) fn behind_comments(sql: &str) -> &str {
    let mut rest = sql.trim_start();
    loop {
        let end = match rest {
            _ if rest.starts_with("--") || rest.starts_with('#') => "\n",
            _ if rest.starts_with("/*") && !rest.starts_with("/*!") && !rest.starts_with("/*M!") => "*/",
            _ => return rest,
        };
        rest = rest.split_once(end).map_or("", |(_, after)| after).trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Code;

    #[test]
    fn a_placeholder_may_come_twice_and_in_any_order() {
        let marked = Marked::new("SELECT '$9' FROM t WHERE a = $2 AND b = $1 OR c = $2").unwrap();
        assert_eq!(marked.text, "SELECT '$9' FROM t WHERE a = ? AND b = ? OR c = ?");
        let values = marked.arrange("", &[Value::Int(1), Value::Text("x".into())]).unwrap();
        let text = mysql::Value::Bytes(b"x".to_vec());
        assert_eq!(values, [text.clone(), mysql::Value::Int(1), text]);
        assert_eq!(marked.arrange("", &[Value::Int(1)]).unwrap_err().code(), Code::Internal);
        for sql in ["SELECT $2", "SELECT $0", "SELECT $1, $3"] {
            assert_eq!(Marked::new(sql).unwrap_err().code(), Code::Internal, "{sql}");
        }
    }

    #[test]
    fn a_statement_that_ignores_errors_is_known() {
        for sql in ["INSERT IGNORE INTO t VALUES (1)", "-- x\nupdate low_priority ignore t SET a = 1"] {
            assert!(Marked::new(sql).unwrap().ignores, "{sql}");
        }
        assert!(!Marked::new("INSERT INTO t SELECT 1 FROM a IGNORE INDEX (x)").unwrap().ignores);
    }

    #[test]
    fn what_would_commit_is_refused() {
        for sql in [
            "CREATE TABLE t (id INT)",
            "# hi\nCOMMIT",
            "-- hi\n# ho\n truncate t",
            "CALL p()",
            "/*! COMMIT */",
            "/* x */ COMMIT",
            "ALTER TABLE t ADD x INT",
            "",
        ] {
            assert!(Marked::new(sql).is_err(), "{sql}");
        }
        for sql in ["-- why\nselect 1", "(SELECT 1) UNION (SELECT 2)", "WITH x AS (SELECT 1) SELECT * FROM x"]
        {
            assert!(Marked::new(sql).is_ok(), "{sql}");
        }
    }
}

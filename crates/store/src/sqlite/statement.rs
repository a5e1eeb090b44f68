//! Turns the text of a statement into SQLite's, once per statement.

use crate::statement::{refuse_reserved, replace_placeholders};
use banyan_core::Result;
use std::collections::HashMap;
use std::sync::Arc;

/// Texts kept by one connection. They are literals of the program, so a program that exceeds this leaks them.
const TEXTS_MAX: usize = 4096;

/// The rewritten texts of the statements seen so far, by the address of their literal.
#[derive(Default)]
pub(crate) struct Statements(HashMap<(usize, usize), Arc<str>>);

impl Statements {
    /// Returns the text of `sql` for SQLite: `$n` placeholders become `?n`.
    ///
    /// # Errors
    /// [`banyan_core::Code::Internal`] if the statement is the store's own business.
    pub(crate) fn text(&mut self, sql: &'static str) -> Result<Arc<str>> {
        let key = (sql.as_ptr() as usize, sql.len());
        if let Some(text) = self.0.get(&key) {
            return Ok(text.clone());
        }
        refuse_reserved(sql)?;
        if self.0.len() >= TEXTS_MAX {
            self.0.clear();
        }
        let text: Arc<str> = replace_placeholders(sql, |n| format!("?{n}")).into();
        self.0.insert(key, text.clone());
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_literal_is_rewritten_once_and_its_prefix_is_another() {
        let mut statements = Statements::default();
        let sql = "SELECT $1, $2";
        let first = statements.text(sql).unwrap();
        assert!(Arc::ptr_eq(&first, &statements.text(sql).unwrap()));
        assert_eq!(&*statements.text(&sql[..9]).unwrap(), "SELECT ?1");
    }
}

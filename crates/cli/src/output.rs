//! What commands print: tables for people, JSON for programs.

use crate::problem::OutputClosed;
use banyan_core::{Payload, Result};
use banyan_transcoding::Transcoder;
use serde_json::Value;
use std::io::{self, ErrorKind, Write};

/// Prints the answers of commands.
pub struct Output {
    json: bool,
    messages: Transcoder,
}

impl Output {
    /// Prints JSON if `json`; messages are those of the control contract.
    ///
    /// # Errors
    /// If the contract's descriptors are damaged.
    pub fn new(json: bool) -> Result<Self> {
        Ok(Self { json, messages: Transcoder::new(&[banyan_control::contract::DESCRIPTORS], &[])? })
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a message of the control contract as JSON, or else what `text` makes of it.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn message<M: Payload>(
        &self,
        name: &str,
        message: &M,
        text: impl FnOnce(&M) -> String,
    ) -> anyhow::Result<()> {
        self.message_with(name, message, &[], text)
    }

    /// Like [`Output::message`], with `more` members in the JSON object.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn message_with<M: Payload>(
        &self,
        name: &str,
        message: &M,
        more: &[(&str, Value)],
        text: impl FnOnce(&M) -> String,
    ) -> anyhow::Result<()> {
        if !self.json {
            return self.line(text(message).trim_end());
        }
        let json = self.messages.encode_message(&format!("banyan.control.v1.{name}"), &message.to_bytes())?;
        let mut value: Value = serde_json::from_str(&json)?;
        for (key, member) in more {
            value[*key] = member.clone();
        }
        self.line(&value.to_string())
    }

    /// Prints `value` as JSON, or else `text`.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn value(&self, value: &Value, text: &str) -> anyhow::Result<()> {
        if self.json { self.line(&value.to_string()) } else { self.line(text.trim_end()) }
    }

    /// Prints one line.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn line(&self, line: &str) -> anyhow::Result<()> {
        // A pipe whose reader has gone is the reader's wish, not an error.
        match writeln!(io::stdout().lock(), "{line}") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(OutputClosed.into()),
            written => Ok(written?),
        }
    }
}

/// Lays out rows under a heading, columns as wide as their widest cell.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(&mut heading.iter().copied())];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

/// Writes a time as RFC 3339 in UTC, to the second.
pub(crate) fn time(unix_ms: u64) -> String {
    format!("{}Z", &banyan_core::rfc3339(unix_ms)[..19])
}

/// Writes seconds in the unit that suits them.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".to_owned(),
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(time(1_795_252_474_999), "2026-11-21T09:14:34Z");
    }

    #[test]
    fn durations_have_the_unit_that_suits_them() {
        let written = [0.0, 0.000_085, 0.0123, 0.25, 2.5].map(duration);
        assert_eq!(written, ["0 s", "85 µs", "12.3 ms", "250 ms", "2.50 s"]);
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["a".to_owned(), "long cell".to_owned()], vec!["bbb".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["N", "TEXT"], &rows), "N    TEXT\na    long cell\nbbb  x");
    }
}

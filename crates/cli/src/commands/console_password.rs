//! `console-password`: the hash of a password, as the configuration of the console has it.

use crate::args::Globals;
use crate::output::Output;
use crate::problem::Problem;
use anyhow::Result;
use banyan_core::Context;
use banyan_identity::{PasswordOptions, Passwords, Secret};
use clap::Args;
use serde_json::json;
use std::io::{BufRead, IsTerminal, Read, stdin};

/// Shortest password, in characters (NIST SP 800-63B-4, section 3.1.1.2, for a password that is not the only factor: 8; alone: 15).
const PASSWORD_CHARS_MIN: usize = 15;
/// Longest password, in bytes: what the console takes.
const PASSWORD_BYTES_MAX: u64 = 1_024;

#[derive(Args)]
#[command(after_help = "\
Examples:
  openssl rand -base64 24 | tee /dev/stderr | console-password
      a new password, shown once, and its hash
  console-password < password.txt
      the hash of the first line

The hash belongs into the configuration:
  [console.users.ann]
  password_hash = \"$argon2id$…\"
  role = \"admin\"")]
pub(crate) struct ConsolePasswordArgs {}

pub(crate) async fn run(globals: &Globals) -> Result<()> {
    if stdin().is_terminal() {
        let next = "pipe it in: what is typed at a terminal would be shown, see --help";
        return Err(Problem::usage("password", "is read from standard input", next).into());
    }
    let mut line = String::new();
    // One more byte than fits tells that it is longer.
    stdin().lock().take(PASSWORD_BYTES_MAX + 2).read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.chars().count() < PASSWORD_CHARS_MIN || password.len() as u64 > PASSWORD_BYTES_MAX {
        let problem = "must have at least 15 characters and at most 1024 bytes";
        return Err(
            Problem::usage("password", problem, "a sentence does, or `openssl rand -base64 24`").into()
        );
    }
    let passwords = Passwords::new(&PasswordOptions::default())?;
    let hash = passwords.hash(&Context::background(), Secret::new(password.to_owned())).await?;
    Output::new(globals.json)?.value(&json!({ "password_hash": hash }), &hash)
}

//! The command line of a system.
//!
//! A system's program is this command line with the system's services linked in:
//!
//! ```ignore
//! fn main() -> std::process::ExitCode {
//!     banyan_cli::Program::new(shop::system()).main()
//! }
//! ```
//!
//! `banyan` itself is the same command line without services. One file per command, in [`commands`].

mod args;
mod central;
mod commands;
mod output;
mod problem;
mod program;
mod remote;

pub use args::{Globals, RunArgs};
pub use banyan_control::program as own_program;
pub use output::Output;
pub use problem::Problem;
pub use program::{Companion, Extra, Guard, Program};
pub use remote::{Remote, UnderWay};

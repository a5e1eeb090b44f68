//! Generates one folder of contracts: `cargo run -p banyan-codegen --example generate -- ROOT OUT [INCLUDE]…`.

use banyan_codegen::{Options, generate};
use std::process::ExitCode;

#[expect(clippy::print_stdout, reason = "a command line talks to its caller")]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), Some(out_dir)) = (arguments.next(), arguments.next()) else {
        println!("usage: generate ROOT OUT [INCLUDE]...");
        return ExitCode::FAILURE;
    };
    let mut options = Options::new(root, out_dir);
    options.includes = arguments.map(Into::into).collect();
    match generate(&options) {
        Ok(report) => {
            println!(
                "{} written, {} removed, {} unchanged",
                report.written.len(),
                report.removed.len(),
                report.unchanged.len()
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

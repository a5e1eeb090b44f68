//! `banyan`: the command line without services, for a system that runs elsewhere.

fn main() -> std::process::ExitCode {
    banyan_cli::Program::new(banyan::System::new("banyan")).main()
}

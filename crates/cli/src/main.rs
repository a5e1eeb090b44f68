//! `banyan`: the command line without services, for a system that runs elsewhere.

const ABOUT: &str = "\
Looks into a system that runs, and operates it: any system, found by its data folder.

Try first:
  banyan --data data status       its processes and services
  banyan --data data topics       its event log
  banyan --data data sagas        what it does over several steps";

fn main() -> std::process::ExitCode {
    banyan_cli::Program::new(banyan::System::new("banyan")).about(ABOUT).main()
}

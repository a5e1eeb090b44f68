//! `move`: a service goes to another process while the system works.

use crate::args::Globals;
use crate::output::Output;
use crate::problem::{Problem, program_name};
use crate::remote::Remote;
use anyhow::Result;
use banyan::ROOT_PROCESS;
use banyan_control::contract::{Destination, GetSystemRequest, MoveServiceRequest, SystemStatus};
use banyan_core::{Code, Error, Reason};
use clap::Args;

#[derive(Args, Default)]
#[command(after_help = "\
Examples:
  move payments --apart              payments gets a process of its own
  move payments --into main          payments comes back to the root process
  move payments --into back --new    payments gets a new process with the name back, for others to join

Calls to the service wait while it moves; none fails and none is lost. \
The move lasts until the system is started again: write it into banyan.toml ([placement]) to keep it.")]
pub(crate) struct MoveArgs {
    /// The service to move.
    service: String,
    /// Give it a process of its own, named like the service.
    #[arg(long, conflicts_with = "into")]
    apart: bool,
    /// Put it into this process; `main` is the root process.
    #[arg(long, value_name = "PROCESS")]
    into: Option<String>,
    /// Make the process that --into names.
    #[arg(long, requires = "into")]
    new: bool,
}

pub(crate) async fn run(args: MoveArgs, globals: Globals) -> Result<()> {
    let remote = Remote::find(&globals.data()?)?;
    let control = remote.control()?;
    let status = control.get_system(&remote.context(), GetSystemRequest {}).await?;
    let process = destination(&args, &status)?;
    // The root decides: what was there a moment ago may be gone.
    let wanted = match (args.apart, args.new) {
        (true, _) => Destination::Unspecified,
        (_, true) => Destination::New,
        _ => Destination::Existing,
    };
    let request = MoveServiceRequest {
        service: args.service.clone(),
        process: process.clone(),
        destination: wanted.into(),
    };
    let moved = control.move_service(&remote.context(), request).await?;
    Output::new(globals.json)?.message("MoveServiceResponse", &moved, |moved| {
        format!("{} now runs in process {process}; its calls waited {} ms", args.service, moved.paused_ms)
    })
}

/// Decides which process the service goes to.
fn destination(args: &MoveArgs, status: &SystemStatus) -> Result<String, Problem> {
    let service = &args.service;
    let services: Vec<&str> = status.services.iter().map(|s| s.service.as_str()).collect();
    if !services.contains(&service.as_str()) {
        let message = format!("there is no service {service:?}; there are {}", services.join(", "));
        let next = format!("`{} status` shows the services and where they run", program_name());
        return Err(Problem::new(Error::new(Code::NotFound, Reason::NOT_FOUND, message), next));
    }
    let processes: Vec<&str> = status.processes.iter().map(|p| p.process.as_str()).collect();
    let there_are = processes.join(", ");
    let Some(into) = &args.into else {
        if args.apart {
            return Ok(service.clone());
        }
        let here = status.services.iter().find(|s| s.service == *service).map(|s| s.processes.join(", "));
        let problem = format!(
            "say where {service} goes: a process of its own, or one of {there_are} (it runs in {})",
            here.unwrap_or_default()
        );
        let next = format!("`move {service} --apart`, or `move {service} --into {ROOT_PROCESS}`");
        return Err(Problem::usage("--into", problem, next));
    };
    match processes.contains(&into.as_str()) {
        false if !args.new => {
            let message = format!("there is no process {into:?}; there are {there_are}");
            let next = format!(
                "`move {service} --apart` gives it a process of its own, `move {service} --into {into} --new` one of \
                 this name"
            );
            Err(Problem::new(Error::new(Code::NotFound, Reason::NOT_FOUND, message), next))
        }
        true if args.new => {
            let problem = format!("there is a process {into:?} already");
            Err(Problem::usage("--new", problem, format!("`move {service} --into {into}`")))
        }
        _ => Ok(into.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_control::contract::{ProcessStatus, ServiceStatus};

    fn decide(args: MoveArgs) -> Result<String, String> {
        let process = |name: &str| ProcessStatus { process: name.into(), ..ProcessStatus::default() };
        let payments = ServiceStatus {
            service: "payments".into(),
            processes: vec!["main".into()],
            ..ServiceStatus::default()
        };
        let status = SystemStatus {
            processes: vec![process("main"), process("back")],
            services: vec![payments],
            ..SystemStatus::default()
        };
        destination(&args, &status).map_err(|p| format!("{p}; {}", p.next_step()))
    }

    fn args(service: &str, into: Option<&str>) -> MoveArgs {
        MoveArgs { service: service.into(), into: into.map(str::to_owned), ..MoveArgs::default() }
    }

    #[test]
    fn a_service_goes_to_a_process_that_is_there_or_is_asked_for() {
        assert_eq!(decide(args("payments", Some("back"))).unwrap(), "back");
        assert_eq!(decide(MoveArgs { apart: true, ..args("payments", None) }).unwrap(), "payments");
        assert_eq!(decide(MoveArgs { new: true, ..args("payments", Some("front")) }).unwrap(), "front");
    }

    #[test]
    fn what_is_not_there_is_refused_with_what_is() {
        let refused = decide(args("payments", Some("bakc"))).unwrap_err();
        assert!(refused.contains("main, back") && refused.contains("--apart"), "{refused}");
        let refused = decide(args("paymens", Some("back"))).unwrap_err();
        assert!(refused.contains("there are payments"), "{refused}");
        let refused = decide(args("payments", None)).unwrap_err();
        assert!(refused.contains("main, back") && refused.contains("--into main"), "{refused}");
        let refused = decide(MoveArgs { new: true, ..args("payments", Some("back")) }).unwrap_err();
        assert!(refused.contains("already"), "{refused}");
    }
}

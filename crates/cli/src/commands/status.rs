//! `status`: the processes and services of the running system.

use crate::args::Globals;
use crate::output::{Output, table};
use crate::remote::Remote;
use anyhow::Result;
use banyan_control::contract::{GetSystemRequest, SystemStatus};

pub(crate) async fn run(globals: Globals) -> Result<()> {
    let remote = Remote::find(&globals.data()?)?;
    let status = remote.control()?.get_system(&remote.context(), GetSystemRequest {}).await?;
    Output::new(globals.json)?.message("SystemStatus", &status, |status| text(status, remote.url()))
}

fn text(status: &SystemStatus, url: &str) -> String {
    let processes: Vec<_> = status
        .processes
        .iter()
        .map(|p| {
            vec![
                p.process.clone(),
                p.state.clone(),
                p.pid.to_string(),
                p.restarts.to_string(),
                p.address.clone(),
            ]
        })
        .collect();
    let services: Vec<_> = status
        .services
        .iter()
        .map(|s| vec![s.service.clone(), s.state.clone(), s.processes.join(", ")])
        .collect();
    format!(
        "{} at {url}\n\n{}\n\n{}",
        status.name,
        table(&["PROCESS", "STATE", "PID", "RESTARTS", "ADDRESS"], &processes),
        table(&["SERVICE", "STATE", "PROCESS"], &services)
    )
}

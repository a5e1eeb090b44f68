//! `status`: the processes and services of the running system.

use crate::args::Globals;
use crate::output::{Output, table, time};
use crate::program::{Companion, Companions};
use crate::remote::Remote;
use anyhow::Result;
use banyan_control::contract::{ConfigStatus, GetSystemRequest, SystemStatus};

pub(crate) async fn run(companions: Option<Companions>, globals: Globals) -> Result<()> {
    let data = globals.data()?;
    let remote = Remote::find(&data)?;
    let status = remote.control()?.get_system(&remote.context(), GetSystemRequest {}).await?;
    let beside = match companions {
        Some(companions) => companions(&data)?,
        None => Vec::new(),
    };
    let more = [("beside", serde_json::to_value(&beside)?), ("console", remote.console().into())];
    let addresses = match remote.console() {
        Some(console) => format!("{}, its console at {console}", remote.url()),
        None => remote.url().to_owned(),
    };
    Output::new(globals.json)?
        .message_with("SystemStatus", &status, &more, |status| text(status, &beside, &addresses))
}

fn text(status: &SystemStatus, beside: &[Companion], url: &str) -> String {
    let processes: Vec<_> = status
        .processes
        .iter()
        .map(|p| {
            vec![
                p.process.clone(),
                p.state.clone(),
                p.version.clone(),
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
    let mut text = format!(
        "{} at {url}\n\n{}\n\n{}",
        status.name,
        table(&["PROCESS", "STATE", "VERSION", "PID", "RESTARTS", "ADDRESS"], &processes),
        table(&["SERVICE", "STATE", "PROCESS"], &services)
    );
    if let Some(notes) = status.config.as_ref().and_then(config_notes) {
        text.push_str(&format!("\n\n{notes}"));
    }
    if !beside.is_empty() {
        let row = |c: &Companion| {
            let pid = c.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            vec![c.name.clone(), c.state.clone(), pid, c.restarts.to_string(), c.address.clone()]
        };
        let rows: Vec<_> = beside.iter().map(row).collect();
        let heading = ["BESIDE", "STATE", "PID", "RESTARTS", "ADDRESS"];
        text.push_str(&format!("\n\n{}", table(&heading, &rows)));
    }
    text
}

/// Says what is to be known of a configuration beyond its values; nothing if all is well.
pub(crate) fn config_notes(status: &ConfigStatus) -> Option<String> {
    let mut notes = Vec::new();
    if !status.refused.is_empty() {
        let at = time(status.refused_ms);
        notes.push(format!(
            "a new configuration was refused at {at}, the one before it holds: {}",
            status.refused
        ));
    }
    if !status.source_problem.is_empty() {
        let (place, problem) = (&status.source, &status.source_problem);
        notes.push(format!("the central source {place} is away, what it had last holds: {problem}"));
    }
    if !status.restart_keys.is_empty() {
        notes.push(format!("changed, and needs a restart: {}", status.restart_keys.join(", ")));
    }
    let lines = notes.iter().map(|note| format!("configuration: {note}")).collect::<Vec<_>>();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_beside_the_system_is_shown() {
        let status = SystemStatus { name: "shop".into(), ..SystemStatus::default() };
        let companion = Companion {
            name: "card-processor".into(),
            state: "RESTARTING".into(),
            pid: None,
            restarts: 3,
            address: "http://127.0.0.1:1".into(),
        };
        let lines = text(&status, &[companion], "http://x");
        let row = "card-processor  RESTARTING  -    3         http://127.0.0.1:1";
        assert!(lines.ends_with(row), "{lines}");
        assert!(!text(&status, &[], "http://x").contains("BESIDE"));
    }
}

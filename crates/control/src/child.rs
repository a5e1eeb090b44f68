//! A child process: it learns from its root who it is, offers itself, and ends with its root.

use crate::contract as api;
use crate::links::RootLink;
use crate::process_service::{ProcessAgent, ProcessApi};
use crate::program;
use crate::remote_log::RemoteLog;
use crate::root;
use crate::traces;
use banyan::event_log::OpenLog;
use banyan::{Config, Process, ProcessParts, System};
use banyan_core::{Context, Env, Identity, Result, Tasks};
use std::sync::Arc;
use std::time::Duration;

/// How long a child tries to reach its root.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a child process of `system` until its root lets go of it. The root is at the other end of standard input; if it
/// dies, the process ends at once (exit status 1) and this does not return.
///
/// # Errors
/// If the process was not started by a root, or cannot serve.
pub async fn run(system: System, env: Env) -> Result<()> {
    program::show_name();
    let (bootstrap, link) = RootLink::open().await?;
    let secret = bootstrap.peer_secret.as_str();
    let config = Config::from(bootstrap.config);
    let directory = root::directory(&env, &config, secret)?;
    // What is kept on a server is reached without the root.
    let events = match system.open_events(&bootstrap.process, &config, &env).await? {
        Some(elsewhere) => elsewhere,
        None => {
            let client = root::client_at(&env, secret, &bootstrap.root_address)?;
            let log = RemoteLog::new(client, &bootstrap.process, env.clone());
            let closing = log.clone();
            OpenLog::new(Arc::new(log), move |limit| Box::pin(async move { closing.close(limit).await }))
        }
    };
    let control: api::ControlServiceClient = root::client_at(&env, secret, &bootstrap.root_address)?;
    let tasks = Tasks::new();
    let recorded = if config.telemetry.enabled {
        let keeper = traces::RemoteKeeper {
            control: control.clone(),
            env: env.clone(),
            process: bootstrap.process.clone(),
        };
        traces::record(&config, &env, &bootstrap.process, Arc::new(keeper), &tasks)
    } else {
        env.clone()
    };
    let server = root::internal_server(&env, secret).await?;
    let process = Process::new(ProcessParts {
        system,
        config: Arc::new(config),
        env: recorded,
        directory: directory.clone(),
        log: events.log(),
    });
    let agent = ProcessAgent::new(process.clone(), server.clone());
    server.add(api::process_service(Arc::new(ProcessApi(agent))));

    let told = api::RegisterProcessRequest {
        process: bootstrap.process.clone(),
        address: server.address().to_string(),
        pid: std::process::id(),
        version: process.system().version().to_owned(),
    };
    let cx = Context::new(&env, Identity::service(&bootstrap.process)).with_timeout(REGISTER_TIMEOUT);
    control.register_process(&cx, told).await?;
    link.dismissed().await;
    let limit = Duration::from_millis(process.config().limits.drain_ms_max);
    process.stop_all().await;
    if tasks.drain(limit).await.is_err() {
        tracing::warn!("the last traces could not be handed over");
    }
    events.close(limit).await;
    if let Err(error) = server.drain(limit).await {
        tracing::warn!(?error, "calls from other processes were cut off");
    }
    directory.close();
    Ok(())
}

//! A child process: it learns from its root who it is, offers itself, and ends with its root.

use crate::contract as api;
use crate::links::RootLink;
use crate::process_service::{ProcessAgent, ProcessApi};
use crate::remote_log::RemoteLog;
use banyan::rpc::{Client, Directory, Server, ServerOptions, Target};
use banyan::{Process, ProcessParts, System};
use banyan_core::{Context, Env, Identity, Result};
use std::sync::Arc;
use std::time::Duration;

/// How long a child tries to reach its root.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs a child process of `system` until its root lets go of it. The root is at the other end of standard input.
///
/// # Errors
/// If the process was not started by a root, or cannot serve.
pub async fn run(system: System, env: Env) -> Result<()> {
    let (bootstrap, link) = RootLink::open().await?;
    let directory = crate::root::directory(&env, &bootstrap.config, &bootstrap.peer_secret);
    let root = Target::Remote(vec![directory.endpoint(&bootstrap.root_url)?]);
    let log_client = api::LogServiceClient::new(directory.direct(api::LogServiceClient::SERVICE, root.clone()));
    let log = RemoteLog::new(log_client, &bootstrap.process, env.clone());

    let server = Server::bind(ServerOptions::internal(&env, 0, &bootstrap.peer_secret, system.descriptors())).await?;
    let parts = ProcessParts {
        system,
        config: Arc::new(bootstrap.config),
        env: env.clone(),
        directory: directory.clone(),
        log: Arc::new(log),
    };
    let process = Process::new(parts);
    let agent = ProcessAgent::new(process.clone(), server.clone());
    server.add(api::process_service(Arc::new(ProcessApi(agent))));

    register(&directory, root, &env, &bootstrap.process, server.url()).await?;
    link.closed().await;
    process.stop_all().await;
    server.shutdown(Duration::from_millis(process.config().limits.drain_ms_max)).await;
    Ok(())
}

async fn register(directory: &Directory, root: Target, env: &Env, process: &str, url: String) -> Result<()> {
    let control = api::ControlServiceClient::new(directory.direct(api::ControlServiceClient::SERVICE, root));
    let cx = Context::new(env, Identity::service(process)).with_timeout(REGISTER_TIMEOUT);
    let request = api::RegisterProcessRequest { process: process.to_owned(), url, pid: std::process::id() };
    control.register_process(&cx, request).await.map(drop)
}

//! What every process of a system answers to its root.

use crate::contract as api;
use crate::health::wire;
use crate::saga_admin;
use banyan::rpc::{Endpoint, Server};
use banyan::{Config, Handover, Process};
use banyan_core::{Context, Error, Result};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};

/// Serves `banyan.control.v1.ProcessService` for one process.
pub(crate) struct ProcessAgent {
    process: Process,
    server: Server,
    /// The version of the placement that is in force.
    placement: Mutex<u64>,
    configured: parking_lot::Mutex<Configured>,
}

/// The configuration that holds here.
#[derive(Default)]
struct Configured {
    version: u64,
    /// The services that took over settings of their own when it came.
    services: Vec<&'static str>,
}

impl ProcessAgent {
    pub(crate) fn new(process: Process, server: Server) -> Arc<Self> {
        let (placement, configured) = (Mutex::new(0), parking_lot::Mutex::default());
        Arc::new(Self { process, server, placement, configured })
    }

    /// Returns the configuration that holds here.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.process.config()
    }

    pub(crate) fn config_changes(&self) -> watch::Receiver<Arc<Config>> {
        self.process.config_changes()
    }

    /// Has a configuration hold here unless a newer one does. Returns the services that took over settings of their own.
    pub(crate) fn reconfigure(&self, version: u64, config: Config) -> Vec<&'static str> {
        let mut configured = self.configured.lock();
        if version > configured.version {
            *configured = Configured { version, services: self.process.reconfigure(config) };
            tracing::info!(version, "another configuration holds");
        }
        configured.services.clone()
    }

    /// Starts a service in this process and makes it reachable from the others.
    pub(crate) async fn start(&self, service: &str) -> Result<()> {
        for handlers in self.process.start(service).await? {
            self.server.add(handlers);
        }
        Ok(())
    }

    /// Makes `placement` known here.
    pub(crate) async fn place(&self, placement: &api::UpdatePlacementRequest) -> Result<()> {
        let mut version = self.placement.lock().await;
        if placement.version < *version {
            return Ok(());
        }
        *version = placement.version;
        let own = self.server.address().to_string();
        for entry in &placement.contracts {
            let elsewhere = entry.addresses.iter().filter(|address| **address != own);
            let elsewhere = elsewhere.map(|address| Endpoint::new(address)).collect::<Result<_>>()?;
            self.process.place(&entry.contract, elsewhere);
        }
        Ok(())
    }
}

/// The generated trait's `self` is the agent behind an `Arc`; so is everybody else's.
pub(crate) struct ProcessApi(pub(crate) Arc<ProcessAgent>);

impl api::ProcessService for ProcessApi {
    async fn probe(&self, _: &Context, _: api::ProbeRequest) -> Result<api::ProbeResponse> {
        Ok(api::ProbeResponse {})
    }

    async fn start_service(
        &self,
        _: &Context,
        req: api::StartServiceRequest,
    ) -> Result<api::StartServiceResponse> {
        self.0.start(&req.service).await?;
        Ok(api::StartServiceResponse {})
    }

    async fn stop_service(
        &self,
        _: &Context,
        req: api::StopServiceRequest,
    ) -> Result<api::StopServiceResponse> {
        self.0.process.stop(&req.service).await?;
        Ok(api::StopServiceResponse {})
    }

    async fn update_placement(
        &self,
        _: &Context,
        req: api::UpdatePlacementRequest,
    ) -> Result<api::UpdatePlacementResponse> {
        self.0.place(&req).await?;
        Ok(api::UpdatePlacementResponse {})
    }

    async fn update_config(
        &self,
        _: &Context,
        req: api::UpdateConfigRequest,
    ) -> Result<api::UpdateConfigResponse> {
        // The cause would show a part of it.
        let handover: Handover = serde_json::from_slice(&req.config)
            .map_err(|_| Error::internal("a configuration that this process's root sent cannot be read"))?;
        let services = self.0.reconfigure(req.version, handover.into());
        Ok(api::UpdateConfigResponse { services: services.into_iter().map(str::to_owned).collect() })
    }

    async fn list_local_sagas(
        &self,
        cx: &Context,
        req: api::ListSagasRequest,
    ) -> Result<api::ListSagasResponse> {
        saga_admin::list(cx, &self.0.process.sagas().await, &req).await
    }

    async fn get_local_saga(&self, cx: &Context, req: api::GetSagaRequest) -> Result<api::SagaDetail> {
        let sagas = self.sagas(&req.service).await?;
        saga_admin::get(cx, &req.service, &sagas, &req.id).await
    }

    async fn retry_local_saga(
        &self,
        cx: &Context,
        req: api::RetrySagaRequest,
    ) -> Result<api::RetrySagaResponse> {
        self.sagas(&req.service).await?.retry(cx, &req.id).await?;
        Ok(api::RetrySagaResponse {})
    }

    async fn get_local_health(&self, _: &Context, _: api::GetHealthRequest) -> Result<api::LocalHealth> {
        let services = self.0.process.health().await;
        Ok(api::LocalHealth { services: services.into_iter().map(wire::to_service).collect() })
    }

    async fn cancel_local_saga(
        &self,
        cx: &Context,
        req: api::CancelSagaRequest,
    ) -> Result<api::CancelSagaResponse> {
        self.sagas(&req.service).await?.cancel(cx, &req.id, &req.reason).await?;
        Ok(api::CancelSagaResponse {})
    }
}

impl ProcessApi {
    async fn sagas(&self, service: &str) -> Result<banyan::saga::Sagas> {
        self.0
            .process
            .sagas()
            .await
            .remove(service)
            .ok_or_else(|| Error::not_found("service with sagas here", service))
    }
}

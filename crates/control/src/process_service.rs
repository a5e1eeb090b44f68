//! What every process of a system answers to its root.

use crate::contract as api;
use crate::saga_admin;
use banyan::Process;
use banyan::rpc::{Endpoint, Server};
use banyan_core::{Context, Error, Result};
use std::sync::Arc;
use tokio::sync::Mutex;

/// Serves `banyan.control.v1.ProcessService` for one process.
pub(crate) struct ProcessAgent {
    process: Process,
    server: Server,
    /// The version of the placement that is in force.
    placement: Mutex<u64>,
}

impl ProcessAgent {
    pub(crate) fn new(process: Process, server: Server) -> Arc<Self> {
        Arc::new(Self { process, server, placement: Mutex::new(0) })
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

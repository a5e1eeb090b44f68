//! What the root answers to its children and to operators.

use crate::contract as api;
use crate::health::SystemHealth;
use crate::health::wire;
use crate::supervisor::Supervisor;
use crate::traces;
use banyan_core::{Context, Result};
use banyan_telemetry::Memory;
use std::sync::Arc;

/// Serves `banyan.control.v1.ControlService`.
pub(crate) struct ControlApi {
    pub(crate) system: &'static str,
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) memory: Option<Memory>,
    pub(crate) health: Arc<SystemHealth>,
}

impl api::ControlService for ControlApi {
    async fn register_process(
        &self,
        _: &Context,
        req: api::RegisterProcessRequest,
    ) -> Result<api::RegisterProcessResponse> {
        self.supervisor.register(&req)?;
        Ok(api::RegisterProcessResponse {})
    }

    async fn get_system(&self, _: &Context, _: api::GetSystemRequest) -> Result<api::SystemStatus> {
        let (processes, services) = self.supervisor.status();
        let config = Some(self.supervisor.reloading.status());
        Ok(api::SystemStatus { name: self.system.to_owned(), processes, services, config })
    }

    async fn reload_config(
        &self,
        _: &Context,
        req: api::ReloadConfigRequest,
    ) -> Result<api::ReloadConfigResponse> {
        self.supervisor.reload(&req.cause).await
    }

    async fn get_config(&self, _: &Context, _: api::GetConfigRequest) -> Result<api::GetConfigResponse> {
        self.supervisor.list_config().await
    }

    async fn move_service(
        &self,
        _: &Context,
        req: api::MoveServiceRequest,
    ) -> Result<api::MoveServiceResponse> {
        let paused = self.supervisor.move_service(&req.service, &req.process, req.destination()).await?;
        Ok(api::MoveServiceResponse { paused_ms: paused.as_millis() as u64 })
    }

    async fn exchange_traces(
        &self,
        _: &Context,
        req: api::ExchangeTracesRequest,
    ) -> Result<api::ExchangeTracesResponse> {
        traces::exchange(self.memory.as_ref(), req).await
    }

    async fn list_sagas(&self, cx: &Context, req: api::ListSagasRequest) -> Result<api::ListSagasResponse> {
        let mut sagas = Vec::new();
        let clients = match req.service.as_str() {
            "" => self.supervisor.clients(),
            service => vec![self.supervisor.client_of(service)?],
        };
        for client in clients {
            sagas.extend(client.list_local_sagas(cx, req.clone()).await?.sagas);
        }
        // Replicas read the same journal.
        sagas.sort_by(|a, b| (b.updated_ms, &a.service, &a.id).cmp(&(a.updated_ms, &b.service, &b.id)));
        sagas.dedup_by(|a, b| (&a.service, &a.id) == (&b.service, &b.id));
        Ok(api::ListSagasResponse { sagas })
    }

    async fn get_saga(&self, cx: &Context, req: api::GetSagaRequest) -> Result<api::SagaDetail> {
        self.supervisor.client_of(&req.service)?.get_local_saga(cx, req).await
    }

    async fn retry_saga(&self, cx: &Context, req: api::RetrySagaRequest) -> Result<api::RetrySagaResponse> {
        self.supervisor.client_of(&req.service)?.retry_local_saga(cx, req).await
    }

    async fn get_health(&self, _: &Context, _: api::GetHealthRequest) -> Result<api::HealthNode> {
        Ok(wire::to_node(&*self.health.get().await))
    }

    async fn cancel_saga(
        &self,
        cx: &Context,
        req: api::CancelSagaRequest,
    ) -> Result<api::CancelSagaResponse> {
        self.supervisor.client_of(&req.service)?.cancel_local_saga(cx, req).await
    }
}

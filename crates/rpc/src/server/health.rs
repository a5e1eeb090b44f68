//! The gRPC health protocol (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).

use crate::proto::Proto;
use crate::server::table::{Backend, Table, Tables};
use crate::{Idempotency, Kind, MethodInfo, Service, Streaming};
use banyan_core::{Context, Error, Result};
use std::sync::Arc;

pub(crate) const NAME: &str = "grpc.health.v1.Health";

static CHECK: MethodInfo = MethodInfo {
    service: NAME,
    name: "Check",
    path: "/grpc.health.v1.Health/Check",
    kind: Kind::Unary,
    idempotency: Idempotency::NoSideEffects,
};

static WATCH: MethodInfo = MethodInfo {
    service: NAME,
    name: "Watch",
    path: "/grpc.health.v1.Health/Watch",
    kind: Kind::ServerStreaming,
    idempotency: Idempotency::NoSideEffects,
};

#[derive(Clone, PartialEq, prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthResponse {
    #[prost(enumeration = "Health", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Health {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// Makes the health service of a server: one contract service is healthy while it is served, the server (the empty
/// name) until it drains.
pub(crate) fn service(tables: &Arc<Tables>) -> Option<Service> {
    let (checked, watched) = (tables.clone(), tables.clone());
    let builder = Service::builder(NAME, &[])
        .unary(&CHECK, move |_: Context, Proto(request): Proto<HealthRequest>| {
            std::future::ready(match check(&checked.current(), &request.service) {
                Health::ServiceUnknown => Err(Error::not_found("service", &request.service)),
                status => Ok(Proto(HealthResponse { status: status.into() })),
            })
        })
        .server_streaming(&WATCH, move |_: Context, Proto(request): Proto<HealthRequest>| {
            std::future::ready(Ok(watch(watched.clone(), request.service)))
        });
    Some(builder.build())
}

fn check(table: &Table, service: &str) -> Health {
    let serving = match table.mounts.get(service).map(|mount| &mount.backend) {
        Some(Backend::Local(service)) => service.is_open(),
        Some(Backend::Channel(_)) => true,
        None if service.is_empty() => true,
        None => return Health::ServiceUnknown,
    };
    if serving && !table.draining { Health::Serving } else { Health::NotServing }
}

/// Streams the status now and after every change of the table that changes it.
fn watch(tables: Arc<Tables>, service: String) -> Streaming<Proto<HealthResponse>> {
    let changes = tables.changes();
    let state = (tables, service, changes, None::<Health>);
    Streaming::new(futures::stream::unfold(state, |(tables, service, mut changes, last)| async move {
        loop {
            changes.borrow_and_update();
            let status = check(&tables.current(), &service);
            if last != Some(status) {
                let response: Result<_> = Ok(Proto(HealthResponse { status: status.into() }));
                return Some((response, (tables, service, changes, Some(status))));
            }
            changes.changed().await.ok()?;
        }
    }))
}

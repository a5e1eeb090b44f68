//! The gRPC health protocol (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).

use crate::directory::{Place, Slot};
use crate::proto::Proto;
use crate::server::table::{Backend, Table, Tables};
use crate::{Idempotency, Kind, MethodInfo, Service, Streaming};
use banyan_core::{BoxFuture, Context, Error, Result};
use std::sync::Arc;
use std::time::Duration;

pub(crate) const NAME: &str = "grpc.health.v1.Health";

/// How often a stream looks whether a service has become fit, or is not any more.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Who knows whether a contract service that has a place can work there: its store may be away.
pub trait Fitness: Send + Sync + 'static {
    /// Tells whether the contract service `contract` can work, in bounded time. It is asked for every check of the gRPC health
    /// protocol, and again and again by every watch: however many ask, it must cost no more than one who asks.
    fn is_fit<'a>(&'a self, contract: &'a str) -> BoxFuture<'a, bool>;
}

/// Who is asked whether services are fit, if anybody is.
pub(crate) type Judge = Option<Arc<dyn Fitness>>;

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

/// Makes the health service of a server: one contract service is healthy while it serves, here or where its calls go, and
/// the server (the empty name) until it drains. One that moves, has no place at the moment, or is not fit by `judge` is not.
pub(crate) fn service(tables: &Arc<Tables>, judge: &Judge) -> Option<Service> {
    let (checked, watched) = ((tables.clone(), judge.clone()), (tables.clone(), judge.clone()));
    let builder = Service::builder(NAME, &[])
        .unary(&CHECK, move |_: Context, Proto(request): Proto<HealthRequest>| {
            let (tables, judge) = checked.clone();
            async move {
                match judged(check(&tables.current(), &request.service), &judge, &request.service).await {
                    Health::ServiceUnknown => Err(Error::not_found("service", &request.service)),
                    status => Ok(Proto(HealthResponse { status: status.into() })),
                }
            }
        })
        .server_streaming(&WATCH, move |_: Context, Proto(request): Proto<HealthRequest>| {
            let (tables, judge) = watched.clone();
            std::future::ready(Ok(watch(tables, judge, request.service)))
        });
    Some(builder.build())
}

/// Asks of a service that serves whether it is fit.
async fn judged(status: Health, judge: &Judge, service: &str) -> Health {
    match judge {
        Some(judge) if status == Health::Serving && !service.is_empty() => {
            if judge.is_fit(service).await {
                Health::Serving
            } else {
                Health::NotServing
            }
        }
        _ => status,
    }
}

fn check(table: &Table, service: &str) -> Health {
    let serving = match table.mounts.get(service).map(|mount| &mount.backend) {
        Some(backend) => Standing::of(backend).serves(),
        None if service.is_empty() => true,
        None => return Health::ServiceUnknown,
    };
    if serving && !table.draining { Health::Serving } else { Health::NotServing }
}

/// Streams the status now and after every change of it.
fn watch(tables: Arc<Tables>, judge: Judge, service: String) -> Streaming<Proto<HealthResponse>> {
    let changes = tables.changes();
    let state = (tables, judge, service, changes, None::<Health>);
    Streaming::new(futures::stream::unfold(state, |(tables, judge, service, mut changes, last)| async move {
        loop {
            changes.borrow_and_update();
            let table = tables.current();
            let standing = table.mounts.get(&service).map(|mount| Standing::of(&mount.backend));
            // It hears of every change from here on, before it looks.
            let placed = standing.as_ref().and_then(|standing| standing.slot.as_deref());
            let placed = placed.map(|slot| slot.changed.notified());
            let status = judged(check(&table, &service), &judge, &service).await;
            if last != Some(status) {
                let response: Result<_> = Ok(Proto(HealthResponse { status: status.into() }));
                return Some((response, (tables, judge, service, changes, Some(status))));
            }
            tokio::select! {
                changed = changes.changed() => changed.ok()?,
                () = or_never(placed) => {}
                () = or_never(judge.as_ref().map(|_| tokio::time::sleep(LOOK_EVERY))) => {}
                () = or_never(standing.as_ref().map(Standing::turned)) => {}
            }
        }
    }))
}

async fn or_never(event: Option<impl Future<Output = ()>>) {
    match event {
        Some(event) => event.await,
        None => std::future::pending().await,
    }
}

/// Where the calls of a mount go, and how it is there, at one moment.
struct Standing {
    /// The place of a contract service that may come to be elsewhere.
    slot: Option<Arc<Slot>>,
    /// It is in this process, and was open.
    local: Option<(Service, bool)>,
    elsewhere: bool,
}

impl Standing {
    fn of(backend: &Backend) -> Self {
        let open = |service: &Service| Some((service.clone(), service.is_open()));
        match backend {
            Backend::Local(service) => Self { slot: None, local: open(service), elsewhere: false },
            Backend::Channel(channel) => {
                let slot = channel.slot();
                let (local, elsewhere) = match &**slot.place.load() {
                    Place::Unplaced => (None, false),
                    Place::Local(service) => (open(service), false),
                    Place::LocalFirst(service, _) => (open(service), true),
                    Place::Remote(_) => (None, true),
                };
                Self { slot: Some(slot.clone()), local, elsewhere }
            }
        }
    }

    fn serves(&self) -> bool {
        self.elsewhere || self.local.as_ref().is_some_and(|(_, open)| *open)
    }

    /// Waits until a service of this process that was open closes, or the other way round.
    async fn turned(&self) {
        match &self.local {
            Some((service, true)) => service.closed().await,
            Some((service, false)) => service.opened().await,
            None => std::future::pending().await,
        }
    }
}

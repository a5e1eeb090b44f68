//! One port for everything a process serves: gRPC with health and reflection, JSON, and foreign routes.
//!
//! A request goes to the [`Edge`] for permission, if there is one, and then to the service, which is a handler table
//! in this process or a [`Channel`] to wherever it lives. Services come and go while the server runs.

mod accept;
pub(crate) mod contract;
mod edge;
mod grpc;
mod health;
mod http;
pub(crate) mod json;
mod options;
mod problem;
mod reflection;
mod table;

pub use contract::methods as contract_methods;
pub use edge::{Arrival, Edge, Peer};
pub use health::Fitness;
pub use http::{METHOD_NOT_ALLOWED, ROUTE_NOT_FOUND};
pub use json::UNSUPPORTED_MEDIA_TYPE;
pub use options::ServerOptions;
pub use problem::problem;

use crate::server::table::{Backend, Mount, Tables};
use crate::{Channel, Service};
use axum::Router;
use banyan_core::{Env, Error, Measured, Result, Tasks};
use banyan_transcoding::Access;
use bytes::Bytes;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Serves contract services and foreign routes on one port. Cheap to clone; every clone is the same server.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
    address: SocketAddr,
    /// Accepts and serves; stops gracefully.
    tasks: Tasks,
    /// Stops when waiting is over, and takes what is still connected with it.
    abort: Tasks,
}

/// Collects what a [`Server`] serves beside contract services; made by [`Server::builder`].
pub struct ServerBuilder {
    env: Env,
    options: ServerOptions,
    router: Option<Router>,
    edge: Option<Arc<dyn Edge>>,
    judge: health::Judge,
    tables: Tables,
}

/// What every connection of a server shares.
pub(crate) struct Inner {
    env: Env,
    options: ServerOptions,
    tables: Arc<Tables>,
    /// Health and reflection, by name.
    builtin: HashMap<&'static str, Service>,
    router: Option<Router>,
    edge: Option<Arc<dyn Edge>>,
    load: Arc<Load>,
    _measured: Measured,
}

/// How much a server has to do.
pub(crate) struct Load {
    /// Requests that have no answer yet.
    pub(crate) active: AtomicUsize,
    /// One for each further connection.
    pub(crate) places: Arc<Semaphore>,
}

impl Server {
    pub fn builder(env: &Env, options: ServerOptions) -> ServerBuilder {
        let (env, tables) = (env.clone(), Tables::new());
        ServerBuilder { env, options, router: None, edge: None, judge: None, tables }
    }

    /// Serves `service` from now on, in the place of one with the same name.
    pub fn add(&self, service: Service) {
        let methods = service.methods().map(|info| (info.name.to_owned(), info)).collect();
        let descriptors = Bytes::from_static(service.descriptors());
        let name = service.name();
        self.inner.tables.add(name, Mount::new(methods, descriptors, Backend::Local(service)));
    }

    /// Passes calls to the contract service `name` on to `channel` from now on: what a gateway does. The [`Edge`] is
    /// told `access` for methods whose contract does not say who may call them.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`] if the `FileDescriptorSet` does not describe the service.
    pub fn expose(
        &self,
        name: &str,
        descriptors: impl Into<Bytes>,
        channel: Channel,
        access: Access,
    ) -> Result<()> {
        self.inner.tables.add(name, exposed(name, descriptors.into(), channel, access)?);
        Ok(())
    }

    /// Serves the contract service `name` no longer: later calls are told that it moved. Those in flight go on.
    pub fn remove(&self, name: &str) {
        self.inner.tables.remove(name);
    }

    /// Returns the address the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says from now on, to everybody who asks for its health, that it serves no longer; it still serves. For a time in
    /// which those who send requests here go elsewhere, before [`Server::drain`].
    pub fn announce_drain(&self) {
        self.inner.tables.drain();
    }

    /// Accepts no more connections and requests, waits for those in flight, at most `limit`, and closes.
    ///
    /// # Errors
    /// [`banyan_core::Code::DeadlineExceeded`] if some had not ended and were cut off.
    pub async fn drain(&self, limit: Duration) -> Result<()> {
        self.inner.tables.drain();
        let drained = self.tasks.drain(limit).await;
        self.abort.stop();
        drained.map_err(|unfinished| {
            Error::deadline_exceeded().with_source(format!("{} connections were cut off", unfinished.0))
        })
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// Also serves the routes of an axum router: for paths that no contract has.
    ///
    /// Its handlers find the call's [`banyan_core::Context`] in the extensions of the request.
    ///
    /// # Panics
    /// If two routers have the same path, or both have a fallback.
    pub fn merge(mut self, router: Router) -> Self {
        self.router = Some(self.router.map_or_else(|| router.clone(), |merged| merged.merge(router.clone())));
        self
    }

    /// Asks `edge` before every call to a contract service.
    pub fn edge(mut self, edge: Arc<dyn Edge>) -> Self {
        self.edge = Some(edge);
        self
    }

    /// Asks `judge` whether services are fit that have a place, for those who ask for their health.
    pub fn fitness(mut self, judge: Arc<dyn Fitness>) -> Self {
        self.judge = Some(judge);
        self
    }

    /// Passes calls to the contract service `name` on to `channel`, as [`Server::expose`] does, from the first request
    /// on: nobody is told that there is no such route.
    ///
    /// # Errors
    /// Those of [`Server::expose`].
    pub fn expose(
        &mut self,
        name: &str,
        descriptors: impl Into<Bytes>,
        channel: Channel,
        access: Access,
    ) -> Result<()> {
        self.tables.add(name, exposed(name, descriptors.into(), channel, access)?);
        Ok(())
    }

    /// Listens on 127.0.0.1 and begins to serve.
    ///
    /// # Errors
    /// [`banyan_core::Code::Unavailable`] if the port is taken.
    pub async fn bind(self) -> Result<Server> {
        let port = self.options.port;
        let listening = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listening.await.map_err(|error: std::io::Error| {
            Error::unavailable(format!("cannot listen on 127.0.0.1:{port}: {error}")).with_source(error)
        })?;
        let tables = Arc::new(self.tables);
        let builtin = health::service(&tables, &self.judge).into_iter().chain(reflection::services(&tables));
        let builtin = builtin.map(|service| (service.name(), service)).collect();
        let connections_max = self.options.connections_max.clamp(1, Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(connections_max));
        let load = Arc::new(Load { active: AtomicUsize::new(0), places });
        // What the processes of a system say to each other is measured call by call.
        let _measured = match self.options.internal {
            true => Measured::default(),
            false => load.measure(connections_max, &self.env),
        };
        let inner = Inner {
            env: self.env,
            options: self.options,
            tables,
            builtin,
            router: self.router,
            edge: self.edge,
            load,
            _measured,
        };
        let (tasks, abort) = (Tasks::new(), Tasks::new());
        let server = Server { inner: Arc::new(inner), address, tasks, abort };
        let accepting =
            accept::run(listener, server.inner.clone(), server.tasks.clone(), server.abort.clone());
        server.tasks.spawn("rpc accept", accepting);
        Ok(server)
    }
}

impl Load {
    /// Notes a request, until the answer is dropped.
    fn begin(&self) -> impl Drop {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(&self.active)
    }

    /// Tells of the requests and connections of a server that takes `connections_max`.
    fn measure(self: &Arc<Self>, connections_max: usize, env: &Env) -> Measured {
        let load = self.clone();
        env.signals.measure(move |readings| {
            let active = load.active.load(Ordering::Relaxed);
            readings.gauge("http.server.active_requests", &[], active as f64);
            // One place is taken by the connection that is waited for.
            let open = connections_max.saturating_sub(load.places.available_permits() + 1);
            readings.gauge("banyan.http.server.connection.count", &[], open as f64);
            readings.gauge("banyan.http.server.connection.max", &[], connections_max as f64);
        })
    }
}

struct Active<'a>(&'a AtomicUsize);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Describes a contract service that lives behind `channel`.
fn exposed(name: &str, descriptors: Bytes, channel: Channel, access: Access) -> Result<Mount> {
    let methods = contract::methods(&descriptors, name)?;
    Ok(Mount { access, ..Mount::new(methods, descriptors, Backend::Channel(channel)) })
}

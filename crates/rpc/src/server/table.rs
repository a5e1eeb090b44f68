//! Which contract services a server serves at the moment.

use crate::message::Messages;
use crate::{Channel, MethodInfo, Service};
use arc_swap::ArcSwap;
use banyan_core::{Context, Error, Result};
use banyan_transcoding::{Access, Document, Method, Transcoder};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// The current [`Table`], replaced as a whole by each change.
pub(crate) struct Tables {
    current: ArcSwap<Table>,
    changing: Mutex<()>,
    /// Counts the changes.
    changed: watch::Sender<u64>,
}

/// An immutable set of services.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) mounts: HashMap<String, Mount>,
    /// Services that were here once and are elsewhere now.
    moved: HashSet<String>,
    pub(crate) draining: bool,
    /// Made when first needed: a server between processes never needs it.
    json: OnceLock<Result<Arc<Json>>>,
}

/// What the contracts of a table say beyond gRPC.
pub(crate) struct Json {
    pub(crate) transcoder: Transcoder,
    /// By gRPC path.
    pub(crate) methods: HashMap<String, Method>,
    openapi: OnceLock<Bytes>,
}

/// A contract service and where its calls go.
#[derive(Clone)]
pub(crate) struct Mount {
    pub(crate) methods: Arc<HashMap<String, &'static MethodInfo>>,
    /// An encoded `FileDescriptorSet`.
    pub(crate) descriptors: Bytes,
    pub(crate) backend: Backend,
    /// Who may call the methods that do not say it themselves.
    pub(crate) access: Access,
}

#[derive(Clone)]
pub(crate) enum Backend {
    Local(Service),
    Channel(Channel),
}

impl Tables {
    pub(crate) fn new() -> Self {
        Self { current: ArcSwap::default(), changing: Mutex::default(), changed: watch::Sender::default() }
    }

    pub(crate) fn current(&self) -> Arc<Table> {
        self.current.load_full()
    }

    pub(crate) fn add(&self, name: &str, mount: Mount) {
        self.change(|table| {
            table.moved.remove(name);
            table.mounts.insert(name.to_owned(), mount);
        });
    }

    pub(crate) fn remove(&self, name: &str) {
        self.change(|table| {
            if table.mounts.remove(name).is_some() {
                table.moved.insert(name.to_owned());
            }
        });
    }

    pub(crate) fn drain(&self) {
        self.change(|table| table.draining = true);
    }

    /// Returns a receiver that sees every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn change(&self, edit: impl FnOnce(&mut Table)) {
        let _changing = self.changing.lock();
        let current = self.current();
        let (mounts, moved) = (current.mounts.clone(), current.moved.clone());
        let mut table = Table { mounts, moved, draining: current.draining, json: OnceLock::new() };
        edit(&mut table);
        self.current.store(Arc::new(table));
        self.changed.send_modify(|changes| *changes += 1);
    }
}

impl Table {
    /// Finds what serves a gRPC path; `None` if the service was never here.
    ///
    /// # Errors
    /// `SERVICE_MOVING` if the service was here, [`banyan_core::Code::Unimplemented`] if it has no such method.
    pub(crate) fn find(&self, path: &str) -> Option<Result<(&Mount, &'static MethodInfo)>> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let Some(mount) = self.mounts.get(service) else {
            return self.moved.contains(service).then(|| Err(Error::moving(service)));
        };
        let info = mount.methods.get(method);
        let unknown = || Error::unimplemented(format!("{service} has no method {method:?}"));
        Some(info.map(|info| (mount, *info)).ok_or_else(unknown))
    }

    /// Returns the JSON side of all services that have descriptors.
    ///
    /// # Errors
    /// What is wrong with the descriptors.
    pub(crate) fn json(&self) -> Result<Arc<Json>> {
        let build = || {
            let described = self.mounts.iter().filter(|(_, mount)| !mount.descriptors.is_empty());
            let mut described: Vec<_> = described.collect();
            described.sort_unstable_by_key(|(name, _)| name.as_str());
            let sets: Vec<&[u8]> = described.iter().map(|(_, mount)| &*mount.descriptors).collect();
            let names: Vec<_> = described.iter().map(|(name, mount)| (name.as_str(), mount.access)).collect();
            let transcoder = Transcoder::with_access(&sets, &names).map_err(Error::internal)?;
            let methods = transcoder.methods().map(|method| (method.path.clone(), method.clone())).collect();
            Ok(Arc::new(Json { transcoder, methods, openapi: OnceLock::new() }))
        };
        self.json.get_or_init(build).clone()
    }
}

impl Json {
    /// Returns the OpenAPI document, which is written once.
    pub(crate) fn openapi(&self, document: &Document) -> Bytes {
        let write = || self.transcoder.openapi(document).to_string().into();
        self.openapi.get_or_init(write).clone()
    }
}

impl Mount {
    pub(crate) fn new(
        methods: HashMap<String, &'static MethodInfo>,
        descriptors: Bytes,
        backend: Backend,
    ) -> Self {
        Self { methods: Arc::new(methods), descriptors, backend, access: Access::Internal }
    }
}

impl Backend {
    pub(crate) async fn call(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        request: Messages,
    ) -> Result<Messages> {
        match self {
            Backend::Local(service) => {
                let pass = service.enter()?;
                service.execute(pass, cx, method.name, request).await
            }
            Backend::Channel(channel) => channel.call(cx, method, request).await,
        }
    }
}

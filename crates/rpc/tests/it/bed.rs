//! What every test stands on: a service under test, in this process or behind a loopback connection.

use banyan_core::{Context, Env, Error, Identity, Payload, Result};
use banyan_rpc::{
    Channel, Directory, DirectoryOptions, Idempotency, Kind, MethodInfo, PeerSecret, Server, ServerOptions,
    Service, ServiceBuilder, Target,
};
use bytes::Bytes;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::Notify;

/// How long anything that is expected may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A deadline that a test waits for, after which a busy machine has at least begun with the call.
pub(crate) const DEADLINE: Duration = Duration::from_secs(1);
pub(crate) const NAME: &str = "probe.v1.ProbeService";

pub(crate) static DO: MethodInfo = method("Do", "/probe.v1.ProbeService/Do", Kind::Unary);
pub(crate) static GET: MethodInfo = MethodInfo {
    idempotency: Idempotency::NoSideEffects,
    ..method("Get", "/probe.v1.ProbeService/Get", Kind::Unary)
};
pub(crate) static COUNT: MethodInfo = method("Count", "/probe.v1.ProbeService/Count", Kind::ServerStreaming);
pub(crate) static SUM: MethodInfo = method("Sum", "/probe.v1.ProbeService/Sum", Kind::ClientStreaming);
pub(crate) static CHAT: MethodInfo = method("Chat", "/probe.v1.ProbeService/Chat", Kind::Bidirectional);

const fn method(name: &'static str, path: &'static str, kind: Kind) -> MethodInfo {
    MethodInfo { service: NAME, name, path, kind, idempotency: Idempotency::Unknown }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Probe {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(int64, tag = "2")]
    pub(crate) number: i64,
}

impl Payload for Probe {
    fn to_bytes(&self) -> Bytes {
        prost::Message::encode_to_vec(self).into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        prost::Message::decode(bytes).map_err(|error| Error::data_loss("not a Probe").with_source(error))
    }
}

pub(crate) fn probe(text: &str, number: i64) -> Probe {
    Probe { text: text.to_owned(), number }
}

/// The contract, with its options.
pub(crate) static DESCRIPTORS: LazyLock<&'static [u8]> = LazyLock::new(|| {
    let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let options = concat!(env!("CARGO_MANIFEST_DIR"), "/../codegen/proto");
    let mut compiler = protox::Compiler::new([here, options]).unwrap();
    compiler.include_imports(true).open_file("probe.proto").unwrap();
    compiler.encode_file_descriptor_set().leak()
});

pub(crate) fn builder() -> ServiceBuilder {
    Service::builder(NAME, *DESCRIPTORS)
}

/// A service whose two unary methods do the same.
pub(crate) fn unary<Fut>(handler: impl Fn(Context, Probe) -> Fut + Clone + Send + Sync + 'static) -> Service
where
    Fut: Future<Output = Result<Probe>> + Send + 'static,
{
    builder().unary(&DO, handler.clone()).unary(&GET, handler).build()
}

pub(crate) fn echo() -> Service {
    unary(|_, request| async { Ok(request) })
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Placement {
    Local,
    Remote,
}

/// A service under test and a channel to it.
pub(crate) struct Bed {
    pub(crate) directory: Directory,
    pub(crate) channel: Channel,
    pub(crate) service: Service,
    pub(crate) server: Option<Server>,
    pub(crate) cx: Context,
}

impl Bed {
    pub(crate) async fn new(placement: Placement, service: Service) -> Self {
        Self::with_options(placement, service, options()).await
    }

    pub(crate) async fn with_options(
        placement: Placement,
        service: Service,
        options: DirectoryOptions,
    ) -> Self {
        let env = Env::default();
        let directory = Directory::with_options(&env, options);
        let server = match placement {
            Placement::Local => None,
            Placement::Remote => Some(server(&service).await),
        };
        directory.set(NAME, target(server.as_ref(), &service));
        let cx = Context::new(&env, Identity::user("u-1", &["admin".into()])).with_timeout(PATIENCE);
        Self { channel: directory.channel(NAME), directory, service, server, cx }
    }

    pub(crate) async fn call(
        &self,
        cx: &Context,
        method: &'static MethodInfo,
        request: Probe,
    ) -> Result<Probe> {
        self.channel.unary(cx, method, request).await
    }
}

pub(crate) fn secret() -> PeerSecret {
    PeerSecret::new("the-secret-of-the-tests").unwrap()
}

pub(crate) fn options() -> DirectoryOptions {
    DirectoryOptions { peer_secret: Some(secret()), ..Default::default() }
}

pub(crate) fn server_options() -> ServerOptions {
    ServerOptions { peer_secret: Some(secret()), internal: true, ..Default::default() }
}

pub(crate) async fn server(service: &Service) -> Server {
    let server = Server::builder(&Env::default(), server_options()).bind().await.unwrap();
    server.add(service.clone());
    server
}

pub(crate) fn target(server: Option<&Server>, service: &Service) -> Target {
    match server {
        Some(server) => Target::Remote(vec![server.address().into()]),
        None => Target::Local(service.clone()),
    }
}

/// Tells a test that something began or ended, wherever it runs.
#[derive(Clone, Default)]
pub(crate) struct Signal(Arc<Notify>);

impl Signal {
    pub(crate) fn send(&self) {
        self.0.notify_one();
    }

    /// Waits for the signal; a test that waits longer than anything may take has failed.
    pub(crate) async fn received(&self) {
        let waiting = tokio::time::timeout(PATIENCE, self.0.notified());
        waiting.await.expect("the signal never came");
    }

    /// Makes a guard that sends the signal when it is dropped.
    pub(crate) fn on_drop(&self) -> OnDrop {
        OnDrop(self.clone())
    }
}

pub(crate) struct OnDrop(Signal);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.send();
    }
}

/// Every field of an error that crosses a wire.
pub(crate) fn fields(error: &Error) -> String {
    let classes = (error.blame(), error.retry(), error.retry_after());
    format!(
        "{:?} {} {:?} {classes:?} {:?}",
        error.code(),
        error.reason(),
        error.message(),
        error.violations()
    )
}

/// Runs each behaviour in both placements.
macro_rules! in_both_placements {
    ($($behaviour:ident),* $(,)?) => {
        mod local {
            $(#[tokio::test] async fn $behaviour() { super::$behaviour($crate::bed::Placement::Local).await; })*
        }
        mod remote {
            $(#[tokio::test] async fn $behaviour() { super::$behaviour($crate::bed::Placement::Remote).await; })*
        }
    };
}
pub(crate) use in_both_placements;

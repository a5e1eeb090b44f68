//! The handlers of one contract service, and the gate before them.

use crate::bounded::Bounded;
use crate::gate::{Gate, Pass};
use crate::message::{Message, MessageStream, Messages};
use crate::{Kind, MethodInfo, Streaming};
use banyan_core::{
    BoxFuture, Code, Context, Error, Measured, Payload, Reason, Result, Retry, Signals, SpanKind,
};
use futures::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

/// How many calls a service works on at once, unless its builder says otherwise.
pub(crate) const CALLS_MAX_DEFAULT: usize = 1024;

/// The bytes of a request are not the message that the method takes.
pub const MALFORMED_MESSAGE: Reason = Reason::new("MALFORMED_MESSAGE");

/// The handler table of one contract service. Cheap to clone; every clone is the same service.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    name: &'static str,
    descriptors: &'static [u8],
    methods: HashMap<&'static str, Method>,
    gate: Gate,
    /// Where its spans go; a caller's way if nothing was set.
    signals: OnceLock<Signals>,
    measured: OnceLock<Measured>,
}

struct Method {
    info: &'static MethodInfo,
    handler: Handler,
}

type Handler = Box<dyn Fn(Context, Messages) -> BoxFuture<'static, Result<Messages>> + Send + Sync>;

/// Builds a [`Service`] from typed closures; made by [`Service::builder`].
pub struct ServiceBuilder {
    name: &'static str,
    descriptors: &'static [u8],
    methods: HashMap<&'static str, Method>,
    calls_max: usize,
}

impl Service {
    /// Starts the table of the contract service `name` (its full name), described by an encoded `FileDescriptorSet`.
    pub fn builder(name: &'static str, descriptors: &'static [u8]) -> ServiceBuilder {
        ServiceBuilder { name, descriptors, methods: HashMap::new(), calls_max: CALLS_MAX_DEFAULT }
    }

    /// Returns the full name of the contract service.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Records the spans of its calls, and measures how many are in work, in the name of the service that serves it; only
    /// the first time.
    pub fn record(&self, signals: &Signals) {
        if self.0.signals.set(*signals).is_err() {
            return;
        }
        let (name, gate) = (self.0.name, self.0.gate.clone());
        let measured = signals.measure(move |readings| {
            let labels = [("rpc.service", name)];
            readings.gauge("banyan.rpc.server.active_calls", &labels, gate.in_flight() as f64);
            readings.gauge("banyan.rpc.server.active_calls.max", &labels, gate.calls_max() as f64);
        });
        let _ = self.0.measured.set(measured);
    }

    /// Returns the encoded `FileDescriptorSet` that describes the service.
    pub fn descriptors(&self) -> &'static [u8] {
        self.0.descriptors
    }

    /// Returns the methods that have a handler, in no order.
    pub fn methods(&self) -> impl Iterator<Item = &'static MethodInfo> {
        self.0.methods.values().map(|method| method.info)
    }

    /// Refuses new calls with `SERVICE_MOVING` and waits until those in flight, streams included, are done.
    ///
    /// Callers that use a [`crate::Channel`] wait for the service to open or to appear elsewhere.
    pub async fn close(&self) {
        self.0.gate.close().await;
    }

    /// Accepts calls again.
    pub fn reopen(&self) {
        self.0.gate.open();
    }

    /// Returns how many calls are in flight, streams included.
    pub fn in_flight(&self) -> usize {
        self.0.gate.in_flight()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.gate.is_open()
    }

    /// Waits until the gate is closed.
    pub(crate) async fn closed(&self) {
        self.0.gate.closed().await;
    }

    /// Waits until the gate is open.
    pub(crate) async fn opened(&self) {
        self.0.gate.opened().await;
    }

    pub(crate) fn method(&self, name: &str) -> Option<&'static MethodInfo> {
        self.0.methods.get(name).map(|method| method.info)
    }

    /// Lets a call in. Until it has its pass nothing of it is consumed.
    ///
    /// # Errors
    /// `SERVICE_MOVING` or `OVERLOADED`.
    pub(crate) fn enter(&self) -> Result<Pass> {
        self.0.gate.enter()
    }

    /// Executes a call for the caller behind `caller`, whose future it is dropped with.
    ///
    /// This is where a callee's context comes from, for calls from this process and from others: the caller's
    /// identity, deadline, keys and trace, in a span of its own.
    pub(crate) async fn execute(
        &self,
        pass: Pass,
        caller: &Context,
        name: &str,
        request: Messages,
    ) -> Result<Messages> {
        let Some(method) = self.0.methods.get(name) else {
            return Err(Error::unimplemented(format!("{} has no method {name:?}", self.0.name)));
        };
        let here = self.0.signals.get().map(|signals| caller.with_signals(signals));
        let here = here.as_ref().unwrap_or(caller);
        let (cx, mut active) = here.begin(SpanKind::Server, method.info.path.trim_start_matches('/'));
        active.constants(&[("rpc.system.name", "grpc")]);
        let started = std::panic::catch_unwind(AssertUnwindSafe(|| (method.handler)(cx.clone(), request)));
        let handling = match started {
            Ok(future) => AssertUnwindSafe(future).catch_unwind(),
            Err(panic) => return Err(panicked(method.info, &*panic)),
        };
        let handling =
            handling.map(|outcome| outcome.unwrap_or_else(|panic| Err(panicked(method.info, &*panic))));
        let outcome = cx.within(handling).await;
        active.end(&outcome);
        match outcome.map_err(executed)? {
            Messages::Stream(stream) => {
                Ok(Messages::from_stream(Bounded::new(guarded(stream, method.info), &cx, pass)))
            }
            one => Ok(one),
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("name", &self.0.name).field("in_flight", &self.in_flight()).finish()
    }
}

impl ServiceBuilder {
    /// Bounds the number of calls in work at once; more are refused with `OVERLOADED`. Default 1024.
    pub fn calls_max(mut self, calls_max: usize) -> Self {
        self.calls_max = calls_max.max(1);
        self
    }

    pub fn unary<Req, Res, Fut>(
        self,
        info: &'static MethodInfo,
        handler: impl Fn(Context, Req) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Req: Payload,
        Res: Payload + Clone,
        Fut: Future<Output = Result<Res>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.method(info, Kind::Unary, move |cx, request| {
            let handler = handler.clone();
            Box::pin(async move {
                let request = request.one().and_then(read_request)?;
                Ok(Messages::One(Message::value(handler(cx, request).await?)))
            })
        })
    }

    pub fn server_streaming<Req, Res, Fut>(
        self,
        info: &'static MethodInfo,
        handler: impl Fn(Context, Req) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Req: Payload,
        Res: Payload + Clone,
        Fut: Future<Output = Result<Streaming<Res>>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.method(info, Kind::ServerStreaming, move |cx, request| {
            let handler = handler.clone();
            Box::pin(async move {
                let request = request.one().and_then(read_request)?;
                Ok(Messages::Stream(handler(cx, request).await?.erase()))
            })
        })
    }

    pub fn client_streaming<Req, Res, Fut>(
        self,
        info: &'static MethodInfo,
        handler: impl Fn(Context, Streaming<Req>) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Req: Payload,
        Res: Payload + Clone,
        Fut: Future<Output = Result<Res>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.method(info, Kind::ClientStreaming, move |cx, request| {
            let handler = handler.clone();
            Box::pin(async move {
                let requests = request.stream().map(read_requests)?;
                Ok(Messages::One(Message::value(handler(cx, requests).await?)))
            })
        })
    }

    pub fn bidirectional<Req, Res, Fut>(
        self,
        info: &'static MethodInfo,
        handler: impl Fn(Context, Streaming<Req>) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        Req: Payload,
        Res: Payload + Clone,
        Fut: Future<Output = Result<Streaming<Res>>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.method(info, Kind::Bidirectional, move |cx, request| {
            let handler = handler.clone();
            Box::pin(async move {
                let requests = request.stream().map(read_requests)?;
                Ok(Messages::Stream(handler(cx, requests).await?.erase()))
            })
        })
    }

    pub fn build(self) -> Service {
        let gate = Gate::new(self.name, self.calls_max);
        self.build_behind(gate)
    }

    /// Builds the service behind a gate that its handlers may watch.
    pub(crate) fn build_behind(self, gate: Gate) -> Service {
        Service(Arc::new(Inner {
            name: self.name,
            descriptors: self.descriptors,
            methods: self.methods,
            gate,
            signals: OnceLock::new(),
            measured: OnceLock::new(),
        }))
    }

    /// Adds a handler of messages as they come, typed or encoded.
    ///
    /// # Panics
    /// If the method belongs to another service or is of another kind: a mistake in the program, found at start.
    pub(crate) fn method(
        mut self,
        info: &'static MethodInfo,
        kind: Kind,
        handler: impl Fn(Context, Messages) -> BoxFuture<'static, Result<Messages>> + Send + Sync + 'static,
    ) -> Self {
        assert_eq!((info.service, info.kind), (self.name, kind), "{} is not such a method", info.path);
        self.methods.insert(info.name, Method { info, handler: Box::new(handler) });
        self
    }
}

fn read_request<T: Payload>(message: Message) -> Result<T> {
    message.into_typed().map_err(malformed)
}

fn read_requests<T: Payload + Sized>(stream: MessageStream) -> Streaming<T> {
    Streaming::new(stream.map(|item| item.and_then(read_request)))
}

/// What is damage in a store is the caller's mistake in a request.
fn malformed(error: Error) -> Error {
    if error.code() == Code::DataLoss {
        Error::new(Code::InvalidArgument, MALFORMED_MESSAGE, "the request is not such a message")
            .with_source(error)
    } else {
        error
    }
}

/// Corrects what a handler's error claims: "certainly not executed" was true of a call further down, not of this one.
fn executed(error: Error) -> Error {
    if error.retry() == Retry::Safe { error.with_retry(Retry::IfIdempotent) } else { error }
}

fn panicked(method: &MethodInfo, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    tracing::error!(method = method.path, panic = text, "a handler panicked");
    Error::internal(format!("the handler of {} panicked: {text}", method.path))
}

/// Catches what `stream` panics with, and corrects what it claims.
fn guarded(mut stream: MessageStream, method: &'static MethodInfo) -> MessageStream {
    let guarded = futures::stream::poll_fn(move |poller| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| stream.poll_next_unpin(poller)));
        let polled = polled.unwrap_or_else(|panic| Poll::Ready(Some(Err(panicked(method, &*panic)))));
        polled.map(|item| item.map(|item| item.map_err(executed)))
    });
    guarded.boxed()
}

//! A service that was written with tonic behaves like one of ours, wherever it is.

use crate::bed::{
    Bed, CHAT, COUNT, DEADLINE, DESCRIPTORS, DO, GET, NAME, Placement, Probe, SUM, Signal,
    in_both_placements, probe,
};
use banyan_core::{BoxFuture, Code, Context, Error, Reason, Retry};
use banyan_rpc::{Service, Streaming};
use futures::StreamExt;
use prost::Message;
use std::convert::Infallible;
use std::task::{Context as Poller, Poll};
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

in_both_placements!(
    every_kind_of_method_works,
    a_status_keeps_its_details,
    the_callers_context_arrives,
    a_panic_is_an_internal_error,
    a_panic_in_a_stream_is_an_internal_error,
    a_dropped_response_stream_drops_the_callee,
    a_failing_request_stream_fails_the_call,
    the_deadline_drops_the_callee,
);

/// What tonic's own code generator would write for the contract of the tests.
#[derive(Clone, Default)]
struct Tonic {
    dropped: Signal,
}

impl NamedService for Tonic {
    const NAME: &'static str = NAME;
}

impl tower::Service<http::Request<Body>> for Tonic {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::default());
            Ok(match request.uri().path().rsplit('/').next().unwrap() {
                "Do" | "Get" => grpc.unary(Unary(this), request).await,
                "Count" => {
                    grpc.server_streaming(tower::service_fn(move |r| count(this.clone(), r)), request).await
                }
                "Sum" => grpc.client_streaming(tower::service_fn(sum), request).await,
                _ => grpc.streaming(tower::service_fn(chat), request).await,
            })
        })
    }
}

struct Unary(Tonic);

impl UnaryService<Probe> for Unary {
    type Response = Probe;
    type Future = BoxFuture<'static, Result<Response<Probe>, Status>>;

    fn call(&mut self, request: Request<Probe>) -> Self::Future {
        let dropped = self.0.dropped.clone();
        Box::pin(async move {
            match request.get_ref().text.as_str() {
                "refuse" => Err(refusal()),
                "panic" => panic!("as told"),
                "hang" => {
                    let _guard = dropped.on_drop();
                    std::future::pending().await
                }
                "who" => Ok(Response::new(who(&request))),
                _ => Ok(Response::new(request.into_inner())),
            }
        })
    }
}

/// Says what a service that knows only tonic can see of its caller.
fn who(request: &Request<Probe>) -> Probe {
    let text = |key: &str| request.metadata().get(key).map_or("none", |value| value.to_str().unwrap());
    let cx = request.extensions().get::<Context>().unwrap();
    assert_eq!(text("traceparent"), cx.trace().to_header());
    assert_eq!(text("x-banyan-identity"), cx.identity().to_header());
    let timed = text("grpc-timeout") != "none";
    let trace = format!("{:032x}", cx.trace().trace_id);
    let texts = [text("x-banyan-identity"), text("idempotency-key"), text("x-correlation-id"), &trace];
    probe(&texts.join(" "), timed.into())
}

type Stream = futures::stream::BoxStream<'static, Result<Probe, Status>>;

async fn count(this: Tonic, request: Request<Probe>) -> Result<Response<Stream>, Status> {
    let request = request.into_inner();
    let guard = this.dropped.on_drop();
    let numbers = futures::stream::iter(1..=request.number).map(move |number| {
        let _held = &guard;
        assert!(request.text != "panic" || number < 3, "as told");
        if request.text == "refuse" && number == 3 { Err(refusal()) } else { Ok(probe("", number)) }
    });
    Ok(Response::new(numbers.boxed()))
}

async fn sum(request: Request<tonic::Streaming<Probe>>) -> Result<Response<Probe>, Status> {
    let (mut requests, mut sum) = (request.into_inner(), 0);
    while let Some(request) = requests.message().await? {
        sum += request.number;
    }
    Ok(Response::new(probe("", sum)))
}

async fn chat(request: Request<tonic::Streaming<Probe>>) -> Result<Response<Stream>, Status> {
    Ok(Response::new(request.into_inner().map(|item| item.map(|p| probe("", -p.number))).boxed()))
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
}

fn refusal() -> Status {
    let info = ErrorInfo { reason: "NO_GREETING".to_owned() }.encode_to_vec();
    let type_url = "type.googleapis.com/google.rpc.ErrorInfo".to_owned();
    let details = vec![prost_types::Any { type_url, value: info }];
    let status = RpcStatus { code: 9, message: "not today ✗".to_owned(), details };
    Status::with_details(tonic::Code::FailedPrecondition, "not today ✗", status.encode_to_vec().into())
}

fn is_refusal(error: &Error) -> bool {
    (error.code(), error.reason(), error.message())
        == (Code::FailedPrecondition, "NO_GREETING", "not today ✗")
}

async fn bed(placement: Placement) -> (Bed, Signal) {
    let tonic = Tonic::default();
    let dropped = tonic.dropped.clone();
    (Bed::new(placement, Service::from_tonic(*DESCRIPTORS, tonic)).await, dropped)
}

async fn every_kind_of_method_works(placement: Placement) {
    let (bed, _) = bed(placement).await;
    let cx = &bed.cx;
    assert_eq!(bed.call(cx, &DO, probe("a", 7)).await.unwrap(), probe("a", 7));
    assert_eq!(bed.call(cx, &GET, Probe::default()).await.unwrap(), Probe::default());

    let counted: Streaming<Probe> = bed.channel.server_streaming(cx, &COUNT, probe("", 3)).await.unwrap();
    assert_eq!(counted.collect(3).await.unwrap(), [1, 2, 3].map(|n| probe("", n)));
    let requests = || Streaming::of((1..=4).map(|number| probe("", number)));
    let sum: Probe = bed.channel.client_streaming(cx, &SUM, requests()).await.unwrap();
    assert_eq!(sum.number, 10);

    // Each answer is there before the next question is asked.
    let (sender, questions) = Streaming::channel(1);
    let mut answers: Streaming<Probe> = bed.channel.bidirectional(cx, &CHAT, questions).await.unwrap();
    for number in 1..=3 {
        sender.send(probe("", number)).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().number, -number);
    }
    drop(sender);
    assert!(answers.message().await.unwrap().is_none());
}

async fn a_status_keeps_its_details(placement: Placement) {
    let (bed, _) = bed(placement).await;
    let error = bed.call(&bed.cx, &DO, probe("refuse", 0)).await.unwrap_err();
    assert!(is_refusal(&error), "{error:?}");
    assert_eq!(error.retry(), Retry::Never);

    let mut counted: Streaming<Probe> =
        bed.channel.server_streaming(&bed.cx, &COUNT, probe("refuse", 5)).await.unwrap();
    assert_eq!(counted.message().await.unwrap().unwrap().number, 1);
    assert_eq!(counted.message().await.unwrap().unwrap().number, 2);
    let error = counted.message().await.unwrap_err();
    assert!(is_refusal(&error), "{error:?}");
}

async fn the_callers_context_arrives(placement: Placement) {
    let (bed, _) = bed(placement).await;
    let cx = bed.cx.with_idempotency_key("k-1").with_correlation_id("c-1");
    let seen = bed.call(&cx, &DO, probe("who", 0)).await.unwrap();
    let trace = format!("{:032x}", cx.trace().trace_id);
    assert_eq!(seen.text, format!("user;u-1;admin k-1 c-1 {trace}"));
    assert_eq!(seen.number, 1, "the deadline is not in the metadata");
}

async fn a_panic_is_an_internal_error(placement: Placement) {
    let (bed, _) = bed(placement).await;
    let error = bed.call(&bed.cx, &DO, probe("panic", 0)).await.unwrap_err();
    assert!(error.is(Reason::INTERNAL), "{error:?}");
    assert_eq!(bed.service.in_flight(), 0);
    bed.call(&bed.cx, &DO, probe("", 0)).await.unwrap();
}

async fn a_panic_in_a_stream_is_an_internal_error(placement: Placement) {
    let (bed, _) = bed(placement).await;
    let counted: Streaming<Probe> =
        bed.channel.server_streaming(&bed.cx, &COUNT, probe("panic", 5)).await.unwrap();
    let error = counted.collect(5).await.unwrap_err();
    assert!(error.is(Reason::INTERNAL), "{error:?}");
}

async fn a_dropped_response_stream_drops_the_callee(placement: Placement) {
    let (bed, dropped) = bed(placement).await;
    let mut counted: Streaming<Probe> =
        bed.channel.server_streaming(&bed.cx, &COUNT, probe("", i64::MAX)).await.unwrap();
    counted.message().await.unwrap().unwrap();
    drop(counted);
    dropped.received().await;
}

async fn a_failing_request_stream_fails_the_call(placement: Placement) {
    let (bed, _) = bed(placement).await;
    let requests = || {
        let failure = Err(Error::failed_precondition(Reason::new("LOST_COUNT"), "where was I?"));
        Streaming::new(futures::stream::iter([Ok(probe("", 1)), failure]))
    };
    let error = bed.channel.client_streaming::<_, Probe>(&bed.cx, &SUM, requests()).await.unwrap_err();
    assert_eq!(error.reason(), "LOST_COUNT");
    let answers = bed.channel.bidirectional::<_, Probe>(&bed.cx, &CHAT, requests()).await;
    let error = match answers {
        Ok(answers) => answers.collect(2).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.reason(), "LOST_COUNT");
}

async fn the_deadline_drops_the_callee(placement: Placement) {
    let (bed, dropped) = bed(placement).await;
    let cx = bed.cx.with_timeout(DEADLINE);
    let error = bed.call(&cx, &DO, probe("hang", 0)).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    dropped.received().await;
}

#[test]
#[should_panic(expected = "does not describe the service probe.v1.ProbeService")]
fn descriptors_of_another_contract_are_refused() {
    Service::from_tonic(&[], Tonic::default());
}

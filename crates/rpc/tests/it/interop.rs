//! gRPC with those who do not know Banyan: a bare tonic client and a bare tonic server.

use crate::bed::{CHAT, DESCRIPTORS, DO, NAME, Probe, SUM, builder, options, probe, unary};
use banyan_core::{BoxFuture, Code, Context, Env, Error, Retry};
use banyan_rpc::{Directory, Endpoint, Server, ServerOptions, Service, Streaming, Target};
use futures::StreamExt;
use std::convert::Infallible;
use std::task::{Context as Poller, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

type Codec = ProstCodec<Probe, Probe>;

/// A tonic service as tonic's own code generator would write it.
#[derive(Clone)]
struct Bare;

impl tonic::server::NamedService for Bare {
    const NAME: &'static str = NAME;
}

impl tower::Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let unary = tower::service_fn(|request: Request<Probe>| async move {
            if request.get_ref().number < 0 {
                return Err(Status::resource_exhausted("slow down ✗"));
            }
            let key = request.metadata().get("idempotency-key").and_then(|key| key.to_str().ok());
            Ok(Response::new(probe(key.unwrap_or_default(), request.get_ref().number)))
        });
        let chat = tower::service_fn(|request: Request<tonic::Streaming<Probe>>| async move {
            Ok::<_, Status>(Response::new(
                request.into_inner().map(|item| item.map(|p| probe("", -p.number))),
            ))
        });
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Codec::default());
            Ok(match request.uri().path() {
                path if path == DO.path => grpc.unary(unary, request).await,
                _ => grpc.streaming(chat, request).await,
            })
        })
    }
}

async fn bare_client(address: std::net::SocketAddr) -> tonic::client::Grpc<tonic::transport::Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    client
}

fn path(path: &'static str) -> http::uri::PathAndQuery {
    http::uri::PathAndQuery::from_static(path)
}

async fn open_server() -> Server {
    Server::builder(&Env::default(), ServerOptions::default()).bind().await.unwrap()
}

#[tokio::test]
async fn a_bare_client_calls_our_server() {
    let server = open_server().await;
    let sum = |_: Context, requests: Streaming<Probe>| async move {
        Ok(probe("sum", requests.collect(10).await?.iter().map(|p| p.number).sum()))
    };
    let handler = |cx: Context, request: Probe| async move {
        match request.number {
            0 => Err(Error::invalid("number", "must not be zero")),
            _ => {
                Ok(probe(cx.idempotency_key().unwrap_or_default(), cx.remaining().unwrap().as_secs() as i64))
            }
        }
    };
    server.add(builder().unary(&DO, handler).client_streaming(&SUM, sum).build());
    let mut client = bare_client(server.address()).await;

    let mut request = Request::new(probe("", 1));
    request.set_timeout(Duration::from_secs(7));
    request.metadata_mut().insert("idempotency-key", "k-1".parse().unwrap());
    let answer = client.unary(request, path(DO.path), Codec::default()).await.unwrap().into_inner();
    assert_eq!(answer, probe("k-1", 6));

    client.ready().await.unwrap();
    let requests = futures::stream::iter((1..=4).map(|number| probe("", number)));
    let answer =
        client.client_streaming(Request::new(requests), path(SUM.path), Codec::default()).await.unwrap();
    assert_eq!(answer.into_inner(), probe("sum", 10));

    client.ready().await.unwrap();
    let refused =
        client.unary(Request::new(probe("", 0)), path(DO.path), Codec::default()).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (tonic::Code::InvalidArgument, "number: must not be zero")
    );
    assert!(String::from_utf8_lossy(refused.details()).contains("google.rpc.BadRequest"));

    client.ready().await.unwrap();
    let missing = path("/nobody.v1.Nobody/Do");
    let missing = client.unary(Request::new(probe("", 1)), missing, Codec::default()).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::Unimplemented);
}

async fn bare_server_is_called_at(endpoint: Endpoint) {
    let directory = Directory::with_options(&Env::default(), options());
    directory.set(NAME, Target::Remote(vec![endpoint.external()]));
    let channel = directory.channel(NAME);
    let cx = Context::background().with_idempotency_key("k-1");
    let answer: Probe = channel.unary(&cx, &DO, probe("", 5)).await.unwrap();
    assert_eq!(answer, probe("k-1", 5));

    let responses = channel.bidirectional(&cx, &CHAT, Streaming::of([probe("", 1), probe("", 2)]));
    let responses: Streaming<Probe> = responses.await.unwrap();
    assert_eq!(responses.collect(2).await.unwrap(), [probe("", -1), probe("", -2)]);

    let cx = Context::background();
    let error = channel.unary::<_, Probe>(&cx, &DO, probe("", -1)).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), (Code::ResourceExhausted, Retry::IfIdempotent));
    assert_eq!((error.reason(), error.message()), ("RESOURCE_EXHAUSTED", "slow down ✗"));
}

#[tokio::test]
async fn our_client_calls_a_bare_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let serving = tonic::transport::Server::builder().add_service(Bare).serve_with_incoming(incoming);
    tokio::select! {
        ended = serving => panic!("the server ended with {ended:?}"),
        () = bare_server_is_called_at(address.into()) => {}
    }
}

#[tokio::test]
async fn a_bare_service_joins_our_server_unchanged() {
    let server = open_server().await;
    server.add(Service::from_tonic(*DESCRIPTORS, Bare));
    bare_server_is_called_at(server.address().into()).await;
    let mut client = bare_client(server.address()).await;
    let missing = path("/nobody.v1.Nobody/Do");
    let missing = client.unary(Request::new(probe("", 1)), missing, Codec::default()).await.unwrap_err();
    assert_eq!(missing.code(), tonic::Code::Unimplemented);
}

#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Number {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[tokio::test]
async fn health_follows_the_services() {
    const SERVING: i32 = 1;
    const NOT_SERVING: i32 = 2;
    const SERVICE_UNKNOWN: i32 = 3;
    let options = ServerOptions { internal: true, ..Default::default() };
    let server = Server::builder(&Env::default(), options).bind().await.unwrap();
    let mut client = bare_client(server.address()).await;
    let codec = ProstCodec::<Health, Number>::default;
    let check = path("/grpc.health.v1.Health/Check");
    let of = |service: &str| Request::new(Health { service: service.to_owned() });

    let overall = client.unary(of(""), check.clone(), codec()).await.unwrap();
    assert_eq!(overall.into_inner().status, SERVING);
    client.ready().await.unwrap();
    let unknown = client.unary(of(NAME), check.clone(), codec()).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);

    client.ready().await.unwrap();
    let watch = path("/grpc.health.v1.Health/Watch");
    let mut watching = client.server_streaming(of(NAME), watch, codec()).await.unwrap().into_inner();
    let mut next = async || watching.message().await.unwrap().unwrap().status;
    assert_eq!(next().await, SERVICE_UNKNOWN);
    let service = unary(|_, request| async { Ok(request) });
    server.add(service.clone());
    assert_eq!(next().await, SERVING);
    service.close().await;
    assert_eq!(next().await, NOT_SERVING);
    client.ready().await.unwrap();
    let closed = client.unary(of(NAME), check, codec()).await.unwrap();
    assert_eq!(closed.into_inner().status, NOT_SERVING);
    server.remove(NAME);
    assert_eq!(next().await, SERVICE_UNKNOWN);
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reflection {
    #[prost(string, optional, tag = "4")]
    file_containing_symbol: Option<String>,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Reflected {
    #[prost(message, optional, tag = "4")]
    files: Option<Strings>,
    #[prost(message, optional, tag = "6")]
    services: Option<Names>,
    #[prost(message, optional, tag = "7")]
    error: Option<Number>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Strings {
    #[prost(bytes = "vec", repeated, tag = "1")]
    items: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Names {
    #[prost(message, repeated, tag = "1")]
    items: Vec<Health>,
}

#[tokio::test]
async fn reflection_describes_the_services() {
    let server = open_server().await;
    server.add(unary(|_, request| async { Ok(request) }));
    let question = |symbol: Option<&str>| Reflection {
        file_containing_symbol: symbol.map(str::to_owned),
        list_services: symbol.is_none().then(String::new),
    };
    for version in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        let mut client = bare_client(server.address()).await;
        let questions = [None, Some("probe.v1.ProbeService.Get"), Some("probe.v1.Nothing")].map(question);
        let asking = Request::new(futures::stream::iter(questions));
        let codec = ProstCodec::<Reflection, Reflected>::default();
        let answers = client.streaming(asking, path(version), codec).await.unwrap().into_inner();
        let answers: Vec<_> = answers.map(Result::unwrap).collect().await;

        let services = answers[0].services.as_ref().unwrap().items.iter();
        let services: Vec<_> = services.map(|name| name.service.as_str()).collect();
        assert!(services.contains(&NAME) && services.contains(&"grpc.health.v1.Health"), "{services:?}");
        let files = &answers[1].files.as_ref().unwrap().items;
        let first: prost_types::FileDescriptorProto = prost::Message::decode(files[0].as_slice()).unwrap();
        assert_eq!(first.name(), "probe.proto");
        assert!(files.len() >= 4, "the imports are missing");
        assert_eq!(answers[2].error.as_ref().unwrap().status, Code::NotFound as i32);
    }
}

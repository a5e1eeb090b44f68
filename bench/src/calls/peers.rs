//! The callees: this program, started by itself, as our server or as a bare tonic one.

use super::message::{ECHO, Parcel, SERVICE, descriptors};
use anyhow::Result;
use banyan_core::{BoxFuture, Context, Env};
use banyan_rpc::{PeerSecret, Server, ServerOptions, Service};
use clap::ValueEnum;
use std::convert::Infallible;
use std::task::{Context as Poller, Poll};
use tokio::io::AsyncReadExt;
use tonic::body::Body;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contender {
    Banyan,
    Tonic,
    TonicTwice,
    /// Our client and a bare server.
    OurClient,
    /// A bare client and our server.
    OurServer,
}

impl Contender {
    pub(super) const ALL: [Contender; 5] = [
        Contender::Banyan,
        Contender::Tonic,
        Contender::TonicTwice,
        Contender::OurClient,
        Contender::OurServer,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Contender::Banyan => "Banyan",
            Contender::Tonic => "bare tonic",
            Contender::TonicTwice => "bare tonic, two connections",
            Contender::OurClient => "Banyan's client, bare server",
            Contender::OurServer => "bare client, Banyan's server",
        }
    }
}

/// What both processes of a system know.
pub(super) fn secret() -> Result<PeerSecret> {
    Ok(PeerSecret::new("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")?)
}

/// Prints where it listens and serves until standard input ends.
pub(crate) async fn serve(contender: Contender) -> Result<()> {
    let mut input = tokio::io::stdin();
    let mut rest = Vec::new();
    match contender {
        Contender::Banyan => {
            // Not internal, so that a bare client is served too; the peer secret is checked all the same.
            let options = ServerOptions { peer_secret: Some(secret()?), ..ServerOptions::default() };
            let server = Server::builder(&Env::default(), options).bind().await?;
            let service = Service::builder(SERVICE, descriptors()?)
                .unary(&ECHO, |_: Context, parcel: Parcel| async move { Ok(parcel) })
                .build();
            server.add(service);
            println!("{}", server.address());
            input.read_to_end(&mut rest).await?;
        }
        _ => {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
            println!("{}", listener.local_addr()?);
            let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
            let serving = tonic::transport::Server::builder().add_service(Bare).serve_with_incoming_shutdown(
                incoming,
                async {
                    // However it ends, there is nobody to serve any more.
                    let _ = input.read_to_end(&mut rest).await;
                },
            );
            serving.await?;
        }
    }
    Ok(())
}

/// A tonic service as tonic's own code generator writes it.
#[derive(Clone)]
struct Bare;

impl tonic::server::NamedService for Bare {
    const NAME: &'static str = SERVICE;
}

impl tower::Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            path if path == ECHO.path => Box::pin(async move {
                let echo = tower::service_fn(|request: Request<Parcel>| async move {
                    Ok::<_, Status>(Response::new(request.into_inner()))
                });
                let codec: ProstCodec<Parcel, Parcel> = ProstCodec::default();
                Ok(tonic::server::Grpc::new(codec).unary(echo, request).await)
            }),
            _ => Box::pin(async { Ok(Status::unimplemented("").into_http()) }),
        }
    }
}

//! The gRPC health protocol with a client of somebody else's making.

use crate::bed::{DESCRIPTORS, NAME, PATIENCE, unary};
use banyan_core::{BoxFuture, Env};
use banyan_rpc::{Access, Directory, Endpoint, Fitness, Server, ServerOptions, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tonic::transport::{Channel, Endpoint as Address};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

async fn client(server: &Server) -> HealthClient<Channel> {
    let address = Address::from_shared(format!("http://{}", server.address())).unwrap();
    HealthClient::new(address.connect().await.unwrap())
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn check(client: &mut HealthClient<Channel>, service: &str) -> ServingStatus {
    client.check(of(service)).await.unwrap().into_inner().status()
}

#[tokio::test]
async fn what_is_exposed_is_as_healthy_as_its_place() {
    let env = Env::default();
    let directory = Directory::new(&env);
    let mut builder = Server::builder(&env, ServerOptions::default());
    builder.expose(NAME, *DESCRIPTORS, directory.channel(NAME), Access::Public).unwrap();
    let gateway = builder.bind().await.unwrap();
    let mut client = client(&gateway).await;
    assert_eq!(check(&mut client, NAME).await, ServingStatus::NotServing, "it has no place yet");
    assert_eq!(check(&mut client, "").await, ServingStatus::Serving, "the gateway itself serves");

    let mut watching = client.watch(of(NAME)).await.unwrap().into_inner();
    let mut next = async || {
        let told = tokio::time::timeout(PATIENCE, watching.message()).await;
        told.expect("it tells").unwrap().expect("it goes on").status()
    };
    assert_eq!(next().await, ServingStatus::NotServing);
    let service = unary(|_, request| async { Ok(request) });
    directory.set(NAME, Target::Local(service.clone()));
    assert_eq!(next().await, ServingStatus::Serving);
    // As it moves: it closes, has no place, and has another one.
    service.close().await;
    assert_eq!(next().await, ServingStatus::NotServing);
    directory.set(NAME, Target::Unplaced);
    directory.set(NAME, Target::Remote(vec![Endpoint::new("127.0.0.1:9").unwrap()]));
    assert_eq!(next().await, ServingStatus::Serving);

    gateway.announce_drain();
    assert_eq!(next().await, ServingStatus::NotServing);
    assert_eq!(check(&mut client, "").await, ServingStatus::NotServing);
    assert_eq!(check(&mut client, NAME).await, ServingStatus::NotServing, "and it is still there to say so");
}

/// Says of every service what it was told.
struct Judge(AtomicBool);

impl Fitness for Judge {
    fn is_fit<'a>(&'a self, contract: &'a str) -> BoxFuture<'a, bool> {
        assert_eq!(contract, NAME);
        Box::pin(async { self.0.load(Ordering::Relaxed) })
    }
}

#[tokio::test]
async fn a_service_that_is_not_fit_does_not_serve_wherever_it_is() {
    let env = Env::default();
    let directory = Directory::new(&env);
    let judge = Arc::new(Judge(AtomicBool::new(true)));
    let mut builder = Server::builder(&env, ServerOptions::default()).fitness(judge.clone());
    builder.expose(NAME, *DESCRIPTORS, directory.channel(NAME), Access::Public).unwrap();
    let gateway = builder.bind().await.unwrap();
    let mut client = client(&gateway).await;
    assert_eq!(
        check(&mut client, NAME).await,
        ServingStatus::NotServing,
        "it has no place, whatever is said"
    );
    directory.set(NAME, Target::Local(unary(|_, request| async { Ok(request) })));
    assert_eq!(check(&mut client, NAME).await, ServingStatus::Serving);

    let mut watching = client.watch(of(NAME)).await.unwrap().into_inner();
    for fit in [true, false, true] {
        judge.0.store(fit, Ordering::Relaxed);
        let told = tokio::time::timeout(PATIENCE, watching.message()).await;
        let status = told.expect("it tells").unwrap().expect("it goes on").status();
        let expected = if fit { ServingStatus::Serving } else { ServingStatus::NotServing };
        assert_eq!((status, check(&mut client, NAME).await), (expected, expected));
        assert_eq!(check(&mut client, "").await, ServingStatus::Serving, "the gateway serves all the same");
    }
}

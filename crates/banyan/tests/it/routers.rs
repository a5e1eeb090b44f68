//! A service that is a router, and definitions that do not fit their service.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use banyan::prelude::*;
use banyan::rpc::HttpChannel;
use banyan_testkit::TestSystem;
use http_body_util::BodyExt;

fn greeter() -> ServiceDef {
    let service = ServiceDef::new("greeter", [], |host: Host| async move {
        host.serve_router(Router::new().route("/hello", get(|| async { "hello" })));
        Ok(())
    });
    service.router("/old", Access::Public)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_is_called_like_any_service_and_waited_for_while_it_moves() {
    let system = TestSystem::of([greeter()]).start().await.unwrap();
    let channel = HttpChannel::new(system.process().directory(), "greeter", "/old");
    let hello = || async {
        let request = http::Request::get("/old/hello").body(Body::empty()).unwrap();
        let response = channel.send(&Context::background(), request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    assert_eq!(hello().await, "hello");
    system.process().stop("greeter").await.unwrap();
    let mut waiting = Box::pin(hello());
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "answered by a stopped service: {early:?}");
    system.process().start("greeter").await.unwrap();
    assert_eq!(waiting.await, "hello");
}

#[tokio::test]
async fn a_service_that_does_not_serve_what_it_announces_is_refused() {
    let announced = ServiceDef::new("idle", ["acme.v1.Nothing"], |_| async { Ok(()) });
    let unannounced = ServiceDef::new("secret", [], |host: Host| async move {
        host.serve_router(Router::new());
        Ok(())
    });
    let system = TestSystem::of([announced, unannounced]).prepare().await.unwrap();
    for (name, contract) in [("idle", "acme.v1.Nothing"), ("secret", "http:secret")] {
        let error = system.process().start(name).await.unwrap_err();
        assert_eq!(error.reason(), "CONTRACTS_DIFFER");
        assert!(error.message().contains(contract), "{error}");
        assert!(!system.process().serves(contract));
    }
}

#[test]
#[should_panic(expected = "the routers of greeter and other have the same prefix")]
fn two_routers_cannot_share_a_prefix() {
    let other = ServiceDef::new("other", [], |_| async { Ok(()) }).router("/old", Access::User);
    drop(System::new("test").service(greeter()).service(other));
}

#[test]
#[should_panic(expected = "both serve Some(\"acme.v1.Same\")")]
fn two_services_cannot_share_a_contract() {
    let def = |name| ServiceDef::new(name, ["acme.v1.Same"], |_| async { Ok(()) });
    drop(System::new("test").service(def("one")).service(def("two")));
}

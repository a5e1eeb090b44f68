//! What only a call to another process can meet.

use crate::bed::{
    Bed, DO, GET, NAME, PATIENCE, Placement, Probe, Signal, echo, options, probe, secret, server,
    server_options, unary,
};
use banyan_core::{Code, Context, Env, Identity, Reason, Retry};
use banyan_rpc::{Directory, DirectoryOptions, Endpoint, MESSAGE_TOO_LARGE, Server, ServerOptions, Target};
use std::time::Duration;
use tokio::net::TcpSocket;

/// Returns an address where nobody listens, and nobody else will.
fn nobody() -> Endpoint {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    Box::leak(Box::new(socket)).local_addr().unwrap().into()
}

fn to(endpoints: Vec<Endpoint>, options: DirectoryOptions) -> Directory {
    let directory = Directory::with_options(&Env::default(), options);
    directory.set(NAME, Target::Remote(endpoints));
    directory
}

async fn call(directory: &Directory, request: Probe) -> banyan_core::Result<Probe> {
    directory.channel(NAME).unary(&Context::background(), &DO, request).await
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_on_either_side() {
    let large = unary(|_, request: Probe| async move { Ok(probe(&"x".repeat(request.number as usize), 0)) });
    let strict = ServerOptions { message_bytes_max: 1000, ..server_options() };
    let server = Server::builder(&Env::default(), strict).bind().await.unwrap();
    server.add(large.clone());
    let lax = Bed::new(Placement::Remote, large).await;
    let lax = lax.server.as_ref().unwrap();
    let narrow = DirectoryOptions { message_bytes_max: 1000, ..options() };
    let text = "x".repeat(2000);

    for (what, server, options, request) in [
        ("request, by the client", lax, narrow.clone(), probe(&text, 0)),
        ("request, by the server", &server, options(), probe(&text, 0)),
        ("response, by the client", lax, narrow, probe("", 2000)),
        ("response, by the server", &server, options(), probe("", 2000)),
    ] {
        let directory = to(vec![server.address().into()], options);
        let error = call(&directory, request).await.unwrap_err();
        assert_eq!((error.code(), error.retry()), (Code::ResourceExhausted, Retry::Never), "{what}: {error}");
        assert!(error.is(MESSAGE_TOO_LARGE), "{what}: {error}");
        call(&directory, probe("small", 1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_connection_is_safe_to_retry() {
    let mut options = options();
    options.limits.attempts.attempts_max = 2;
    let error = call(&to(vec![nobody()], options), Probe::default()).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), (Code::Unavailable, Retry::Safe));
}

#[tokio::test]
async fn a_failed_endpoint_is_passed_over() {
    let (first, second) = (server(&echo()).await, server(&echo()).await);
    let endpoints = vec![first.address().into(), nobody(), second.address().into()];
    let mut options = options();
    options.limits.attempts.attempts_max = 1;
    let directory = to(endpoints, options);
    for number in 0..20 {
        assert_eq!(call(&directory, probe("", number)).await.unwrap().number, number);
    }
}

#[tokio::test]
async fn endpoints_are_called_in_turn() {
    let named = |name: &'static str| unary(move |_, _| std::future::ready(Ok(probe(name, 0))));
    let (a, b) = (server(&named("a")).await, server(&named("b")).await);
    let directory = to(vec![a.address().into(), b.address().into()], options());
    let mut seen = String::new();
    for _ in 0..4 {
        seen += &call(&directory, Probe::default()).await.unwrap().text;
    }
    assert!(seen == "abab" || seen == "baba", "{seen}");
}

#[tokio::test]
async fn a_connection_that_breaks_during_a_call_is_for_idempotent_calls_only() {
    let (started, dropped) = (Signal::default(), Signal::default());
    let signals = (started.clone(), dropped.clone());
    let service = unary(move |_, _| {
        let (started, guard) = (signals.0.clone(), signals.1.on_drop());
        async move {
            let _held = guard;
            started.send();
            std::future::pending().await
        }
    });
    let bed = Bed::new(Placement::Remote, service).await;
    let server = bed.server.clone().unwrap();
    let calling = bed.call(&bed.cx, &DO, Probe::default());
    let cutting = async {
        started.received().await;
        server.drain(Duration::from_millis(50)).await.unwrap_err()
    };
    let (called, _cut) = tokio::join!(calling, cutting);
    let error = called.unwrap_err();
    assert_eq!((error.code(), error.retry()), (Code::Unavailable, Retry::IfIdempotent), "{error:?}");
    dropped.received().await;
    assert_eq!(bed.service.in_flight(), 0);
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_refuses_the_rest() {
    let (started, release) = (Signal::default(), Signal::default());
    let signals = (started.clone(), release.clone());
    let service = unary(move |_, request| {
        let (started, release) = signals.clone();
        async move {
            started.send();
            release.received().await;
            Ok(request)
        }
    });
    let mut quick = options();
    quick.limits.attempts.attempts_max = 1;
    let bed = Bed::with_options(Placement::Remote, service, quick).await;
    let server = bed.server.clone().unwrap();
    let calling = bed.call(&bed.cx, &DO, probe("last", 1));
    let draining = async {
        started.received().await;
        let draining = server.drain(PATIENCE);
        let releasing = async {
            tokio::task::yield_now().await;
            release.send();
        };
        tokio::join!(draining, releasing).0.unwrap();
    };
    let (called, ()) = tokio::join!(calling, draining);
    assert_eq!(called.unwrap(), probe("last", 1));
    let refused = bed.call(&bed.cx, &DO, Probe::default()).await.unwrap_err();
    assert_eq!((refused.code(), refused.retry()), (Code::Unavailable, Retry::Safe), "{refused:?}");
}

#[tokio::test]
async fn calls_survive_a_server_that_restarts_on_its_port() {
    let first = server(&echo()).await;
    let directory = to(vec![first.address().into()], options());
    call(&directory, probe("", 1)).await.unwrap();
    first.drain(PATIENCE).await.unwrap();
    let again = ServerOptions { port: first.address().port(), ..server_options() };
    let calling = call(&directory, probe("", 2));
    let restarting = async {
        let second = Server::builder(&Env::default(), again).bind().await.unwrap();
        second.add(echo());
        second
    };
    let (called, _second) = tokio::join!(calling, restarting);
    assert_eq!(called.unwrap().number, 2);
}

#[tokio::test]
async fn a_stranger_is_refused_by_an_internal_server_and_anonymous_elsewhere() {
    let subject = unary(|cx: Context, _| std::future::ready(Ok(probe(cx.identity().subject(), 0))));
    let internal = server(&subject).await;
    let open = ServerOptions { internal: false, ..server_options() };
    let open = Server::builder(&Env::default(), open).bind().await.unwrap();
    open.add(subject);
    let cx = Context::new(&Env::default(), Identity::user("u-1", &[]));

    let guess = banyan_rpc::PeerSecret::new("the-secret-of-the-guests").unwrap();
    for (secret, seen) in [(None, ""), (Some(guess), ""), (Some(secret()), "u-1")] {
        let options = DirectoryOptions { peer_secret: secret, ..options() };
        let directory = to(vec![open.address().into()], options.clone());
        let answer: Probe = directory.channel(NAME).unary(&cx, &DO, Probe::default()).await.unwrap();
        assert_eq!(answer.text, seen);

        directory.set(NAME, Target::Remote(vec![internal.address().into()]));
        let outcome = directory.channel(NAME).unary::<_, Probe>(&cx, &DO, Probe::default()).await;
        match seen {
            "" => assert_eq!(outcome.unwrap_err().code(), Code::Unauthenticated),
            seen => assert_eq!(outcome.unwrap().text, seen),
        }
    }

    // An endpoint outside the system never learns the secret.
    let directory = to(vec![Endpoint::from(internal.address()).external()], options());
    let outcome = directory.channel(NAME).unary::<_, Probe>(&cx, &GET, Probe::default()).await;
    assert!(outcome.unwrap_err().is(Reason::UNAUTHENTICATED));
}

//! A service that has a replica in the caller's process and others elsewhere: the near one first, never as the only choice.

use crate::bed::{DEADLINE, DO, GET, NAME, Probe, Signal, builder, options, probe, server, unary};
use banyan_core::{Code, Context, Env, Error, Reason, Result};
use banyan_rpc::{Channel, Directory, Endpoint, MethodInfo, Server, Service, Target};
use std::time::Duration;
use tokio::net::TcpSocket;

/// A replica that says where it is.
fn replica(place: &'static str) -> Service {
    unary(move |_, request: Probe| async move { Ok(probe(place, request.number)) })
}

/// A replica here, and one elsewhere.
struct Replicas {
    channel: Channel,
    here: Service,
    there: Service,
    _server: Server,
}

impl Replicas {
    async fn new(here: Service, there: Service) -> Self {
        let server = server(&there).await;
        let channel = channel(&here, server.address().into());
        Self { channel, here, there, _server: server }
    }

    async fn call(&self, method: &'static MethodInfo) -> Result<String> {
        call(&self.channel, method).await
    }
}

fn channel(here: &Service, there: Endpoint) -> Channel {
    let directory = Directory::with_options(&Env::default(), options());
    directory.set(NAME, Target::LocalFirst(here.clone(), vec![there]));
    directory.channel(NAME)
}

async fn call(channel: &Channel, method: &'static MethodInfo) -> Result<String> {
    let answer: Probe = channel.unary(&Context::background(), method, probe("", 1)).await?;
    Ok(answer.text)
}

#[tokio::test]
async fn the_replica_here_comes_first() {
    let replicas = Replicas::new(replica("here"), unary(|_, _| async { panic!("executed") })).await;
    for _ in 0..5 {
        assert_eq!(replicas.call(&DO).await.unwrap(), "here");
    }
}

#[tokio::test]
async fn what_the_full_one_here_refuses_goes_elsewhere() {
    let (inside, leave) = (Signal::default(), Signal::default());
    let (enters, leaves) = (inside.clone(), leave.clone());
    let one_at_a_time = builder().calls_max(1).unary(&DO, move |_, _: Probe| {
        let (enters, leaves) = (enters.clone(), leaves.clone());
        async move {
            enters.send();
            leaves.received().await;
            Ok(probe("here", 1))
        }
    });
    let replicas = Replicas::new(one_at_a_time.build(), replica("there")).await;
    let others = async {
        inside.received().await;
        for _ in 0..5 {
            assert_eq!(replicas.call(&DO).await.unwrap(), "there");
        }
        leave.send();
    };
    let (first, ()) = tokio::join!(replicas.call(&DO), others);
    assert_eq!(first.unwrap(), "here");
}

#[tokio::test]
async fn a_call_waits_only_while_all_are_closed() {
    let replicas = Replicas::new(replica("here"), replica("there")).await;
    replicas.here.close().await;
    assert_eq!(replicas.call(&DO).await.unwrap(), "there");
    for (reopened, place) in [(&replicas.here, "here"), (&replicas.there, "there")] {
        replicas.there.close().await;
        let mut calling = Box::pin(replicas.call(&DO));
        let early = tokio::time::timeout(Duration::from_millis(100), &mut calling).await;
        assert!(early.is_err(), "answered by a closed service: {early:?}");
        reopened.reopen();
        assert_eq!(calling.await.unwrap(), place);
        replicas.here.close().await;
    }
}

#[tokio::test]
async fn what_fails_here_is_attempted_elsewhere_if_that_is_harmless() {
    let faulty = unary(|_, _| async { Err(Error::unavailable("no disk")) });
    let replicas = Replicas::new(faulty, replica("there")).await;
    assert_eq!(replicas.call(&GET).await.unwrap(), "there");
    let error = replicas.call(&DO).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "no disk"));
}

#[tokio::test]
async fn one_that_cannot_be_reached_harms_nobody() {
    // Bound, so that nobody else listens there, and without a listener.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let nobody: Endpoint = socket.local_addr().unwrap().into();
    let here = replica("here");
    let channel = channel(&here, nobody);
    assert_eq!(call(&channel, &DO).await.unwrap(), "here");
    here.close().await;
    let mut calling = Box::pin(call(&channel, &DO));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut calling).await.is_err());
    here.reopen();
    assert_eq!(calling.await.unwrap(), "here");
    here.close().await;
    let cx = Context::background().with_timeout(DEADLINE);
    let late: Error = channel.unary::<_, Probe>(&cx, &DO, probe("", 1)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    let source = std::error::Error::source(&late).map(ToString::to_string).unwrap_or_default();
    assert!(source.contains(Reason::SERVICE_MOVING.as_str()), "{source}");
}

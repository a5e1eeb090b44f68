//! The same call across processes: our client and server, and bare tonic's, over loopback.

use super::message::{ECHO, Parcel, SERVICE, parcel};
use super::peers::{Contender, secret};
use crate::load::{Caller, Done, closed_loop};
use crate::settings::Settings;
use anyhow::{Context as _, Result, bail};
use banyan_core::{Context, Env, Identity};
use banyan_rpc::{Channel, Directory, DirectoryOptions, Endpoint, Target};
use http::uri::PathAndQuery;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

/// One round: a turn of each contender, in the order of [`Contender::ALL`].
pub(super) type Round = Vec<Done>;

/// Measures all contenders, in turns.
pub(super) async fn measure(settings: &Settings, in_flight: usize) -> Result<Vec<Round>> {
    let (ours, bare) = (Callee::start(Contender::Banyan)?, Callee::start(Contender::Tonic)?);
    let env = Env::default();
    let options = DirectoryOptions { peer_secret: Some(secret()?), ..DirectoryOptions::default() };
    let directory = Directory::with_options(&env, options);
    directory.set(SERVICE, Target::Remote(vec![Endpoint::new(&ours.address)?]));
    let connect = || tonic::transport::Endpoint::from_shared(format!("http://{}", bare.address));
    let once = connect()?.connect().await?;
    let twice = [connect()?.connect().await?, connect()?.connect().await?];
    let cx = Context::new(&env, Identity::user("01938c2e-0b1d-7f3a-8e44-d2c9b6a7f015", &[]));
    let mut rounds = Vec::new();
    // The first round warms up.
    for _ in 0..=settings.rounds {
        let mut round = Round::new();
        for contender in Contender::ALL {
            let callers = (0..in_flight).map(|n| match contender {
                Contender::Banyan => Client::Banyan(directory.channel(SERVICE), cx.clone(), parcel()),
                Contender::Tonic => Client::Tonic(Grpc::new(once.clone()), parcel()),
                Contender::TonicTwice => Client::Tonic(Grpc::new(twice[n % 2].clone()), parcel()),
            });
            round.push(closed_loop(callers, settings.turn).await.with_context(|| contender.title())?);
        }
        rounds.push(round);
    }
    rounds.remove(0);
    directory.close();
    Ok(rounds)
}

enum Client {
    Banyan(Channel, Context, Parcel),
    Tonic(Grpc<tonic::transport::Channel>, Parcel),
}

impl Caller for Client {
    async fn call(&mut self) -> Result<()> {
        match self {
            Client::Banyan(channel, cx, template) => {
                let answer = channel.unary::<_, Parcel>(cx, &ECHO, template.clone());
                black_box(answer.await?);
            }
            // What tonic's code generator writes for a unary method.
            Client::Tonic(grpc, template) => {
                grpc.ready().await?;
                let codec: ProstCodec<Parcel, Parcel> = ProstCodec::default();
                let request = tonic::Request::new(template.clone());
                black_box(grpc.unary(request, PathAndQuery::from_static(ECHO.path), codec).await?);
            }
        }
        Ok(())
    }
}

/// The other process; it ends when this is dropped.
struct Callee {
    child: Child,
    address: String,
}

impl Callee {
    fn start(contender: Contender) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["callee", contender.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the callee's output is not piped")?;
        let mut started = Self { child, address: String::new() };
        BufReader::new(output).read_line(&mut started.address)?;
        started.address = started.address.trim().to_owned();
        if started.address.is_empty() {
            bail!("the callee did not say where it listens");
        }
        Ok(started)
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

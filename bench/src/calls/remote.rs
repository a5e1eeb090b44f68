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
use std::time::Duration;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

/// One round: a turn of each contender, in the order of [`Contender::ALL`].
pub(super) type Round = Vec<Done>;

/// Measures all contenders, in turns.
pub(super) async fn measure(settings: &Settings, in_flight: usize) -> Result<Vec<Round>> {
    let line = Line::open().await?;
    let mut rounds = Vec::new();
    // The first round warms up.
    for _ in 0..=settings.rounds {
        let mut round = Round::new();
        for contender in Contender::ALL {
            let done = closed_loop(line.clients(contender, in_flight), settings.turn).await;
            round.push(done.with_context(|| contender.title())?);
        }
        rounds.push(round);
    }
    rounds.remove(0);
    Ok(rounds)
}

/// Lets one contender call for the length of a turn; returns the calls of a second.
pub(crate) async fn profile(contender: Contender, in_flight: usize, turn: Duration) -> Result<f64> {
    let line = Line::open().await?;
    Ok(closed_loop(line.clients(contender, in_flight), turn).await?.rate())
}

/// Both callees, and the ways to them.
struct Line {
    /// To our server, and to the bare one.
    directories: [Directory; 2],
    cx: Context,
    /// To the bare server, twice, and to ours.
    connections: [tonic::transport::Channel; 3],
    _callees: [Callee; 2],
}

impl Line {
    async fn open() -> Result<Self> {
        let (ours, bare) = (Callee::start("banyan")?, Callee::start("tonic")?);
        let env = Env::default();
        let directory = |callee: &Callee| -> Result<Directory> {
            let options = DirectoryOptions { peer_secret: Some(secret()?), ..DirectoryOptions::default() };
            let directory = Directory::with_options(&env, options);
            directory.set(SERVICE, Target::Remote(vec![Endpoint::new(&callee.address)?]));
            Ok(directory)
        };
        let connect =
            |callee: &Callee| tonic::transport::Endpoint::from_shared(format!("http://{}", callee.address));
        Ok(Self {
            directories: [directory(&ours)?, directory(&bare)?],
            cx: Context::new(&env, Identity::user("01938c2e-0b1d-7f3a-8e44-d2c9b6a7f015", &[])),
            connections: [
                connect(&bare)?.connect().await?,
                connect(&bare)?.connect().await?,
                connect(&ours)?.connect().await?,
            ],
            _callees: [ours, bare],
        })
    }

    fn clients(&self, contender: Contender, in_flight: usize) -> Vec<Client> {
        let ours =
            |to: usize| Client::Banyan(self.directories[to].channel(SERVICE), self.cx.clone(), parcel());
        let bare =
            |connection: usize| Client::Tonic(Grpc::new(self.connections[connection].clone()), parcel());
        let client = |n: usize| match contender {
            Contender::Banyan => ours(0),
            Contender::OurClient => ours(1),
            Contender::Tonic => bare(0),
            Contender::TonicTwice => bare(n % 2),
            Contender::OurServer => bare(2),
        };
        (0..in_flight).map(client).collect()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.directories.iter().for_each(Directory::close);
    }
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
    fn start(server: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["callee", server])
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

//! The program from outside: its gateway over gRPC, in one process and apart.

#![allow(clippy::unwrap_used, reason = "in a test, a failed unwrap is a failed test")]

mod program;

use helloworld::HelloRequest;
use helloworld::greeter_client::GreeterClient;
use program::Program;
use std::sync::atomic::{AtomicBool, Ordering};
use tonic::Code;
use tonic::transport::Channel;

#[allow(dead_code, unreachable_pub, reason = "generated")]
mod helloworld {
    include!("../../src/generated/helloworld.rs");
}

fn hello(name: &str, times: u32) -> HelloRequest {
    HelloRequest { name: name.to_owned(), times }
}

async fn client(program: &Program) -> GreeterClient<Channel> {
    GreeterClient::connect(program.url.clone()).await.unwrap()
}

async fn greets(program: Program) {
    let mut client = client(&program).await;
    let reply = client.say_hello(hello("Ada", 0)).await.unwrap().into_inner();
    assert_eq!(reply.message, "Hello Ada!");

    let mut replies = client.say_hellos(hello("Ada", 3)).await.unwrap().into_inner();
    for time in 1..=3 {
        assert_eq!(replies.message().await.unwrap().unwrap().message, format!("Hello Ada, {time}!"));
    }
    assert!(replies.message().await.unwrap().is_none());

    let refused = client.say_hello(hello("", 0)).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "name must not be empty"));
    let refused = client.say_hellos(hello("Ada", 101)).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::OutOfRange, "times must be at most 100"));
    program.stop().await;
}

#[tokio::test]
async fn it_greets_in_one_process() {
    let program = Program::start(&[]).await;
    assert_eq!(program.process_of("greeter").await, "main");
    greets(program).await;
}

#[tokio::test]
async fn it_greets_apart() {
    let program = Program::start(&["--apart", "greeter"]).await;
    assert_eq!(program.process_of("greeter").await, "greeter");
    greets(program).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_it_moves() {
    let program = Program::start(&[]).await;
    let mut client = client(&program).await;
    let moved = AtomicBool::new(false);
    let calling = async {
        let mut calls = 0u32;
        while !moved.load(Ordering::Relaxed) {
            let reply = client.say_hello(hello("Ada", 0)).await.unwrap().into_inner();
            assert_eq!(reply.message, "Hello Ada!");
            calls += 1;
        }
        calls
    };
    let moving = async {
        program.command(&["move", "greeter", "--apart"]).await;
        assert_eq!(program.process_of("greeter").await, "greeter");
        program.command(&["move", "greeter", "--into", "main"]).await;
        moved.store(true, Ordering::Relaxed);
    };
    let (calls, ()) = tokio::join!(calling, moving);
    assert!(calls > 0);
    program.stop().await;
}

#[test]
fn the_committed_descriptors_are_those_of_the_contract() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let mut compiler = protox::Compiler::new([folder]).unwrap();
    compiler.include_imports(true).open_file("helloworld.proto").unwrap();
    let committed = include_bytes!("../../src/generated/helloworld.bin");
    assert_eq!(compiler.encode_file_descriptor_set(), committed);
}

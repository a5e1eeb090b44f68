//! A greeter as tonic's users write them; it knows nothing of Banyan.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use helloworld::greeter_server::Greeter;
use helloworld::{HelloReply, HelloRequest};
use tonic::{Request, Response, Status};

/// What `tonic-prost-build` made of `proto/helloworld.proto`.
#[allow(unreachable_pub, reason = "generated")]
pub(crate) mod helloworld {
    include!("generated/helloworld.rs");

    /// The contract, as `file_descriptor_set_path` writes it.
    pub(crate) const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/helloworld.bin");
}

/// The most greetings that one request gets.
const TIMES_MAX: u32 = 100;

pub(crate) struct MyGreeter;

#[tonic::async_trait]
impl Greeter for MyGreeter {
    type SayHellosStream = BoxStream<'static, Result<HelloReply, Status>>;

    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let request = request.into_inner();
        check(&request)?;
        Ok(Response::new(HelloReply { message: format!("Hello {}!", request.name) }))
    }

    async fn say_hellos(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<Self::SayHellosStream>, Status> {
        let request = request.into_inner();
        check(&request)?;
        let greet = move |time| Ok(HelloReply { message: format!("Hello {}, {time}!", request.name) });
        Ok(Response::new(stream::iter(1..=request.times.max(1)).map(greet).boxed()))
    }
}

fn check(request: &HelloRequest) -> Result<(), Status> {
    if request.name.is_empty() {
        return Err(Status::invalid_argument("name must not be empty"));
    }
    if request.times > TIMES_MAX {
        return Err(Status::out_of_range(format!("times must be at most {TIMES_MAX}")));
    }
    Ok(())
}

//! An existing tonic service joins a system: `src/greeter.rs` and what tonic generated for it are as they were.
//!
//! ```text
//! cargo run -p example-tonic-greeter                      # one process
//! cargo run -p example-tonic-greeter -- --apart greeter   # the greeter in a process of its own
//! cargo run -p example-tonic-greeter -- move greeter --apart   # the same, while it is called
//! grpcurl -plaintext -d '{"name": "Ada"}' localhost:8080 helloworld.Greeter/SayHello
//! ```

mod greeter;

use banyan::prelude::*;
use banyan::rpc::Service;
use banyan_cli::Program;
use greeter::helloworld::FILE_DESCRIPTOR_SET;
use greeter::helloworld::greeter_server::{GreeterServer, SERVICE_NAME};
use std::process::ExitCode;

fn greeter() -> ServiceDef {
    let service = ServiceDef::new("greeter", [SERVICE_NAME], |host: Host| async move {
        host.serve(Service::from_tonic(FILE_DESCRIPTOR_SET, GreeterServer::new(greeter::MyGreeter)));
        Ok(())
    });
    // The contract knows nothing of `banyan.v1.access`; without this line only other services could call it.
    service.access(SERVICE_NAME, Access::Public)
}

fn main() -> ExitCode {
    Program::new(System::new("tonic-greeter").service(greeter()).contracts(FILE_DESCRIPTOR_SET)).main()
}

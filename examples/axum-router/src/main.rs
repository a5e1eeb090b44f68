//! An existing axum application joins a system: `src/app.rs` is as it was.
//!
//! ```text
//! cargo run -p example-axum-router                         # one process
//! cargo run -p example-axum-router -- --apart guest-book   # the application in a process of its own
//! curl localhost:8080/guest-book/entries -H 'content-type: application/json' -d '{"name": "Ada", "text": "Hello!"}'
//! curl -N localhost:8080/guest-book/live                   # entries as they are written
//! ```
//!
//! The application keeps its entries in memory, so it begins empty wherever it starts; one with a database keeps them.

mod app;

use banyan::prelude::*;
use banyan_cli::Program;
use std::process::ExitCode;

fn guest_book() -> ServiceDef {
    let service = ServiceDef::new("guest-book", [], |host: Host| async move {
        host.serve_router(app::router());
        Ok(())
    });
    service.router("/guest-book", Access::Public)
}

fn main() -> ExitCode {
    Program::new(System::new("axum-router").service(guest_book())).main()
}

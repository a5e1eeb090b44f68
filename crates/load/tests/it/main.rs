//! Real load on a real HTTP server whose latencies are known.

mod files;
mod load;
mod page;
mod server;
mod tls;

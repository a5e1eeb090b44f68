//! The settings of a server.

use crate::PeerSecret;
use crate::options::MESSAGE_BYTES_MAX;
use banyan_transcoding::Document;
use std::time::Duration;

/// How a [`crate::Server`] serves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// What the OpenAPI document of the server says beside the contracts.
    pub document: Document,
    /// Paths whose requests, and those below them, leave no trace: what is asked again and again, and asks for nothing.
    pub untraced: &'static [&'static str],
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// A peer that presents it is believed when it says on whose behalf it calls.
    pub peer_secret: Option<PeerSecret>,
    /// Refuses calls from peers that do not present the secret; health checks excepted.
    pub internal: bool,
    /// Largest gRPC message in bytes, sent or received.
    pub message_bytes_max: usize,
    /// Largest JSON request body in bytes.
    pub body_bytes_max: usize,
    /// Deadline of a unary call whose caller gives none.
    pub timeout_default: Duration,
    /// Connections at once; more wait to be accepted.
    pub connections_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_per_connection_max: u32,
    /// Largest head of a request in bytes.
    pub header_bytes_max: u32,
    /// How long the head of an HTTP/1.1 request may take.
    pub header_timeout: Duration,
    /// How often an idle HTTP/2 connection is probed; one that does not answer in the same time is closed.
    pub keepalive: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            document: Document::new("Services", "1"),
            untraced: &[],
            port: 0,
            peer_secret: None,
            internal: false,
            message_bytes_max: MESSAGE_BYTES_MAX,
            body_bytes_max: 1 << 20,
            timeout_default: Duration::from_secs(30),
            connections_max: 10_000,
            streams_per_connection_max: 1024,
            header_bytes_max: 16 << 10,
            header_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(20),
        }
    }
}

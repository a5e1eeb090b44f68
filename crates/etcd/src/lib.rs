//! A system's configuration in etcd: a setting is a key below the system's prefix.
//!
//! `etcd://127.0.0.1:2379/shop` has the setting `limits.drain_ms_max` in the key `shop/limits.drain_ms_max`; several
//! servers are separated by commas, and a user and a password stand before them (`etcd://user:password@a:2379,b:2379/shop`).
//!
//! etcd is spoken to by its JSON gateway (`/v3/…`, on by default since 3.4): requests are few, and a client over gRPC
//! would have every build compile etcd's contracts with protoc. Every request has a connection of its own.

mod answers;
mod exchange;
mod source;
mod url;

pub use source::EtcdSources;

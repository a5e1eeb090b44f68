//! The cache and the rate limits on Redis (7 or later; what speaks its protocol and runs its scripts will do).
//!
//! A [`RedisStore`] is one connection that many requests share, for both traits: [`banyan_cache::CacheStore`] and
//! [`banyan_cache::RateLimitStore`]. What has to happen at once happens in a script on the server: the lease of a key is
//! compared and ended with the write it allows, and a rate limit is decided with the server's own clock, so that
//! processes whose clocks differ agree.
//!
//! Keys are `PREFIX:{KEY}` for a value, `PREFIX:{KEY}:lease` and `PREFIX:{KEY}:limit`; the braces put what belongs together
//! on one node of a cluster. Every key ends by itself. What Redis loses (a replica that takes over may lack the last
//! writes, a full one evicts) is loaded again; a lost invalidation shows an old value until its time is over.
//!
//! TLS (`rediss://`) is refused: put a TLS tunnel in front, or keep Redis in a private network.

mod cache;
mod connection;
mod examine;
mod limits;
mod options;
mod provider;

pub use connection::RedisStore;
pub use options::RedisOptions;
pub use provider::RedisCaches;

//! Cached values and leases.

use crate::RedisStore;
use banyan_cache::{CacheStore, check_key, check_ttl, check_value};
use banyan_core::{BoxFuture, Result};
use bytes::Bytes;
use redis::cmd;
use std::time::Duration;

/// What a lease's key ends with.
const LEASE: &str = ":lease";

/// Keeps a value if the lease is the token's, and ends the lease. KEYS: value, lease; ARGV: token, value, milliseconds.
pub(crate) const FILL: &str = "
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1";

/// Keeps a value and voids the lease. KEYS: value, lease; ARGV: value, its time in milliseconds. No MULTI: where a user may not
/// open a transaction, the client's count of its answers underflows (redis 1.8.1).
pub(crate) const SET: &str = "
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
return 1";

/// Ends a lease if it is the token's. KEYS: lease; ARGV: token.
pub(crate) const RELEASE: &str = "
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1";

impl CacheStore for RedisStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Bytes>>> {
        Box::pin(async move {
            check_key(key)?;
            let key = self.key(key, "");
            let value: Option<Vec<u8>> =
                self.call(async |mut redis| cmd("GET").arg(key).query_async(&mut redis).await).await?;
            Ok(value.map(Bytes::from))
        })
    }

    fn set<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_key(key)?;
            check_value(&value)?;
            check_ttl(ttl)?;
            let mut set = self.scripts().set.prepare_invoke();
            set.key(self.key(key, "")).key(self.key(key, LEASE)).arg(&value[..]).arg(millis(ttl));
            let _done: i32 = self.call(async |mut redis| set.invoke_async(&mut redis).await).await?;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_key(key)?;
            let keys = [self.key(key, ""), self.key(key, LEASE)];
            let _removed: u64 =
                self.call(async |mut redis| cmd("DEL").arg(&keys).query_async(&mut redis).await).await?;
            Ok(())
        })
    }

    fn lease<'a>(&'a self, key: &'a str, token: &'a str, ttl: Duration) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            check_key(key)?;
            check_ttl(ttl)?;
            let mut take = cmd("SET");
            take.arg(self.key(key, LEASE)).arg(token).arg("NX").arg("PX").arg(millis(ttl));
            let taken: Option<String> =
                self.call(async |mut redis| take.query_async(&mut redis).await).await?;
            Ok(taken.is_some())
        })
    }

    fn fill<'a>(
        &'a self,
        key: &'a str,
        token: &'a str,
        value: Bytes,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            check_key(key)?;
            check_value(&value)?;
            check_ttl(ttl)?;
            let mut fill = self.scripts().fill.prepare_invoke();
            fill.key(self.key(key, "")).key(self.key(key, LEASE));
            fill.arg(token).arg(&value[..]).arg(millis(ttl));
            self.call(async |mut redis| fill.invoke_async(&mut redis).await).await
        })
    }

    fn release<'a>(&'a self, key: &'a str, token: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            check_key(key)?;
            let mut release = self.scripts().release.prepare_invoke();
            release.key(self.key(key, LEASE)).arg(token);
            let _done: u64 = self.call(async |mut redis| release.invoke_async(&mut redis).await).await?;
            Ok(())
        })
    }
}

fn millis(ttl: Duration) -> u64 {
    ttl.as_millis() as u64
}

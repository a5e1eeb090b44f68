//! Rate limits.

use crate::RedisStore;
use banyan_cache::{Decision, Quota, RateLimitStore, check_key};
use banyan_core::{BoxFuture, Result};

/// What a limit's key ends with.
const LIMIT: &str = ":limit";

/// Decides as [`banyan_cache::decide`] does, by the server's clock. KEYS: when the key will be empty, in microseconds since
/// the epoch; ARGV: cost and window in microseconds. All numbers stay below 2^53, where Lua counts in ones.
pub(crate) const TAKE: &str = "
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local cost, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local level = tonumber(redis.call('GET', KEYS[1]) or now) - now
if level < 0 then level = 0 elseif level > window then level = window end
if level + cost > window then return {0, level} end
level = level + cost
if cost > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', now + level), 'PX', math.ceil(level / 1000))
end
return {1, level}";

impl RateLimitStore for RedisStore {
    fn take<'a>(&'a self, key: &'a str, quota: Quota, cost: u32) -> BoxFuture<'a, Result<Decision>> {
        Box::pin(async move {
            check_key(key)?;
            let cost_us = quota.cost_us(cost)?;
            let mut take = self.scripts().limit.prepare_invoke();
            take.key(self.key(key, LIMIT)).arg(cost_us).arg(quota.window_us());
            let (admitted, level_us): (bool, u64) =
                self.call(async |mut redis| take.invoke_async(&mut redis).await).await?;
            Ok(quota.decision(admitted, level_us, cost_us))
        })
    }
}

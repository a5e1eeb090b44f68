//! Rate limits.

use crate::RedisStore;
use banyan_cache::{Decision, RateLimitStore, Take, check_takes};
use banyan_core::{BoxFuture, Result};

/// What a limit's key ends with.
const LIMIT: &str = ":limit";

/// Decides as [`banyan_cache::decide`] does, by the server's clock, about all keys at once. KEYS: when each key will be empty,
/// in microseconds since the epoch; ARGV: cost and window of each in microseconds. All numbers stay below 2^53, where Lua
/// counts in ones.
pub(crate) const TAKE: &str = "
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local all, admitted, levels = true, {}, {}
for i, key in ipairs(KEYS) do
  local cost, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local level = tonumber(redis.call('GET', key) or now) - now
  if level < 0 then level = 0 elseif level > window then level = window end
  levels[i] = level
  if level + cost > window then
    all = false
    admitted[i] = 0
  else
    admitted[i] = 1
  end
end
if all then
  for i, key in ipairs(KEYS) do
    local cost = tonumber(ARGV[2 * i - 1])
    levels[i] = levels[i] + cost
    if cost > 0 then
      redis.call('SET', key, string.format('%.0f', now + levels[i]), 'PX', math.ceil(levels[i] / 1000))
    end
  end
end
return {admitted, levels}";

impl RateLimitStore for RedisStore {
    fn take_all<'a>(&'a self, takes: &'a [Take<'a>]) -> BoxFuture<'a, Result<Vec<Decision>>> {
        Box::pin(async move {
            let costs_us = check_takes(takes)?;
            if takes.is_empty() {
                return Ok(Vec::new());
            }
            let mut script = self.scripts().limit.prepare_invoke();
            for (take, cost_us) in takes.iter().zip(&costs_us) {
                script.key(self.key(take.key, LIMIT)).arg(*cost_us).arg(take.quota.window_us());
            }
            let (admitted, levels_us): (Vec<bool>, Vec<u64>) =
                self.call(async |mut redis| script.invoke_async(&mut redis).await).await?;
            let decided = takes.iter().zip(costs_us).zip(admitted.into_iter().zip(levels_us));
            let decisions = decided.map(|((take, cost_us), (admitted, level_us))| {
                take.quota.decision(admitted, level_us, cost_us)
            });
            Ok(decisions.collect())
        })
    }
}

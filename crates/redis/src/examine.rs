//! Looks whether a Redis server can be used, and changes nothing that stays.

use crate::{RedisOptions, RedisStore};
use banyan_cache::{CacheExamination, CacheStore as _};
use banyan_core::{Check, ClockReading, Env, Error, Finding, KnownVersions, Result, TimeLeft, Version};
use bytes::Bytes;
use redis::cmd;
use std::collections::HashMap;
use std::time::Duration;

const VERSIONS: KnownVersions = KnownVersions { oldest: [7, 0, 0], newest: [7, 0, 0] };
/// Times that the smallest question is asked; the fastest answer counts.
const LATENCY_ROUNDS: usize = 3;
/// How long the probe's keys would stay if they could not be removed.
const PROBE_TTL: Duration = Duration::from_secs(10);
/// Share of the memory that may be in use without a warning, in percent.
const MEMORY_PERCENT_WARN: u64 = 90;
/// Longest time for one connection attempt.
const CONNECT_MAX: Duration = Duration::from_secs(60);

pub(crate) async fn examine(url: &str, asked: CacheExamination) -> Vec<Finding> {
    let limit = asked.limit.clamp(Duration::from_millis(1), CONNECT_MAX);
    let made = RedisStore::new(RedisOptions {
        prefix: asked.options.system.clone(),
        timeout: limit,
        connect_timeout: limit,
        ..RedisOptions::new(url)
    });
    let store = match made {
        Ok(store) => store,
        Err(error) => {
            return vec![Finding::of_error(Check::Configuration, "URL", &error, "correct cache.url")];
        }
    };
    let mut findings = Vec::new();
    if let Err(error) = look(&store, &asked, &mut findings).await {
        let next = match error.message().contains("credentials") {
            true => "correct user and password in cache.url (ACL WHOAMI, ACL LIST on the server)",
            false => "start the server, or correct host and port in cache.url",
        };
        findings.push(Finding::of_error(Check::Reachable, "server", &error, next));
    }
    findings
}

async fn look(store: &RedisStore, asked: &CacheExamination, findings: &mut Vec<Finding>) -> Result<()> {
    let clock = &asked.env.clock;
    let left = TimeLeft::new(clock.now(), asked.limit);
    let mut fastest = None;
    for _ in 0..LATENCY_ROUNDS {
        let began = clock.now();
        store.ping().await?;
        fastest = fastest.into_iter().chain([clock.now() - began]).min();
    }
    findings.push(Finding::reached("server", fastest.unwrap_or_default()));
    findings.push(match time(store, &asked.env).await {
        Ok(reading) => Finding::clock("server", &reading),
        Err(error) => denied("TIME", &error),
    });
    match info(store).await {
        Ok(info) => findings.extend(of_info(&info, asked)),
        Err(error) => {
            let found = format!("cannot tell version and limits: {}", error.message());
            findings.push(Finding::unknown(Check::Version, "server", found));
        }
    }
    let probed = tokio::time::timeout(left.at(clock.now()), probe(store, &asked.env)).await;
    findings.push(match probed {
        Ok(Ok(())) => Finding::ok(Check::Permissions, "keys and scripts", "may read, write and run scripts"),
        Ok(Err(error)) => denied("keys and scripts", &error),
        Err(_) => Finding::silent("keys and scripts", asked.limit, "look whether the server is overloaded"),
    });
    Ok(())
}

fn denied(subject: &str, error: &Error) -> Finding {
    let next = "ACL SETUSER NAME ~SYSTEM:* +@read +@write +@scripting +time +ping +info, for the user in \
                cache.url and this system's name";
    Finding::of_error(Check::Permissions, subject, error, next)
}

async fn time(store: &RedisStore, env: &Env) -> Result<ClockReading> {
    let before_ms = env.clock.unix_ms();
    let (seconds, micros): (u64, u64) =
        store.call(async |mut redis| cmd("TIME").query_async(&mut redis).await).await?;
    let after_ms = env.clock.unix_ms();
    Ok(ClockReading { before_ms, engine_ms: seconds * 1_000 + micros / 1_000, after_ms, resolution_ms: 1 })
}

async fn info(store: &RedisStore) -> Result<HashMap<String, String>> {
    let text: String = store.call(async |mut redis| cmd("INFO").query_async(&mut redis).await).await?;
    let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn of_info(info: &HashMap<String, String>, asked: &CacheExamination) -> Vec<Finding> {
    let text = |name: &str| info.get(name).map(String::as_str).unwrap_or_default();
    let number = |name: &str| text(name).parse::<u64>().unwrap_or_default();
    let mut findings = vec![Finding::version("server", &Version::parse(text("redis_version")), &VERSIONS)];
    if text("role") == "slave" {
        let next = "name the primary in cache.url";
        let found = "the server is a replica: it takes no writes";
        findings.push(Finding::fail(Check::Permissions, "role", found, next));
    }
    findings.push(memory(number("maxmemory"), number("used_memory"), text("maxmemory_policy")));
    let (clients, clients_max) = (number("connected_clients"), number("maxclients"));
    if clients_max > 0 {
        let wanted = u64::from(asked.connections);
        let found = format!("the system wants up to {wanted}; {clients} of {clients_max} are in use");
        findings.push(match clients + wanted > clients_max {
            true => Finding::warn(Check::Limits, "maxclients", found, "raise maxclients in redis.conf"),
            false => Finding::ok(Check::Limits, "maxclients", found),
        });
    }
    findings.push(persistence(&text));
    findings
}

fn memory(most: u64, used: u64, policy: &str) -> Finding {
    let subject = "maxmemory";
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    if most == 0 {
        let found =
            format!("no bound, {} MiB in use: it grows until the machine has no memory", mebibytes(used));
        let next = "CONFIG SET maxmemory 256mb; CONFIG SET maxmemory-policy allkeys-lru (and in redis.conf)";
        return Finding::warn(Check::Limits, subject, found, next);
    }
    let found = format!("{} of {} MiB in use, policy {policy}", mebibytes(used), mebibytes(most));
    if policy == "noeviction" {
        let found = format!("{found}: once it is full, writes are refused");
        let next = "CONFIG SET maxmemory-policy allkeys-lru (every key may be loaded again)";
        return Finding::warn(Check::Limits, subject, found, next);
    }
    match used.saturating_mul(100) > most.saturating_mul(MEMORY_PERCENT_WARN) {
        // It evicts, which is what a full cache does.
        true => Finding::ok(Check::Limits, subject, format!("{found}: it evicts")),
        false => Finding::ok(Check::Limits, subject, found),
    }
}

fn persistence<'i>(text: &impl Fn(&str) -> &'i str) -> Finding {
    let subject = "persistence";
    let failed = [
        ("rdb_last_bgsave_status", "the last snapshot"),
        ("aof_last_write_status", "the last write of the log"),
    ]
    .into_iter()
    .find(|(name, _)| text(name) == "err");
    if let Some((_, what)) = failed {
        let found = format!("{what} failed: the server may refuse writes");
        return Finding::warn(
            Check::Durability,
            subject,
            found,
            "make room on its disk; look into the server's log",
        );
    }
    let found = match text("aof_enabled") {
        "1" => "append-only file: values and limits survive a restart",
        _ => "snapshots or none: after a restart values are loaded again, and rate limits begin anew",
    };
    Finding::ok(Check::Durability, subject, found)
}

/// Does with a key of its own what caches do.
async fn probe(store: &RedisStore, env: &Env) -> Result<()> {
    let key = format!("banyan_doctor_{}", env.new_id());
    let value = Bytes::from_static(b"probe");
    store.set(&key, value.clone(), PROBE_TTL).await?;
    let outcome = async {
        store.get(&key).await?;
        if store.lease(&key, "probe", PROBE_TTL).await? {
            store.fill(&key, "probe", value, PROBE_TTL).await?;
        }
        store.release(&key, "probe").await
    };
    let outcome = outcome.await;
    store.remove(&key).await?;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Verdict;

    #[test]
    fn a_full_server_evicts_or_refuses() {
        for (most, used, policy, verdict) in [
            (0, 1, "noeviction", Verdict::Warn),
            (1 << 30, 1, "noeviction", Verdict::Warn),
            (1 << 30, 1 << 30, "allkeys-lru", Verdict::Ok),
            (1 << 30, 1, "volatile-lru", Verdict::Ok),
        ] {
            let finding = memory(most, used, policy);
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        }
    }
}

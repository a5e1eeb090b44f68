//! What the gateway admits, and how often.

use banyan_cache::{Quota, TAKES_MAX, WithoutStore};
use banyan_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rate limits in all.
const LIMITS_MAX: usize = 64;
/// Longest name of a rate limit, in bytes.
const NAME_BYTES_MAX: usize = 32;
/// Longest time that the shared store may be given, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 10_000;
/// Longest time between the announcement of a stop and the stop, in milliseconds.
const DRAIN_DELAY_MS_MAX: u64 = 600_000;

/// The gateway: `[gateway]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewaySettings {
    /// The rate limits, by name; none unless they are named here. Every limit that fits a request counts it, once, and all
    /// must admit it; at most 16 fit one route. They are kept where caches are (`cache.url`): shared by all gateways of the
    /// system there, in the memory of each otherwise.
    pub limits: BTreeMap<String, RateLimit>,
    /// How long the shared store may take to count a request; 1 to 10,000.
    pub limits_timeout_ms: u64,
    /// What happens to requests while the shared store does not answer: `local` (each gateway limits by itself), `admit`
    /// or `refuse` (503).
    pub limits_without_store: StoreAway,
    /// Keys (clients under a limit) that a gateway counts in its own memory; who asked longest ago is forgotten first.
    pub limit_keys_max: usize,
    /// Addresses and networks (`10.0.0.0/8`) of proxies before the gateway: the client's address is then the last one in
    /// `X-Forwarded-For` that is not among them. Nobody else's header is believed.
    pub trusted_proxies: Vec<String>,
    /// How long a gateway that is told to stop goes on serving after `/health/ready` and the gRPC health say that it is about
    /// to, in milliseconds: what sends requests to it finds out meanwhile, so give it more than the period of its probes.
    /// 0 to 600,000.
    pub drain_delay_ms: u64,
}

/// A rate limit: `[gateway.limits.NAME]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many requests are admitted in each window, at once or spread over it; 1 to 1,000,000.
    pub requests: u32,
    /// The window, in seconds; 1 to 2,678,400.
    #[serde(default = "minute")]
    pub window_s: u64,
    /// Whose requests are counted together.
    #[serde(default)]
    pub per: Per,
    /// Where it holds: paths as the contracts write them (`/v1/orders/{order_id}`), with or without the HTTP method
    /// before it (`POST /v1/orders`), gRPC methods (`/shop.orders.v1.OrderService/PlaceOrder`), prefixes of mounted routers
    /// and paths of aggregates; `*` at the end stands for any rest. Empty: everywhere.
    #[serde(default)]
    pub routes: Vec<String>,
    /// `false` keeps the limit's settings and limits nothing.
    #[serde(default = "yes")]
    pub on: bool,
}

/// Whose requests one count has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each signed-in caller's; of those who are not signed in, each address's.
    #[default]
    Client,
    /// Each signed-in caller's; nobody else is limited.
    Identity,
    /// Each address's (of IPv6: each /64 network's), whoever is signed in there.
    Address,
    /// All.
    All,
}

/// What happens to requests that cannot be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreAway {
    #[default]
    Local,
    Admit,
    Refuse,
}

fn minute() -> u64 {
    60
}

fn yes() -> bool {
    true
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            limits: BTreeMap::new(),
            limits_timeout_ms: 100,
            limits_without_store: StoreAway::default(),
            limit_keys_max: 100_000,
            trusted_proxies: Vec::new(),
            drain_delay_ms: 0,
        }
    }
}

impl RateLimit {
    /// Returns the limit as a quota.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the setting that is out of bounds.
    pub fn quota(&self) -> Result<Quota> {
        Quota::new(self.requests, Duration::from_secs(self.window_s)).map_err(|error| {
            match error.violations().first() {
                Some(wrong) if wrong.field == "limit" => Error::invalid("requests", &wrong.description),
                Some(wrong) => Error::invalid("window_s", &wrong.description),
                None => error,
            }
        })
    }
}

impl From<StoreAway> for WithoutStore {
    fn from(away: StoreAway) -> Self {
        match away {
            StoreAway::Local => Self::Local,
            StoreAway::Admit => Self::Admit,
            StoreAway::Refuse => Self::Refuse,
        }
    }
}

impl GatewaySettings {
    /// Checks what the types alone do not.
    ///
    /// # Errors
    /// [`banyan_core::Code::InvalidArgument`], naming the key.
    pub fn check(&self) -> Result<()> {
        if self.limits.len() > LIMITS_MAX {
            return Err(Error::invalid("gateway.limits", format!("must be at most {LIMITS_MAX}")));
        }
        if !(1..=TIMEOUT_MS_MAX).contains(&self.limits_timeout_ms) {
            let message = format!("must be between 1 and {TIMEOUT_MS_MAX}, is {}", self.limits_timeout_ms);
            return Err(Error::invalid("gateway.limits_timeout_ms", message));
        }
        if self.drain_delay_ms > DRAIN_DELAY_MS_MAX {
            let message = format!("must be at most {DRAIN_DELAY_MS_MAX}, is {}", self.drain_delay_ms);
            return Err(Error::invalid("gateway.drain_delay_ms", message));
        }
        if self.limit_keys_max == 0 {
            return Err(Error::invalid("gateway.limit_keys_max", "must be at least 1"));
        }
        for (name, limit) in &self.limits {
            let key = format!("gateway.limits.{name}");
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
                let message = format!("a name has 1 to {NAME_BYTES_MAX} lower-case letters, digits and -");
                return Err(Error::invalid(key, message));
            }
            limit.quota().map_err(|error| match error.violations().first() {
                Some(wrong) => Error::invalid(format!("{key}.{}", wrong.field), &wrong.description),
                None => error,
            })?;
        }
        let everywhere = self.limits.values().filter(|limit| limit.on && limit.routes.is_empty()).count();
        if everywhere > TAKES_MAX {
            let message = format!("{everywhere} hold for every route; at most {TAKES_MAX} may");
            return Err(Error::invalid("gateway.limits", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn a_limit_needs_its_number_only() {
        let config = Config::parse("[gateway.limits.sign-in]\nrequests = 10").unwrap();
        let limit = &config.gateway.limits["sign-in"];
        assert_eq!((limit.requests, limit.window_s, limit.per, limit.on), (10, 60, Per::Client, true));
        assert!(Config::default().gateway.limits.is_empty());
    }

    #[test]
    fn mistakes_name_their_key() {
        for (text, key, part) in [
            ("[gateway.limits.a]\nwindow_s = 1", "gateway.limits.a", "requests is missing"),
            ("[gateway.limits.a]\nrequests = 0", "gateway.limits.a.requests", "1 to 1000000"),
            ("[gateway.limits.a]\nrequests = 1\nwindow_s = 0", "gateway.limits.a.window_s", "1 second"),
            ("[gateway.limits.a]\nrequests = 1\nper = 'user'", "gateway.limits.a.per", "is not a choice"),
            ("[gateway.limits.a]\nrequest = 1", "gateway.limits.a.request", "the nearest is \"requests\""),
            ("[gateway.limits.'A b']\nrequests = 1", "gateway.limits.A b", "lower-case"),
            ("gateway.limits_timeout_ms = 0", "gateway.limits_timeout_ms", "between 1 and 10000"),
            ("gateway.drain_delay_ms = 600_001", "gateway.drain_delay_ms", "at most 600000"),
            ("gateway.limit_keys_max = 0", "gateway.limit_keys_max", "at least 1"),
            ("gateway.limit = 0", "gateway.limit", "the nearest is \"limits\""),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert_eq!(error.violations()[0].field, key, "{text}: {error}");
            assert!(error.message().contains(part), "{text}: {error}");
            assert!(part == "lower-case" || error.message().contains("(configuration:"), "{text}: {error}");
        }
    }
}

//! How often what is asked for: the rate limits of the configuration, counted once for each request.

use crate::client::Proxies;
use crate::routes::Routes;
use arc_swap::ArcSwapOption;
use banyan::cache::{Decision, Quota, RateLimitStore, RateLimiter, TAKES_MAX, Take};
use banyan::{CONFIG_INVALID, GatewaySettings, Per};
use banyan_core::{Code, Context, Env, Error, FieldViolation, Identity, IdentityKind, Reason, Result, Retry};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// A client has sent more requests than a rate limit of the gateway admits.
pub const RATE_LIMIT_EXCEEDED: Reason = Reason::new("RATE_LIMIT_EXCEEDED");

/// The fields of draft-ietf-httpapi-ratelimit-headers-10: what the limits are, and what is left of them.
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");
/// What limits' keys begin with.
const NAME: &str = "gateway";
/// How much of a caller's subject is told apart, in bytes: a key has a bound.
const SUBJECT_BYTES_MAX: usize = 256;

/// The rate limits that hold, and what they may become.
pub(crate) struct Limits {
    routes: Routes,
    store: Arc<dyn RateLimitStore>,
    env: Env,
    /// `None` if nothing is limited.
    active: ArcSwapOption<Active>,
}

/// Rate limits as they are applied.
pub(crate) struct Active {
    limiter: RateLimiter,
    rules: Vec<Rule>,
    /// The rules that hold for each route, if any do.
    by_route: HashMap<String, Box<[usize]>>,
    proxies: Proxies,
}

struct Rule {
    name: String,
    quota: Quota,
    per: Per,
}

/// A request that is counted.
#[derive(Clone, Copy)]
pub(crate) struct Counted<'a> {
    pub(crate) route: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: IpAddr,
    pub(crate) identity: &'a Identity,
}

impl Limits {
    /// Makes the limits that `settings` name, counted in `store`.
    ///
    /// # Errors
    /// As [`Limits::set`].
    pub(crate) fn new(
        settings: &GatewaySettings,
        routes: Routes,
        store: Arc<dyn RateLimitStore>,
        env: &Env,
    ) -> Result<Self> {
        let limits = Self { routes, store, env: env.clone(), active: ArcSwapOption::empty() };
        limits.set(settings)?;
        Ok(limits)
    }

    /// Has the limits that `settings` name hold from now on. What was counted stays counted.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], naming the key: a route that does not exist, too many limits for one route, an address
    /// that is none.
    pub(crate) fn set(&self, settings: &GatewaySettings) -> Result<()> {
        let (rules, by_route) = rules(settings, &self.routes)?;
        let proxies = Proxies::new(&settings.trusted_proxies)?;
        let keys_max = NonZeroUsize::new(settings.limit_keys_max)
            .ok_or_else(|| Error::invalid("gateway.limit_keys_max", "must be at least 1"))?;
        let active = (!by_route.is_empty()).then(|| {
            let limiter = RateLimiter::new(NAME, self.store.clone(), keys_max, &self.env)
                .timeout(Duration::from_millis(settings.limits_timeout_ms))
                .without_store(settings.limits_without_store.into());
            Arc::new(Active { limiter, rules, by_route, proxies })
        });
        self.active.store(active);
        Ok(())
    }

    pub(crate) fn active(&self) -> Option<Arc<Active>> {
        self.active.load_full()
    }
}

/// Checks the limits of a configuration: all of them, also those that are off.
pub(crate) fn check(settings: &GatewaySettings, routes: &Routes) -> Result<()> {
    settings.check()?;
    rules(settings, routes)?;
    Proxies::new(&settings.trusted_proxies).map(drop)
}

type Rules = (Vec<Rule>, HashMap<String, Box<[usize]>>);

fn rules(settings: &GatewaySettings, routes: &Routes) -> Result<Rules> {
    let mut rules = Vec::new();
    let mut by_route: HashMap<String, Vec<usize>> = HashMap::new();
    for (name, limit) in &settings.limits {
        let held = routes
            .select(&limit.routes)
            .map_err(|unknown| wrong(format!("gateway.limits.{name}.routes"), routes.unknown(&unknown)))?;
        let quota = limit.quota()?;
        if !limit.on {
            continue;
        }
        for route in held {
            let holding = by_route.entry(route.to_owned()).or_default();
            holding.push(rules.len());
            if holding.len() > TAKES_MAX {
                let message = format!("more than {TAKES_MAX} hold for {route}");
                return Err(wrong("gateway.limits".to_owned(), message));
            }
        }
        rules.push(Rule { name: name.clone(), quota, per: limit.per });
    }
    let boxed = by_route.into_iter().map(|(route, rules)| (route, rules.into_boxed_slice()));
    Ok((rules, boxed.collect()))
}

/// Refuses a key of the configuration.
pub(crate) fn wrong(key: String, problem: String) -> Error {
    let message = format!("{key}: {problem}");
    let violation = FieldViolation { field: key, description: problem };
    Error::new(Code::InvalidArgument, CONFIG_INVALID, message).with_violation(violation)
}

impl Active {
    /// Counts a request, and says in `told` what is left.
    ///
    /// # Errors
    /// `RATE_LIMIT_EXCEEDED` if a limit does not admit it; [`Code::Unavailable`] if it cannot be counted and such requests
    /// are refused.
    pub(crate) async fn count(&self, asked: Counted<'_>, cx: &Context, told: &mut HeaderMap) -> Result<()> {
        let Some(rules) = self.by_route.get(asked.route) else { return Ok(()) };
        let address = self.proxies.client(asked.peer, asked.headers);
        let keys: Vec<(&Rule, String)> = rules
            .iter()
            .map(|index| &self.rules[*index])
            .filter_map(|rule| Some((rule, rule.key(asked.identity, address)?)))
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let takes: Vec<_> = keys.iter().map(|(rule, key)| Take { key, quota: rule.quota, cost: 1 }).collect();
        let decisions = self.limiter.take_all(cx, &takes).await?;
        let decided: Vec<_> = keys.iter().map(|(rule, _)| *rule).zip(decisions).collect();
        tell(told, POLICY, decided.iter().map(|(rule, _)| rule.quota.field(&rule.name)));
        tell(told, LEFT, decided.iter().map(|(rule, decision)| decision.field(&rule.name)));
        let refused = decided.iter().filter(|(_, decision)| !decision.admitted);
        match refused.max_by_key(|(_, decision)| decision.retry_after) {
            Some((rule, decision)) => Err(rule.exceeded(decision)),
            None => Ok(()),
        }
    }
}

impl Rule {
    /// Returns what a request is counted under; `None` if the rule does not count it.
    fn key(&self, identity: &Identity, address: IpAddr) -> Option<String> {
        let signed_in = identity.kind() != IdentityKind::Anonymous;
        let subject = || {
            let subject = identity.subject();
            format!("{}/id/{}", self.name, &subject[..subject.floor_char_boundary(SUBJECT_BYTES_MAX)])
        };
        let place = || format!("{}/at/{}", self.name, network(address));
        match self.per {
            Per::Client if signed_in => Some(subject()),
            Per::Client | Per::Address => Some(place()),
            Per::Identity => signed_in.then(subject),
            Per::All => Some(format!("{}/all", self.name)),
        }
    }

    fn exceeded(&self, decision: &Decision) -> Error {
        let whose = match self.per {
            Per::Client => "each client",
            Per::Identity => "each signed-in caller",
            Per::Address => "each address",
            Per::All => "all clients together",
        };
        let after = decision.retry_after.unwrap_or_default();
        let (limit, window_s) = (self.quota.limit(), self.quota.window().as_secs());
        let message = format!(
            "the limit {:?} admits {limit} requests in {window_s} s from {whose}; try again in {} s",
            self.name,
            after.as_millis().div_ceil(1_000)
        );
        Error::new(Code::ResourceExhausted, RATE_LIMIT_EXCEEDED, message)
            .with_retry(Retry::Safe)
            .with_retry_after(after)
    }
}

/// Returns what one client has to itself: an address, of IPv6 its /64 network.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

fn tell(told: &mut HeaderMap, name: HeaderName, items: impl Iterator<Item = String>) {
    let list = items.collect::<Vec<_>>().join(", ");
    if let Ok(value) = HeaderValue::from_str(&list) {
        told.insert(name, value);
    }
}

//! Rate limits of the gateway: what is counted together, what the answer says, what happens without Redis.

use crate::mounts::{Answer, Bed, naming};
use banyan::cache::{CacheProvider, RateLimitStore, SharedOptions, SharedStores};
use banyan::{Access, Config, GatewaySettings};
use banyan_core::{Code, Env};
use banyan_engines::{Engine, FaultProxy, Kind};
use banyan_redis::RedisCaches;
use http::{Request, StatusCode};
use std::sync::Arc;
use std::time::Duration;

fn settings(text: &str) -> GatewaySettings {
    Config::parse(text).unwrap().gateway
}

fn memory() -> Arc<dyn RateLimitStore> {
    SharedStores::in_memory(&Env::default()).limits
}

/// A gateway before two routers: one for all, one for those who are signed in.
async fn bed(text: &str, counts: Arc<dyn RateLimitStore>) -> Bed {
    let routers =
        [("open", "/open", Access::Public, naming("open")), ("shut", "/shut", Access::User, naming("shut"))];
    Bed::limited(routers, settings(text), counts).await
}

impl Bed {
    async fn ask(&self, path: &str, token: Option<String>, forwarded: Option<&str>) -> Answer {
        let mut request = Request::get("/");
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        if let Some(address) = forwarded {
            request = request.header("x-forwarded-for", address);
        }
        self.send(request, path, "").await
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.0.status().as_u16()
    }
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.0.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn what_is_over_the_limit_is_refused_and_told_when_to_come_again() {
    let bed = bed("[gateway.limits.open]\nrequests = 2\nwindow_s = 3600\nroutes = ['/open']", memory()).await;
    for left in ["\"open\";r=1;t=1800", "\"open\";r=0;t=3600"] {
        let answer = bed.get("/open/x").await;
        assert_eq!(answer.0.status(), StatusCode::OK);
        assert_eq!(header(&answer, "ratelimit-policy"), "\"open\";q=2;w=3600");
        assert_eq!(header(&answer, "ratelimit"), left);
    }
    let refused = bed.get("/open").await;
    assert_eq!(header(&refused, "ratelimit-policy"), "\"open\";q=2;w=3600");
    assert_eq!(header(&refused, "ratelimit"), "\"open\";r=0;t=3600");
    assert_eq!(header(&refused, "retry-after"), "1800");
    assert_eq!(refused.problem().await, (429, "RATE_LIMIT_EXCEEDED".into()));
    // Where no limit holds, nothing is counted and nothing is said.
    let free = bed.ask("/shut", Some(bed.token()), None).await;
    assert_eq!((free.0.status(), header(&free, "ratelimit")), (StatusCode::OK, ""));
    assert_eq!(bed.status("/errors/RATE_LIMIT_EXCEEDED").await, 200);
}

#[tokio::test]
async fn a_client_is_its_identity_or_its_address() {
    let bed = bed(
        "[gateway]\ntrusted_proxies = ['127.0.0.1']\nlimits.all = { requests = 1, window_s = 3600 }",
        memory(),
    )
    .await;
    let asked = async |path: &str, token: Option<String>, address: &str| {
        bed.ask(path, token, Some(address)).await.0.status().as_u16()
    };
    assert_eq!(asked("/open", None, "1.1.1.1").await, 200);
    assert_eq!(asked("/open", None, "6.6.6.6, 1.1.1.1").await, 429);
    assert_eq!(asked("/open", None, "2.2.2.2").await, 200);
    assert_eq!(asked("/open", None, "2001:db8::1").await, 200);
    assert_eq!(asked("/open", None, "2001:db8::2").await, 429);
    // Who is signed in takes his limit along.
    assert_eq!(asked("/shut", Some(bed.token()), "1.1.1.1").await, 200);
    assert_eq!(asked("/open", Some(bed.token()), "3.3.3.3").await, 429);
    assert_eq!(asked("/open", Some(bed.token_of("u-2")), "1.1.1.1").await, 200);
    // Who guesses tokens is counted by his address.
    assert_eq!(asked("/shut", Some("Bearer x.y.z".into()), "4.4.4.4").await, 401);
    assert_eq!(asked("/shut", Some("Bearer x.y.w".into()), "4.4.4.4").await, 429);
}

#[tokio::test]
async fn a_header_of_a_stranger_is_not_believed() {
    let bed = bed("[gateway.limits.all]\nrequests = 1\nper = 'address'", memory()).await;
    assert_eq!(bed.ask("/open", None, Some("1.1.1.1")).await.0.status(), 200);
    assert_eq!(bed.ask("/open", None, Some("2.2.2.2")).await.0.status(), 429);
}

#[tokio::test]
async fn all_limits_must_admit_a_request_and_a_refused_one_costs_nothing() {
    let text = "[gateway.limits]\nburst = { requests = 1, window_s = 3600, per = 'identity' }\n\
                total = { requests = 3, window_s = 3600, per = 'all' }\n\
                idle = { requests = 1, on = false }";
    let bed = bed(text, memory()).await;
    let one = bed.ask("/shut", Some(bed.token_of("a")), None).await;
    assert_eq!(header(&one, "ratelimit"), "\"burst\";r=0;t=3600, \"total\";r=2;t=1200");
    for _ in 0..3 {
        let refused = bed.ask("/shut", Some(bed.token_of("a")), None).await;
        assert_eq!(refused.0.status(), 429);
        assert!(header(&refused, "ratelimit").ends_with("\"total\";r=2;t=1200"), "it cost nothing");
    }
    // Nobody in particular has no limit of his own.
    assert_eq!(header(&bed.get("/open").await, "ratelimit"), "\"total\";r=1;t=2400");
    assert_eq!(bed.ask("/shut", Some(bed.token_of("b")), None).await.0.status(), 200);
    assert_eq!(bed.status("/open").await, 429);
}

#[tokio::test]
async fn limits_change_while_the_gateway_runs() {
    let bed = bed("", memory()).await;
    assert_eq!(header(&bed.get("/open").await, "ratelimit"), "");
    let limited = settings("[gateway.limits.open]\nrequests = 1\nwindow_s = 3600\nroutes = ['/o*']");
    bed.gateway.reconfigure(&limited).unwrap();
    assert_eq!((bed.status("/open").await, bed.status("/open").await), (200, 429));
    // What was counted stays counted; a mistake changes nothing.
    bed.gateway.reconfigure(&limited).unwrap();
    let wrong = settings("[gateway.limits.open]\nrequests = 1\nroutes = ['/opem']");
    let error = bed.gateway.reconfigure(&wrong).unwrap_err();
    assert_eq!(
        (error.code(), &*error.violations()[0].field),
        (Code::InvalidArgument, "gateway.limits.open.routes")
    );
    assert_eq!(error.reason(), "CONFIG_INVALID");
    assert!(error.message().contains("the nearest is \"/open\""), "{error}");
    assert_eq!(bed.status("/open").await, 429);
    bed.gateway.reconfigure(&GatewaySettings::default()).unwrap();
    assert_eq!(bed.status("/open").await, 200);
}

/// Redis behind a proxy, under a name that nobody else uses.
async fn shared() -> (Arc<dyn RateLimitStore>, Arc<dyn RateLimitStore>, FaultProxy) {
    let redis = Engine::shared(Kind::Redis).await.unwrap();
    let address = redis.url().trim_start_matches("redis://").parse().unwrap();
    let proxy = FaultProxy::start(address).await.unwrap();
    let system = redis.unique_name("gateway");
    let open = || {
        RedisCaches.open(&proxy.url(redis.url()), SharedOptions { system: system.clone() }).unwrap().limits
    };
    (open(), open(), proxy)
}

#[tokio::test]
async fn gateways_share_their_counts_on_redis() {
    let (a, b, proxy) = shared().await;
    let text = "gateway.limits_timeout_ms = 10000\n[gateway.limits.all]\nrequests = 4\nwindow_s = 3600";
    let (a, b) = (bed(text, a).await, bed(text, b).await);
    let mut left = Vec::new();
    for bed in [&a, &b, &a, &b] {
        left.push(header(&bed.get("/open").await, "ratelimit").to_owned());
    }
    assert!(
        left.iter().zip((0..=3).rev()).all(|(said, left): (_, i32)| said.contains(&format!("r={left}"))),
        "{left:?}"
    );
    assert_eq!((a.status("/open").await, b.status("/open").await), (429, 429));
    drop(proxy);
}

#[tokio::test]
async fn without_redis_requests_are_limited_admitted_or_refused_as_configured() {
    for (policy, expected) in [("local", [200, 200, 429]), ("admit", [200; 3]), ("refuse", [503; 3])] {
        let (store, _, proxy) = shared().await;
        let text = format!(
            "gateway.limits_without_store = '{policy}'\ngateway.limits_timeout_ms = 100\n\
             [gateway.limits.all]\nrequests = 2\nwindow_s = 3600\nper = 'all'"
        );
        let bed = bed(&text, store).await;
        // The server takes connections and is silent.
        proxy.black_hole();
        let began = Env::default().clock.now();
        for status in expected {
            let answer = bed.get("/open").await;
            assert_eq!(answer.0.status().as_u16(), status, "{policy}");
            if status == 503 {
                assert_eq!(header(&answer, "retry-after"), "1");
            }
        }
        assert!(began.elapsed() < Duration::from_secs(30), "a silent store holds nobody up for long");
        // When it answers again, it counts again: it has not seen what was asked meanwhile.
        proxy.pass();
        // On a busy machine an answer may come too late, and what it counted is not seen.
        bed.gateway
            .reconfigure(&settings(&text.replace("timeout_ms = 100\n", "timeout_ms = 10000\n")))
            .unwrap();
        let counted = async || {
            let answer = bed.get("/open").await;
            answer.0.status() == 200 && header(&answer, "ratelimit").contains("r=0")
        };
        banyan_testkit::until("Redis counts again", counted).await;
    }
}

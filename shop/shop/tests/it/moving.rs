//! Services change their process, and processes die or hang, while customers order: nobody notices.

use crate::support::{Draft, END_MAX, Person, Setup, Shop, order_id, seed, state, until_every};
use banyan::core::{Clock, Rng};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const SHOPPERS: usize = 8;
/// How often payments goes apart and comes back.
const ROUNDS: usize = 5;
/// Orders that come to their end between two moves, so that every move meets some under way.
const ORDERS_BETWEEN: usize = 10;
/// How soon a process that is to be killed must show itself.
const SPAWN_LOOK: Duration = Duration::from_millis(1);
const FLOW_LOOK: Duration = Duration::from_millis(5);

/// Customers who order one thing after another and check each order. A request that fails fails the test.
struct Crowd {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicUsize>,
    shoppers: JoinSet<()>,
}

impl Crowd {
    async fn gather(shop: &Shop) -> Self {
        let lamp = shop.admin.product(300, 1_000_000).await;
        let mut crowd = Self { stop: Arc::default(), ended: Arc::default(), shoppers: JoinSet::new() };
        for _ in 0..SHOPPERS {
            let customer = Person::register(&shop.client).await;
            let (stop, ended, draft) = (crowd.stop.clone(), crowd.ended.clone(), Draft::of(&lamp, 1));
            crowd.shoppers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let order = customer.buy(&draft).await;
                    assert_eq!(state(&order), "CONFIRMED", "{} {order}", order_id(&order));
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        crowd
    }

    fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// Waits until so many more orders have come to their end.
    async fn flows(&mut self, orders: usize) {
        let (ended, wanted) = (self.ended.clone(), self.ended() + orders);
        let reached = until_every(FLOW_LOOK, END_MAX, "orders flowed", || async {
            (ended.load(Ordering::Relaxed) >= wanted).then_some(())
        });
        tokio::select! {
            () = reached => {}
            Some(ended) = self.shoppers.join_next() => {
                ended.expect("no shopper meets a failure");
                panic!("a shopper left early");
            }
        }
    }

    /// Lets everybody finish and returns the number of orders.
    async fn leave(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.shoppers.join_next().await {
            ended.expect("no shopper meets a failure");
        }
        self.ended()
    }
}

/// Audits a shop whose only customers were the crowd.
async fn settle(shop: Shop, crowd: Crowd) {
    let orders = crowd.leave().await;
    let report = shop.audit().await;
    assert_eq!((report.orders.total, report.orders.confirmed), (orders, orders), "{report}");
    println!("{orders} orders, all confirmed");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_moves_apart_and_back_under_load() {
    let shop = Shop::start(Setup::one_process()).await;
    let mut crowd = Crowd::gather(&shop).await;
    for round in 0..ROUNDS {
        crowd.flows(ORDERS_BETWEEN).await;
        let apart = shop.command(&["move", "payments", "--apart"]).await.expect("it moves apart");
        assert_eq!(shop.process_of("payments").await, "payments");
        crowd.flows(ORDERS_BETWEEN).await;
        let back = shop.command(&["move", "payments", "--into", "main"]).await.expect("it moves back");
        assert_eq!(shop.process_of("payments").await, "main");
        println!("round {round}: calls waited {} ms and {} ms", apart["pausedMs"], back["pausedMs"]);
    }
    crowd.flows(ORDERS_BETWEEN).await;
    settle(shop, crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_service_moves_under_load() {
    const SERVICES: [&str; 10] = [
        "users",
        "catalog",
        "cart",
        "orders",
        "inventory",
        "payments",
        "shipping",
        "notifications",
        "loyalty",
        "analytics",
    ];
    let shop = Shop::start(Setup::one_process()).await;
    let mut crowd = Crowd::gather(&shop).await;
    for service in SERVICES {
        let new = (service == SERVICES[0]).then_some("--new");
        let args: Vec<&str> = ["move", service, "--into", "elsewhere"].into_iter().chain(new).collect();
        shop.command(&args).await.expect("it moves out");
        crowd.flows(2).await;
    }
    let homes: BTreeSet<String> = {
        let mut homes = BTreeSet::new();
        for service in SERVICES {
            homes.insert(shop.process_of(service).await);
        }
        homes
    };
    assert_eq!(homes, BTreeSet::from(["elsewhere".to_owned()]));
    for service in SERVICES {
        shop.move_back(service).await;
        crowd.flows(2).await;
    }
    settle(shop, crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_half_way_of_a_move_costs_nothing() {
    const KILLS: u64 = 8;
    let (seed, clock) = (seed(), Clock::default());
    println!("seed: {seed}");
    let rng = Rng::seeded(seed);
    let shop = Shop::start(Setup::one_process()).await;
    let mut crowd = Crowd::gather(&shop).await;
    for kill in 0..KILLS {
        crowd.flows(ORDERS_BETWEEN).await;
        let before: BTreeSet<u32> = shop.children().into_iter().collect();
        // Every other kill is one of the process that is being left.
        let leaving = kill % 2 == 1;
        let command: &[&str] = match leaving {
            true => &["move", "payments", "--into", "main"],
            false => &["move", "payments", "--apart"],
        };
        let source = if leaving { Some(shop.process_id("payments").await) } else { None };
        let began = clock.now();
        let delay = Duration::from_millis(rng.below(if leaving { 150 } else { 250 }));
        let killing = async {
            let victim = match source {
                Some(source) => source,
                None => {
                    until_every(SPAWN_LOOK, END_MAX, "the new process started", || async {
                        shop.children().into_iter().find(|pid| !before.contains(pid))
                    })
                    .await
                }
            };
            tokio::time::sleep(delay).await;
            shop.signal("KILL", victim).await;
        };
        let (moved, ()) = tokio::join!(shop.command(command), killing);
        let told = match moved {
            Ok(_) => "succeeded".to_owned(),
            Err(error) => format!("failed ({})", error.lines().next().unwrap_or_default()),
        };
        shop.ready().await;
        crowd.flows(ORDERS_BETWEEN).await;
        let home = shop.process_of("payments").await;
        println!("{command:?}, killed {delay:?} in: the move {told}; {home} after {:?}", clock.now() - began);
        // Where the next kill needs it.
        let command: &[&str] = match leaving {
            true => &["move", "payments", "--into", "main"],
            false => &["move", "payments", "--apart"],
        };
        shop.command(command).await.expect("a move without a kill succeeds");
    }
    settle(shop, crowd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_hangs_is_started_anew_and_orders_are_confirmed() {
    const HANGS: usize = 2;
    let mut setup = Setup::one_process()
        .set("supervision.probe_period_ms=500")
        .set("supervision.probe_timeout_ms=500")
        .set("supervision.probes_missed_max=3");
    setup.args.extend(["--apart".to_owned(), "payments".to_owned()]);
    let shop = Shop::start(setup).await;
    let mut crowd = Crowd::gather(&shop).await;
    for hang in 1..=HANGS {
        crowd.flows(ORDERS_BETWEEN).await;
        let pid = shop.process_id("payments").await;
        shop.signal("STOP", pid).await;
        until_every(FLOW_LOOK, END_MAX, "the hung process was replaced", || async {
            (![0, pid].contains(&shop.process_id("payments").await)).then_some(())
        })
        .await;
        shop.ready().await;
        let status = shop.status().await.expect("the shop tells its status");
        let processes = status["processes"].as_array().expect("a list");
        let payments = processes.iter().find(|p| p["process"] == "payments").expect("it is back");
        let reason = payments["restartReason"].as_str().unwrap_or_default();
        assert!(reason.contains("3 probes in a row unanswered"), "{payments}");
        assert_eq!(payments["restarts"], hang, "{payments}");
        crowd.flows(ORDERS_BETWEEN).await;
    }
    settle(shop, crowd).await;
}

//! While orders flow, a random process is killed again and again; at the end the books balance.
//!
//! `BANYAN_CRASH_ORDERS` (1000) and `BANYAN_CRASH_KILLS` (40) set how much of both.

use crate::support::{
    Answer, Draft, Patience, Person, REST_MAX, START_MAX, Setup, Shop, env_number, order_id, seed, state,
    until,
};
use banyan::core::{Clock, Rng};
use banyan_engines::Engine;
use shop_auditor::Report;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Customers who order at the same time.
const SHOPPERS: u64 = 32;
/// How long a customer tries again while the shop is down.
const PATIENCE: Duration = Duration::from_secs(120);
/// The root process, whose death takes everything with it.
const ROOT: &str = "main";
/// How soon after an order the kill comes.
const KILL_AFTER_MAX_MS: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_is_killed_as_a_whole() {
    crash(Setup::one_process(), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn separate_processes_are_killed_one_by_one() {
    crash(Setup::apart(), &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choreographed_orders_survive_as_well() {
    crash(Setup::apart().choreographed(), &[]).await;
}

/// What the customers order, all of it following from the seed.
struct Plan {
    seed: u64,
    orders: u64,
    plenty: Vec<String>,
    /// Sold out before everybody had one.
    rare: String,
    admin: Person,
}

/// What a customer does with an order once it is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Wait,
    Cancel,
    Refund,
}

struct Step {
    draft: Draft,
    /// Whether the customer puts it into the cart first.
    through_cart: bool,
    then: Then,
    /// The states it may end in.
    ends: &'static [&'static str],
}

impl Plan {
    fn step(&self, number: u64) -> Step {
        let rng = Rng::seeded(self.seed.wrapping_mul(1_000_003).wrapping_add(number));
        let card = match rng.below(100) {
            0..84 => "tok_visa",
            84..92 => "tok_declined",
            92..96 => "tok_error",
            96..99 => "tok_slow",
            _ => "tok_timeout",
        };
        let product = |rng: &Rng| &self.plenty[rng.below(self.plenty.len() as u64) as usize];
        let quantity = 1 + rng.below(3) as u32;
        let is_rare = rng.below(10) == 0;
        let draft = if is_rare { Draft::of(&self.rare, 1) } else { Draft::of(product(&rng), quantity) };
        let through_cart = rng.below(8) == 0;
        let then = match rng.below(100) {
            0..4 => Then::Cancel,
            4..8 => Then::Refund,
            _ => Then::Wait,
        };
        let ends: &[&str] = match (card, is_rare, then) {
            ("tok_declined", ..) => &["CANCELLED"],
            (_, _, Then::Cancel) | (_, true, Then::Wait) => &["CONFIRMED", "CANCELLED"],
            (_, false, Then::Wait) => &["CONFIRMED"],
            (_, false, Then::Refund) => &["REFUNDED"],
            (_, true, Then::Refund) => &["REFUNDED", "CANCELLED"],
        };
        Step { draft: draft.card(card), through_cart, then, ends }
    }

    /// Places order `number`, does what is planned with it, and checks its end.
    async fn order(&self, customer: &Person, number: u64, placed: &watch::Sender<u64>) {
        let Step { draft, through_cart, then, ends } = self.step(number);
        let key = format!("{} {number}", self.seed);
        let accepted = match through_cart {
            true => customer.check_out(&draft, &key).await,
            false => customer.place_again(&draft, &key).await,
        };
        let id = order_id(&accepted.ok());
        placed.send_modify(|count| *count += 1);
        if then == Then::Cancel {
            let answer: Answer = customer.cancel(&id, "changed my mind").await;
            assert!(answer.status == 200 || answer.reason() == "ORDER_NOT_CANCELLABLE", "{}", answer.body);
        }
        let mut order = customer.ended(&id).await;
        if then == Then::Refund && state(&order) == "CONFIRMED" {
            self.admin.refund(&id).await.ok();
            order = customer.reached(&id, |state| state == "REFUNDED").await;
        }
        assert!(ends.contains(&state(&order)), "{number}: {draft:?} {then:?} became {order}");
    }
}

/// Runs the test on a shop whose data `engines` keep, which are killed as well.
pub(crate) async fn crash(setup: Setup, engines: &[Engine]) {
    let (seed, clock) = (seed(), Clock::default());
    let (orders, kills) = (env_number("BANYAN_CRASH_ORDERS", 1_000), env_number("BANYAN_CRASH_KILLS", 40));
    println!("seed {seed}, {orders} orders, {kills} kills");
    let began = clock.now();
    let mut shop = Shop::start(setup).await;
    let plan = Arc::new(plan(&shop, seed, orders).await);
    let (placed, watched) = watch::channel(0);
    let mut shoppers = gather(&shop, &plan, placed).await;
    let served = async {
        while let Some(ended) = shoppers.join_next().await {
            ended.expect("every shopper is served in the end");
        }
    };
    let killing = Killing { shop: &mut shop, engines, rng: Rng::seeded(seed), bag: Vec::new() };
    let (killed, ()) = tokio::join!(killing.again_and_again(orders, kills, watched), served);
    let took = clock.now() - began;
    let report: Report = shop.audit_once(REST_MAX).await;
    println!("{orders} orders, {killed:?}, {took:?}; audited after {:?}\n{report}", clock.now() - began);
    assert!(report.passed, "{report}");
    assert_eq!(report.orders.total as u64, orders, "each key placed one order");
    shop.stop().await;
}

async fn plan(shop: &Shop, seed: u64, orders: u64) -> Plan {
    let mut plenty = Vec::new();
    for price in [120, 340, 999, 2_500, 15] {
        plenty.push(shop.admin.product(price, 1_000_000).await);
    }
    let rare = shop.admin.product(7_700, 1 + orders as u32 / 25).await;
    let mut admin = shop.admin.clone();
    admin.client = shop.client.with_patience(Patience::Retries(PATIENCE));
    Plan { seed, orders, plenty, rare, admin }
}

/// Sends the customers shopping, each for every so-manieth order.
async fn gather(shop: &Shop, plan: &Arc<Plan>, placed: watch::Sender<u64>) -> JoinSet<()> {
    let client = shop.client.with_patience(Patience::Retries(PATIENCE));
    let placed = Arc::new(placed);
    let mut shoppers = JoinSet::new();
    for first in 0..SHOPPERS.min(plan.orders) {
        let customer = Person::register(&client).await;
        let (plan, placed) = (plan.clone(), placed.clone());
        shoppers.spawn(async move {
            for number in (first..plan.orders).step_by(SHOPPERS as usize) {
                plan.order(&customer, number, &placed).await;
            }
        });
    }
    shoppers
}

/// How many processes were killed.
#[derive(Clone, Copy, Debug, Default)]
struct Kills {
    children: u64,
    roots: u64,
    engines: u64,
}

/// Who is killed, and in what order.
struct Killing<'a> {
    shop: &'a mut Shop,
    engines: &'a [Engine],
    rng: Rng,
    /// Each victim once, so that every one gets its turn in a random order.
    bag: Vec<Victim>,
}

#[derive(Clone, Debug)]
enum Victim {
    Process(String),
    /// By its place in the list.
    Engine(usize),
}

impl Killing<'_> {
    /// Kills a random victim each time another part of the orders is placed.
    async fn again_and_again(mut self, orders: u64, kills: u64, mut placed: watch::Receiver<u64>) -> Kills {
        let mut done = Kills::default();
        for kill in 0..kills {
            let moment = orders * (kill + 1) / (kills + 1);
            // The sender is gone when all orders are placed and at their end.
            let reached = placed.wait_for(|count| *count >= moment).await.is_ok();
            tokio::time::sleep(Duration::from_millis(self.rng.below(KILL_AFTER_MAX_MS))).await;
            if !reached {
                break;
            }
            let victim = self.draw().await;
            println!("kill {kill}: {victim:?} after {moment} orders");
            match victim {
                Victim::Process(name) if name == ROOT => {
                    self.shop.kill_root().await;
                    self.shop.restart().await;
                    done.roots += 1;
                }
                Victim::Process(name) => {
                    self.kill_child(&name).await;
                    done.children += 1;
                }
                Victim::Engine(number) => {
                    let engine = &self.engines[number];
                    engine.kill().await.expect("an engine can be killed");
                    engine.restart().await.expect("an engine comes back with its data");
                    done.engines += 1;
                }
            }
        }
        done
    }

    async fn kill_child(&self, name: &str) {
        let pid = until(START_MAX, "the victim ran", || async {
            let processes = self.shop.processes().await.expect("a root that lives tells its processes");
            processes.into_iter().find(|p| p.name == name && p.pid != 0).map(|p| p.pid)
        });
        self.shop.signal("KILL", pid.await).await;
    }

    async fn draw(&mut self) -> Victim {
        if self.bag.is_empty() {
            let processes = self.shop.processes().await.expect("a root that lives tells its processes");
            self.bag.extend(processes.into_iter().map(|process| Victim::Process(process.name)));
            self.bag.extend((0..self.engines.len()).map(Victim::Engine));
        }
        self.bag.swap_remove(self.rng.below(self.bag.len() as u64) as usize)
    }
}

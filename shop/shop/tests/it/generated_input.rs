//! Ten thousand generated requests at every route that the shop describes: it may refuse them, never break.
//!
//! `BANYAN_INPUTS` (10000) sets how many.

mod generate;

use crate::support::{Ask, Client, Draft, Patience, Person, Setup, Shop, env_number, order_id, seed, until};
use banyan::core::{Clock, Rng};
use generate::{Operation, Words};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const SENDERS: usize = 8;
/// Requests that one access token is used for.
const TOKEN_USES: u64 = 100;
/// Tokens of this shop are valid for a minute, and half a minute more for clocks that differ.
const EXPIRY_MAX: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_requests_break_nothing() {
    let (seed, inputs, clock) = (seed(), env_number("BANYAN_INPUTS", 10_000), Clock::default());
    println!("seed {seed}, {inputs} requests");
    let shop = Shop::start(Setup::one_process().set("services.users.token_minutes=1")).await;
    let root = shop.pid();
    let customer = Person::register(&shop.client).await;
    let lamp = shop.admin.product(250, 1_000_000).await;
    let order = order_id(&customer.buy(&Draft::of(&lamp, 1)).await);
    let cancelled = order_id(&customer.buy(&Draft::of(&lamp, 1).card("tok_declined")).await);
    let operations = generate::operations(&shop.client.ask(Ask::get("/openapi.json")).await.ok());
    assert!(operations.len() >= 20, "{operations:?}");

    let job = Arc::new(Job {
        seed,
        inputs,
        next: AtomicU64::new(0),
        client: shop.client.with_patience(Patience::Strict),
        operations,
        words: Words::new(vec![lamp, customer.user_id.clone(), order, cancelled]),
        people: [customer.clone(), shop.admin.clone()],
    });
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(job.clone().send());
    }
    let mut answers: BTreeMap<(usize, u16), u64> = BTreeMap::new();
    while let Some(sent) = senders.join_next().await {
        for (answer, count) in sent.expect("no sender meets what must not be") {
            *answers.entry(answer).or_default() += count;
        }
    }
    let began = clock.now();
    job.print(&answers);
    assert_eq!(answers.values().sum::<u64>(), inputs);
    for (number, operation) in job.operations.iter().enumerate() {
        let successes = answers.get(&(number, 200)).copied().unwrap_or_default();
        assert!(successes > 0, "no request to {operation:?} was good: this proves little");
    }

    let old = || Ask::get("/v1/orders").token(&customer.token);
    let expired = until(EXPIRY_MAX, "the token expired", || async {
        Some(shop.client.ask(old()).await).filter(|answer| answer.status != 200)
    });
    expired.await.refused(401, "TOKEN_EXPIRED");
    assert_eq!(shop.pid(), root, "it is still the same process");
    println!("{}", shop.audit().await);
    println!("settled after {:?}", clock.now() - began);
    shop.stop().await;
}

/// What the senders share.
struct Job {
    seed: u64,
    inputs: u64,
    /// Number of the next request.
    next: AtomicU64,
    client: Client,
    operations: Vec<Operation>,
    words: Words,
    /// A customer and an administrator.
    people: [Person; 2],
}

impl Job {
    /// Sends requests until all are sent; returns how often which operation was answered with which status.
    async fn send(self: Arc<Self>) -> BTreeMap<(usize, u16), u64> {
        let mut answers = BTreeMap::new();
        let (mut people, mut uses) = (self.sign_in().await, 0);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.inputs {
                return answers;
            }
            uses += 1;
            if uses % TOKEN_USES == 0 {
                people = self.sign_in().await;
            }
            let rng = Rng::seeded(self.seed.wrapping_mul(1_000_003).wrapping_add(number));
            let chosen = (number % self.operations.len() as u64) as usize;
            let ask = self.operations[chosen].request(&rng, &self.words);
            let ask = match rng.below(8) {
                0 => ask,
                1 => ask.token(&generate::encode(&self.words.any(&rng))),
                2..5 => ask.token(&people[0].token),
                _ => ask.token(&people[1].token),
            };
            let answer = self.client.send(&ask).await;
            let answer = answer.unwrap_or_else(|error| panic!("request {number} {ask:?}: {error}"));
            let good = (200..300).contains(&answer.status);
            let refused = (400..500).contains(&answer.status) && answer.is_problem();
            assert!(good || refused, "request {number} {ask:?}: {} {}", answer.status, answer.body);
            *answers.entry((chosen, answer.status)).or_default() += 1;
        }
    }

    async fn sign_in(&self) -> [Person; 2] {
        let [customer, admin] = &self.people;
        [
            Person::sign_in(&self.client, &customer.email, &customer.password).await,
            Person::sign_in(&self.client, &admin.email, &admin.password).await,
        ]
    }

    fn print(&self, answers: &BTreeMap<(usize, u16), u64>) {
        for (number, operation) in self.operations.iter().enumerate() {
            let of_operation = answers.iter().filter(|((of, _), _)| *of == number);
            let counts: Vec<_> =
                of_operation.map(|((_, status), count)| format!("{count} x {status}")).collect();
            println!("{operation}: {}", counts.join(", "));
        }
    }
}

//! Which orders are placed: pure, and the same for the same arguments.

use super::cards::CardMix;
use banyan::core::Rng;
use bytes::Bytes;
use serde_json::json;
use shop_dataset::{Customer, Dataset, Order};
use std::collections::HashMap;

/// An order to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) email: String,
    /// The same for every attempt, and in every replay of the same run.
    pub(crate) idempotency_key: String,
    /// The body of the request.
    pub(crate) body: Bytes,
}

/// What a plan depends on besides the data set.
#[derive(Clone, Debug)]
pub(crate) struct PlanOptions {
    /// How many orders; beyond those of the data set it begins again.
    pub(crate) orders: usize,
    /// A run places nothing twice, however often it is replayed.
    pub(crate) run: String,
    pub(crate) cards: CardMix,
    pub(crate) seed: u64,
}

/// Makes the plan.
pub(crate) fn plan(dataset: &Dataset, options: &PlanOptions) -> Vec<Planned> {
    let customers: HashMap<&str, &Customer> = dataset.customers.iter().map(|c| (c.id.as_str(), c)).collect();
    let ordered = dataset.orders.iter().filter_map(|o| Some((o, *customers.get(o.customer_id.as_str())?)));
    let ordered: Vec<(&Order, &Customer)> = ordered.collect();
    let rng = Rng::seeded(options.seed);
    let rounds =
        (0..).flat_map(|round| ordered.iter().map(move |(order, customer)| (round, *order, *customer)));
    // Without orders there is no round that ends.
    let rounds = rounds.take(if ordered.is_empty() { 0 } else { options.orders });
    rounds
        .map(|(round, order, customer)| Planned {
            email: customer.email(),
            idempotency_key: idempotency_key(&options.run, round, &order.invoice),
            body: body(order, customer, &options.cards.draw(&rng)),
        })
        .collect()
}

fn idempotency_key(run: &str, round: u32, invoice: &str) -> String {
    format!("replay-{run}-{round}-{invoice}")
}

fn body(order: &Order, customer: &Customer, card: &str) -> Bytes {
    let items: Vec<_> = order
        .lines
        .iter()
        .map(|line| json!({"productId": line.product_id, "quantity": line.quantity}))
        .collect();
    let body = json!({
        "items": items,
        "cardToken": card,
        "shippingAddress": {
            "name": crate::dataset::name(customer),
            "street": "1 Market Street",
            "city": "Springfield",
            "postalCode": "00001",
            "country": customer.country,
        },
    });
    body.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn options(orders: usize) -> PlanOptions {
        PlanOptions { orders, run: "1".to_owned(), cards: "declined=0.5".parse().unwrap(), seed: 7 }
    }

    #[test]
    fn the_same_run_makes_the_same_requests() {
        let dataset = shop_dataset::seed().unwrap();
        let all = plan(&dataset, &options(dataset.orders.len()));
        assert_eq!(all, plan(&dataset, &options(dataset.orders.len())));
        assert_eq!(all[..10], plan(&dataset, &options(10)));
    }

    #[test]
    fn no_two_orders_of_a_customer_share_a_key_and_another_run_has_other_keys() {
        let dataset = shop_dataset::seed().unwrap();
        let count = 2 * dataset.orders.len() + 1;
        let keys = |run: &str| -> HashSet<(String, String)> {
            let options = PlanOptions { run: run.to_owned(), ..options(count) };
            plan(&dataset, &options).into_iter().map(|p| (p.email, p.idempotency_key)).collect()
        };
        assert_eq!(keys("1").len(), count);
        assert!(keys("1").is_disjoint(&keys("2")));
    }

    #[test]
    fn every_order_of_the_seed_data_fits_the_contract() {
        for order in shop_dataset::seed().unwrap().orders {
            assert!((1..=500).contains(&order.lines.len()), "{}", order.invoice);
            assert!(
                order.lines.iter().all(|line| (1..=100_000).contains(&line.quantity)),
                "{}",
                order.invoice
            );
        }
    }

    #[test]
    fn nothing_is_planned_from_nothing() {
        assert!(plan(&Dataset::default(), &options(3)).is_empty());
    }
}

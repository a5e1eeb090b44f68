//! What a visitor is up to: pure, and the same for the same seed.

use crate::replay::cards::CardMix;
use banyan::core::Rng;

/// What people look for in a shop for gifts.
const WORDS: [&str; 12] = [
    "heart",
    "candle",
    "red bag",
    "christmas",
    "mug",
    "clock",
    "paper",
    "bird",
    "cake",
    "lunch box",
    "lantern",
    "garden",
];
/// Of all visitors: those who search, and those who put something into a cart.
const SEARCHES: f64 = 0.6;
const FILLS: f64 = 0.7;
/// Of those with something in the cart: those who leave it there after all.
const ABANDONS: f64 = 0.15;
/// Of those who check out: those who change their minds at once.
const CANCELS: f64 = 0.08;
/// Products that one visitor looks at, and that one cart has, at most.
const LOOKS_MAX: u64 = 4;
const ITEMS_MAX: u64 = 3;
/// Pieces of one product at most.
const PIECES_MAX: u64 = 4;

/// One visitor's plan. Products are numbers below the count that was given to [`Intent::draw`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) search: Option<&'static str>,
    pub(crate) looks: Vec<usize>,
    /// Products with their quantities, each product once.
    pub(crate) items: Vec<(usize, u64)>,
    pub(crate) then: Then,
}

/// What happens to the cart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing was put into it, or it is left.
    Leave,
    CheckOut {
        card: String,
        cancel: bool,
    },
}

impl Intent {
    /// Draws a visitor's plan among so many `products` (at least 1).
    pub(crate) fn draw(rng: &Rng, products: usize, cards: &CardMix) -> Self {
        let pick = || rng.below(products as u64) as usize;
        let search = (rng.unit() < SEARCHES).then(|| WORDS[rng.below(WORDS.len() as u64) as usize]);
        let looks = (0..=rng.below(LOOKS_MAX)).map(|_| pick()).collect();
        let mut items: Vec<(usize, u64)> = Vec::new();
        if rng.unit() < FILLS {
            for _ in 0..=rng.below(ITEMS_MAX) {
                let (product, pieces) = (pick(), 1 + rng.below(PIECES_MAX));
                if items.iter().all(|(other, _)| *other != product) {
                    items.push((product, pieces));
                }
            }
        }
        let (abandons, card, cancel) = (rng.unit() < ABANDONS, cards.draw(rng), rng.unit() < CANCELS);
        let then = if items.is_empty() || abandons { Then::Leave } else { Then::CheckOut { card, cancel } };
        Self { search, looks, items, then }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: u64, count: usize) -> Vec<Intent> {
        let (rng, cards) = (Rng::seeded(seed), "declined=0.2".parse().unwrap());
        (0..count).map(|_| Intent::draw(&rng, 50, &cards)).collect()
    }

    #[test]
    fn a_seed_always_draws_the_same_visitors() {
        assert_eq!(draw(3, 200), draw(3, 200));
        assert_ne!(draw(3, 200), draw(4, 200));
    }

    #[test]
    fn visitors_are_as_different_as_they_should_be() {
        let visitors = draw(1, 10_000);
        let count = |what: &dyn Fn(&Intent) -> bool| visitors.iter().filter(|v| what(v)).count();
        let paid = |wanted: &dyn Fn(&str, bool) -> bool| {
            count(&|v| matches!(&v.then, Then::CheckOut { card, cancel } if wanted(card, *cancel)))
        };
        assert!((5_700..6_300).contains(&count(&|v| v.search.is_some())));
        assert!((5_700..6_200).contains(&paid(&|_, _| true)));
        assert!((1_000..1_400).contains(&paid(&|card, _| card == "tok_declined")));
        assert!((380..580).contains(&paid(&|_, cancel| cancel)));
        for visitor in &visitors {
            assert!(visitor.items.iter().all(|(product, pieces)| *product < 50 && (1..=4).contains(pieces)));
            assert!(!visitor.items.is_empty() || visitor.then == Then::Leave);
        }
    }
}

//! Which test card each order is paid with: mostly a good one, and some that make trouble.

use banyan::core::Rng;
use std::fmt;
use std::str::FromStr;

/// What pays unless the mix says otherwise.
const GOOD: &str = "tok_visa";
/// The cards that a mix may name; the card processor knows them as `tok_…`.
const TROUBLE: [&str; 4] = ["declined", "slow", "timeout", "error"];

/// The fraction of orders for each card that makes trouble, in the order of [`TROUBLE`]; the rest pays with a good one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CardMix([f64; TROUBLE.len()]);

impl CardMix {
    /// Draws the card of one order.
    pub(crate) fn draw(&self, rng: &Rng) -> String {
        let mut left = rng.unit();
        for (card, fraction) in TROUBLE.iter().zip(self.0) {
            if left < fraction {
                return format!("tok_{card}");
            }
            left -= fraction;
        }
        GOOD.to_owned()
    }
}

impl FromStr for CardMix {
    type Err = String;

    /// Reads `declined=0.1,slow=0.02`; nothing is a mix of good cards alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, fraction) =
                part.split_once('=').ok_or_else(|| format!("{part}: expected CARD=FRACTION"))?;
            let card = TROUBLE.iter().position(|card| *card == name.trim());
            let card = card.ok_or_else(|| format!("{name}: expected one of {}", TROUBLE.join(", ")))?;
            let fraction = fraction.trim().parse::<f64>().ok().filter(|f| (0.0..=1.0).contains(f));
            mix.0[card] = fraction.ok_or_else(|| format!("{part}: a fraction is a number from 0 to 1"))?;
        }
        match mix.0.iter().sum::<f64>() {
            // Decimal fractions that add up to one may miss it by a rounding error.
            sum if sum <= 1.0 + 1e-9 => Ok(mix),
            sum => Err(format!("the fractions add up to {sum}, which is more than 1")),
        }
    }
}

impl fmt::Display for CardMix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = TROUBLE
            .iter()
            .zip(self.0)
            .filter(|(_, fraction)| *fraction > 0.0)
            .map(|(card, fraction)| format!("{card}={fraction}"))
            .collect();
        f.write_str(if parts.is_empty() { "all good" } else { "" })?;
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(mix: &str, seed: u64, count: usize) -> Vec<String> {
        let (mix, rng) = (mix.parse::<CardMix>().unwrap(), Rng::seeded(seed));
        (0..count).map(|_| mix.draw(&rng)).collect()
    }

    #[test]
    fn a_seed_always_draws_the_same_cards() {
        let mix = "declined=0.2,slow=0.1,timeout=0.05,error=0.3";
        assert_eq!(draw(mix, 7, 500), draw(mix, 7, 500));
        assert_ne!(draw(mix, 7, 500), draw(mix, 8, 500));
        assert_eq!(draw(mix, 7, 500)[..100], draw(mix, 7, 100));
    }

    #[test]
    fn cards_are_drawn_as_often_as_the_mix_says() {
        let cards = draw("declined=0.2,error=0.3", 1, 10_000);
        let count = |card: &str| cards.iter().filter(|c| *c == card).count();
        assert!((1_800..2_200).contains(&count("tok_declined")), "{}", count("tok_declined"));
        assert!((2_800..3_200).contains(&count("tok_error")), "{}", count("tok_error"));
        assert_eq!(count("tok_declined") + count("tok_error") + count(GOOD), cards.len());
        assert!(draw("", 1, 100).iter().all(|card| card == GOOD));
        assert!(draw("timeout=1", 1, 100).iter().all(|card| card == "tok_timeout"));
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, part) in [
            ("gold=0.1", "gold"),
            ("declined", "CARD=FRACTION"),
            ("slow=2", "slow=2"),
            ("slow=-0.1", "slow=-0.1"),
            ("slow=NaN", "slow=NaN"),
            ("declined=0.6,error=0.5", "more than 1"),
        ] {
            let error = text.parse::<CardMix>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(
            "declined=0.7,error=0.2,slow=0.1".parse::<CardMix>().unwrap().to_string(),
            "declined=0.7,slow=0.1,error=0.2"
        );
    }
}

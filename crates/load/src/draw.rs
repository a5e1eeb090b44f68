//! The variables of a file: a value, one of a list, or one of a table of weights.

use banyan_core::Rng;
use serde_json::Value;

/// Where the value of a variable comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Draw {
    /// Kept in its slot; a list gives one of its values at each use.
    Fixed(Value),
    /// Drawn at the beginning of each run: values with the sums of the weights up to each.
    Weighted(Vec<(Value, f64)>),
}

impl Draw {
    /// Reads a variable.
    ///
    /// # Errors
    /// If a table has something else than weights.
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        let members = match value {
            Value::Object(members) => members,
            Value::Array(values) if values.is_empty() => return Err("is a list of nothing".to_owned()),
            other => return Ok(Self::Fixed(other.clone())),
        };
        let mut sum = 0.0;
        let mut weighted = Vec::with_capacity(members.len());
        for (name, weight) in members {
            let weight = weight.as_f64().filter(|weight| *weight >= 0.0 && weight.is_finite());
            sum += weight
                .ok_or_else(|| format!("the weight of {name} must be a number that is not negative"))?;
            weighted.push((Value::from(name.as_str()), sum));
        }
        if sum > 0.0 { Ok(Self::Weighted(weighted)) } else { Err("needs a weight above 0".to_owned()) }
    }

    pub(crate) fn value(&self, rng: &Rng) -> Value {
        match self {
            Self::Fixed(value) => value.clone(),
            Self::Weighted(weighted) => {
                let sum = weighted.last().map_or(0.0, |(_, sum)| *sum);
                let drawn = rng.unit() * sum;
                let found = weighted.iter().find(|(_, sum)| drawn < *sum).or(weighted.last());
                found.map_or(Value::Null, |(value, _)| value.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn weights_are_kept() {
        let draw = Draw::parse(&json!({"visa": 90, "declined": 10.0, "never": 0})).unwrap();
        let rng = Rng::seeded(1);
        let drawn: Vec<Value> = (0..10_000).map(|_| draw.value(&rng)).collect();
        let count = |what: &str| drawn.iter().filter(|value| *value == what).count();
        assert!((850..1_150).contains(&count("declined")), "{}", count("declined"));
        assert_eq!(count("never"), 0);
        assert_eq!(Draw::parse(&json!("GB")).unwrap().value(&rng), json!("GB"));
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for bad in [json!([]), json!({}), json!({"a": "b"}), json!({"a": -1}), json!({"a": 0})] {
            assert!(Draw::parse(&bad).is_err(), "{bad}");
        }
    }
}

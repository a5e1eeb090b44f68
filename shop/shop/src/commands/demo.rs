//! `demo`: visitors come to the shop, so that there is something to see.

use crate::dataset::DatasetArgs;
use crate::demo::drive::{self, Flow};
use crate::demo::visit::{self, Visits};
use crate::replay::cards::CardMix;
use crate::replay::shopper::Shoppers;
use anyhow::{Result, anyhow};
use banyan::core::{Env, Error};
use banyan_cli::{Globals, Output, Problem, Remote};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::time::Duration;

/// How long an order may take to come to its end.
const ORDER_MAX: Duration = Duration::from_secs(60);

/// Let visitors come to the shop: they browse, search, fill carts, pay with good and bad cards, cancel
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  demo                                        5 visitors each second, until Ctrl-C
  demo --rate 50 --duration 60                a minute of a busy day; prints what came of it
  demo --cards declined=0.5 --json            half of the cards are refused; the result as JSON

The products and customers must have been imported. Visitors come at the rate, whatever the shop does; what they buy is gone: \
in a long demo, `import` fills the shelves again. It fails if the shop is gone.")]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    dataset: DatasetArgs,
    /// Visitors that come each second
    #[arg(long, value_name = "PER_SECOND", default_value_t = 5.0, value_parser = rate)]
    rate: f64,
    /// How long they come, in seconds [default: until Ctrl-C]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    duration: Option<u64>,
    /// Fractions of orders that are paid with difficult test cards: declined, slow, timeout, error
    #[arg(long, value_name = "CARD=FRACTION,…", default_value = "declined=0.06,slow=0.05,error=0.04")]
    cards: CardMix,
    /// Customers that may be in the shop at the same time
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    customers: u32,
    /// Decides what the visitors are up to [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) async fn run(args: DemoArgs, globals: Globals) -> Result<()> {
    let env = Env::default();
    let remote = Remote::find(&globals.data()?)?;
    let output = Output::new(globals.json)?;
    let dataset = args.dataset.read()?;
    let customers: Vec<String> =
        dataset.customers.iter().take(args.customers as usize).map(|customer| customer.email()).collect();
    let shoppers = Shoppers::new(env.clone(), remote.url(), &args.dataset.password, ORDER_MAX);
    let products = visit::products(&shoppers).await.map_err(|failure| anyhow!("the shop: {failure}"))?;
    // The first customer stands for all: they were imported together.
    let has_customers = match customers.first() {
        Some(email) => shoppers.sign_in(email).await.is_ok(),
        None => false,
    };
    if products.is_empty() || !has_customers {
        let error = Error::not_found("product with customers to buy it in the shop at", remote.url());
        return Err(Problem::new(error, "`shop import` brings both").into());
    }
    if !globals.json {
        let (rate, url, cards) = (args.rate, remote.url(), &args.cards);
        output.line(&format!("{rate} visitors each second at {url}, cards: {cards}; Ctrl-C ends it"))?;
    }

    let bar = line(globals.json);
    let seed = args.seed.unwrap_or_else(|| env.rng.below(1 << 32));
    let visits = Visits { env, shoppers, products, limit: ORDER_MAX };
    let duration = args.duration.map(Duration::from_secs);
    let flow = Flow { rate: args.rate, duration, cards: args.cards.clone(), seed };
    let stop =
        async { tokio::signal::ctrl_c().await.unwrap_or_else(|error| tracing::warn!(%error, "no Ctrl-C")) };
    let counts = drive::run(&visits, customers, &flow, stop, &bar).await;
    bar.finish_and_clear();
    let result = json!({"seed": seed, "cards": args.cards.to_string(), "rate_per_s": args.rate, "demo": counts.to_json()});
    output.value(&result, &counts.to_string())?;
    if visits.shoppers.is_gone() {
        let error =
            Error::unavailable(format!("the shop stopped or died: nobody listens at {}", remote.url()));
        return Err(Problem::new(error, "`shop status` shows what became of it").into());
    }
    match counts.failures() {
        0 => Ok(()),
        failures => Err(anyhow!("{failures} visits failed")),
    }
}

/// Makes the live line, for people who look.
fn line(json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{elapsed:>6} {wide_msg}").expect("the template is valid"));
    bar
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.01..=10_000.0).contains(rate));
    rate.ok_or_else(|| "expected visitors per second, from 0.01 to 10000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        demo: DemoArgs,
    }

    #[test]
    fn arguments_have_defaults_and_bounds() {
        Cli::command().debug_assert();
        let parse = |text: &str| Cli::try_parse_from(format!("demo {text}").split_whitespace());
        let args = parse("").unwrap().demo;
        assert_eq!((args.rate, args.duration, args.customers), (5.0, None, 100));
        assert_eq!(args.cards.to_string(), "declined=0.06,slow=0.05,error=0.04");
        assert_eq!(parse("--rate 0.5 --duration 3").unwrap().demo.duration, Some(3));
        for bad in ["--rate 0", "--rate many", "--duration 0", "--customers 0", "--cards gold=1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

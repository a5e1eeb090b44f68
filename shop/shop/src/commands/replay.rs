//! `replay`: places the data set's orders through the gateway, and proves that none was lost.

use super::audit;
use crate::dataset::DatasetArgs;
use crate::http::Failure;
use crate::progress;
use crate::replay::cards::CardMix;
use crate::replay::drive::{self, Pace};
use crate::replay::plan::{PlanOptions, plan};
use crate::replay::shopper::Shoppers;
use crate::replay::tally::Tally;
use anyhow::{Result, anyhow, bail};
use banyan::core::{Env, Error};
use banyan_cli::{Globals, Output, Problem, Remote};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// Orders under way at the same time, unless the arguments say otherwise: without a rate, and with one.
const CONCURRENCY: usize = 16;
const CONCURRENCY_AT_A_RATE: usize = 1_000;
/// How long the shop may take to come to rest before its books must balance.
const SETTLE: Duration = Duration::from_secs(30);

/// Place the data set's orders through the gateway, follow each to its end, and audit the shop
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  replay                                      every order once, 16 customers at a time
  replay --rate 50                            50 orders arrive each second, whatever the shop does
  replay --orders 1000 --cards declined=0.1,error=0.05

An order's idempotency key is made of its invoice number: replayed again, it is not placed again, unless --run is \
another. The customers must have been imported. It fails if an order does not come to its end or if the books do not \
balance.

To let a consumer group read events again, see `topics replay`.")]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    dataset: DatasetArgs,
    /// Orders that arrive each second; without it, an order arrives when there is room
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// How many orders; more than the data set has begin again with its first [default: all of them once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    orders: Option<u32>,
    /// Orders under way at the same time at most [default: 16, and 1000 with --rate]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: Option<u32>,
    /// Fractions of orders that are paid with difficult test cards: declined, slow, timeout, error
    #[arg(long, value_name = "CARD=FRACTION,…", default_value = "", hide_default_value = true)]
    cards: CardMix,
    /// Decides which orders get which cards
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Names the run; another one places all orders anew
    #[arg(long, value_name = "NAME", default_value = "1", value_parser = run_name)]
    run: String,
    /// How long an order may take to come to its end, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    order_timeout_s: u64,
    /// Configuration file with the stores' passwords for the audit; `banyan.toml` is read if it is there
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ReplayArgs {
    fn pace(&self) -> Pace {
        let default = if self.rate.is_some() { CONCURRENCY_AT_A_RATE } else { CONCURRENCY };
        Pace { rate: self.rate, concurrency: self.concurrency.map_or(default, |n| n as usize) }
    }
}

pub(crate) async fn run(args: ReplayArgs, globals: Globals) -> Result<()> {
    let env = Env::default();
    let data = globals.data()?;
    let remote = Remote::find(&data)?;
    let output = Output::new(globals.json)?;
    let dataset = args.dataset.read()?;
    let options = PlanOptions {
        orders: args.orders.map_or(dataset.orders.len(), |n| n as usize),
        run: args.run.clone(),
        cards: args.cards.clone(),
        seed: args.seed,
    };
    let plan = plan(&dataset, &options);
    let limit = Duration::from_secs(args.order_timeout_s);
    let shoppers = Shoppers::new(env.clone(), remote.url(), &args.dataset.password, limit);
    if !globals.json {
        output.line(&format!("{} orders, cards: {}, seed {}", plan.len(), args.cards, args.seed))?;
    }

    let bar = progress::bar(0, "sign in", globals.json);
    let signed_in = drive::sign_in(&shoppers, &plan, &bar).await;
    bar.finish_and_clear();
    signed_in.map_err(|failure| not_signed_in(&failure, remote.url()))?;

    let bar = progress::bar(plan.len(), "orders", globals.json);
    let mut tally = Tally::new(env.clock.unix_ms());
    drive::place(&shoppers, &plan, args.pace(), &env.clock, &mut tally, &bar).await;
    bar.finish_and_clear();

    if !globals.json {
        output.line(&format!("{tally}\n"))?;
    }
    if shoppers.is_gone() {
        if globals.json {
            output.line(&json!({"replay": tally.to_json()}).to_string())?;
        }
        return Err(gone("while orders were under way", remote.url()).into());
    }
    // What the replay found is worth printing also if the books cannot be read.
    let books = audit::Books { globals: &globals, config: args.config.as_deref(), processor: None };
    let audited = audit::audit(books, SETTLE).await;
    let result = json!({
        "seed": args.seed,
        "cards": args.cards.to_string(),
        "run": args.run,
        "replay": tally.to_json(),
        "audit": audited.as_ref().ok(),
    });
    output.value(&result, &audited.as_ref().map(ToString::to_string).unwrap_or_default())?;
    audit::verdict(&audited?)?;
    match tally.unfinished() {
        0 => Ok(()),
        unfinished => bail!("{unfinished} orders did not come to their ends within {limit:?}"),
    }
}

fn not_signed_in(failure: &Failure, url: &str) -> anyhow::Error {
    match failure {
        Failure::Gone(_) => gone("while the customers signed in", url).into(),
        // What the shop refuses says whether there is such an account: not to strangers, so both cases are named.
        Failure::Refused { status: 401, .. } => {
            let error = Error::unauthenticated(format!("the customers cannot sign in: {failure}"));
            let next = "`shop import` makes their accounts; --password says with which password";
            Problem::new(error, next).into()
        }
        other => anyhow!("the customers cannot sign in: {other}"),
    }
}

fn gone(when: &str, url: &str) -> Problem {
    let error = Error::unavailable(format!("the shop stopped or died {when}: nobody listens at {url}"));
    let next = "`shop status` shows what became of it; start it again and repeat this command: what was placed is \
                not placed twice";
    Problem::new(error, next)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=100_000.0).contains(rate));
    rate.ok_or_else(|| "expected orders per second, from 0.001 to 100000".to_owned())
}

/// Reads the name of a run, which becomes part of a header.
fn run_name(text: &str) -> Result<String, String> {
    let valid =
        (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if valid { Ok(text.to_owned()) } else { Err("expected 1 to 40 letters, digits and -".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        replay: ReplayArgs,
    }

    fn parse(text: &str) -> Result<ReplayArgs, clap::Error> {
        Ok(Cli::try_parse_from(format!("replay {text}").split_whitespace())?.replay)
    }

    #[test]
    fn a_shop_that_is_gone_is_no_missing_account() {
        let error = not_signed_in(&Failure::Gone("refused".into()), "http://x");
        let problem = error.downcast::<Problem>().unwrap();
        assert_eq!(problem.error().reason(), "UNAVAILABLE");
        assert!(problem.next_step().contains("start it again") && !problem.next_step().contains("import"));
        let refused =
            Failure::Refused { status: 401, reason: "CREDENTIALS_INVALID".into(), detail: "no".into() };
        let problem = not_signed_in(&refused, "http://x").downcast::<Problem>().unwrap();
        assert!(problem.next_step().contains("shop import"));
    }

    #[test]
    fn arguments_have_defaults_and_bounds() {
        Cli::command().debug_assert();
        let pace = parse("").unwrap().pace();
        assert_eq!((pace.rate, pace.concurrency), (None, 16));
        let pace = parse("--rate 50").unwrap().pace();
        assert_eq!((pace.rate, pace.concurrency), (Some(50.0), 1_000));
        let all =
            parse("lines.csv --rate 0.5 --concurrency 3 --cards declined=0.1 --seed 9 --run b-2").unwrap();
        assert_eq!((all.pace().concurrency, all.seed, all.run.as_str()), (3, 9, "b-2"));
        assert_eq!(all.cards.to_string(), "declined=0.1");
        for bad in [
            "--rate 0",
            "--rate -1",
            "--rate fast",
            "--orders 0",
            "--concurrency 0",
            "--cards gold=1",
            "--run a/b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}

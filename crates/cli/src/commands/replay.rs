//! `replay`: a consumer group reads events again.

use crate::args::Globals;
use crate::output::Output;
use crate::problem::{Problem, program_name};
use crate::remote::Remote;
use anyhow::Result;
use banyan_core::Code;
use banyan_event_log::{SeekTo, replay};
use clap::Args;
use serde_json::json;

#[derive(Args)]
#[command(after_help = "\
Examples:
  topics replay analytics orders --from start
      everything that is kept
  topics replay analytics orders --from-ms 1795252474000
      what came at this time or later (milliseconds since 1970)
  topics replay analytics orders --partition 3 --from-offset 120
      from one place in one partition on

A service recognises events that it has handled already by their ids, for as long as its inbox remembers them: what \
such a replay changes is what was not handled, or was undone by hand.")]
pub(crate) struct ReplayArgs {
    /// The consumer group; each service's group is named like the service.
    group: String,
    /// The topic.
    topic: String,
    /// Where to read on: `start` or `end`.
    #[arg(long, value_parser = ["start", "end"], group = "place")]
    from: Option<String>,
    /// Read on with what came at this time, in milliseconds since the Unix epoch.
    #[arg(long, group = "place")]
    from_ms: Option<u64>,
    /// Read on with this offset of one partition.
    #[arg(long, group = "place", requires = "partition")]
    from_offset: Option<u64>,
    /// The partition that --from-offset is about.
    #[arg(long, requires = "from_offset")]
    partition: Option<u32>,
}

pub(crate) async fn run(args: ReplayArgs, globals: Globals) -> Result<()> {
    let to = match (args.from.as_deref(), args.from_ms, args.from_offset, args.partition) {
        (Some("start"), ..) => SeekTo::Start,
        (Some(_), ..) => SeekTo::End,
        (None, Some(ms), ..) => SeekTo::Time(ms),
        (None, None, Some(offset), Some(partition)) => SeekTo::Offset { partition, offset },
        _ => {
            let next = "--from start, --from end, --from-ms MS, or --partition P --from-offset N";
            return Err(Problem::usage("--from", "say where to read on", next).into());
        }
    };
    let remote = Remote::find(&globals.data()?)?;
    let log = remote.log()?;
    replay(&log, &args.group, &args.topic, to).await.map_err(|error| match error.code() {
        Code::NotFound | Code::InvalidArgument => {
            Problem::new(error, format!("`{} topics` lists the topics and who reads them", program_name()))
                .into()
        }
        _ => anyhow::Error::from(error),
    })?;
    let text = format!("{} reads {} from {to:?} on", args.group, args.topic);
    Output::new(globals.json)?.value(&json!({"group": args.group, "topic": args.topic}), &text)
}

//! How the results of the engines are written.

use super::BODY_BYTES;
use super::brokers::{Broker, Consumed, Load, Published};
use super::latency::Journey;
use super::stores::{Contest, Round};
use crate::report::{Section, Table};
use crate::stats::{Latencies, Spread, figure};

/// What is no worse than this share of the bare contender meets the aim.
const SHARE_MIN: f64 = 0.9;
/// The log whose bare contender is a file.
pub(super) const EMBEDDED: &str = "embedded";

fn spread<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> Spread {
    Spread::of(rounds.iter().map(figure))
}

/// Writes the medians of two percentiles.
fn percentiles<'a>(rounds: impl Iterator<Item = &'a Latencies> + Clone) -> String {
    let median =
        |percent| figure(Spread::of(rounds.clone().map(|latencies| latencies.percentile_us(percent))).median);
    format!("{} / {}", median(50.0), median(99.0))
}

/// The ratios of one aim: all of them have to be met.
struct Ratios {
    name: String,
    ratios: Vec<(String, f64)>,
}

fn aims(section: &mut Section, what: &str, ratios: Vec<Ratios>) {
    for Ratios { name, ratios } in ratios {
        let met = ratios.iter().all(|(_, ratio)| *ratio >= SHARE_MIN);
        let measured = ratios.iter().map(|(load, ratio)| format!("{load}: {} ×", figure(*ratio)));
        let measured = measured.collect::<Vec<_>>().join("; ");
        section.aim(&format!("{name}: {what} within 10 % of the bare client"), measured, Some(met));
    }
}

/// Adds a ratio to those of `name`.
fn note(all: &mut Vec<Ratios>, name: &str, load: String, ratio: f64) {
    match all.iter_mut().find(|ratios| ratios.name == name) {
        Some(ratios) => ratios.ratios.push((load, ratio)),
        None => all.push(Ratios { name: name.to_owned(), ratios: vec![(load, ratio)] }),
    }
}

/// Transactions of stores.
pub(super) struct Writing {
    table: Table<9>,
    latencies: Table<5>,
}

impl Writing {
    pub(super) fn new() -> Self {
        Self {
            table: Table::new([
                "store: transactions/s",
                "writers",
                "ours",
                "bare driver",
                "ratio",
                "ours, with an event",
                "bare, with a second row",
                "ratio",
                "disk µs",
            ]),
            latencies: Table::new(["p50 / p99 µs", "writers", "ours", "bare driver", "in one commit"]),
        }
    }

    pub(super) fn add(&mut self, contest: &Contest, writers: usize, rounds: &[Round]) {
        let name = format!("{}; {}", contest.name, contest.bare_name);
        self.table.row([
            name.clone(),
            writers.to_string(),
            spread(rounds, |r| r.ours.rate()).to_string(),
            spread(rounds, |r| r.bare.rate()).to_string(),
            spread(rounds, |r| r.ours.rate() / r.bare.rate()).to_string(),
            spread(rounds, |r| r.ours_event.rate()).to_string(),
            spread(rounds, |r| r.bare_event.rate()).to_string(),
            spread(rounds, |r| r.ours_event.rate() / r.bare_event.rate()).to_string(),
            spread(rounds, |r| r.disk_us).to_string(),
        ]);
        self.latencies.row([
            name,
            writers.to_string(),
            percentiles(rounds.iter().map(|r| &r.ours.latencies)),
            percentiles(rounds.iter().map(|r| &r.bare.latencies)),
            figure(spread(rounds, |r| r.group).median),
        ]);
    }

    pub(super) fn finish(self, section: &mut Section) {
        section.table(&self.table);
        section.table(&self.latencies);
        section.paragraph(&format!(
            "A transaction inserts {BODY_BYTES} bytes, is serializable, and durable before it is answered. On the servers \
             both contenders have the same number of connections and make the same round trips: begin, insert, commit. With an \
             event, ours writes it into the outbox; the bare driver inserts a second row with the same columns and \
             indexes. Beyond the bare ones ours watches deadlines and the time limit of a transaction, runs conflicting ones \
             anew, and makes a panic or a caller that went away roll back only its own."
        ));
    }
}

/// Events that are on the disk before they are acknowledged.
pub(super) struct Appending {
    table: Table<8>,
    ratios: Vec<Ratios>,
}

impl Appending {
    pub(super) fn new() -> Self {
        let heading = [
            "event log, each event on the disk: events/s",
            "publishers",
            "ours",
            "bare",
            "ratio",
            "ours p50 / p99 µs",
            "in one sync",
            "disk µs",
        ];
        Self { table: Table::new(heading), ratios: Vec::new() }
    }

    pub(super) fn add(
        &mut self,
        name: &str,
        bare: &str,
        publishers: usize,
        rounds: &[Published],
        groups: Option<&[f64]>,
    ) {
        let ratio = spread(rounds, |r| r.ours.rate() / r.bare.rate());
        note(&mut self.ratios, name, publishers.to_string(), ratio.median);
        self.table.row([
            format!("{name}; {bare}"),
            publishers.to_string(),
            spread(rounds, |r| r.ours.rate()).to_string(),
            spread(rounds, |r| r.bare.rate()).to_string(),
            ratio.to_string(),
            percentiles(rounds.iter().map(|r| &r.ours.latencies)),
            groups.map_or("–".to_owned(), |groups| figure(Spread::of(groups.iter().copied()).median)),
            spread(rounds, |r| r.disk_us).to_string(),
        ]);
    }

    pub(super) fn finish(self, section: &mut Section) {
        // A file is no client.
        let servers = self.ratios.into_iter().filter(|ratios| ratios.name != EMBEDDED).collect();
        aims(section, "publishing, each event on the disk,", servers);
        section.table(&self.table);
        section.paragraph(
            "The bare segment file is the least that a log can do: a queue, a thread, `write`, `fdatasync`, an answer; no \
             topics, no index, no checksums. NATS writes an event through before it acknowledges only with `sync_interval: \
             always`, Kafka only on topics with `flush.messages=1`: so both are set here, for both contenders.",
        );
    }
}

/// Events that are acknowledged as a server does it by default.
pub(super) struct Publishing {
    table: Table<6>,
    ratios: Vec<Ratios>,
}

impl Publishing {
    pub(super) fn new() -> Self {
        let heading = [
            "publish: events/s",
            "publishers",
            "ours",
            "bare client",
            "ratio",
            "p50 / p99 µs of a call: ours; bare",
        ];
        Self { table: Table::new(heading), ratios: Vec::new() }
    }

    pub(super) fn add(&mut self, broker: &Broker, load: Load, rounds: &[Published]) {
        let events = load.batch as f64;
        let ratio = spread(rounds, |r| r.ours.rate() / r.bare.rate());
        note(&mut self.ratios, broker.name, load.to_string(), ratio.median);
        self.table.row([
            format!("{}; {}", broker.name, broker.bare.name()),
            load.to_string(),
            spread(rounds, |r| r.ours.rate() * events).to_string(),
            spread(rounds, |r| r.bare.rate() * events).to_string(),
            ratio.to_string(),
            format!(
                "{}; {}",
                percentiles(rounds.iter().map(|r| &r.ours.latencies)),
                percentiles(rounds.iter().map(|r| &r.bare.latencies)),
            ),
        ]);
    }

    pub(super) fn finish(self, section: &mut Section) {
        aims(section, "publishing", self.ratios);
        section.table(&self.table);
        section.paragraph(
            "Here an acknowledged event has reached the page cache of the one server, not its disk: NATS syncs every two \
             minutes, Kafka (`acks=all`, an idempotent producer) and RabbitMQ (publisher confirms of a stream) leave it to \
             the kernel and to replicas. Both contenders use as many partitions, streams or queues, the same settings, \
             payloads that do not compress, and wait for every event of a call. Ours adds nine CloudEvents headers, and tells the \
             position of each event: RabbitMQ does not say it, so our log reads its own events back. On NATS \
             each event of a batch names the one before it, so that the order of a key survives a lost connection; the bare \
             client sends event after event and does not care.",
        );
    }
}

/// Events that are read.
pub(super) struct Consuming {
    table: Table<6>,
    ratios: Vec<Ratios>,
}

impl Consuming {
    pub(super) fn new() -> Self {
        let heading = [
            "consume: events/s",
            "our subscription",
            "ratio",
            "our consumer, with a handler",
            "ratio",
            "bare client",
        ];
        Self { table: Table::new(heading), ratios: Vec::new() }
    }

    pub(super) fn add(&mut self, broker: &Broker, rounds: &[Consumed]) {
        let ratio = spread(rounds, |r| r.subscription / r.bare);
        let handlers = spread(rounds, |r| r.handlers / r.bare);
        note(&mut self.ratios, broker.name, "subscription".to_owned(), ratio.median);
        note(&mut self.ratios, broker.name, "with a handler".to_owned(), handlers.median);
        self.table.row([
            format!("{}; {}", broker.name, broker.bare.name()),
            spread(rounds, |r| r.subscription).to_string(),
            ratio.to_string(),
            spread(rounds, |r| r.handlers).to_string(),
            handlers.to_string(),
            spread(rounds, |r| r.bare).to_string(),
        ]);
    }

    pub(super) fn finish(self, section: &mut Section) {
        aims(section, "consuming", self.ratios);
        section.table(&self.table);
        section.paragraph(
            "All read the same events of the same partitions as a group that was not there before, from the first event \
             that arrives on, and commit after each 256. The bare clients look at the payload only, and RabbitMQ's keeps no \
             offsets, which AMQP has no place for. A consumer with a handler decodes the CloudEvents headers, runs a \
             task with a context, a trace and a deadline for each event, 64 side by side and those of a key one after \
             the other, and commits what is done without gaps.",
        );
    }
}

/// Events from an outbox to a consumer.
pub(super) struct Journeys {
    table: Table<3>,
}

impl Journeys {
    pub(super) fn new() -> Self {
        Self { table: Table::new(["from the outbox to the handler of another service: ms", "p50", "p99"]) }
    }

    pub(super) fn add(&mut self, journey: &Journey) {
        let ms = |percent| Spread::of(journey.rounds.iter().map(|l| l.percentile_us(percent) / 1000.0));
        self.table.row([journey.way.clone(), ms(50.0).to_string(), ms(99.0).to_string()]);
    }

    pub(super) fn finish(self, section: &mut Section) {
        section.table(&self.table);
        section.paragraph(
            "From the moment a commit has returned until the handler runs: the relay hears of it, claims the event, publishes it \
             and the log acknowledges it; the consumer receives it. Publisher and consumer have connections of their own. \
             Committed by another process, the relay hears of it by LISTEN/NOTIFY. One event at a time, 25 ms apart.",
        );
    }
}

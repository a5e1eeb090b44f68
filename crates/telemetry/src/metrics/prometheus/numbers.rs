//! What the numbers are that the parts of a process tell of themselves, by the names of `docs/specs/telemetry.md`: what they
//! count, and in which unit.

/// What a number is. Whether it only grows, its reading says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meaning {
    /// What Prometheus wants at the end of the name.
    pub(super) unit: &'static str,
    /// Empty for a number of the system's own services, of which the platform knows nothing.
    pub(super) help: &'static str,
}

const SECONDS: &str = "_seconds";
const BYTES: &str = "_bytes";
const COUNT: &str = "";

/// Every number of the platform: its name, its unit and its help.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("process.cpu.time", SECONDS, "CPU time that the process has used"),
    ("process.memory.usage", BYTES, "Memory of the process that is in use"),
    ("process.thread.count", COUNT, "Threads of the process"),
    ("process.open_file_descriptor.count", COUNT, "Files and sockets that the process has open"),
    ("banyan.process.open_file_descriptor.limit", COUNT, "Files and sockets that the process may have open"),
    ("banyan.runtime.worker.count", COUNT, "Threads of the async runtime that work on tasks"),
    (
        "banyan.runtime.busy.time",
        SECONDS,
        "Time that the workers of the async runtime were busy, of all together",
    ),
    ("banyan.runtime.queue.size", COUNT, "Tasks of the async runtime that wait for a worker"),
    ("banyan.runtime.task.count", COUNT, "Tasks of the async runtime that have not ended"),
    ("http.server.active_requests", COUNT, "Requests that the server works on"),
    ("banyan.http.server.connection.count", COUNT, "Connections that the server has open"),
    ("banyan.http.server.connection.max", COUNT, "Connections that the server may have open"),
    ("banyan.rpc.server.active_calls", COUNT, "Calls that a contract service works on"),
    ("banyan.rpc.server.active_calls.max", COUNT, "Calls that a contract service takes at once"),
    (
        "banyan.rpc.client.active_calls",
        COUNT,
        "Calls of the process to a contract service that have not ended",
    ),
    (
        "banyan.rpc.client.waiting_calls",
        COUNT,
        "Calls of the process to a contract service that wait for it to have a place",
    ),
    ("banyan.store.queue.size", COUNT, "Transactions and reads that wait for a thread of the store"),
    ("banyan.store.transaction.count", COUNT, "Transactions of the store"),
    (
        "banyan.store.commit.count",
        COUNT,
        "Commits that made transactions of the store durable, several at once if they can",
    ),
    ("db.client.connection.count", COUNT, "Connections of the store to its server, by pool and state"),
    ("db.client.connection.max", COUNT, "Connections that the store may have to its server, by pool"),
    ("banyan.outbox.size", COUNT, "Events that wait to be published, as far as the process knows"),
    (
        "banyan.outbox.age",
        SECONDS,
        "How long ago the oldest event was published that is on its way to the log",
    ),
    ("banyan.consumer.held", COUNT, "Events that a consumer has fetched and not done"),
    ("banyan.consumer.lag.time", SECONDS, "How long ago the log took the oldest event that a consumer holds"),
    ("banyan.consumer.running", COUNT, "Handlers of a consumer that are at work"),
    ("banyan.consumer.running.max", COUNT, "Handlers of a consumer that may be at work at once"),
    (
        "banyan.invariant.broken",
        COUNT,
        "How many break an invariant, as the auditor beside the system found it",
    ),
    ("banyan.saga.running", COUNT, "Sagas that are being driven"),
    ("banyan.saga.running.max", COUNT, "Sagas that may be driven at once"),
    ("banyan.saga.behind", COUNT, "Whether more sagas are due than may be driven at once: 0 or 1"),
    (
        "banyan.telemetry.spans.lost",
        COUNT,
        "Spans that were counted, but are lost to their traces because there were too many at once",
    ),
    (
        "banyan.telemetry.spans.crowded_out",
        COUNT,
        "Spans that were forgotten before their time because too many waited: a trace that failed later lacks them",
    ),
    (
        "banyan.telemetry.export.sent",
        COUNT,
        "Spans, series and log lines that the collector has taken, by signal",
    ),
    (
        "banyan.telemetry.export.lost",
        COUNT,
        "Spans, series and log lines that the collector will never get, by signal",
    ),
    ("banyan.telemetry.export.waiting", BYTES, "What waits for the collector"),
];

/// Says what the number of a name is.
pub(super) fn meaning(name: &str) -> Meaning {
    let known = NUMBERS.iter().find(|(known, ..)| *known == name);
    known.map_or_else(Meaning::default, |&(_, unit, help)| Meaning { unit, help })
}

#[cfg(test)]
mod tests {
    use super::super::series;
    use super::*;
    use std::collections::BTreeSet;

    const SPECIFICATION: &str = include_str!("../../../../../docs/specs/telemetry.md");

    #[test]
    fn the_specification_and_the_help_name_the_same() {
        let (_, from) = SPECIFICATION.split_once("\n## Measurements\n").expect("it has such a part");
        let (measurements, _) = from.split_once("\n## ").expect("it is not the last");
        let first_cells =
            measurements.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let named: BTreeSet<&str> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let is_number = |name: &&str| series::help(name).is_empty();
        let told: BTreeSet<&str> = named.iter().copied().filter(is_number).collect();
        let known: BTreeSet<&str> = NUMBERS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(told, known, "the first are the specification's");
        assert!(named.len() > told.len(), "durations have their help where they are counted");
    }
}

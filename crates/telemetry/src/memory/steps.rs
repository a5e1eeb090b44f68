//! Turns what the processes have counted since they began into what happened in each step of ten seconds, and writes it.

use super::points::{MetricKind, Step};
use super::schema;
use crate::metrics::{Histogram, Snapshot};
use rusqlite::{Connection, Transaction, params};
use std::collections::HashMap;

/// How long a step is.
pub(super) const STEP_MS: u64 = 10_000;
/// How long the steps are that old ones are put together to.
pub(super) const MINUTE_MS: u64 = 60_000;
/// How long steps stay as they are.
const FINE_MS: u64 = 3_600_000;
/// Series of all runs in the memory; what is beyond is not remembered.
const SERIES_MAX: i64 = 20_000;
/// Runs that are remembered; the oldest make room.
const RUNS_MAX: i64 = 500;
/// The share of the file that points may take, one in so many bytes.
const SHARE: u64 = 4;
/// About what a point takes in the file.
const POINT_BYTES: u64 = 64;
/// Minutes that are put together in one go.
const MINUTES_PER_ROUND: usize = 30;

/// What is known of the run that is written.
pub(super) struct Steps {
    run: i64,
    processes: HashMap<String, Process>,
    series: i64,
    next_series: i64,
    /// The minute in which the file was looked after last.
    swept: u64,
}

/// The series of one process by name, then by labels.
type Process = HashMap<String, HashMap<Vec<(String, String)>, Known>>;

struct Known {
    id: i64,
    /// Whether its row is in the file.
    registered: bool,
    kind: MetricKind,
    /// What the process told last, since it began.
    total: Histogram,
    step_ms: u64,
    /// What is known of that step.
    step: Step,
}

impl Steps {
    /// Begins a run.
    pub(super) fn begin(connection: &Connection, label: &str, now_ms: u64) -> rusqlite::Result<Self> {
        connection.execute(schema::BEGIN_RUN, params![now_ms as i64, label])?;
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(Self {
            run: connection.last_insert_rowid(),
            processes: HashMap::new(),
            series: number("SELECT count(*) FROM series")?,
            next_series: number("SELECT coalesce(max(id), 0) + 1 FROM series")?,
            swept: 0,
        })
    }

    pub(super) fn run(&self) -> i64 {
        self.run
    }

    /// Writes what a process has counted since it told the last time, into the step of `now_ms`.
    pub(super) fn add(
        &mut self,
        connection: &mut Connection,
        process: &str,
        snapshot: &Snapshot,
        now_ms: u64,
    ) -> rusqlite::Result<()> {
        if !self.processes.contains_key(process) {
            self.processes.insert(process.to_owned(), Process::new());
        }
        if self.processes.get(process).is_some_and(|known| began_anew(known, snapshot)) {
            let known = self.processes.get_mut(process).into_iter().flat_map(HashMap::values_mut);
            known.flat_map(HashMap::values_mut).for_each(|known| known.total = Histogram::default());
        }
        let tx = connection.transaction()?;
        let written = self.write(&tx, process, snapshot, now_ms).and_then(|()| tx.commit());
        if written.is_err() {
            // What was counted stays, and is written with what comes next.
            let known =
                self.processes.values_mut().flat_map(HashMap::values_mut).flat_map(HashMap::values_mut);
            known.for_each(|known| known.registered = false);
        }
        written
    }

    fn write(
        &mut self,
        tx: &Transaction<'_>,
        process: &str,
        snapshot: &Snapshot,
        now_ms: u64,
    ) -> rusqlite::Result<()> {
        let (run, step_ms) = (self.run, now_ms / STEP_MS * STEP_MS);
        let mut put = tx.prepare_cached(schema::PUT_POINT)?;
        for one in &snapshot.histograms {
            let Some(known) = self.known(process, &one.name, &one.labels, MetricKind::Histogram) else {
                continue;
            };
            let grown = one.value.since(&known.total);
            known.total.clone_from(&one.value);
            known.total.exemplars.clear();
            if grown.count > 0 {
                known.add(step_ms, &Step { values: grown, ..Step::default() });
                known.register(tx, run, process, &one.name, &one.labels)?;
                known.step.put(&mut put, step_ms, known.id)?;
            }
        }
        for one in &snapshot.numbers {
            let kind = if one.value.counter { MetricKind::Counter } else { MetricKind::Gauge };
            let value = one.value.value;
            let Some(known) = self.known(process, &one.name, &one.labels, kind) else { continue };
            let step = match kind {
                MetricKind::Gauge => Step::reading(value),
                // What is less than before has begun anew.
                _ if value < known.total.sum => Step::grown(value),
                _ => Step::grown(value - known.total.sum),
            };
            known.total.sum = value;
            if kind == MetricKind::Gauge || step.values.sum > 0.0 {
                known.add(step_ms, &step);
                known.register(tx, run, process, &one.name, &one.labels)?;
                known.step.put(&mut put, step_ms, known.id)?;
            }
        }
        tx.prepare_cached(schema::SEEN_RUN)?.execute(params![run, now_ms as i64]).map(drop)
    }

    /// Finds a series, or begins it, if there is place for it.
    fn known(
        &mut self,
        process: &str,
        name: &str,
        labels: &[(String, String)],
        kind: MetricKind,
    ) -> Option<&mut Known> {
        let by_name = self.processes.get_mut(process)?;
        if !by_name.contains_key(name) {
            by_name.insert(name.to_owned(), HashMap::new());
        }
        let by_labels = by_name.get_mut(name)?;
        if !by_labels.contains_key(labels) {
            if self.series >= SERIES_MAX {
                return None;
            }
            self.series += 1;
            self.next_series += 1;
            let known = Known {
                id: self.next_series - 1,
                registered: false,
                kind,
                total: Histogram::default(),
                step_ms: 0,
                step: Step::default(),
            };
            by_labels.insert(labels.to_vec(), known);
        }
        by_labels.get_mut(labels)
    }

    /// Once a minute: puts old steps together, and removes what is too old or too much.
    pub(super) fn sweep(
        &mut self,
        connection: &mut Connection,
        now_ms: u64,
        age_ms_max: u64,
        bytes_max: u64,
    ) -> rusqlite::Result<()> {
        let minute = now_ms / MINUTE_MS;
        if minute == self.swept {
            return Ok(());
        }
        self.swept = minute;
        roll_up(connection, (minute * MINUTE_MS).saturating_sub(FINE_MS))?;
        let tx = connection.transaction()?;
        tx.execute(schema::REMOVE_POINTS_BEFORE, [now_ms.saturating_sub(age_ms_max) as i64])?;
        let points_max = bytes_max / SHARE / POINT_BYTES;
        tx.execute(schema::REMOVE_POINTS_BEYOND, [points_max as i64])?;
        tx.execute(
            schema::REMOVE_RUNS,
            params![self.run, now_ms.saturating_sub(age_ms_max) as i64, self.run - RUNS_MAX],
        )?;
        tx.execute(schema::REMOVE_SERIES, [])?;
        self.series = tx.query_row("SELECT count(*) FROM series", [], |row| row.get(0))?;
        tx.commit()
    }
}

impl Known {
    fn add(&mut self, step_ms: u64, more: &Step) {
        if self.step_ms == step_ms {
            self.step.merge(more);
        } else {
            (self.step_ms, self.step) = (step_ms, more.clone());
        }
    }

    fn register(
        &mut self,
        tx: &Transaction<'_>,
        run: i64,
        process: &str,
        name: &str,
        labels: &[(String, String)],
    ) -> rusqlite::Result<()> {
        if self.registered {
            return Ok(());
        }
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let labels = serde_json::Value::Object(labels).to_string();
        let row = params![self.id, run, self.kind.number(), name, process, labels];
        tx.prepare_cached(schema::PUT_SERIES)?.execute(row)?;
        self.registered = true;
        Ok(())
    }
}

/// Tells whether a process of the same name has taken the place of the one that told `known`: what a process has timed never
/// becomes less.
fn began_anew(known: &Process, snapshot: &Snapshot) -> bool {
    let now: HashMap<_, _> = snapshot
        .histograms
        .iter()
        .map(|one| ((one.name.as_str(), one.labels.as_slice()), one.value.count))
        .collect();
    let before = known.iter().flat_map(|(name, by_labels)| {
        by_labels.iter().map(move |(labels, known)| ((name.as_str(), labels.as_slice()), known))
    });
    let less = before
        .filter(|(_, known)| known.kind == MetricKind::Histogram && known.total.count > 0)
        .any(|(key, known)| now.get(&key).is_none_or(|count| *count < known.total.count));
    let cpu = snapshot.numbers.iter().find(|number| number.name == "process.cpu.time");
    let used_before = known.get("process.cpu.time").and_then(|by_labels| by_labels.values().next());
    let less_used = cpu.zip(used_before).is_some_and(|(now, before)| now.value.value < before.total.sum);
    less || less_used
}

/// Puts the steps before `until_ms` together to minutes.
fn roll_up(connection: &mut Connection, until_ms: u64) -> rusqlite::Result<()> {
    for _ in 0..MINUTES_PER_ROUND {
        let tx = connection.transaction()?;
        let first: Option<i64> = tx.query_row(schema::FIRST_STEP, [until_ms as i64], |row| row.get(0))?;
        let Some(first) = first else {
            tx.execute(schema::ROLLED_UP, [until_ms as i64])?;
            return tx.commit();
        };
        let minute = first as u64 / MINUTE_MS * MINUTE_MS;
        let mut together: HashMap<i64, Step> = HashMap::new();
        {
            let mut query = tx.prepare_cached(schema::POINTS)?;
            let mut rows = query.query(params![minute as i64, (minute + MINUTE_MS) as i64])?;
            while let Some(row) = rows.next()? {
                together.entry(row.get(1)?).or_default().merge(&Step::of(row, 2)?);
            }
        }
        tx.execute(schema::REMOVE_POINTS, params![minute as i64, (minute + MINUTE_MS) as i64])?;
        {
            let mut put = tx.prepare_cached(schema::PUT_POINT)?;
            for (series, step) in together {
                step.put(&mut put, minute, series)?;
            }
        }
        tx.execute(schema::ROLLED_UP, [(minute + MINUTE_MS) as i64])?;
        tx.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Reader, SeriesQuery};
    use crate::metrics::{Number, Series};
    use std::path::Path;

    const BEGIN_MS: u64 = 1_700_000_040_000;

    struct File {
        folder: tempfile::TempDir,
        connection: Connection,
        steps: Steps,
    }

    fn begin() -> File {
        let folder = tempfile::tempdir().expect("a folder");
        let (connection, steps) = open(folder.path(), BEGIN_MS);
        File { folder, connection, steps }
    }

    fn open(folder: &Path, now_ms: u64) -> (Connection, Steps) {
        let connection = schema::open(&folder.join("telemetry.db")).expect("the folder is ours");
        let steps = Steps::begin(&connection, "", now_ms).expect("it is new");
        (connection, steps)
    }

    /// A process that has done something so often, each time in as many seconds, and used a second of CPU for each.
    fn told(times: u64, seconds: f64, memory: f64) -> Snapshot {
        let mut value = Histogram::default();
        (0..times).for_each(|_| value.add(seconds));
        let labels = [("service.name", "orders"), ("rpc.response.status_code", "OK")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let number = |name: &str, value: f64, counter| Series {
            name: name.to_owned(),
            labels: Vec::new(),
            value: Number { value, counter },
        };
        Snapshot {
            histograms: vec![Series { name: "rpc.server.call.duration".to_owned(), labels, value }],
            numbers: vec![
                number("process.cpu.time", times as f64, true),
                number("process.memory.usage", memory, false),
            ],
        }
    }

    impl File {
        fn add(&mut self, process: &str, snapshot: &Snapshot, after_s: u64) {
            let now_ms = BEGIN_MS + after_s * 1_000;
            self.steps.add(&mut self.connection, process, snapshot, now_ms).expect("it can be written");
        }

        /// Asks for the counts of each step, with the p50 and the sums or last readings.
        fn ask(&self, name: &str, until_s: u64) -> (Vec<u64>, Vec<f64>, Vec<f64>) {
            let reader = Reader::open(&self.folder.path().join("telemetry.db")).expect("it is there");
            let query = SeriesQuery {
                name: name.to_owned(),
                by: Some(Vec::new()),
                since_ms: BEGIN_MS,
                until_ms: BEGIN_MS + until_s * 1_000,
                step_ms: STEP_MS,
                ..SeriesQuery::default()
            };
            let series = reader.series(&query).expect("it can be read");
            let points: Vec<_> = series.into_iter().flat_map(|series| series.points).collect();
            (
                points.iter().map(|point| point.count).collect(),
                points.iter().map(|point| point.p50.unwrap_or_default()).collect(),
                points.iter().map(|point| point.last.unwrap_or(point.sum)).collect(),
            )
        }
    }

    #[test]
    fn each_step_has_what_happened_in_it() {
        let mut file = begin();
        file.add("main", &told(10, 0.01, 5.0), 1);
        file.add("back", &told(4, 0.01, 7.0), 2);
        file.add("main", &told(12, 0.01, 6.0), 9);
        file.add("main", &told(12, 0.01, 6.5), 13);
        file.add("main", &told(30, 0.01, 9.0), 25);
        let (counts, p50, _) = file.ask("rpc.server.call.duration", 30);
        assert_eq!(counts, [16, 0, 18]);
        assert!((p50[0] - 0.01).abs() < 0.001 && p50[1] == 0.0, "{p50:?}");
        assert_eq!(file.ask("process.cpu.time", 30).2, [16.0, 0.0, 18.0]);
        assert_eq!(file.ask("process.memory.usage", 30).2, [13.0, 6.5, 9.0]);
    }

    #[test]
    fn a_time_that_nobody_will_see_has_nothing() {
        let mut file = begin();
        file.add("main", &told(10, 0.01, 5.0), 1);
        let reader = Reader::open(&file.folder.path().join("telemetry.db")).expect("it is there");
        for until_ms in [u64::MAX, (1 << 63) + 3_600_000] {
            let (name, since_ms) = ("process.cpu.time".to_owned(), until_ms - 3_600_000);
            let query = SeriesQuery { name, since_ms, until_ms, step_ms: 60_000, ..SeriesQuery::default() };
            assert_eq!(reader.series(&query).expect("it can be read"), []);
        }
    }

    #[test]
    fn an_answer_of_many_series_with_many_steps_is_refused_with_what_would_do() {
        let mut file = begin();
        let mut many = told(1, 0.01, 1.0);
        many.histograms = (0..50)
            .map(|number| {
                let mut series = many.histograms[0].clone();
                series.labels.push(("rpc.method".to_owned(), number.to_string()));
                series
            })
            .collect();
        file.add("main", &many, 1);
        let reader = Reader::open(&file.folder.path().join("telemetry.db")).expect("it is there");
        let (name, until_ms) = ("rpc.server.call.duration".to_owned(), BEGIN_MS + 4_900 * STEP_MS);
        let mut query =
            SeriesQuery { name, since_ms: BEGIN_MS, until_ms, step_ms: STEP_MS, ..SeriesQuery::default() };
        let error = reader.series(&query).expect_err("these are 245,000 points");
        assert_eq!(error.violations()[0].field, "step");
        assert!(error.message().contains("at least 13 s"), "{error}");
        query.step_ms = 13_000;
        assert_eq!(reader.series(&query).expect("it can be read").len(), 50);
    }

    #[test]
    fn a_process_that_begins_anew_is_not_counted_backwards() {
        let mut file = begin();
        file.add("main", &told(100, 0.01, 1.0), 1);
        // Killed and started anew, it soon has done more of one thing and less of another.
        file.add("main", &told(3, 1.0, 1.0), 11);
        file.add("main", &told(5, 1.0, 1.0), 12);
        let (counts, p50, _) = file.ask("rpc.server.call.duration", 20);
        assert_eq!(counts, [100, 5]);
        assert!((p50[1] - 1.0).abs() < 0.1, "{p50:?}");
        assert_eq!(file.ask("process.cpu.time", 20).2, [100.0, 5.0]);
    }

    #[test]
    fn a_new_run_adds_to_the_same_step() {
        let mut file = begin();
        file.add("main", &told(7, 0.01, 1.0), 1);
        (file.connection, file.steps) = open(file.folder.path(), BEGIN_MS + 4_000);
        file.add("main", &told(2, 0.01, 3.0), 5);
        assert_eq!(file.ask("rpc.server.call.duration", 10).0, [9]);
        assert_eq!(file.ask("process.memory.usage", 10).2, [3.0]);
    }

    #[test]
    fn old_steps_become_minutes_and_older_ones_go() {
        let mut file = begin();
        for step in 0..6 {
            file.add("main", &told(step + 1, 0.01, 1.0), step * 10);
        }
        let sweep = |file: &mut File, after_s: u64, bytes_max: u64| {
            let now_ms = BEGIN_MS + after_s * 1_000;
            file.steps.sweep(&mut file.connection, now_ms, 7_200_000, bytes_max).expect("it can be written");
            let points = "SELECT count(*) FROM points";
            file.connection.query_row(points, [], |row| row.get::<_, i64>(0)).expect("it can be read")
        };
        assert_eq!(sweep(&mut file, 600, 1 << 20), 18);
        assert_eq!(sweep(&mut file, 3_600 + 60, 1 << 20), 3);
        // One step of a minute, whatever was asked for.
        assert_eq!(file.ask("rpc.server.call.duration", 60).0, [6]);
        assert_eq!(sweep(&mut file, 7_200 + 60, 1 << 20), 0);
        file.add("main", &told(7, 0.01, 1.0), 7_300);
        assert_eq!(sweep(&mut file, 7_320, SHARE * POINT_BYTES), 0);
    }
}

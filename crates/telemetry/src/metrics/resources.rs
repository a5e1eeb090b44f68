//! What a process takes from its machine, read from `/proc` (Linux; elsewhere nothing is known), and how busy its runtime is.

use super::{Number, Series};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use std::fs;
use tokio::runtime::Handle;

#[derive(Default)]
pub(super) struct Resources;

impl Resources {
    pub(super) fn read(&mut self) -> Vec<Series<Number>> {
        let mut numbers = Vec::new();
        let mut put = |name: &str, value: f64, counter: bool| {
            numbers.push(Series {
                name: name.to_owned(),
                labels: Vec::new(),
                value: Number { value, counter },
            });
        };
        // The second word is the program's name, which may hold spaces; it ends at the last bracket.
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let words: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
        if let (Some(user), Some(system), Some(threads), Some(pages)) =
            (number(11), number(12), number(17), number(21))
        {
            put("process.cpu.time", (user + system) / clock_ticks_per_second() as f64, true);
            put("process.thread.count", threads, false);
            put("process.memory.usage", pages * page_size() as f64, false);
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            put("process.open_file_descriptor.count", open.count() as f64, false);
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            put("banyan.process.open_file_descriptor.limit", limit as f64, false);
        }
        if let Ok(runtime) = Handle::try_current() {
            let runtime = runtime.metrics();
            let workers = runtime.num_workers();
            put("banyan.runtime.worker.count", workers as f64, false);
            put("banyan.runtime.task.count", runtime.num_alive_tasks() as f64, false);
            put("banyan.runtime.queue.size", runtime.global_queue_depth() as f64, false);
            let busy = (0..workers).map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64());
            put("banyan.runtime.busy.time", busy.sum(), true);
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_knows_what_it_takes() {
        let numbers = Resources.read();
        let value = |name: &str| numbers.iter().find(|n| n.name == name).map(|n| n.value.value);
        assert!(value("process.memory.usage").is_some_and(|bytes| bytes > 1e6), "{numbers:?}");
        assert!(value("process.thread.count").is_some_and(|threads| threads >= 1.0));
        assert!(value("process.open_file_descriptor.count").is_some_and(|files| files >= 3.0));
        assert!(
            value("banyan.process.open_file_descriptor.limit") > value("process.open_file_descriptor.count")
        );
        assert!(value("banyan.runtime.worker.count").is_some_and(|workers| workers >= 1.0));
    }
}

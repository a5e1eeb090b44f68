//! How far a copy is: a bar on a terminal, a line now and then elsewhere, nothing with `--json`.

use banyan_copy::{Observer, Phase};
use banyan_core::{Clock, Env};
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// The least time between two lines about the same table.
const LINE_EVERY: Duration = Duration::from_secs(2);

pub(super) struct Progress {
    clock: Clock,
    shown: Mutex<Shown>,
}

enum Shown {
    Nothing,
    Bar {
        bar: ProgressBar,
        of: Option<(Phase, String)>,
    },
    /// What the last line was about, and how much it said was done.
    Lines {
        of: Option<((Phase, String), u64)>,
        at: Duration,
    },
}

impl Progress {
    pub(super) fn new(json: bool, env: &Env) -> Self {
        let shown = match (json, std::io::stderr().is_terminal()) {
            (true, _) => Shown::Nothing,
            (false, true) => {
                let bar = ProgressBar::new(0);
                let style = ProgressStyle::with_template("{prefix:>30} {bar:40} {pos}/{len} {per_sec} {eta}");
                bar.set_style(style.expect("the template is valid"));
                Shown::Bar { bar, of: None }
            }
            (false, false) => Shown::Lines { of: None, at: Duration::ZERO },
        };
        Self { clock: env.clock.clone(), shown: Mutex::new(shown) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar { bar, .. } = &*self.shown.lock() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn progress(&self, phase: Phase, table: &str, done: u64, rows: u64) {
        let word = match phase {
            Phase::Copying => "copying",
            Phase::Verifying => "verifying",
        };
        let now = (phase, table.to_owned());
        match &mut *self.shown.lock() {
            Shown::Nothing => {}
            Shown::Bar { bar, of } => {
                if of.as_ref() != Some(&now) {
                    bar.reset();
                    bar.set_length(rows);
                    bar.set_prefix(format!("{word} {table}"));
                    *of = Some(now);
                }
                bar.set_position(done);
            }
            Shown::Lines { of, at } => {
                let time = Duration::from_millis(self.clock.unix_ms());
                let last = of.take();
                let known = last.filter(|(of, _)| *of == now).map(|(_, done)| done);
                let is_due = done == rows || time.saturating_sub(*at) >= LINE_EVERY;
                if is_due && known != Some(done) {
                    // Who does not see it misses nothing.
                    let _ = writeln!(std::io::stderr().lock(), "{word} {table}: {done} of {rows} rows");
                    *at = time;
                    *of = Some((now, done));
                } else {
                    *of = known.map(|done| (now, done));
                }
            }
        }
    }
}

//! A load while it goes on: a few lines that are drawn again on a terminal, one line now and then elsewhere.

use super::text::ms;
use banyan_load::{Controls, Live, Point};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

/// How often the lines are drawn, and how often one is printed where nothing can be drawn.
const DRAWN_EVERY: Duration = Duration::from_millis(250);
const PRINTED_EVERY: Duration = Duration::from_secs(5);
/// Steps that have a line of their own.
const STEPS: usize = 12;
/// From nothing to the most.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Shows the load until it is dropped. Nothing is shown beside JSON.
pub(super) async fn watch(controls: &Controls, json: bool) {
    match (json, stderr().is_terminal()) {
        (true, _) => std::future::pending().await,
        (false, true) => draw(controls).await,
        (false, false) => print(controls).await,
    }
}

async fn print(controls: &Controls) {
    let mut ticks = tokio::time::interval(PRINTED_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        // Whoever closed standard error does not want to know.
        let _ = writeln!(stderr().lock(), "{}", summed_up(&controls.live()));
    }
}

fn summed_up(live: &Live) -> String {
    if live.elapsed.is_zero() {
        return format!("{} virtual users are ready", live.users_ready);
    }
    let requests = &live.requests;
    let p99 = requests.latency_ms.as_ref().map_or("-".to_owned(), |latency| ms(latency.p99));
    format!(
        "{:>4.0} s  {} arrivals, {} dropped, {} under way  {} requests, {:.2} % failed, p99 {p99}",
        live.elapsed.as_secs_f64(),
        live.runs.due,
        live.runs.dropped,
        live.in_flight,
        requests.count,
        requests.error_rate * 100.0
    )
}

/// The lines on the terminal. They are cleared when the load ends: what came of it is printed then.
struct Lines {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl Drop for Lines {
    fn drop(&mut self) {
        // A terminal that has gone cannot be cleared.
        let _ = self.all.clear();
    }
}

async fn draw(controls: &Controls) {
    let mut lines = Lines { all: MultiProgress::new(), lines: Vec::new() };
    let mut ticks = tokio::time::interval(DRAWN_EVERY);
    loop {
        ticks.tick().await;
        let live = controls.live();
        for (index, text) in picture(&live, &controls.verdicts()).into_iter().enumerate() {
            if index == lines.lines.len() {
                let style = ProgressStyle::with_template("{wide_msg}").expect("the template is valid");
                lines.lines.push(lines.all.add(ProgressBar::new_spinner().with_style(style)));
            }
            lines.lines[index].set_message(text);
        }
    }
}

fn picture(live: &Live, verdicts: &[banyan_load::Verdict]) -> Vec<String> {
    if live.elapsed.is_zero() {
        return vec![summed_up(live)];
    }
    let each = |read: fn(&Point) -> f64| live.recent.iter().map(read).collect::<Vec<_>>();
    let last = live.recent.last().cloned().unwrap_or_default();
    let seconds = live.window.as_secs_f64();
    let mut lines = vec![summed_up(live)];
    for (what, values, now) in [
        ("arrivals", each(|p| p.started as f64), format!("{:.0}/s", last.started as f64 / seconds)),
        ("answers", each(|p| p.answered as f64), format!("{:.0}/s", last.answered as f64 / seconds)),
        ("failures", each(|p| p.errors as f64), format!("{:.0}/s", last.errors as f64 / seconds)),
        ("p99", each(|p| p.p99.unwrap_or_default()), last.p99.map_or("-".to_owned(), ms)),
    ] {
        lines.push(format!("{what:>9} {now:>9} {}", sparks(&values)));
    }
    for (name, count, errors, p99) in live.steps.iter().take(STEPS) {
        lines.push(format!("{count:>9} {:>9} {name}{}", ms(*p99), failed(*errors)));
    }
    for verdict in verdicts {
        let word = if verdict.kept { "kept" } else { "BROKEN" };
        lines.push(format!("{word:>9} {} (now {})", verdict.slo, verdict.measured));
    }
    lines
}

fn failed(errors: u64) -> String {
    if errors == 0 { String::new() } else { format!(", {errors} failed") }
}

/// Draws values as blocks, the highest one full.
fn sparks(values: &[f64]) -> String {
    let high = values.iter().copied().fold(0.0, f64::max);
    let block = |value: &f64| match high > 0.0 && *value > 0.0 {
        true => BLOCKS[((value / high * BLOCKS.len() as f64).ceil() as usize).clamp(1, BLOCKS.len()) - 1],
        false => ' ',
    };
    values.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_load::{Latency, Requests, Runs};

    #[test]
    fn blocks_are_as_high_as_their_values() {
        assert_eq!(sparks(&[0.0, 1.0, 4.0, 8.0]), " ▁▄█");
        assert_eq!(sparks(&[0.0, 0.0]), "  ");
        assert_eq!(sparks(&[]), "");
    }

    #[test]
    fn a_picture_has_a_line_for_everything() {
        let ready = Live { users_ready: 7, ..Live::default() };
        assert_eq!(picture(&ready, &[]), ["7 virtual users are ready"]);
        let live = Live {
            elapsed: Duration::from_secs(9),
            window: Duration::from_millis(500),
            runs: Runs { due: 90, dropped: 3, ..Runs::default() },
            requests: Requests {
                count: 80,
                error_rate: 0.1,
                latency_ms: Some(Latency { p99: 25.0, ..Latency::default() }),
                ..Requests::default()
            },
            recent: vec![Point { started: 5, answered: 4, p99: Some(25.0), ..Point::default() }],
            steps: vec![("pay".to_owned(), 80, 8, 25.0)],
            ..Live::default()
        };
        let lines = picture(&live, &[]);
        assert!(
            lines[0].contains("90 arrivals, 3 dropped") && lines[0].contains("10.00 % failed, p99 25 ms"),
            "{lines:?}"
        );
        assert!(lines[1].contains("arrivals") && lines[1].contains("10/s █"), "{lines:?}");
        assert!(lines[5].contains("pay, 8 failed"), "{lines:?}");
    }
}

//! Progress bars, for people who look: on a terminal, and not with `--json`.

use indicatif::{ProgressBar, ProgressStyle};

/// Makes a bar that counts `length` of `what`.
pub(crate) fn bar(length: usize, what: &'static str, json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    // Draws to standard error, and nothing if that is no terminal.
    let bar = ProgressBar::new(length as u64);
    let style = ProgressStyle::with_template("{prefix:>10} {bar:40} {pos}/{len} {per_sec} {msg}");
    bar.set_style(style.expect("the template is valid"));
    bar.set_prefix(what);
    bar
}

//! Line plots as SVG.

use super::{escape, short};
use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// Lines across the plot, about.
const TICKS: f64 = 5.0;
/// Percentiles that the axis of nines names.
const NINES: [(f64, &str); 6] =
    [(0.0, "0 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.0, "99.99 %"), (5.0, "99.999 %")];

/// What goes to the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Seconds,
    Nines,
}

pub(super) struct Series {
    pub(super) name: &'static str,
    /// Colour and dashes, in the style sheet.
    pub(super) class: &'static str,
    /// A gap where there is no value.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

pub(super) struct Plot {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) x: Axis,
    pub(super) y_log: bool,
    pub(super) series: Vec<Series>,
}

/// From values to places.
struct Scale {
    x_max: f64,
    y_min: f64,
    y_max: f64,
    log: bool,
}

impl Scale {
    fn x(&self, x: f64) -> f64 {
        LEFT + x / self.x_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, y: f64) -> f64 {
        let part = match self.log {
            true => (y.max(self.y_min) / self.y_min).log10() / (self.y_max / self.y_min).log10(),
            false => y / self.y_max,
        };
        HEIGHT - BOTTOM - part.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }
}

impl Plot {
    /// Draws it, with a legend below.
    pub(super) fn svg(&self) -> String {
        let values = || self.series.iter().flat_map(|series| &series.points);
        let high = values().filter_map(|(_, y)| *y).fold(0.0, f64::max);
        let low = values().filter_map(|(_, y)| *y).filter(|y| *y > 0.0).fold(f64::INFINITY, f64::min);
        let x_max = values().map(|(x, _)| *x).fold(0.0, f64::max);
        let mut out = String::new();
        let _ = writeln!(out, "<figure>\n<figcaption>{}</figcaption>", escape(self.title));
        if high <= 0.0 || x_max <= 0.0 {
            out.push_str("<p class=\"muted\">Nothing to show.</p>\n</figure>\n");
            return out;
        }
        let scale = match self.y_log {
            true => Scale {
                x_max,
                y_min: 10_f64.powf(low.log10().floor()),
                y_max: 10_f64.powf((high * 1.01).log10().ceil()),
                log: true,
            },
            false => Scale { x_max, y_min: 0.0, y_max: step(high) * (high / step(high)).ceil(), log: false },
        };
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.described())
        );
        self.grid(&mut out, &scale);
        for series in &self.series {
            self.line(&mut out, &scale, series);
        }
        out.push_str("</svg>\n<ul class=\"legend\">");
        for series in &self.series {
            let _ = write!(
                out,
                "<li><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"{}\" d=\"M0 4H24\"/></svg>{}</li>",
                series.class,
                escape(series.name)
            );
        }
        out.push_str("</ul>\n</figure>\n");
        out
    }

    /// Says what the lines say, for those who do not see them.
    fn described(&self) -> String {
        let of = |series: &Series| {
            let values = series.points.iter().filter_map(|(_, y)| *y);
            let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(l, h), y| (l.min(y), h.max(y)));
            if low > high {
                None
            } else {
                Some(format!("{} from {} to {} {}", series.name, short(low), short(high), self.unit))
            }
        };
        let all: Vec<String> = self.series.iter().filter_map(of).collect();
        format!("{}: {}", self.title, all.join("; "))
    }

    fn grid(&self, out: &mut String, scale: &Scale) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for y in self.y_ticks(scale) {
            let at = scale.y(y);
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
            let text = if y == 0.0 { "0".to_owned() } else { format!("{} {}", plain(y), self.unit) };
            let _ = writeln!(
                out,
                "<text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                escape(&text)
            );
        }
        let ticks: Vec<(f64, String)> = match self.x {
            Axis::Nines => NINES.iter().map(|(x, text)| (*x, (*text).to_owned())).collect(),
            Axis::Seconds => {
                let step = step(scale.x_max);
                (0..=(scale.x_max / step) as u32)
                    .map(|n| (f64::from(n) * step, format!("{} s", plain(f64::from(n) * step))))
                    .collect()
            }
        };
        for (x, text) in ticks.into_iter().filter(|(x, _)| *x <= scale.x_max) {
            let at = scale.x(x);
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
            let _ = writeln!(
                out,
                "<text class=\"x\" x=\"{at:.1}\" y=\"{}\">{}</text>",
                HEIGHT - 10.0,
                escape(&text)
            );
        }
    }

    fn y_ticks(&self, scale: &Scale) -> Vec<f64> {
        if scale.log {
            let (from, to) = (scale.y_min.log10().round() as i32, scale.y_max.log10().round() as i32);
            return (from..=to).map(|exponent| 10_f64.powi(exponent)).collect();
        }
        let step = step(scale.y_max);
        (0..=(scale.y_max / step).round() as u32).map(|n| f64::from(n) * step).collect()
    }

    fn line(&self, out: &mut String, scale: &Scale, series: &Series) {
        let (mut path, mut pen_up) = (String::new(), true);
        for (index, (x, y)) in series.points.iter().enumerate() {
            let Some(y) = y else {
                pen_up = true;
                continue;
            };
            let command = if pen_up { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", scale.x(*x), scale.y(*y));
            // A point without neighbours is a line of no length, which round ends make a dot.
            if pen_up && series.points.get(index + 1).is_none_or(|next| next.1.is_none()) {
                path.push_str("h0");
            }
            pen_up = false;
        }
        if !path.is_empty() {
            let _ = writeln!(out, "<path class=\"{}\" d=\"{path}\"/>", series.class);
        }
    }
}

/// Returns a round distance of lines: 1, 2 or 5 times a power of ten.
fn step(max: f64) -> f64 {
    let rough = max / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

/// Writes a round number without zeros that say nothing.
fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (max, expected) in
            [(10.0, 2.0), (60.0, 20.0), (7.0, 2.0), (0.3, 0.1), (1_000.0, 200.0), (24.0, 5.0)]
        {
            assert!((step(max) - expected).abs() < 1e-9, "{max}: {}", step(max));
        }
        assert_eq!(
            (plain(20.0), plain(0.25), plain(1_000.0)),
            ("20".to_owned(), "0.25".to_owned(), "1000".to_owned())
        );
    }

    #[test]
    fn a_plot_stays_within_its_frame_and_has_gaps() {
        let points = vec![(1.0, Some(0.1)), (2.0, None), (3.0, Some(2_000.0)), (4.0, Some(5.0))];
        let series = vec![Series { name: "p99", class: "a", points }];
        let plot = Plot { title: "Latency", unit: "ms", x: Axis::Seconds, y_log: true, series };
        let svg = plot.svg();
        let path =
            svg.split("<path class=\"a\" d=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
        for number in path.split(|c: char| c.is_ascii_alphabetic() || c == ' ').filter(|n| !n.is_empty()) {
            assert!((0.0..=WIDTH).contains(&number.parse::<f64>().unwrap()), "{path}");
        }
        assert!(svg.contains("p99 from 0.10 to 2000 ms"), "{svg}");
        let empty = Plot { title: "Latency", unit: "ms", x: Axis::Nines, y_log: true, series: Vec::new() };
        assert!(empty.svg().contains("Nothing to show"));
    }
}

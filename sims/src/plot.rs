//! Plots as self-contained SVG: panels over one axis of time, readable on light and dark pages.

use std::fmt::Write as _;

/// Width of the picture, and the margins of a panel in it.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 46.0;
const GAP: f64 = 30.0;
const BOTTOM: f64 = 44.0;
/// Height of one panel.
const PANEL: f64 = 170.0;
/// Points drawn of a series at most; more are thinned.
const MAX_POINTS: usize = 4_000;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A line.
    Solid,
    /// A dashed line.
    Dashed,
    /// A line that goes in steps.
    Steps,
}

/// Values over time.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is.
    pub name: String,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Time and value, rising in time.
    pub points: Vec<(f64, f64)>,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What its axis counts, with the unit.
    pub axis: String,
    /// Least and greatest value where they are given.
    pub range: (Option<f64>, Option<f64>),
    /// What is drawn.
    pub series: Vec<Series>,
    /// Words at points of time, at their value.
    pub notes: Vec<(f64, f64, String)>,
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its title.
    pub title: String,
    /// What the axis of time counts, with the unit.
    pub time_axis: String,
    /// From top to bottom.
    pub panels: Vec<Panel>,
}

const STYLE: &str = "\
:root{--ground:#fff;--ink:#1c2330;--soft:#5a6475;--grid:#e3e6eb;--a:#0b62c4;--b:#c2410c;--c:#2f7d32;--d:#7b3fb0}
@media (prefers-color-scheme:dark){:root{--ground:#14181f;--ink:#e8ebf0;--soft:#9aa4b5;--grid:#2b323d;--a:#6db3ff;--b:#ff9b61;--c:#7fd184;--d:#c9a2f2}}
text{font:12px system-ui,sans-serif;fill:var(--ink)}
.soft{fill:var(--soft)}.title{font-size:15px;font-weight:600}.note{font-size:10px;fill:var(--soft)}
.ground{fill:var(--ground)}.grid{stroke:var(--grid)}.frame{stroke:var(--soft);fill:none}
.s0{stroke:var(--a)}.s1{stroke:var(--b)}.s2{stroke:var(--c)}.s3{stroke:var(--d)}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.dashed{stroke-dasharray:6 4}
";

impl Figure {
    /// The picture as one SVG document.
    pub fn to_svg(&self) -> String {
        let count = self.panels.len() as f64;
        let height = TOP + count * PANEL + (count - 1.0).max(0.0) * GAP + BOTTOM;
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"26\">{0}</text>",
            escaped(&self.title)
        );
        let times = self.panels.iter().flat_map(|panel| &panel.series).flat_map(|of| &of.points);
        let time =
            Scale::over(times.map(|point| point.0), (None, None), LEFT, WIDTH - RIGHT, false);
        for (at, panel) in self.panels.iter().enumerate() {
            let top = TOP + at as f64 * (PANEL + GAP);
            panel.draw(&mut svg, &time, top, at + 1 == self.panels.len());
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n</svg>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            height - 8.0,
            escaped(&self.time_axis)
        );
        svg
    }
}

impl Panel {
    fn draw(&self, svg: &mut String, time: &Scale, top: f64, last: bool) {
        let values = self.series.iter().flat_map(|of| &of.points).map(|point| point.1);
        let scale = Scale::over(values, self.range, top + PANEL, top, true);
        for (value, text) in scale.ticks() {
            let y = scale.at(value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.1}\"/>\
                 <text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                WIDTH - RIGHT,
                LEFT - 7.0,
                y + 4.0
            );
        }
        for (value, text) in time.ticks() {
            let x = time.at(value);
            let _ = write!(svg, "<path class=\"grid\" d=\"M{x:.1} {top}v{PANEL}\"/>");
            if last {
                let y = top + PANEL + 17.0;
                let _ = write!(
                    svg,
                    "<text class=\"soft\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>"
                );
            }
            svg.push('\n');
        }
        let middle = top + PANEL / 2.0;
        let _ = writeln!(
            svg,
            "<rect class=\"frame\" x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{PANEL}\"/>\n\
             <text transform=\"translate(18 {middle:.1}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
            WIDTH - RIGHT - LEFT,
            escaped(&self.axis)
        );
        for (at, series) in self.series.iter().enumerate() {
            series.draw(svg, at % 4, time, &scale);
            let (x, y) = (WIDTH - RIGHT + 12.0, top + 14.0 + 18.0 * at as f64);
            let dashed = if series.stroke == Stroke::Dashed { " dashed" } else { "" };
            let _ = writeln!(
                svg,
                "<path class=\"line s{}{dashed}\" d=\"M{x:.1} {:.1}h18\"/>\
                 <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                at % 4,
                y - 4.0,
                x + 24.0,
                escaped(&series.name)
            );
        }
        for (when, value, words) in &self.notes {
            let _ = writeln!(
                svg,
                "<text class=\"note\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                time.at(*when),
                scale.at(*value) - 5.0,
                escaped(words)
            );
        }
    }
}

impl Series {
    fn draw(&self, svg: &mut String, colour: usize, time: &Scale, scale: &Scale) {
        let stride = self.points.len().div_ceil(MAX_POINTS).max(1);
        let dashed = if self.stroke == Stroke::Dashed { " dashed" } else { "" };
        let mut path = String::new();
        let mut pen = 'M';
        let last = self.points.len().saturating_sub(1);
        for (at, (when, value)) in self.points.iter().enumerate() {
            if at % stride != 0 && at != last {
                continue;
            }
            // A value that is none leaves a hole.
            if !value.is_finite() {
                pen = 'M';
                continue;
            }
            let (x, y) = (time.at(*when), scale.at(*value));
            if self.stroke == Stroke::Steps && pen == 'L' {
                let _ = write!(path, "H{x:.1}V{y:.1}");
            } else {
                let _ = write!(path, "{pen}{x:.1} {y:.1}");
            }
            pen = 'L';
        }
        let _ = writeln!(svg, "<path class=\"line s{colour}{dashed}\" d=\"{path}\"/>");
    }
}

/// An axis: values to places, and round numbers along it.
struct Scale {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(
        values: impl Iterator<Item = f64>,
        range: (Option<f64>, Option<f64>),
        from: f64,
        to: f64,
        round: bool,
    ) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let (mut low, mut high) = (range.0.unwrap_or(low), range.1.unwrap_or(high));
        if high - low < 1e-9 * (1.0 + high.abs()) {
            high = low + 1.0;
        }
        let step = round_step((high - low) / 5.0);
        if round {
            low = if range.0.is_some() { low } else { (low / step).floor() * step };
            high = if range.1.is_some() { high } else { (high / step).ceil() * step };
        }
        Self { low, high, step, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        let part = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + (self.to - self.from) * part
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        let digits = (-self.step.log10().floor()).clamp(0.0, 6.0) as usize;
        let first = (self.low / self.step - 1e-6).ceil() as i64;
        let last = (self.high / self.step + 1e-6).floor() as i64;
        let tick = |count: i64| {
            let value = count as f64 * self.step;
            (value, format!("{:.digits$}", if value == 0.0 { 0.0 } else { value }))
        };
        (first..=last).take(20).map(tick).collect()
    }
}

/// 1, 2 or 5 times a power of ten, at least so much.
fn round_step(at_least: f64) -> f64 {
    let power = 10f64.powf(at_least.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= at_least * 0.999);
    times.unwrap_or(10.0) * power
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(points: Vec<(f64, f64)>) -> Figure {
        let series = Series { name: "a < b & c".into(), stroke: Stroke::Steps, points };
        let panel = Panel {
            axis: "rate, Mb/s".into(),
            range: (Some(0.0), None),
            series: vec![series],
            notes: vec![(1.0, 2.0, "QPSK".into())],
        };
        Figure { title: "T".into(), time_axis: "minutes".into(), panels: vec![panel] }
    }

    #[test]
    fn ticks_are_round_and_within() {
        let of =
            |values: &[f64]| Scale::over(values.iter().copied(), (None, None), 0.0, 100.0, true);
        let texts = |scale: Scale| scale.ticks().into_iter().map(|of| of.1).collect::<Vec<_>>();
        assert_eq!(texts(of(&[0.0, 9.3])), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(texts(of(&[-0.21, 0.2])), ["-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2"]);
        assert_eq!(texts(of(&[3.0, 3.0])).len(), 6);
        assert!(!texts(of(&[])).is_empty());
    }

    #[test]
    fn a_document_closes_what_it_opens_and_escapes_words() {
        for points in [vec![], vec![(0.0, f64::NAN)], vec![(0.0, 1.0), (2.0, 5.0)]] {
            let svg = figure(points).to_svg();
            let tree = roxmltree::Document::parse(&svg).unwrap();
            assert_eq!(tree.root_element().tag_name().name(), "svg");
            assert!(svg.contains("a &lt; b &amp; c") && !svg.contains("NaN"));
            assert!(svg.contains("prefers-color-scheme:dark"));
        }
    }

    #[test]
    fn long_series_are_thinned_and_keep_their_end() {
        let points = (0..100_000).map(|at| (f64::from(at), 1.0)).collect();
        let svg = figure(points).to_svg();
        assert!(svg.len() < 200_000 && svg.contains("H710.0"), "{}", svg.len());
    }
}

//! Lines over one axis.

use std::fmt::Write;

use super::{Axis, INKS, WIDTH, axis::Fitted, begin, escaped, text, title, under};

const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 40.0;
/// Points that a line is drawn with for each unit of width, at most.
const POINTS_PER_UNIT: usize = 1;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Straight from point to point.
    Line,
    /// A value holds until the next.
    Step,
    /// Each point for itself.
    Dots,
}

/// Values by the axis across; what is not a number is a gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// How it is drawn.
    pub shape: Shape,
    /// Across and up, in the order of the axis across.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A line.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), shape: Shape::Line, points }
    }

    /// Values that hold until the next.
    pub fn steps(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), shape: Shape::Step, points }
    }
}

/// Series over one pair of axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// The axis across.
    pub across: Axis,
    /// The axis up.
    pub up: Axis,
    /// What is drawn, the first on top.
    pub series: Vec<Series>,
    /// Height, in the units of the view box.
    pub height: f64,
}

impl Chart {
    /// A chart of the usual height.
    pub fn new(title: impl Into<String>, across: Axis, up: Axis, series: Vec<Series>) -> Self {
        Self { title: title.into(), across, up, series, height: 280.0 }
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let across = self.across.fit(points().map(|point| point.0));
        let up = self.up.fit(points().map(|point| point.1));
        let frame = Frame { across, up, height: self.height };
        let mut out = begin(self.height);
        title(&mut out, &self.title);
        frame.grid(&mut out, &self.across.name, &self.up.name);
        let mut x = LEFT;
        for (number, series) in self.series.iter().enumerate() {
            x = legend(&mut out, x, number, &series.name);
        }
        for (number, series) in self.series.iter().enumerate().rev() {
            frame.draw(&mut out, number, series);
        }
        out.push_str("</svg>\n");
        out
    }
}

pub(super) fn legend(out: &mut String, x: f64, number: usize, name: &str) -> f64 {
    let ink = number % INKS;
    let _ = writeln!(
        out,
        "<path d='M{x:.0} 35h14' class='line' stroke='var(--ink{ink})' stroke-width='3'/>"
    );
    text(out, x + 19.0, 39.0, "start", name);
    x + 34.0 + 6.2 * name.chars().count() as f64
}

struct Frame {
    across: Fitted,
    up: Fitted,
    height: f64,
}

impl Frame {
    fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    /// Where a point stands; none outside the frame across, at the frame's edge outside it up.
    fn point(&self, (across, up): (f64, f64)) -> Option<(f64, f64)> {
        let (x, y) = (self.across.place(across)?, self.up.place(up)?);
        if !(-1e-9..=1.0 + 1e-9).contains(&x) {
            return None;
        }
        let y = y.clamp(0.0, 1.0);
        Some((LEFT + x * (WIDTH - LEFT - RIGHT), self.bottom() - y * (self.bottom() - TOP)))
    }

    fn grid(&self, out: &mut String, across: &str, up: &str) {
        let (right, bottom) = (WIDTH - RIGHT, self.bottom());
        for (at, words) in self.up.ticks() {
            let y = bottom - at * (bottom - TOP);
            let _ = writeln!(out, "<path d='M{LEFT} {y:.1}H{right}' class='grid'/>");
            text(out, LEFT - 6.0, y + 4.0, "end", &words);
        }
        for (at, words) in self.across.ticks() {
            let x = LEFT + at * (right - LEFT);
            let _ = writeln!(out, "<path d='M{x:.1} {TOP}V{bottom}' class='grid'/>");
            text(out, x, bottom + 15.0, under(at), &words);
        }
        text(out, (LEFT + right) / 2.0, bottom + 31.0, "middle", across);
        let (middle, up) = ((TOP + bottom) / 2.0, escaped(up));
        let _ = writeln!(
            out,
            "<text transform='translate(14 {middle:.0}) rotate(-90)' text-anchor='middle'>{up}</text>"
        );
    }

    fn draw(&self, out: &mut String, number: usize, series: &Series) {
        let ink = number % INKS;
        if series.shape == Shape::Dots {
            for (x, y) in series.points.iter().filter_map(|point| self.point(*point)) {
                let _ =
                    writeln!(out, "<circle cx='{x:.1}' cy='{y:.1}' r='2' fill='var(--ink{ink})'/>");
            }
            return;
        }
        let mut d = String::new();
        let mut before: Option<(f64, f64)> = None;
        for point in self.thinned(series) {
            let at = self.point(point);
            if let Some((x, y)) = at {
                let _ = match before {
                    None => write!(d, "M{x:.1} {y:.1}"),
                    Some(_) if series.shape == Shape::Step => write!(d, "H{x:.1}V{y:.1}"),
                    Some(_) => write!(d, "L{x:.1} {y:.1}"),
                };
            }
            before = at;
        }
        let name = escaped(&series.name);
        let _ = writeln!(
            out,
            "<path d='{d}' class='line' stroke='var(--ink{ink})'><title>{name}</title></path>"
        );
    }

    /// As many points as the width can show: of more, the least and the greatest of each column, so
    /// that no spike is lost. A gap stays one.
    fn thinned(&self, series: &Series) -> Vec<(f64, f64)> {
        let columns = WIDTH as usize * POINTS_PER_UNIT;
        if series.points.len() <= 2 * columns {
            return series.points.clone();
        }
        let column = |point: &(f64, f64)| {
            self.across.place(point.0).map_or(-1, |at| (at * columns as f64) as i64)
        };
        let same = |a: &(f64, f64), b: &(f64, f64)| {
            column(a) == column(b) && a.1.is_finite() == b.1.is_finite()
        };
        let mut out = Vec::with_capacity(4 * columns);
        for chunk in series.points.chunk_by(same) {
            let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
            let extremes = [chunk.iter().min_by(by_value), chunk.iter().max_by(by_value)];
            let mut kept: Vec<_> = extremes.into_iter().flatten().copied().collect();
            kept.extend(chunk.last());
            kept.sort_by(|a, b| a.0.total_cmp(&b.0));
            kept.dedup();
            out.extend(kept);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> Chart {
        let series = vec![Series::line("a & b", points)];
        Chart::new("t", Axis::linear("s"), Axis::linear("bit/s"), series)
    }

    #[test]
    fn a_gap_is_not_bridged() {
        let svg =
            chart(vec![(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 2.0)]).svg();
        let line = svg.lines().find(|line| line.contains("<title>")).unwrap();
        assert_eq!(line.matches('M').count(), 2, "{line}");
        assert!(svg.contains("a &amp; b"));
    }

    #[test]
    fn a_spike_among_a_million_points_is_seen() {
        let mut points: Vec<_> = (0..1_000_000).map(|n| (f64::from(n), 0.0)).collect();
        points[654_321].1 = 10.0;
        let svg = chart(points).svg();
        assert!(svg.len() < 60_000, "{}", svg.len());
        let line = svg.lines().find(|line| line.contains("<title>")).unwrap();
        assert!(line.contains(&format!(" {TOP:.1}")), "the spike reaches the top");
    }
}

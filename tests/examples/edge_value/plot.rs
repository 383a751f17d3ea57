//! Two panels: bytes for equal recall over the cloud fraction, and recall over bytes.

use crate::Measured;
use crate::tiles::{FRACTIONS, Mix, Sent, USUAL_FRACTION, curve, mix};
use std::fmt::Write;

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 34.0;
const STEP: f64 = 380.0;
const INKS: [&str; 4] = ["#8a8f98", "#c4692f", "#2f6fc4", "#1f9d61"];

/// The plot of the recorded scenes, or of the generated days where nothing says what is clear; none
/// without either.
pub fn render(measured: &Measured) -> Option<String> {
    let recorded = measured.scenes.as_ref().filter(|of| of.agreement.is_some());
    let days: Vec<Sent> = measured.days.iter().flat_map(|day| day.tiles.iter().cloned()).collect();
    let (tiles, other, whose) = match recorded {
        Some(of) => (&of.tiles, of.others, "recorded scenes"),
        None if !days.is_empty() => (&days, 0, "generated days"),
        None => return None,
    };
    let mixes: Vec<Mix> = FRACTIONS.iter().filter_map(|of| mix(tiles, other, *of)).collect();
    let usual = mix(tiles, other, USUAL_FRACTION)?;
    let mut out = String::from(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 760 320' font-family='sans-serif' \
         font-size='11' fill='#333'>\n<rect width='760' height='320' fill='white'/>\n",
    );
    panel(
        &mut out,
        0.0,
        &format!("{whose}: bytes for equal recall"),
        "cloud fraction",
        "share of raw",
    );
    // A bent pipe has to send only as much as has the same share of the clear ground.
    type Line = fn(&Mix) -> f64;
    let lines: [(&str, u32, Line); 4] = [
        ("raw", 50, |of| of.recall),
        ("best other codec", 90, |of| of.other * of.recall / of.raw),
        ("our codec, everything", 200, |of| of.lossless * of.recall / of.raw),
        ("ours", 340, |of| of.sent / of.raw),
    ];
    for (index, (name, left, of)) in lines.into_iter().enumerate() {
        let points = mixes.iter().map(|mix| (mix.fraction, of(mix)));
        path(&mut out, 0.0, points, INKS[index]);
        let ink = INKS[index];
        let _ = writeln!(out, "<text x='{left}' y='308' fill='{ink}'>{name}</text>");
    }
    let title = format!("clear ground down at {:.0} % cloud", USUAL_FRACTION * 100.0);
    panel(&mut out, STEP, &title, "bytes, share of raw", "share of clear ground");
    let bent = |bytes: f64| [(0.0, 0.0), (bytes / usual.raw, 1.0)];
    path(&mut out, STEP, bent(usual.raw), INKS[0]);
    path(&mut out, STEP, bent(usual.other), INKS[1]);
    path(&mut out, STEP, bent(usual.lossless), INKS[2]);
    path(&mut out, STEP, thinned(curve(tiles, USUAL_FRACTION)), INKS[3]);
    out.push_str("</svg>\n");
    Some(out)
}

/// Enough points for a line.
fn thinned(points: Vec<(f64, f64)>) -> impl Iterator<Item = (f64, f64)> {
    let every = points.len().div_ceil(100).max(1);
    let last = points.last().copied();
    points.into_iter().step_by(every).chain(last)
}

fn panel(out: &mut String, x: f64, title: &str, across: &str, up: &str) {
    let (left, bottom) = (x + LEFT, TOP + HEIGHT);
    let _ = writeln!(out, "<text x='{left}' y='20' font-size='13'>{title}</text>");
    for tenth in (0..=10).step_by(2) {
        let share = f64::from(tenth) / 10.0;
        let (across, up) = (left + share * WIDTH, bottom - share * HEIGHT);
        let _ = writeln!(
            out,
            "<path d='M{left} {up:.1}h{WIDTH}M{across:.1} {TOP}v{HEIGHT}' stroke='#e4e6ea'/>\
             <text x='{:.1}' y='{:.1}' text-anchor='end'>{share}</text>\
             <text x='{across:.1}' y='{:.1}' text-anchor='middle'>{share}</text>",
            left - 6.0,
            up + 4.0,
            bottom + 15.0
        );
    }
    let middle = left + WIDTH / 2.0;
    let _ = writeln!(
        out,
        "<text x='{middle}' y='{}' text-anchor='middle'>{across}</text>\
         <text transform='translate({} {}) rotate(-90)' text-anchor='middle'>{up}</text>",
        bottom + 31.0,
        x + 14.0,
        TOP + HEIGHT / 2.0
    );
}

fn path(out: &mut String, x: f64, points: impl IntoIterator<Item = (f64, f64)>, ink: &str) {
    let mut d = String::new();
    for (at, (across, up)) in points.into_iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        let (px, py) = (x + LEFT + across * WIDTH, TOP + (1.0 - up) * HEIGHT);
        let _ = write!(d, "{command}{px:.1} {py:.1}");
    }
    let _ = writeln!(out, "<path d='{d}' fill='none' stroke='{ink}' stroke-width='2'/>");
}

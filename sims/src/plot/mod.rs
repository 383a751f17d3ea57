//! Plots as SVG that stand alone: no script, no font, readable in the light and in the dark.
//!
//! ```text
//! axis (scales, ticks) ─► chart (lines over one axis), rows (spans of time), map (ground tracks)
//! ```

pub mod axis;
pub mod chart;
pub mod map;
pub mod rows;
pub mod stack;

pub use axis::{Axis, Scale};
pub use chart::{Chart, Series, Shape};
pub use map::Map;
pub use rows::{Row, Rows, Span};
pub use stack::stacked;

use std::fmt::Write;

/// Width of a plot, in the units of its view box.
pub const WIDTH: f64 = 760.0;

/// How many inks there are; a series takes one by its number.
pub const INKS: usize = 6;

/// What each plot says of its colours. Eyes that see no red from green tell these inks apart
/// (after Okabe and Ito), and the dark set has the contrast that the light one has.
const STYLE: &str = "<style>\
 svg{--paper:#fff;--text:#2b2f36;--faint:#e1e4e9;--land:#f3f5f8;\
--ink0:#0072b2;--ink1:#d55e00;--ink2:#009e73;--ink3:#b5578f;--ink4:#8a6d00;--ink5:#6b7280}\
 @media(prefers-color-scheme:dark){svg{--paper:#14171c;--text:#d7dbe2;--faint:#2f353e;\
--land:#1b2027;--ink0:#56b4e9;--ink1:#f08c3c;--ink2:#2fc79a;--ink3:#dd8fbd;--ink4:#d9bd3c;\
--ink5:#9aa3b0}}\
 text{fill:var(--text)} .grid{stroke:var(--faint);fill:none} .name{font-size:13px;font-weight:600}\
 .line{fill:none;stroke-width:1.6;stroke-linejoin:round}\
</style>";

/// Begins a picture of this height.
fn begin(height: f64) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0}' \
         font-family='system-ui,sans-serif' font-size='11'>{STYLE}\
         <rect width='{WIDTH}' height='{height:.0}' fill='var(--paper)'/>\n"
    )
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = escaped(words);
    let _ = writeln!(out, "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}'>{words}</text>");
}

/// How words stand under a mark so that none leave the picture at its right.
fn under(at: f64) -> &'static str {
    if at > 0.97 { "end" } else { "middle" }
}

fn title(out: &mut String, words: &str) {
    let _ = writeln!(out, "<text x='12' y='20' class='name'>{}</text>", escaped(words));
}

/// Words as XML takes them; what XML has no way to say is left out.
pub fn escaped(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&quot;"),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_from_a_file_cannot_leave_their_place() {
        assert_eq!(escaped("<a b='c'>&\u{7}\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;");
    }
}

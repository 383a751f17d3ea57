//! Spans of time in rows: who is in contact with whom, when.

use std::fmt::Write;

use super::{Axis, INKS, WIDTH, begin, chart::legend, escaped, text, title, under};

const LEFT: f64 = 130.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 34.0;
const LEGEND: f64 = 16.0;
const ROW: f64 = 16.0;
/// Rows that are drawn; of more, these and a word of how many there are.
const ROWS_MAX: usize = 60;
/// Letters of a name that there is room for.
const NAME_MAX: usize = 20;

/// From when to when, on the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its start.
    pub from: f64,
    /// Its end.
    pub to: f64,
    /// Which ink.
    pub ink: usize,
    /// What is told of it where a pointer rests on it.
    pub words: String,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Whose spans.
    pub name: String,
    /// They may overlap.
    pub spans: Vec<Span>,
}

/// Rows over one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// What they show.
    pub title: String,
    /// The axis across.
    pub across: Axis,
    /// From top to bottom.
    pub rows: Vec<Row>,
    /// What each ink stands for; untold where it is one.
    pub inks: Vec<String>,
}

impl Rows {
    /// The picture.
    pub fn svg(&self) -> String {
        let drawn = self.rows.len().min(ROWS_MAX);
        let told = if self.inks.len() > 1 { LEGEND } else { 0.0 };
        let top = TOP + told;
        let bottom = top + drawn as f64 * ROW;
        let spans = || self.rows.iter().flat_map(|row| row.spans.iter());
        let across = self.across.fit(spans().flat_map(|span| [span.from, span.to]));
        let right = WIDTH - RIGHT;
        let mut out = begin(bottom + 42.0);
        let more = match self.rows.len() - drawn {
            0 => String::new(),
            more => format!(" (the first {drawn}; {more} more)"),
        };
        title(&mut out, &format!("{}{more}", self.title));
        if told > 0.0 {
            let inks = self.inks.iter().take(INKS).enumerate();
            inks.fold(LEFT, |x, (ink, name)| legend(&mut out, x, ink, name));
        }
        for (at, words) in across.ticks() {
            let x = LEFT + at * (right - LEFT);
            let _ = writeln!(out, "<path d='M{x:.1} {top}V{bottom}' class='grid'/>");
            text(&mut out, x, bottom + 15.0, under(at), &words);
        }
        for (index, row) in self.rows.iter().take(drawn).enumerate() {
            let y = top + index as f64 * ROW;
            let _ = writeln!(out, "<path d='M{LEFT} {:.1}H{right}' class='grid'/>", y + ROW);
            text(&mut out, LEFT - 6.0, y + ROW - 4.0, "end", &shortened(&row.name));
            for span in &row.spans {
                let place = |value| across.place(value).map(|at| at.clamp(0.0, 1.0));
                let (Some(from), Some(to)) = (place(span.from), place(span.to)) else { continue };
                let x = LEFT + from * (right - LEFT);
                // A contact of minutes in a week is still to be seen.
                let width = ((to - from) * (right - LEFT)).max(1.0);
                let (ink, words) = (span.ink % INKS, escaped(&span.words));
                let _ = writeln!(
                    out,
                    "<rect x='{x:.1}' y='{:.1}' width='{width:.1}' height='{:.1}' \
                     fill='var(--ink{ink})'><title>{words}</title></rect>",
                    y + 2.0,
                    ROW - 4.0
                );
            }
        }
        text(&mut out, (LEFT + right) / 2.0, bottom + 31.0, "middle", &self.across.name);
        out.push_str("</svg>\n");
        out
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_MAX {
        return name.to_owned();
    }
    name.chars().take(NAME_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constellation_is_cut_with_a_word_and_short_contacts_are_seen() {
        let span = Span { from: 10.0, to: 10.5, ink: 7, words: "Kiruna".into() };
        let row = Row { name: "ONEWEB-0001 of a long name".into(), spans: vec![span] };
        let across = Axis::linear("s").between(0.0, 86_400.0);
        let svg = Rows { title: "Contacts".into(), across, rows: vec![row; 651], inks: Vec::new() };
        let two = Rows { inks: vec!["Kiruna".into(), "Inuvik".into()], ..svg.clone() }.svg();
        assert!(two.contains(">Inuvik</text>"), "whose ink is whose");
        let svg = svg.svg();
        assert!(svg.contains("(the first 60; 591 more)"));
        assert!(svg.contains("width='1.0'") && svg.contains("ONEWEB-0001 of a lo…"));
    }
}

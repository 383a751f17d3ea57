//! Ground tracks on a plain cylindrical map.

use std::fmt::Write;

use super::{INKS, WIDTH, begin, escaped, text, title};

const LEFT: f64 = 36.0;
const TOP: f64 = 34.0;
const ACROSS: f64 = WIDTH - LEFT - 14.0;
const HEIGHT: f64 = ACROSS / 2.0;

/// Where something is: latitude and longitude, degrees.
pub type Place = (f64, f64);

/// Tracks and stations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map {
    /// What it shows.
    pub title: String,
    /// Name and places in the order of time.
    pub tracks: Vec<(String, Vec<Place>)>,
    /// Name and place.
    pub stations: Vec<(String, Place)>,
}

impl Map {
    /// The picture.
    pub fn svg(&self) -> String {
        let mut out = begin(TOP + HEIGHT + 30.0);
        title(&mut out, &self.title);
        graticule(&mut out);
        for (number, (name, places)) in self.tracks.iter().enumerate() {
            let (d, ink, name) = (path(places), number % INKS, escaped(name));
            let _ = writeln!(
                out,
                "<path d='{d}' class='line' stroke='var(--ink{ink})' stroke-width='1'>\
                 <title>{name}</title></path>"
            );
        }
        for (name, place) in &self.stations {
            let (x, y) = point(*place);
            let _ = writeln!(out, "<path d='M{x:.1} {y:.1}l-5 9h10z' fill='var(--text)'/>");
            let (beside, anchor) =
                if x > LEFT + 0.85 * ACROSS { (-8.0, "end") } else { (8.0, "start") };
            text(&mut out, x + beside, y + 8.0, anchor, name);
        }
        out.push_str("</svg>\n");
        out
    }
}

fn point((latitude, longitude): Place) -> (f64, f64) {
    (LEFT + (longitude + 180.0) / 360.0 * ACROSS, TOP + (90.0 - latitude) / 180.0 * HEIGHT)
}

/// A track leaves the map on one side and comes in on the other.
fn path(places: &[Place]) -> String {
    let mut d = String::new();
    let mut before: Option<f64> = None;
    for place in places {
        if !(place.0.is_finite() && place.1.is_finite()) {
            before = None;
            continue;
        }
        let (x, y) = point(*place);
        let goes_on = before.is_some_and(|longitude| (place.1 - longitude).abs() < 180.0);
        let _ = write!(d, "{}{x:.1} {y:.1}", if goes_on { 'L' } else { 'M' });
        before = Some(place.1);
    }
    d
}

fn graticule(out: &mut String) {
    let (right, bottom) = (LEFT + ACROSS, TOP + HEIGHT);
    let _ = writeln!(
        out,
        "<rect x='{LEFT}' y='{TOP}' width='{ACROSS}' height='{HEIGHT}' fill='var(--land)'/>"
    );
    for longitude in (-180..=180).step_by(30) {
        let (x, _) = point((0.0, f64::from(longitude)));
        let _ = writeln!(out, "<path d='M{x:.1} {TOP}V{bottom}' class='grid'/>");
        text(out, x, bottom + 15.0, "middle", &format!("{longitude}°"));
    }
    for latitude in (-90..=90).step_by(30) {
        let (_, y) = point((f64::from(latitude), 0.0));
        let _ = writeln!(out, "<path d='M{LEFT} {y:.1}H{right}' class='grid'/>");
        text(out, LEFT - 5.0, y + 4.0, "end", &format!("{latitude}°"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_over_the_date_line_is_no_line_across_the_map() {
        let d =
            path(&[(0.0, 170.0), (5.0, 178.0), (10.0, -174.0), (f64::NAN, 0.0), (20.0, -160.0)]);
        assert_eq!(d.matches('M').count(), 3, "{d}");
        assert_eq!(d.matches('L').count(), 1, "{d}");
    }
}

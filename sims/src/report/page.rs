//! A page that stands alone: the summary, and plots of where, when, how much and how late.

use std::fmt::Write;

use codecs::time::Tai;

use super::answer::{Answer, Delivery, Sample, Summary};
use crate::plot::{Axis, Chart, INKS, Map, Row, Rows, Series, Span, axis::short, escaped};

/// Tracks that can be told apart on one map.
const TRACKS_MAX: usize = 12;
/// Seconds of a track that are drawn: two orbits near the earth; a day would cover the map.
const TRACK_S: f64 = 11_400.0;
/// Rows of the table of contacts; the rest stands in the files beside the page.
const CONTACTS_MAX: usize = 200;
/// Points of a curve of shares.
const SHARES: usize = 400;

const STYLE: &str = "<style>:root{color-scheme:light dark;--paper:#fff;--text:#2b2f36;\
--faint:#e1e4e9;--quiet:#616873;--bar:#0072b2}\
@media(prefers-color-scheme:dark){:root{--paper:#14171c;--text:#d7dbe2;--faint:#2f353e;\
--quiet:#9aa3b0;--bar:#56b4e9}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--text);background:var(--paper);\
max-width:800px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
p{color:var(--quiet);margin:.2rem 0 1rem}svg{width:100%;height:auto;display:block;margin:1rem 0}\
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(170px,1fr));gap:.4rem}\
dl div{border:1px solid var(--faint);border-radius:4px;padding:.6rem .8rem}dt{color:var(--quiet);font-size:.8rem}\
dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}\
table{border-collapse:collapse;width:100%;font-size:.85rem;font-variant-numeric:tabular-nums}\
th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid var(--faint)}\
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}\
.bar{width:45%}.bar i{display:block;height:.7rem;background:var(--bar)}</style>";

/// The page.
pub fn page(answer: &Answer) -> String {
    let summary = answer.summary();
    let name = escaped(&answer.name);
    let mut out = format!(
        "<!doctype html>\n<html lang='en'><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width'><title>{name}</title>{STYLE}\n\
         <h1>{name}</h1>\n<p>{} to {}, seed {}, trace {}</p>\n",
        answer.from.to_rfc3339(),
        answer.until.to_rfc3339(),
        answer.seed,
        summary.trace
    );
    figures(&mut out, &summary);
    waits(&mut out, &summary);
    out.push_str("<h2>How it went</h2>\n");
    for picture in pictures(answer) {
        out.push_str(&picture);
    }
    contacts(&mut out, answer);
    out.push_str("</html>\n");
    out
}

fn figures(out: &mut String, summary: &Summary) {
    let latency = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), duration);
    let mut figures = vec![
        ("delivered", bytes(summary.delivered_bytes as f64)),
        ("of the links' capacity", format!("{:.1} %", summary.capacity_used * 100.0)),
        ("capture to archive, median", latency(summary.latency_p50_s)),
        ("99 in 100 within", latency(summary.latency_p99_s)),
        ("satellites", summary.satellites.to_string()),
        ("contacts", format!("{}, {}", summary.contacts, duration(summary.contact_s))),
        ("units delivered", format!("{} of {}", summary.units_delivered, summary.units_made)),
        ("still on board", summary.units_held.to_string()),
        ("left out, told by voids", summary.units_void.to_string()),
        ("lost before they were durable", summary.units_lost.to_string()),
    ];
    if let Some(cost) = summary.cost {
        figures.push(("cost", format!("{cost:.2} {}", summary.currency)));
    }
    out.push_str("<dl>");
    for (name, value) in figures {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(&value));
    }
    out.push_str("</dl>\n");
}

fn waits(out: &mut String, summary: &Summary) {
    let most = summary.waited.iter().map(|(_, wait)| *wait).fold(f64::MIN_POSITIVE, f64::max);
    out.push_str("<h2>Where a byte waited, on average</h2>\n<table>\n");
    for (name, wait) in &summary.waited {
        let _ = writeln!(
            out,
            "<tr><td>{name}<td class='bar'><i style='width:{:.1}%'></i><td>{}",
            100.0 * wait / most,
            duration(*wait)
        );
    }
    out.push_str("</table>\n");
}

fn pictures(answer: &Answer) -> Vec<String> {
    let clock = || Axis::clock(answer.from).between(0.0, after(answer, answer.until));
    let mut out = Vec::new();
    if answer.satellites.iter().any(|craft| craft.samples.iter().any(|of| of.place.is_some())) {
        out.push(map(answer).svg());
    }
    out.push(spans(answer, clock()).svg());
    let [rates, backlog] = series(answer);
    out.push(
        Chart::new("Capacity and what was delivered", clock(), Axis::linear("bit/s"), rates).svg(),
    );
    let bytes = Axis::linear("bytes").from_zero();
    out.push(Chart::new("Held without a receipt", clock(), bytes, backlog).svg());
    if !answer.deliveries.is_empty() {
        out.push(latencies(answer).svg());
    }
    out
}

fn after(answer: &Answer, at: Tai) -> f64 {
    at.since(answer.from) as f64 / 1e9
}

fn map(answer: &Answer) -> Map {
    let all = answer.satellites.len();
    let cut = after(answer, answer.until) > TRACK_S;
    let title = match (cut, all > TRACKS_MAX) {
        (_, true) => format!("Ground tracks at the start (the first {TRACKS_MAX} of {all})"),
        (true, _) => "Ground tracks at the start".to_owned(),
        _ => "Ground tracks".to_owned(),
    };
    let tracks = answer.satellites.iter().take(TRACKS_MAX).map(|craft| {
        let gap = (f64::NAN, f64::NAN);
        let drawn = craft.samples.iter().take_while(|of| after(answer, of.at) <= TRACK_S);
        (craft.name.clone(), drawn.map(|of| of.place.unwrap_or(gap)).collect())
    });
    let stations = answer.stations.iter();
    let stations = stations.filter_map(|station| Some((station.name.clone(), station.place?)));
    Map { title, tracks: tracks.collect(), stations: stations.collect() }
}

fn station(answer: &Answer, index: usize) -> &str {
    answer.stations.get(index).map_or("", |station| &station.name)
}

fn spans(answer: &Answer, across: Axis) -> Rows {
    let rows = answer.satellites.iter().enumerate().map(|(index, craft)| {
        let of = answer.contacts.iter().filter(|contact| contact.satellite == index);
        let spans = of.map(|contact| Span {
            from: after(answer, contact.rise),
            to: after(answer, contact.set),
            ink: contact.station % INKS,
            words: format!(
                "{}, {:.0} s, {} delivered",
                station(answer, contact.station),
                contact.set.since(contact.rise) as f64 / 1e9,
                bytes(contact.delivered_bytes as f64)
            ),
        });
        Row { name: craft.name.clone(), spans: spans.collect() }
    });
    Rows { title: "Contacts, by station".into(), across, rows: rows.collect() }
}

/// Rates and backlog, summed over all satellites; samples of one number are of one instant.
fn series(answer: &Answer) -> [Vec<Series>; 2] {
    let length = answer.satellites.iter().map(|craft| craft.samples.len()).max().unwrap_or(0);
    let mut sums: Vec<Option<(f64, f64, f64, f64)>> = vec![None; length];
    for craft in &answer.satellites {
        for (sum, sample) in sums.iter_mut().zip(&craft.samples) {
            let Sample { at, backlog_bytes, capacity_bps, delivered_bytes, .. } = *sample;
            let sum = sum.get_or_insert((after(answer, at), 0.0, 0.0, 0.0));
            sum.1 += capacity_bps;
            sum.2 += delivered_bytes as f64;
            sum.3 += backlog_bytes as f64;
        }
    }
    let sums: Vec<_> = sums.into_iter().flatten().collect();
    let column =
        |of: fn(&(f64, f64, f64, f64)) -> f64| sums.iter().map(|sum| (sum.0, of(sum))).collect();
    let delivered = sums.windows(2).map(|pair| {
        let [before, now] = pair else { return (f64::NAN, f64::NAN) };
        (before.0, 8.0 * (now.2 - before.2).max(0.0) / (now.0 - before.0).max(1e-9))
    });
    let rates = vec![
        Series::steps("delivered", delivered.collect()),
        Series::steps("capacity", column(|sum| sum.1)),
    ];
    [rates, vec![Series::line("on board", column(|sum| sum.3))]]
}

fn latencies(answer: &Answer) -> Chart {
    let curve = |of: &dyn Fn(&Delivery) -> f64| {
        let mut values: Vec<f64> = answer.deliveries.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let every = values.len().div_ceil(SHARES).max(1);
        let all = values.len() as f64;
        let points = values.iter().enumerate().skip(every - 1).step_by(every);
        points.map(|(index, value)| (value.max(1e-3), (index + 1) as f64 / all)).collect::<Vec<_>>()
    };
    let contact = |unit: &Delivery| unit.latency_s() - unit.waits_s()[1];
    let series = vec![
        Series::line("capture to archive", curve(&Delivery::latency_s)),
        Series::line("the same without the wait for a contact", curve(&contact)),
    ];
    let up = Axis::linear("share of units").between(0.0, 1.0);
    Chart::new("Latency", Axis::log("seconds"), up, series)
}

fn contacts(out: &mut String, answer: &Answer) {
    let all = answer.contacts.len();
    let cut = if all > CONTACTS_MAX {
        format!(" (the first {CONTACTS_MAX} of {all})")
    } else {
        String::new()
    };
    let _ = writeln!(
        out,
        "<h2>Contacts{cut}</h2>\n<table><tr><th>satellite<th>station<th>rise (UTC)<th>seconds\
         <th>highest<th>capacity<th>delivered"
    );
    for contact in answer.contacts.iter().take(CONTACTS_MAX) {
        let craft = answer.satellites.get(contact.satellite).map_or("", |craft| &craft.name);
        let highest = match contact.max_elevation_deg {
            degrees if degrees.is_finite() => format!("{degrees:.1}°"),
            _ => "–".to_owned(),
        };
        let rise = contact.rise.to_rfc3339();
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{:.0}<td>{highest}<td>{}<td>{}",
            escaped(craft),
            escaped(station(answer, contact.station)),
            rise.get(..19).unwrap_or(&rise).replace('T', " "),
            contact.set.since(contact.rise) as f64 / 1e9,
            bytes(contact.capacity_bytes),
            bytes(contact.delivered_bytes as f64)
        );
    }
    out.push_str("</table>\n");
}

fn bytes(count: f64) -> String {
    format!("{}B", spaced(count))
}

fn spaced(value: f64) -> String {
    let words = short(value);
    match words.char_indices().last() {
        Some((at, letter)) if letter.is_alphabetic() => format!("{} {letter}", &words[..at]),
        _ => format!("{words} "),
    }
}

/// Seconds in the unit that people would say.
pub fn duration(seconds: f64) -> String {
    match seconds.abs() {
        0.0 => "0 s".to_owned(),
        less if less < 1.0 => format!("{:.0} ms", seconds * 1e3),
        less if less < 120.0 => format!("{seconds:.1} s"),
        less if less < 7_200.0 => format!("{:.1} min", seconds / 60.0),
        less if less < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::answer::tests::answer;

    #[test]
    fn the_page_stands_alone_and_holds_no_names_as_markup() {
        let page = page(&answer());
        assert!(page.contains("two &lt;of&gt; them") && !page.contains("<of>"));
        assert!(!page.contains("src=") && !page.contains("href="), "nothing is loaded");
        assert_eq!(page.matches("<svg").count(), 5);
        assert!(page.contains("<dd>1 kB</dd>") && page.contains("25.0 %"), "{page}");
        assert_eq!(page, super::page(&answer()), "the same answer gives the same page");
    }

    #[test]
    fn a_run_without_anything_has_a_page() {
        let nothing = Answer {
            stations: vec![],
            satellites: vec![],
            contacts: vec![],
            deliveries: vec![],
            ..answer()
        };
        assert!(page(&nothing).contains("none"));
    }

    #[test]
    fn durations_are_told_as_people_say_them() {
        let told = [0.0, 0.0123, 12.34, 600.0, 30_000.0, 864_000.0].map(duration);
        assert_eq!(told, ["0 s", "12 ms", "12.3 s", "10.0 min", "8.3 h", "10.0 days"]);
    }
}

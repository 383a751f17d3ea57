//! A page that stands alone: the summary, and plots of where, when, how much and how late.

use std::fmt::Write;

use codecs::time::Tai;

use super::summary::{Prices, Summary, waits_s};
use crate::plot::{Axis, Chart, INKS, Map, Row, Rows, Series, Span, axis::short, escaped};
use crate::world::answer::{Answer, Sample};

/// Tracks that can be told apart on one map.
const TRACKS_MAX: usize = 12;
/// Seconds of a track that are drawn: two orbits near the earth; a day would cover the map.
const TRACK_S: f64 = 11_400.0;
/// Rows of the table of contacts; the rest stands in the files beside the page.
const CONTACTS_MAX: usize = 200;
/// Rows of the table of spacecraft that were left out.
const LEFT_OUT_MAX: usize = 40;
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
pub fn page(answer: &Answer, prices: &Prices) -> String {
    let summary = Summary::of(answer, prices);
    let name = escaped(&answer.scenario);
    let until = start(answer).plus(seconds_ns(answer.flown_s()));
    let part = match summary.stopped {
        true => format!(
            " <strong>Stopped early: {} of {}, {} of {} spacecraft flown.</strong>",
            duration(answer.flown_s()),
            duration(answer.duration_s as f64),
            answer.craft.len(),
            answer.spacecraft,
        ),
        false => String::new(),
    };
    let mut out = format!(
        "<!doctype html>\n<html lang='en'><meta charset='utf-8'>\
         <meta name='viewport' content='width=device-width'><title>{name}</title>{STYLE}\n\
         <h1>{name}</h1>\n<p>{} to {}, seed {}, trace {}.{part}</p>\n",
        start(answer).to_rfc3339(),
        until.to_rfc3339(),
        answer.seed,
        summary.trace
    );
    figures(&mut out, &summary);
    sources(&mut out, &summary);
    waits(&mut out, &summary);
    out.push_str("<h2>How it went</h2>\n");
    for picture in pictures(answer) {
        out.push_str(&picture);
    }
    antennas(&mut out, answer);
    contacts(&mut out, answer);
    faults(&mut out, answer);
    out.push_str("</html>\n");
    out
}

fn figures(out: &mut String, summary: &Summary) {
    let latency = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), duration);
    let mut figures = vec![
        ("delivered", bytes(summary.delivered_bytes as f64)),
        ("of the links' capacity used", percent(summary.capacity_used)),
        ("capture to archive, median", latency(summary.latency_p50_s)),
        ("99 in 100 within", latency(summary.latency_p99_s)),
        ("spacecraft", summary.spacecraft.to_string()),
        ("contacts", format!("{}, {}", summary.contacts, duration(summary.contact_s))),
        ("packets made", format!("{}, {}", summary.packets, bytes(summary.packet_bytes as f64))),
        ("units archived", format!("{} of {}", summary.units_archived, summary.units)),
        ("still on board", summary.units_held.to_string()),
        ("left out or skipped, told by voids", summary.units_void.to_string()),
        ("told lost", summary.units_lost.to_string()),
        ("against the contract", summary.broken.len().to_string()),
    ];
    if summary.frames > 0 {
        figures.push(("frames sent", summary.frames.to_string()));
        figures.push(("frames lost to noise", summary.frames_lost.to_string()));
        figures.push(("frames while nobody heard", summary.frames_unheard.to_string()));
    }
    if let Some(jobs) = &summary.jobs {
        let of = format!("{} of {}, {} failed", jobs.done, jobs.jobs, jobs.failed);
        figures.push(("jobs done by pools", of));
        figures.push(("archive to result, median", latency(jobs.latency_p50_s)));
        figures.push(("capture to result, median", latency(jobs.insight_p50_s)));
        figures.push(("pools cost", format!("{:.2} {}", jobs.cost, summary.currency)));
    }
    if summary.antennas > 0 {
        let (not, all) = (summary.passes_unserved, summary.passes);
        let unserved = format!("{not} of {all}, {}", duration(summary.unserved_s));
        figures.push(("passes not served", unserved));
        figures.push(("of the antennas' time at work", percent(summary.antennas_busy)));
    }
    if let Some(cost) = summary.cost {
        figures.push(("cost", format!("{cost:.2} {}", summary.currency)));
    }
    out.push_str("<dl>");
    for (name, value) in figures {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(&value));
    }
    out.push_str("</dl>\n");
}

/// A share in percent: to a tenth, and what is less to two digits, so that little is not nothing.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match percent.abs() {
        0.0 => 0,
        small if small < 0.1 => 1 - small.log10().floor() as i32,
        _ => 1,
    };
    format!("{percent:.*} %", digits.clamp(0, 15) as usize)
}

/// What antennas did that spacecraft compete for, and whom they left out.
fn antennas(out: &mut String, answer: &Answer) {
    if answer.antennas.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Antennas</h2>\n<table><tr><th>site<th>antenna<th>contacts<th>in contact<th>at work\n",
    );
    for of in &answer.antennas {
        let share = |seconds: f64| percent(seconds / answer.flown_s().max(1.0));
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}",
            escaped(site(answer, of.site)),
            of.number,
            of.contacts,
            share(of.contact_s),
            share(of.busy_s)
        );
    }
    out.push_str("</table>\n");
    let mut left: Vec<_> = answer.craft.iter().filter(|craft| craft.unserved > 0).collect();
    if left.is_empty() {
        return;
    }
    left.sort_by(|a, b| b.unserved_s.total_cmp(&a.unserved_s));
    let all = left.len();
    let cut = if all > LEFT_OUT_MAX {
        format!(" (the first {LEFT_OUT_MAX} of {all})")
    } else {
        String::new()
    };
    let _ = writeln!(
        out,
        "<h2>Passes not served{cut}</h2>\n<table><tr><th>spacecraft<th>passes not served\
         <th>their time<th>contacts"
    );
    for craft in left.into_iter().take(LEFT_OUT_MAX) {
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}",
            escaped(&craft.name),
            craft.unserved,
            duration(craft.unserved_s),
            craft.contacts.len()
        );
    }
    out.push_str("</table>\n");
}

/// What each antenna heard, a row each.
fn shared(answer: &Answer, across: Axis) -> Rows {
    let rows = answer.antennas.iter().map(|of| {
        let spans = answer.craft.iter().enumerate().flat_map(|(number, craft)| {
            let heard = craft.contacts.iter();
            let heard = heard.filter(|at| (at.site, at.antenna) == (of.site, Some(of.number)));
            heard.map(move |at| Span {
                from: at.rise_s,
                to: at.set_s,
                ink: number % INKS,
                words: format!("{}, {:.0} s", craft.name, at.set_s - at.rise_s),
            })
        });
        Row { name: format!("{} {}", site(answer, of.site), of.number), spans: spans.collect() }
    });
    Rows {
        title: "What antennas heard, by spacecraft".into(),
        across,
        rows: rows.collect(),
        inks: Vec::new(),
    }
}

fn waits(out: &mut String, summary: &Summary) {
    out.push_str("<h2>Where a byte waited, on average</h2>\n");
    bars(out, summary.waited.iter().map(|of| (of.wait, of.seconds)), duration);
}

/// Where the bytes are that sensors made; places that hold nothing go without a word.
fn sources(out: &mut String, summary: &Summary) {
    let made = bytes(summary.sources.made as f64);
    let _ = writeln!(out, "<h2>Where the {made} are that sensors made</h2>");
    let there = summary.sources.places().into_iter().filter(|(_, of)| *of > 0);
    bars(out, there.map(|(place, of)| (place, of as f64)), bytes);
}

/// A table of names and how much each is of the most.
fn bars<'a>(
    out: &mut String,
    rows: impl Iterator<Item = (&'a str, f64)> + Clone,
    shown: fn(f64) -> String,
) {
    let most = rows.clone().map(|of| of.1).fold(f64::MIN_POSITIVE, f64::max);
    out.push_str("<table>\n");
    for (name, value) in rows {
        let _ = writeln!(
            out,
            "<tr><td>{name}<td class='bar'><i style='width:{:.1}%'></i><td>{}",
            100.0 * value / most,
            shown(value)
        );
    }
    out.push_str("</table>\n");
}

fn pictures(answer: &Answer) -> Vec<String> {
    let clock = || Axis::clock(start(answer)).between(0.0, answer.duration_s as f64);
    let mut out = Vec::new();
    if answer.craft.iter().any(|craft| !craft.ground_track.is_empty()) {
        out.push(map(answer).svg());
    }
    out.push(spans(answer, clock()).svg());
    if !answer.antennas.is_empty() {
        out.push(shared(answer, clock()).svg());
    }
    let [rates, backlog] = series(answer);
    out.push(
        Chart::new(
            "What links could carry, and what arrived",
            clock(),
            Axis::linear("bit/s"),
            rates,
        )
        .svg(),
    );
    let bytes = Axis::linear("bytes").from_zero();
    out.push(Chart::new("Held without a receipt", clock(), bytes, backlog).svg());
    if answer.craft.iter().any(|craft| !craft.latency.is_empty()) {
        out.push(latencies(answer).svg());
    }
    out
}

fn start(answer: &Answer) -> Tai {
    Tai(answer.start_ns)
}

fn seconds_ns(seconds: f64) -> i64 {
    (seconds * 1e9) as i64
}

fn map(answer: &Answer) -> Map {
    let all = answer.craft.len();
    let cut = answer.duration_s as f64 > TRACK_S;
    let title = match (cut, all > TRACKS_MAX) {
        (_, true) => format!("Ground tracks at the start (the first {TRACKS_MAX} of {all})"),
        (true, _) => "Ground tracks at the start".to_owned(),
        _ => "Ground tracks".to_owned(),
    };
    let tracks = answer.craft.iter().take(TRACKS_MAX).map(|craft| {
        let drawn = craft.ground_track.iter().take_while(|of| of.at_s <= TRACK_S);
        (craft.name.clone(), drawn.map(|of| (of.latitude_deg, of.longitude_deg)).collect())
    });
    let place = |site: &crate::world::answer::Site| {
        Some((site.name.clone(), (site.latitude_deg?, site.longitude_deg?)))
    };
    let stations = answer.sites.iter().filter_map(place).collect();
    Map { title, tracks: tracks.collect(), stations }
}

fn site(answer: &Answer, index: usize) -> &str {
    answer.sites.get(index).map_or("", |site| &site.name)
}

fn spans(answer: &Answer, across: Axis) -> Rows {
    let rows = answer.craft.iter().map(|craft| {
        let spans = craft.contacts.iter().map(|contact| Span {
            from: contact.rise_s,
            to: contact.set_s,
            ink: contact.site % INKS,
            words: format!(
                "{}, {:.0} s, {} arrived",
                site(answer, contact.site),
                contact.set_s - contact.rise_s,
                bytes(contact.carried_bytes as f64)
            ),
        });
        Row { name: craft.name.clone(), spans: spans.collect() }
    });
    let inks = answer.sites.iter().map(|site| site.name.clone()).collect();
    Rows { title: "Contacts, by site".into(), across, rows: rows.collect(), inks }
}

/// One instant of all spacecraft: rate of the links, bytes that arrived since the start, backlog.
#[derive(Clone, Copy, Default)]
struct Sum {
    at_s: f64,
    rate_bps: f64,
    carried_bytes: f64,
    backlog_bytes: f64,
}

/// Rates and backlog, summed over all spacecraft; samples of one number are of one instant.
fn series(answer: &Answer) -> [Vec<Series>; 2] {
    let length = answer.craft.iter().map(|craft| craft.series.len()).max().unwrap_or(0);
    let mut sums = vec![Sum::default(); length];
    for craft in &answer.craft {
        for (sum, sample) in sums.iter_mut().zip(&craft.series) {
            let Sample { at_s, backlog_bytes, carried_bytes, rate_bps, .. } = *sample;
            sum.at_s = at_s;
            sum.rate_bps += rate_bps;
            sum.carried_bytes += carried_bytes as f64;
            sum.backlog_bytes += backlog_bytes as f64;
        }
    }
    let column = |of: fn(&Sum) -> f64| sums.iter().map(|sum| (sum.at_s, of(sum))).collect();
    let arrived = sums.windows(2).map(|pair| {
        let [before, now] = pair else { return (f64::NAN, f64::NAN) };
        let bytes = (now.carried_bytes - before.carried_bytes).max(0.0);
        (before.at_s, 8.0 * bytes / (now.at_s - before.at_s).max(1e-9))
    });
    let rates = vec![
        Series::steps("arrived", arrived.collect()),
        Series::steps("rate of the links", column(|sum| sum.rate_bps)),
    ];
    [rates, vec![Series::line("on board", column(|sum| sum.backlog_bytes))]]
}

fn latencies(answer: &Answer) -> Chart {
    let (mut all, mut without) = (Vec::new(), Vec::new());
    for craft in &answer.craft {
        for unit in &craft.latency {
            all.push((unit.latency_s(), unit.bytes));
            without.push((unit.latency_s() - waits_s(unit, &craft.contacts)[1], unit.bytes));
        }
    }
    let series = vec![
        Series::line("capture to archive", shares(all)),
        Series::line("the same without the wait for a contact", shares(without)),
    ];
    let up = Axis::linear("share of bytes").between(0.0, 1.0);
    Chart::new("Latency", Axis::log("seconds"), up, series)
}

/// A curve of the share of bytes that is at or below each value.
fn shares(mut values: Vec<(f64, u32)>) -> Vec<(f64, f64)> {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let every = values.len().div_ceil(SHARES).max(1);
    let all = values.iter().map(|of| f64::from(of.1)).sum::<f64>().max(1.0);
    let so_far = values.iter().scan(0.0, |sum, (value, bytes)| {
        *sum += f64::from(*bytes);
        Some((value.max(1e-3), *sum / all))
    });
    so_far.skip(every - 1).step_by(every).collect()
}

fn contacts(out: &mut String, answer: &Answer) {
    let mut all: Vec<_> = answer
        .craft
        .iter()
        .flat_map(|craft| craft.contacts.iter().map(move |contact| (craft, contact)))
        .collect();
    all.sort_by(|a, b| a.1.rise_s.total_cmp(&b.1.rise_s));
    let cut = match all.len() {
        count if count > CONTACTS_MAX => format!(" (the first {CONTACTS_MAX} of {count})"),
        _ => String::new(),
    };
    let _ = writeln!(
        out,
        "<h2>Contacts{cut}</h2>\n<table><tr><th>spacecraft<th>site<th>rise (UTC)<th>seconds\
         <th>highest<th>capacity<th>arrived"
    );
    for (craft, contact) in all.into_iter().take(CONTACTS_MAX) {
        let _ = writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{:.0}<td>{:.1}°<td>{}<td>{}",
            escaped(&craft.name),
            escaped(site(answer, contact.site)),
            at(answer, contact.rise_s),
            contact.set_s - contact.rise_s,
            contact.max_elevation_deg,
            bytes(contact.capacity_bytes as f64),
            bytes(contact.carried_bytes as f64)
        );
    }
    out.push_str("</table>\n");
}

fn faults(out: &mut String, answer: &Answer) {
    if answer.faults.is_empty() {
        return;
    }
    let cut = match answer.faults.len() {
        count if count > CONTACTS_MAX => format!(" (the first {CONTACTS_MAX} of {count})"),
        _ => String::new(),
    };
    let _ = writeln!(out, "<h2>Faults{cut}</h2>\n<table><tr><th>of<th>what<th>when (UTC)");
    for fault in answer.faults.iter().take(CONTACTS_MAX) {
        let of = fault.craft.and_then(|index| answer.craft.get(index));
        let of = of.map_or("the station", |craft| &craft.name);
        let (of, what) = (escaped(of), escaped(&fault.what));
        let _ = writeln!(out, "<tr><td>{of}<td>{what}<td>{}", at(answer, fault.at_s));
    }
    out.push_str("</table>\n");
}

/// An instant to the second, for a table.
fn at(answer: &Answer, after_s: f64) -> String {
    let words = start(answer).plus(seconds_ns(after_s)).to_rfc3339();
    words.get(..19).unwrap_or(&words).replace('T', " ")
}

/// Bytes with the prefix of their size.
pub fn bytes(count: f64) -> String {
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
    use crate::report::summary::tests::{answer, prices};

    #[test]
    fn the_page_stands_alone_and_holds_no_names_as_markup() {
        let page = page(&answer(), &prices());
        assert!(page.contains("two &lt;of&gt; them") && !page.contains("<of>"));
        assert!(!page.contains("src=") && !page.contains("href="), "nothing is loaded");
        assert_eq!(page.matches("<svg").count(), 6);
        assert!(page.contains("Kiruna 1") && page.contains("2 of 6, 0 s"), "{page}");
        assert!(page.contains("<dd>1 kB</dd>") && page.contains("30.0 %"), "{page}");
        assert!(
            page.contains("5.00 EUR") && page.contains("Where the 1.8 kB are that sensors made")
        );
        assert_eq!(page, super::page(&answer(), &prices()), "the same answer, the same page");
    }

    #[test]
    fn a_run_without_anything_has_a_page() {
        let nothing = Answer { sites: vec![], craft: vec![], ..answer() };
        assert!(page(&nothing, &Prices::default()).contains("none"));
    }

    #[test]
    fn durations_are_told_as_people_say_them() {
        let told = [0.0, 0.0123, 12.34, 600.0, 30_000.0, 864_000.0].map(duration);
        assert_eq!(told, ["0 s", "12 ms", "12.3 s", "10.0 min", "8.3 h", "10.0 days"]);
    }
}

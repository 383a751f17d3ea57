//! Passes as a calendar (RFC 5545).

use super::rows::Row;

/// Longest line in octets, without its end (RFC 5545 §3.1).
const LINE_BYTES: usize = 75;

/// One event a pass.
pub fn calendar(rows: &[Row]) -> String {
    let mut out = String::new();
    let mut line = |text: &str| fold(&mut out, text);
    line("BEGIN:VCALENDAR");
    line("VERSION:2.0");
    line("PRODID:-//Groundtrack//orbitsim passes//EN");
    for row in rows {
        let (rise, set) = (basic(&row.rise), basic(&row.set));
        line("BEGIN:VEVENT");
        line(&format!("UID:{}", escaped(&format!("{rise}/{}/{}", row.satellite, row.station))));
        // The same elements give the same calendar.
        line(&format!("DTSTAMP:{rise}"));
        line(&format!("DTSTART:{rise}"));
        line(&format!("DTEND:{set}"));
        line(&format!("SUMMARY:{}", escaped(&format!("{} over {}", row.satellite, row.station))));
        let text = format!(
            "{:.1} degrees at {}; rise {}, set {}",
            row.max_elevation_deg, row.culmination, row.rise, row.set
        );
        line(&format!("DESCRIPTION:{}", escaped(&text)));
        line("END:VEVENT");
    }
    line("END:VCALENDAR");
    out
}

/// `2026-11-23T09:00:00.123Z` as `20261123T090000Z`.
fn basic(time: &str) -> String {
    let whole = time.split('.').next().unwrap_or(time).trim_end_matches('Z');
    format!("{}Z", whole.replace(['-', ':'], ""))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,").replace('\n', "\\n")
}

fn fold(out: &mut String, text: &str) {
    let mut length = 0;
    for letter in text.chars() {
        if length + letter.len_utf8() > LINE_BYTES {
            out.push_str("\r\n ");
            length = 1;
        }
        out.push(letter);
        length += letter.len_utf8();
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_between_letters() {
        let mut out = String::new();
        fold(&mut out, &"é".repeat(100));
        assert!(out.lines().all(|line| line.len() <= LINE_BYTES));
        assert_eq!(out.replace("\r\n ", "").trim_end(), "é".repeat(100));
        assert_eq!(basic("2026-11-23T09:00:00.123Z"), "20261123T090000Z");
        assert_eq!(escaped("a,b;c\\"), "a\\,b\\;c\\\\");
    }
}

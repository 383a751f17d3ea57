//! Contacts as a calendar (RFC 5545).

/// Longest line in octets, without its end (RFC 5545 §3.1).
const LINE_BYTES: usize = 75;

/// What a calendar holds.
pub struct Event {
    /// Start, RFC 3339.
    pub start: String,
    /// End.
    pub end: String,
    /// The line that is seen; with the start it names the event.
    pub summary: String,
    /// More.
    pub description: String,
}

/// A calendar of events; `product` made it.
pub fn calendar(product: &str, events: impl Iterator<Item = Event>) -> String {
    let mut out = String::new();
    let mut line = |text: &str| fold(&mut out, text);
    line("BEGIN:VCALENDAR");
    line("VERSION:2.0");
    line(&format!("PRODID:-//Groundtrack//{product}//EN"));
    for event in events {
        let (start, end) = (basic(&event.start), basic(&event.end));
        line("BEGIN:VEVENT");
        line(&format!("UID:{}", escaped(&format!("{start}/{}", event.summary))));
        // The same orbits give the same calendar.
        line(&format!("DTSTAMP:{start}"));
        line(&format!("DTSTART:{start}"));
        line(&format!("DTEND:{end}"));
        line(&format!("SUMMARY:{}", escaped(&event.summary)));
        line(&format!("DESCRIPTION:{}", escaped(&event.description)));
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

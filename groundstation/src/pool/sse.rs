//! Server-sent events (WHATWG HTML, section 9.2): bytes in, events out.
//!
//! Lines end with CR LF, LF or CR; bytes may be cut anywhere. Nothing here panics or grows beyond
//! [`EVENT_BYTES_MAX`] on anybody's word.

/// Most bytes of one event, and of one line.
pub const EVENT_BYTES_MAX: usize = 256 << 10;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty where none was given.
    pub name: String,
    /// Its data, lines joined by a line feed.
    pub data: String,
}

/// An event that is longer than anyone sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {EVENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// A stream that is read.
#[derive(Debug, Default)]
pub struct Reader {
    /// What has come and is not yet a line.
    line: Vec<u8>,
    /// The last line ended with CR: a LF that follows belongs to it.
    after_cr: bool,
    /// Whether any line was seen: only the first may begin with a byte order mark.
    begun: bool,
    event: Event,
    has_data: bool,
}

impl Reader {
    /// Takes bytes; gives the events that they complete. After an error the stream is no good.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (part, ended) = rest.split_at(end.unwrap_or(rest.len()));
            if self.line.len() + part.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(part);
            let Some((last, after)) = ended.split_first() else { break };
            self.after_cr = *last == b'\r';
            rest = after;
            let line = std::mem::take(&mut self.line);
            self.take_line(&line, &mut events)?;
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        let mark = if self.begun { None } else { line.strip_prefix(b"\xef\xbb\xbf") };
        self.begun = true;
        let line = String::from_utf8_lossy(mark.unwrap_or(line));
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            // An event without data is none.
            if std::mem::take(&mut self.has_data) {
                events.push(event);
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.to_owned(),
            "data" => {
                if self.event.data.len() + value.len() + 1 > EVENT_BYTES_MAX {
                    return Err(TooLong);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // Comments have an empty name; `id` and `retry` are for who reconnects.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Vec<(String, String)> {
        let events = Reader::default().push(bytes).unwrap();
        events.into_iter().map(|event| (event.name, event.data)).collect()
    }

    fn pair(name: &str, data: &str) -> (String, String) {
        (name.to_owned(), data.to_owned())
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        assert_eq!(
            read(b"data: a\n\ndata:b\r\n\r\ndata: c\r\r"),
            [pair("", "a"), pair("", "b"), pair("", "c")]
        );
        assert_eq!(read(b"event: ping\ndata: {}\nid: 7\n: said\n\n"), [pair("ping", "{}")]);
        assert_eq!(read(b"data: one\ndata:  two\ndata\n\n"), [pair("", "one\n two\n")]);
        assert_eq!(read(b"event: lost\n\ndata: x\n\n"), [pair("", "x")]);
        assert_eq!(read(b"\xef\xbb\xbfdata: x\n\ndata: cut"), [pair("", "x")]);
    }

    #[test]
    fn a_line_and_an_event_without_an_end_are_refused() {
        let mut reader = Reader::default();
        let part = vec![b'x'; 1 << 16];
        let refused = (0..100).find(|_| reader.push(&part).is_err());
        assert_eq!(refused, Some(EVENT_BYTES_MAX / part.len()));
        let line = format!("data: {}\n", "x".repeat(1 << 16));
        let mut reader = Reader::default();
        assert!((0..100).any(|_| reader.push(line.as_bytes()).is_err()));
    }

    proptest! {
        #[test]
        fn it_is_no_matter_where_bytes_are_cut(
            bytes in prop::collection::vec(
                prop::sample::select(b"data: event:\r\n\n\r x\xef\xbb\xbf\xc3".to_vec()), 0..120),
            at in 0usize..120,
        ) {
            let whole = Reader::default().push(&bytes).unwrap();
            let (first, rest) = bytes.split_at(at.min(bytes.len()));
            let mut reader = Reader::default();
            let mut parts = reader.push(first).unwrap();
            parts.extend(reader.push(rest).unwrap());
            prop_assert_eq!(whole, parts);
        }
    }
}

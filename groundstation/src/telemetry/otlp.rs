//! OTLP 1.x over HTTP, as protobuf: the form that every collector has to take.
//!
//! The messages are written out here with the numbers that the protocol gives the fields: seven
//! are enough to tell spans, and whole client libraries would bring a queue, numbers of spans and
//! a global state of their own.

use super::{Kind, Moment, Span, Value};
use codecs::time::Tai;
use prost::Message as _;

/// Path below a collector's address.
pub const PATH: &str = "/v1/traces";

/// Type of what is sent and answered.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// Who tells, as it stands with each question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Teller {
    /// Name of the station.
    pub station: String,
    /// What tells this archive from others: its ledger's number, in hexadecimal digits.
    pub instance: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<WireSpan>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    events: Vec<WireEvent>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireEvent {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "3")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3, 4")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Truth(bool),
    #[prost(int64, tag = "3")]
    Whole(i64),
    #[prost(double, tag = "4")]
    Real(f64),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `SpanKind` and `StatusCode` of the protocol.
const INTERNAL: i32 = 1;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;
const ERROR: i32 = 2;

/// The W3C's flag that a trace is recorded.
const SAMPLED: u32 = 1;

fn pair(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn nanos(at: Tai) -> u64 {
    u64::try_from(at.to_unix_nanos()).unwrap_or(0)
}

fn moment(moment: &Moment) -> WireEvent {
    let said = (!moment.said.is_empty()).then(|| pair("message", Any::Text(moment.said.clone())));
    WireEvent {
        time_unix_nano: nanos(moment.at),
        name: moment.name.to_owned(),
        attributes: said.into_iter().collect(),
    }
}

fn span(span: &Span) -> WireSpan {
    let parent = match span.parent {
        0 => Vec::new(),
        parent => parent.to_be_bytes().to_vec(),
    };
    let attribute = |(name, value): &(&'static str, Value)| {
        let value = match value {
            Value::Text(text) => Any::Text(text.clone()),
            Value::Whole(number) => Any::Whole(*number),
            Value::Real(number) => Any::Real(*number),
            Value::Truth(truth) => Any::Truth(*truth),
        };
        pair(name, value)
    };
    WireSpan {
        trace_id: span.trace.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        parent_span_id: parent,
        name: span.name.to_owned(),
        kind: match span.kind {
            Kind::Internal => INTERNAL,
            Kind::Client => CLIENT,
            Kind::Consumer => CONSUMER,
        },
        start_time_unix_nano: nanos(span.begin),
        end_time_unix_nano: nanos(span.end),
        attributes: span.attributes.iter().map(attribute).collect(),
        events: span.moments.iter().map(moment).collect(),
        status: span.error.clone().map(|message| Status { message, code: ERROR }),
        flags: SAMPLED,
    }
}

/// A question: spans, and who tells them.
pub fn encode(teller: &Teller, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = [
        ("service.name", "groundstation"),
        ("service.namespace", "groundtrack"),
        ("service.version", version),
        ("service.instance.id", &teller.instance),
        ("groundtrack.station", &teller.station),
    ];
    let attributes = resource.map(|(key, value)| pair(key, Any::Text(value.to_owned())));
    let scope = Scope { name: "groundtrack".to_owned(), version: version.to_owned() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: spans.iter().map(span).collect() };
    let request = Request {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: attributes.into() }),
            scope_spans: vec![scope_spans],
        }],
    };
    request.encode_to_vec()
}

/// How many spans a collector would not take, and what it said of them. An answer that can't be
/// read is one that took all: the status said so.
pub fn refused(answer: &[u8]) -> (u64, String) {
    let partial = Response::decode(answer).ok().and_then(|answer| answer.partial_success);
    let partial = partial.unwrap_or_default();
    (u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Trace;

    #[test]
    fn bytes_are_what_the_protocol_says() {
        let trace = Trace { id: 1, span: 2 };
        let span = Span::new(trace, 3, "job", Tai::from_unix(1, 0), Tai::from_unix(2, 0))
            .text("a", "b")
            .moment("m", Tai::from_unix(1, 0), "")
            .failed("no");
        let teller = Teller { station: "S".into(), instance: "i".into() };
        let bytes = encode(&teller, &[span]);
        // The span, field by field, as protobuf's wire format has it.
        let mut wanted = vec![0x0a, 16];
        wanted.extend(1u128.to_be_bytes());
        wanted.extend([0x12, 8, 0, 0, 0, 0, 0, 0, 0, 2]);
        wanted.extend([0x22, 8, 0, 0, 0, 0, 0, 0, 0, 3]);
        wanted.extend(*b"\x2a\x03job\x30\x01\x39");
        wanted.extend(1_000_000_000u64.to_le_bytes());
        wanted.push(0x41);
        wanted.extend(2_000_000_000u64.to_le_bytes());
        wanted.extend(*b"\x4a\x08\x0a\x01a\x12\x03\x0a\x01b\x5a\x0c\x09");
        wanted.extend(1_000_000_000u64.to_le_bytes());
        wanted.extend(*b"\x12\x01m\x7a\x06\x12\x02no\x18\x02\x85\x01\x01\0\0\0");
        assert!(bytes.ends_with(&wanted), "{bytes:?}");
        for cut in 0..bytes.len() {
            // What is cut is no question of as many spans: nothing panics on it.
            let _ = Request::decode(&bytes[..cut]);
        }
    }

    #[test]
    fn what_a_collector_would_not_take_is_read() {
        let partial = PartialSuccess { rejected_spans: 3, error_message: "old".into() };
        let answer = Response { partial_success: Some(partial) }.encode_to_vec();
        assert_eq!(refused(&answer), (3, "old".into()));
        let negative = PartialSuccess { rejected_spans: -3, error_message: String::new() };
        let answer = Response { partial_success: Some(negative) }.encode_to_vec();
        for answer in [&answer[..], b"", b"{}", b"\xff\xff"] {
            assert_eq!(refused(answer).0, 0, "{answer:?}");
        }
    }
}

//! What a vendor's error means: who has to do something for it to work.
//!
//! Statuses alone mislead: accounts that are used up come as 400, 402, 403 or 429, expired
//! credentials as 400, too much to do as 429, 503 or 529. Codes and words decide first.

use super::PoolError;
use super::http::{RETRY_AFTER_MAX, cut};
use hyper::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// An error as a vendor states it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status, or the one that the code would have had.
    pub status: u16,
    /// The vendor's code or type, such as `overloaded_error` or `ThrottlingException`.
    pub code: String,
    /// Its words.
    pub message: String,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads an answer with an error status.
    pub fn read(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let (code, message) = match serde_json::from_slice(body) {
            Ok(value) => words(&value),
            Err(_) => (String::new(), String::from_utf8_lossy(body).into_owned()),
        };
        // AWS names the error in a header: `ThrottlingException:http://...`.
        let named = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        let named = named.and_then(|text| text.split(':').next());
        let code = named.map_or(code, str::to_owned);
        Self { status, code, message, retry_after: retry_after(headers, SystemTime::now()) }
    }

    /// Reads an error that stands in a body or a stream whose status was good.
    pub fn inside(error: &Value) -> Self {
        let (code, message) = words(error);
        let status = match code.as_str() {
            "invalid_request_error" => 400,
            "authentication_error" => 401,
            "billing_error" => 402,
            "permission_error" => 403,
            "not_found_error" => 404,
            "request_too_large" => 413,
            "rate_limit_error" => 429,
            "timeout_error" => 504,
            "overloaded_error" => 529,
            number => number.parse().unwrap_or(500),
        };
        Self { status, code, message, retry_after: None }
    }
}

/// Code and message of the forms in use: `{"error": {"code", "type", "message"}}`,
/// `{"error": "..."}`, `{"detail": ...}`, `{"__type", "message"}`.
fn words(value: &Value) -> (String, String) {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let object = match &value["error"] {
        Value::Object(_) => &value["error"],
        Value::Null => value,
        other => return (String::new(), text(other)),
    };
    let first = |keys: &[&str]| {
        let found = keys.iter().map(|key| &object[*key]).find(|value| !value.is_null());
        found.map(text).unwrap_or_default()
    };
    let code = first(&["code", "__type", "type", "status"]);
    let code = code.rsplit('#').next().unwrap_or_default().to_owned();
    // A code that is only the status again says less than the type.
    let code = match code.parse::<u16>() {
        Ok(_) if object["type"].is_string() => text(&object["type"]),
        _ => code,
    };
    (code, first(&["message", "Message", "detail", "OriginalMessage"]))
}

/// When a server wants to be asked again: seconds, a date, or OpenAI's milliseconds.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let milliseconds = header("retry-after-ms").and_then(|text| wait(text, 1e-3));
    let plain = || {
        let text = header(RETRY_AFTER.as_str())?;
        let date = || {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        };
        wait(text, 1.0).or_else(date)
    };
    milliseconds.or_else(plain).map(|wait| wait.min(RETRY_AFTER_MAX))
}

/// A wait as a server writes it, in a unit of so many seconds: digits, and perhaps a fraction. What
/// is too long to be meant, however many digits it has, is [`RETRY_AFTER_MAX`].
pub fn wait(text: &str, unit_s: f64) -> Option<Duration> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let seconds = text.parse::<f64>().ok()? * unit_s;
    Some(Duration::from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64())))
}

/// Whether words say that an account is used up.
pub fn is_quota(words: &str) -> bool {
    const QUOTA: [&str; 14] = [
        "insufficient_quota",
        "exceeded your current quota",
        "quota exceeded",
        "servicequotaexceeded",
        "credit balance",
        "out of credit",
        "insufficient credit",
        "budget",
        "billing",
        "payment required",
        "usage limit",
        "spending limit",
        "spend_limit",
        "spend limit",
    ];
    let words = words.to_lowercase();
    QUOTA.iter().any(|word| words.contains(word))
}

fn is_auth(words: &str) -> bool {
    const AUTH: [&str; 11] = [
        "expiredtoken",
        "unrecognizedclient",
        "invalidsignature",
        "signaturedoesnotmatch",
        "invalidclienttokenid",
        "invalidaccesskeyid",
        "incompletesignature",
        "missingauthenticationtoken",
        "accessdenied",
        "api key not valid",
        "invalid_api_key",
    ];
    let words = words.to_lowercase();
    AUTH.iter().any(|word| words.contains(word))
}

fn is_overload(words: &str) -> bool {
    let words = words.to_lowercase();
    ["throttl", "too many requests", "overloaded", "slowdown", "slow down"]
        .iter()
        .any(|word| words.contains(word))
}

/// What an error means.
pub fn of(refusal: &Refusal) -> PoolError {
    let Refusal { status, code, message, retry_after } = refusal;
    let said = cut(&format!("{status} {code} {message}").replace("  ", " "));
    let words = format!("{code} {message}");
    match status {
        402 => PoolError::quota(said, *retry_after),
        400 | 403 | 429 if is_quota(&words) => PoolError::quota(said, *retry_after),
        400 | 403 if is_auth(code) || is_auth(message) => PoolError::auth(said),
        401 | 403 | 407 => PoolError::auth(said),
        429 | 529 => PoolError::overloaded(said, *retry_after),
        400 | 500 | 503 if is_overload(code) => PoolError::overloaded(said, *retry_after),
        503 if retry_after.is_some() => PoolError::overloaded(said, *retry_after),
        502 | 503 => PoolError::unavailable(said),
        // 424: what stands behind the vendor's front failed, not the question.
        408 | 409 | 424 | 425 | 500.. => PoolError::failed(said),
        _ => PoolError::bad_request(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Cause;

    fn judged(status: u16, headers: &[(&'static str, &str)], body: &str) -> PoolError {
        let headers = headers.iter().map(|(name, value)| {
            (hyper::header::HeaderName::from_static(name), value.parse().unwrap())
        });
        of(&Refusal::read(status, &headers.collect(), body.as_bytes()))
    }

    #[test]
    fn errors_are_judged_by_what_they_mean() {
        let overloaded = |seconds: f64| Cause::Overloaded {
            retry_after: Some(Duration::from_secs_f64(seconds)),
        };
        let never = Cause::Overloaded { retry_after: None };
        let quota = Cause::Quota { retry_after: None };
        for (status, headers, body, wanted) in [
            (429, &[][..], r#"{"error":{"type":"rate_limit_error","message":"slow"}}"#, never),
            (429, &[("retry-after", "7")], "", overloaded(7.0)),
            (429, &[("retry-after", "99999999")], "", overloaded(3_600.0)),
            (429, &[("retry-after", "99999999999999999999")], "", overloaded(3_600.0)),
            (429, &[("retry-after-ms", "99999999999999999999")], "", overloaded(3_600.0)),
            (429, &[("retry-after", "-1")], "", never),
            (429, &[("retry-after", "-99999999999999999999")], "", never),
            (429, &[("retry-after", "inf")], "", never),
            (429, &[("retry-after", "")], "", never),
            (429, &[("retry-after-ms", "250"), ("retry-after", "9")], "", overloaded(0.25)),
            (529, &[], r#"{"type":"error","error":{"type":"overloaded_error"}}"#, never),
            (
                429,
                &[],
                r#"{"error":{"code":"insufficient_quota","message":"You exceeded"}}"#,
                quota,
            ),
            (400, &[], r#"{"error":{"message":"Your credit balance is too low"}}"#, quota),
            (
                400,
                &[],
                r#"{"error":{"message":"ExceededBudget: over budget","code":"400"}}"#,
                quota,
            ),
            (402, &[], "", quota),
            (400, &[], r#"{"error":{"code":"content_policy_violation"}}"#, Cause::BadRequest),
            (400, &[], r#"{"error":"bad shape"}"#, Cause::BadRequest),
            (422, &[], r#"{"detail":[1]}"#, Cause::BadRequest),
            (404, &[], "", Cause::BadRequest),
            (413, &[], "", Cause::BadRequest),
            (401, &[], "", Cause::Auth),
            (403, &[], "", Cause::Auth),
            (403, &[("x-amzn-errortype", "ExpiredTokenException:")], "{}", Cause::Auth),
            (400, &[], r#"{"__type":"com.amazon#UnrecognizedClientException"}"#, Cause::Auth),
            (400, &[("x-amzn-errortype", "ThrottlingException")], "{}", never),
            (400, &[("x-amzn-errortype", "ServiceQuotaExceededException")], "{}", quota),
            (400, &[("x-amzn-errortype", "ValidationException")], "{}", Cause::BadRequest),
            (424, &[("x-amzn-errortype", "ModelErrorException")], "{}", Cause::Failed),
            (503, &[], "", Cause::Unavailable),
            (503, &[("retry-after", "2")], "", overloaded(2.0)),
            (502, &[], "<html>", Cause::Unavailable),
            (500, &[], "boom", Cause::Failed),
            (504, &[], "", Cause::Failed),
        ] {
            let found = judged(status, headers, body);
            assert_eq!(found.cause, wanted, "{status} {headers:?} {body}: {found}");
        }
    }

    #[test]
    fn a_date_is_a_time_to_come_again() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let date = |text: &str| {
            let headers = [(RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
            retry_after(&headers, now)
        };
        assert_eq!(date("Sun, 06 Nov 1994 08:50:07 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(date("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(date("soon"), None);
        assert_eq!(date("NaN"), None);
        assert_eq!(date("1e300"), None);
        assert_eq!(date(&"9".repeat(400)), Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn an_error_in_a_stream_is_judged_like_one_with_a_status() {
        let error = serde_json::json!({ "type": "error",
            "error": { "type": "overloaded_error", "message": "Overloaded" } });
        let found = of(&Refusal::inside(&error));
        assert_eq!(found.cause, Cause::Overloaded { retry_after: None });
        assert_eq!(found.said, "529 overloaded_error Overloaded");
    }
}

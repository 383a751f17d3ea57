//! Signature Version 4: a request and a key into the header that proves who sent it.
//!
//! Written after Amazon's published description, proven with its published vectors here and against
//! its own library for Python in the workspace's tests. Time is an argument.

use crate::pool::Secret;
pub use reqwest::Url;
use ring::{digest, hmac};
use std::fmt::Write as _;

/// Keys of an account, or of a role for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Name of the key; no secret.
    pub id: String,
    /// The key.
    pub secret: Secret,
    /// For keys that expire.
    pub token: Option<Secret>,
}

/// What a signature is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Region, such as `eu-central-1`.
    pub region: String,
    /// Name that the service signs under, such as `bedrock`.
    pub service: &'static str,
}

/// A request before it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// Method.
    pub method: &'a str,
    /// Address, its path encoded as it is sent.
    pub url: &'a Url,
    /// Headers to be signed besides host, date and token: lower-case names.
    pub headers: &'a [(&'a str, String)],
    /// Body.
    pub body: &'a [u8],
}

/// Headers that a request needs besides its own, for a moment in seconds since 1970.
pub fn sign(
    request: &Unsigned<'_>,
    keys: &Keys,
    scope: &Scope,
    now_s: u64,
) -> Vec<(&'static str, String)> {
    let stamp = stamp(now_s);
    let date = stamp.get(..8).unwrap_or_default();
    let body = hex(digest::digest(&digest::SHA256, request.body).as_ref());
    let mut added = vec![("x-amz-date", stamp.clone())];
    if scope.service == "s3" {
        added.push(("x-amz-content-sha256", body.clone()));
    }
    if let Some(token) = &keys.token {
        added.push(("x-amz-security-token", token.expose().to_owned()));
    }
    let mut headers: Vec<(&str, String)> = vec![("host", host(request.url))];
    headers.extend(
        request
            .headers
            .iter()
            .chain(&added)
            .map(|(name, value)| (*name, value.split_whitespace().collect::<Vec<_>>().join(" "))),
    );
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let mut canonical =
        format!("{}\n{}\n{}\n", request.method, path(request.url, scope), query(request.url));
    for (name, value) in &headers {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{body}");
    let within = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{within}\n{hash}");
    let first = format!("AWS4{}", keys.secret.expose());
    let key = [date, &scope.region, scope.service, "aws4_request"]
        .iter()
        .fold(first.into_bytes(), |key, part| mac(&key, part.as_bytes()));
    let signature = hex(&mac(&key, to_sign.as_bytes()));
    let id = &keys.id;
    added.push((
        "authorization",
        format!(
            "AWS4-HMAC-SHA256 Credential={id}/{within}, SignedHeaders={names}, \
             Signature={signature}"
        ),
    ));
    added
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// As the client writes the header of that name.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// S3 signs the path as it is sent, every other service encodes it once more.
fn path(url: &Url, scope: &Scope) -> String {
    match scope.service {
        "s3" => url.path().to_owned(),
        _ => url.path().split('/').map(encoded).collect::<Vec<_>>().join("/"),
    }
}

fn query(url: &Url) -> String {
    let pair = |(name, value): (std::borrow::Cow<str>, std::borrow::Cow<str>)| {
        (encoded(&name), encoded(&value))
    };
    let mut pairs: Vec<(String, String)> = url.query_pairs().map(pair).collect();
    pairs.sort_unstable();
    let pairs: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// A text as it may stand in a path or query (RFC 3986): everything but letters, digits and
/// `-._~` by number, a slash too.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// `20150830T123600Z`, by the calendar's own arithmetic in days from 1 March of year 0.
fn stamp(now_s: u64) -> String {
    let (days, second) = (now_s / 86_400 + 719_468, now_s % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015-08-30 12:36:00 UTC, the moment of Amazon's test suite.
    const SUITE_S: u64 = 1_440_938_160;

    fn keys(id: &str, secret: &str) -> Keys {
        Keys { id: id.into(), secret: Secret::new(secret), token: None }
    }

    fn suite() -> (Keys, Scope) {
        let keys = keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        (keys, Scope { region: "us-east-1".into(), service: "service" })
    }

    fn signature(headers: &[(&str, String)]) -> String {
        let (_, value) = headers.iter().find(|(name, _)| *name == "authorization").unwrap();
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn amazons_published_vectors_are_met() {
        let (keys, scope) = suite();
        let form = [("content-type", "application/x-www-form-urlencoded".to_owned())];
        for (method, url, headers, body, wanted) in [
            (
                "GET",
                "https://example.amazonaws.com/",
                &[][..],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "https://example.amazonaws.com/",
                &[],
                "",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "GET",
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                &[],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "POST",
                "https://example.amazonaws.com/",
                &form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let (url, body) = (url.parse().unwrap(), body.as_bytes());
            let request = Unsigned { method, url: &url, headers, body };
            assert_eq!(
                signature(&sign(&request, &keys, &scope, SUITE_S)),
                wanted,
                "{method} {url}"
            );
        }
    }

    #[test]
    fn s3_s_documented_request_is_met() {
        let keys = keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let scope = Scope { region: "us-east-1".into(), service: "s3" };
        let url = "https://examplebucket.s3.amazonaws.com/test.txt".parse().unwrap();
        let headers = [("range", "bytes=0-9".to_owned())];
        let request = Unsigned { method: "GET", url: &url, headers: &headers, body: b"" };
        // 2013-05-24 00:00:00 UTC.
        let signed = sign(&request, &keys, &scope, 1_369_353_600);
        assert_eq!(
            signature(&signed),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn a_token_is_signed_and_nothing_prints_a_key() {
        let (mut keys, scope) = suite();
        keys.token = Some(Secret::new("token"));
        let url = "https://example.amazonaws.com/model/a%3A1/converse".parse().unwrap();
        let request = Unsigned { method: "POST", url: &url, headers: &[], body: b"{}" };
        let signed = sign(&request, &keys, &scope, SUITE_S);
        assert!(signed.iter().any(|(_, value)| value.contains("host;x-amz-date;x-amz-security")));
        assert_eq!(path(&url, &scope), "/model/a%253A1/converse");
        assert!(!format!("{keys:?}").contains("wJalr"));
    }

    #[test]
    fn moments_are_stamped() {
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(stamp(SUITE_S), "20150830T123600Z");
        assert_eq!(stamp(951_782_399), "20000228T235959Z");
        assert_eq!(stamp(951_868_799), "20000229T235959Z");
        assert_eq!(stamp(4_107_542_400), "21000301T000000Z");
    }
}

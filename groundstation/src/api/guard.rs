//! Who may ask, and what every answer says about itself.

use super::{Shared, problem::Problem};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::net::IpAddr;

/// Only what the daemon itself serves may run or be shown; no inline code, no other origin.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The configuration key of host names that are answered to.
const HOST_NAMES: &str = "listen.host_names";

/// Checks the host and sets the headers of every answer.
pub async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let cacheable = path.starts_with("/assets/");
    let mut response = if host_allowed(request.headers(), &shared.context.host_names) {
        next.run(request).await
    } else {
        let message = format!(
            "this station does not answer to that host name; use its address or localhost, or add \
             the name to {HOST_NAMES} in the station file and restart it"
        );
        Problem::new(StatusCode::MISDIRECTED_REQUEST, message).into_response()
    };
    let cacheable = cacheable && response.status().is_success();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    // Names of assets hold a hash of their content; everything else is live.
    let cache = if cacheable { "public, max-age=31536000, immutable" } else { "no-store" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

/// DNS rebinding makes a foreign *name* point at loopback, so addresses are safe and names are
/// only what we know. The port is not compared: forwarded ports differ.
fn host_allowed(headers: &HeaderMap, names: &[String]) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let name = name_of(host);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok()
        || names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        host_allowed(&headers, &["station.example".to_owned()])
    }

    #[test]
    fn addresses_and_known_names_are_answered() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:7180",
            "[::1]:7180",
            "[::1]",
            "localhost:9",
            "LocalHost",
            "station.example:7180",
        ] {
            assert!(allowed(host), "{host}");
        }
    }

    #[test]
    fn names_that_could_be_rebound_are_not() {
        for host in ["evil.example", "localhost.evil.example:7180", "127.0.0.1.evil.example", ""] {
            assert!(!allowed(host), "{host}");
        }
        assert!(!host_allowed(&HeaderMap::new(), &[]));
    }

    /// What a refused reader is told to change is a key that the station file has.
    #[test]
    fn the_key_of_host_names_is_one_of_the_station_file() {
        let (table, key) = HOST_NAMES.split_once('.').unwrap();
        let value = toml::Table::from_iter([(key.to_owned(), vec!["station.example"].into())]);
        let listen: crate::config::Listen = value.try_into().unwrap();
        assert_eq!(listen.host_names, ["station.example"]);
        let unknown = toml::Table::from_iter([("names".to_owned(), vec!["a"].into())]);
        unknown.try_into::<crate::config::Listen>().expect_err("an unknown key is an error");
        assert_eq!(table, "listen");
    }

    #[test]
    fn two_hosts_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, "localhost".parse().unwrap());
        headers.append(header::HOST, "evil.example".parse().unwrap());
        assert!(!host_allowed(&headers, &[]));
    }
}

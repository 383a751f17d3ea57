//! Who is told traces.

use crate::shell::telemetry::site;
use serde::Deserialize;

/// Traces, for a collector that speaks OTLP.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Address of the collector, before `/v1/traces`; without one no spans are made.
    pub otlp: Option<String>,
}

impl TelemetryConfig {
    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let Some(url) = &self.otlp else { return Ok(()) };
        if url.trim_end_matches('/').ends_with("/v1/traces") {
            return Err(format!("{url:?}: leave /v1/traces out, it is put behind the address"));
        }
        site(url).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_collector_has_is_refused() {
        let check = |url: &str| TelemetryConfig { otlp: Some(url.to_owned()) }.check();
        for good in ["http://127.0.0.1:4318", "http://collector:4318/", "https://a.example/otlp"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["collector:4318", "grpc://collector:4317", "http://", "http://a/v1/traces"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}

//! The front end, built into the executable.

use super::problem::Problem;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

/// One file of the front end.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// Shown where the daemon was built without the front end, which plain `cargo build` allows.
const NOT_BUILT: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Groundtrack</title>
<meta name=\"color-scheme\" content=\"dark light\">
<meta name=\"viewport\" content=\"width=device-width\"></head>
<body><h1>Groundtrack is running without its page</h1>
<p>This executable was built without the front end. Run <code>make build</code> in the
repository (it needs Node 20.19 or newer) and start the daemon again.</p>
<p>Everything else works: <a href=\"/api/v1/snapshot\">what is live, as JSON</a>,
<a href=\"/api/v1/contacts\">the contact plan</a>, <a href=\"/metrics\">metrics</a>.</p>
</body></html>
";

/// Serves a file of the front end.
pub async fn asset(method: Method, uri: Uri) -> Response {
    if method != Method::GET && method != Method::HEAD {
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the page is read-only");
        return ([(header::ALLOW, "GET,HEAD")], problem).into_response();
    }
    let path = if uri.path() == "/" { "/index.html" } else { uri.path() };
    match ASSETS.iter().find(|asset| asset.path == path) {
        Some(asset) => ([(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response(),
        None if path == "/index.html" => {
            ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], NOT_BUILT).into_response()
        }
        None => Problem::new(StatusCode::NOT_FOUND, "no such page").into_response(),
    }
}

/// Whether the executable holds the front end.
#[cfg(test)]
pub fn built() -> bool {
    ASSETS.iter().any(|asset| asset.path == "/index.html")
}

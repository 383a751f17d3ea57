//! What a screen of tiles sees here: the share of light in each cell. It is plain arithmetic, so
//! that every server that is asked the same has to say the same.

use super::Shared;
use axum::{
    Json, Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Name of the model.
pub const MODEL: &str = "screen";

const SIDE: usize = 64;
const CELLS: usize = 16;
const BANDS: usize = 4;
const LENGTH: &str = "inference-header-content-length";

/// Share of light in each cell, and in all.
fn screen(bands: &[u8]) -> (Vec<f32>, f32) {
    assert_eq!(bands.len(), BANDS * SIDE * SIDE, "a tile of four bands");
    let step = SIDE / CELLS;
    let mut sums = vec![0u32; CELLS * CELLS];
    for (at, pixel) in bands.iter().enumerate() {
        let (row, column) = (at / SIDE % SIDE / step, at % SIDE / step);
        sums[row * CELLS + column] += u32::from(*pixel);
    }
    let most = (BANDS * step * step) as f32 * 255.0;
    let mask: Vec<f32> = sums.iter().map(|sum| *sum as f32 / most).collect();
    let fraction = mask.iter().sum::<f32>() / mask.len() as f32;
    (mask, fraction)
}

/// What a model that looks at pictures answers: the bands come as one picture each.
pub fn looked(body: &Value) -> String {
    let parts = body["messages"].as_array().into_iter().flatten();
    let parts = parts.flat_map(|turn| turn["content"].as_array().into_iter().flatten());
    let urls = parts.filter_map(|part| part["image_url"]["url"].as_str());
    let mut bands = Vec::new();
    for url in urls {
        let data = STANDARD.decode(url.trim_start_matches("data:image/png;base64,")).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(data)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        bands.extend(pixels);
    }
    let (mask, fraction) = screen(&bands);
    let rows: Vec<&[f32]> = mask.chunks(CELLS).collect();
    json!({ "mask": [[rows]], "fraction": [[fraction]] }).to_string()
}

/// The Open Inference Protocol as Triton speaks it over REST: the batch in its shapes, tensors raw.
pub fn routes() -> Router<Shared> {
    let extensions = json!({ "name": "triton", "version": "2.51.0",
        "extensions": ["binary_tensor_data", "model_configuration"] });
    let port = |name: &str, kind: &str, shape: Value| json!({ "name": name, "datatype": kind, "shape": shape });
    let model = json!({ "name": MODEL, "versions": ["1"], "platform": "python",
        "inputs": [port("tile", "UINT8", json!([-1, 4, 64, 64]))],
        "outputs": [port("mask", "FP32", json!([-1, 1, 16, 16])), port("fraction", "FP32", json!([-1, 1]))] });
    Router::new()
        .route("/v2", get(|| async move { Json(extensions) }))
        .route("/v2/models/screen", get(|| async move { Json(model) }))
        .route("/v2/models/screen/infer", post(infer))
}

async fn infer(headers: HeaderMap, body: Bytes) -> Response {
    let refused =
        |said: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": said }))).into_response();
    let length = headers.get(LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let Some((head, tail)) = length.and_then(|length| body.split_at_checked(length)) else {
        return refused("raw tensors were expected");
    };
    let Ok(head) = serde_json::from_slice::<Value>(head) else { return refused("no JSON") };
    let input = &head["inputs"][0];
    if input["shape"] != json!([1, 4, 64, 64]) || tail.len() != BANDS * SIDE * SIDE {
        return refused("unexpected shape for input 'tile'");
    }
    let (mask, fraction) = screen(tail);
    let output = |name: &str, shape: Value, values: usize| {
        json!({ "name": name, "datatype": "FP32", "shape": shape,
            "parameters": { "binary_data_size": values * 4 } })
    };
    let outputs =
        [output("mask", json!([1, 1, 16, 16]), mask.len()), output("fraction", json!([1, 1]), 1)];
    let head = json!({ "model_name": MODEL, "model_version": "1", "outputs": outputs }).to_string();
    let length = head.len().to_string();
    let mut answer = head.into_bytes();
    mask.iter().chain([&fraction]).for_each(|value| answer.extend(value.to_le_bytes()));
    let kind = "application/octet-stream".to_owned();
    ([("content-type", kind), (LENGTH, length)], answer).into_response()
}

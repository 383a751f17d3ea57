//! What a model costs here: our path and the bare library on the same questions in turn.

use std::{collections::BTreeMap, path::Path, time::Instant};

use codecs::tensor::Tensor;
use serde_json::Value;

use crate::{
    backend::{BackendError, LoadOptions},
    onnxruntime,
    package::Package,
    session::{ModelError, Session},
};

/// Times of single runs, in nanoseconds, sorted.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// Through [`Session::run`].
    pub session_ns: Vec<u64>,
    /// Through the library's binding alone: a view in, the outputs' numbers looked at.
    pub bare_ns: Vec<u64>,
}

/// Runs a question in turn through a session and through the library, so that both see the same
/// machine.
pub fn compare(
    session: &mut Session,
    package: &Package,
    question: &[Tensor],
    rounds: usize,
) -> Result<Times, ModelError> {
    let mut bare = onnxruntime::Bare::load(package.model(), &LoadOptions::default())?;
    let mut times = Times::default();
    let warm = rounds / 10 + 1;
    for round in 0..rounds + warm {
        let started = Instant::now();
        let answer = session.run(question)?;
        let session_ns = started.elapsed().as_nanos() as u64;
        drop(answer);
        let bare_ns = bare.run(question, &mut || Instant::now())?.as_nanos() as u64;
        if round >= warm {
            times.session_ns.push(session_ns);
            times.bare_ns.push(bare_ns);
        }
    }
    times.session_ns.sort_unstable();
    times.bare_ns.sort_unstable();
    Ok(times)
}

/// Which execution provider runs how many of a model's nodes, by the library's own profile of one
/// run.
pub fn placement(
    package: &Package,
    options: &LoadOptions,
    question: &[Tensor],
    folder: &Path,
) -> Result<BTreeMap<String, usize>, BackendError> {
    let wrong = |error: &dyn std::fmt::Display| BackendError(format!("the profile: {error}"));
    let profile = onnxruntime::profile(package.model(), options, question, &folder.join("run"))?;
    let text = std::fs::read_to_string(&profile).map_err(|error| wrong(&error))?;
    let _ = std::fs::remove_file(&profile);
    let events: Vec<Value> = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let mut nodes = BTreeMap::new();
    for event in events {
        let provider = event["args"]["provider"].as_str();
        if event["cat"] == "Node"
            && event["name"].as_str().is_some_and(|name| name.ends_with("_kernel_time"))
            && let Some(provider) = provider
        {
            *nodes.entry(provider.to_owned()).or_default() += 1;
        }
    }
    Ok(nodes)
}

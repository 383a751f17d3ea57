//! Our adapters before other people's servers.

use crate::{
    adapters::{opened, request},
    doubles::Doubles,
    moved,
    serving::{address, served},
};
use bytes::Bytes;
use codecs::tensor::{DType, Tensor};
use groundstation::pool::{Cause, Input, Pool, Request, Response};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tests::process::{DEADLINE, root};

/// A server, killed when dropped.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a tool is installed; none, and a word on how to, where it is not.
pub fn installed(variable: &str, folder: &str, program: &str, tool: &str) -> Option<PathBuf> {
    let dir = std::env::var_os(variable)
        .map_or_else(|| root().join("target").join(folder), PathBuf::from);
    if dir.join(program).exists() {
        return Some(dir);
    }
    println!("skipped: no {program}; run {tool} target/{folder}, or set {variable}");
    None
}

/// A port that was free when it was asked for.
pub fn free() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn start(command: &mut Command, log: &Path) -> Server {
    let log = std::fs::File::create(log).unwrap();
    let child = command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null()).spawn();
    Server(child.unwrap())
}

pub fn tile() -> Request {
    let pixels: Bytes = (0..4 * 64 * 64).map(|at| (at % 251) as u8).collect::<Vec<u8>>().into();
    let tile = Tensor::new("tile", DType::U8, vec![1, 4, 64, 64], pixels).unwrap();
    request("cloud-mask/1", Input::Tensors(vec![tile]), 60.0)
}

/// Pools over both protocols before the same server.
fn both(dir: &Path, rest: &str, grpc: &str, model: &str) -> Vec<Arc<dyn Pool>> {
    both_with(dir, &format!("http://{rest}"), &format!("http://{grpc}"), model, "")
}

/// The same by whole addresses, with another line of the station file.
pub fn both_with(
    dir: &Path,
    rest: &str,
    grpc: &str,
    model: &str,
    more: &str,
) -> Vec<Arc<dyn Pool>> {
    let row = |kind: &str, url: &str| {
        // Over REST there are no streams, and their key is refused.
        let more = if kind == "oip-rest" && more.starts_with("stream") { "" } else { more };
        format!(
            "[[pool]]\nname = \"{kind}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n{more}\n\
             tasks = {{ \"cloud-mask/1\" = \"{model}\", \"tea/1\" = \"tea\" }}\n"
        )
    };
    opened(dir, &format!("{}{}", row("oip-rest", rest), row("oip-grpc", grpc)))
}

/// Waits until a pool describes its model; the server's talk is shown where it never does.
async fn ready(pool: &dyn Pool, server: &mut Server, log: &Path) {
    let end = Instant::now() + DEADLINE;
    while let Err(error) = pool.metadata("cloud-mask/1").await {
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(server.0.try_wait().unwrap().is_none(), "it ended: {}", said());
        assert!(Instant::now() < end, "not ready ({error}): {}", said());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What every server of the protocol has to do, over both.
pub async fn judge(pools: &[Arc<dyn Pool>]) -> Vec<Response> {
    let mut answers = Vec::new();
    for pool in pools {
        let kind = pool.describe().kind;
        let model = pool.metadata("cloud-mask/1").await.unwrap().unwrap();
        let names = |ports: &[groundstation::pool::PortMetadata]| {
            ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&model.inputs), ["tile"], "{kind}");
        assert_eq!(names(&model.outputs), ["mask", "fraction"], "{kind}");
        assert_eq!(model.inputs[0].datatype, "UINT8", "{kind}");
        let answer = pool.infer(&tile()).await.unwrap();
        let mut shapes: Vec<_> =
            answer.output.tensors().iter().map(|it| (it.name.clone(), it.shape.clone())).collect();
        shapes.sort_unstable();
        let wanted = [("fraction".into(), vec![1, 1]), ("mask".into(), vec![1, 1, 16, 16])];
        assert_eq!(shapes, wanted, "{kind}");
        let tea = Request { task: "tea/1".into(), ..tile() };
        let unknown = pool.infer(&tea).await.unwrap_err();
        assert_eq!(unknown.cause, Cause::BadRequest, "{kind}: {unknown}");
        let wrong = Tensor::from_f32("tile", vec![1, 2], &[0.0, 1.0]).unwrap();
        let wrong = request("cloud-mask/1", Input::Tensors(vec![wrong]), 60.0);
        let refused = pool.infer(&wrong).await.unwrap_err();
        assert!(matches!(refused.cause, Cause::BadRequest | Cause::Failed), "{kind}: {refused}");
        let begun = Instant::now();
        const ASKED: u32 = 50;
        for _ in 0..ASKED {
            pool.infer(&tile()).await.unwrap();
        }
        println!("{kind}: {:.2?} a tile of 16 kB", begun.elapsed() / ASKED);
        answers.push(answer);
    }
    let sorted = |answer: &Response| {
        let mut tensors = answer.output.tensors().to_vec();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        tensors
    };
    assert_eq!(sorted(&answers[0]), sorted(&answers[1]), "the same over both");
    answers
}

#[tokio::test]
async fn our_own_server_answers_our_own_adapters() {
    let Some((_server, ready)) = served() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (rest, grpc) = (address(&ready, "url"), address(&ready, "grpc"));
    let pools = both(dir.path(), rest, grpc, "cloud-screen");
    let answers = judge(&pools).await;
    assert!(answers[0].model.starts_with("cloud-screen "), "{}", answers[0].model);
}

#[tokio::test]
async fn a_grpc_server_that_is_not_there_is_unavailable_and_one_that_is_silent_is_late() {
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap().to_string();
    let pools = both(dir.path(), &silent, &silent, "m");
    let hurried = Request { time_left: Duration::from_millis(100), ..tile() };
    assert_eq!(pools[1].infer(&hurried).await.unwrap_err().cause, Cause::Deadline);
    drop(listener);
    let gone = both(dir.path(), &silent, &silent, "m");
    assert_eq!(gone[1].infer(&tile()).await.unwrap_err().cause, Cause::Unavailable);
}

/// A model for Python servers that does what the cloud model's contract says, in its own way.
const MASK: &str = "def screen(tile):\n    import numpy as np\n\
    \x20   mask = tile.astype(np.float32).mean(1, keepdims=True).reshape(-1, 1, 16, 4, 16, 4)\n\
    \x20   mask = (mask.mean((3, 5)) / 255).astype(np.float32)\n\
    \x20   return {'mask': mask, 'fraction': mask.mean((2, 3))}\n";

#[tokio::test]
async fn a_real_mlserver_answers_over_both_protocols() {
    let found =
        installed("GROUNDTRACK_MLSERVER", "mlserver", "bin/mlserver", "tools/install-mlserver");
    let Some(venv) = found else { return };
    let dir = tempfile::tempdir().unwrap();
    let (rest, grpc, metrics) = (free(), free(), free());
    let settings = format!(
        "{{\"host\":\"127.0.0.1\",\"http_port\":{rest},\"grpc_port\":{grpc},\
         \"metrics_port\":{metrics},\"parallel_workers\":0,\"debug\":false}}"
    );
    let runtime = format!(
        "{MASK}\nfrom mlserver import MLModel\nfrom mlserver.codecs import NumpyCodec\n\
         from mlserver.types import InferenceResponse\nclass Screen(MLModel):\n\
         \x20   async def predict(self, payload):\n\
         \x20       tile = NumpyCodec.decode_input(payload.inputs[0])\n\
         \x20       out = [NumpyCodec.encode_output(k, v) for k, v in screen(tile).items()]\n\
         \x20       return InferenceResponse(model_name=self.name, outputs=out)\n"
    );
    let port = |name: &str, kind: &str, shape: &str| {
        format!("{{\"name\":\"{name}\",\"datatype\":\"{kind}\",\"shape\":{shape}}}")
    };
    let model = format!(
        "{{\"name\":\"screen\",\"implementation\":\"screen.Screen\",\"inputs\":[{}],\
         \"outputs\":[{},{}]}}",
        port("tile", "UINT8", "[-1,4,64,64]"),
        port("mask", "FP32", "[-1,1,16,16]"),
        port("fraction", "FP32", "[-1,1]"),
    );
    for (name, text) in
        [("settings.json", settings), ("screen.py", runtime), ("model-settings.json", model)]
    {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let log = dir.path().join("log");
    let mut command = Command::new(venv.join("bin/mlserver"));
    command.args(["start", "."]).current_dir(dir.path()).env("PYTHONPATH", dir.path());
    let mut server = start(&mut command, &log);
    let address = |port| format!("127.0.0.1:{port}");
    let pools = both(dir.path(), &address(rest), &address(grpc), "screen");
    for pool in &pools {
        ready(pool.as_ref(), &mut server, &log).await;
    }
    judge(&pools).await;
}

/// A Triton that runs one Python model, named `screen`.
struct Triton {
    server: Server,
    log: PathBuf,
    rest: String,
    grpc: String,
}

/// Starts one; none where none is installed. `execute` is the body of the model's method, in which
/// `pb` is Triton's module and `screen` what [`MASK`] says.
fn triton(dir: &Path, config: &str, execute: &str) -> Option<Triton> {
    let install = installed("GROUNDTRACK_TRITON", "triton", "run-triton", "tools/install-triton")?;
    let model = dir.join("models/screen");
    std::fs::create_dir_all(model.join("1")).unwrap();
    // The stub takes the base Python's packages first; numpy has to be the one it was built for.
    let packages = install.join("lib/python3.11/site-packages");
    let code = format!(
        "import sys\nsys.path.insert(0, {packages:?})\n{MASK}\n\
         import triton_python_backend_utils as pb\nclass TritonPythonModel:\n\
         \x20   def execute(self, requests):\n{execute}"
    );
    std::fs::write(model.join("config.pbtxt"), config).unwrap();
    std::fs::write(model.join("1/model.py"), code).unwrap();
    let (rest, grpc, metrics) = (free(), free(), free());
    let log = dir.join("log");
    let mut command = Command::new(install.join("run-triton"));
    command.arg(format!("--model-repository={}", dir.join("models").display())).args([
        "--http-address=127.0.0.1".to_owned(),
        "--grpc-address=127.0.0.1".to_owned(),
        format!("--http-port={rest}"),
        format!("--grpc-port={grpc}"),
        format!("--metrics-port={metrics}"),
        "--allow-gpu-metrics=false".to_owned(),
    ]);
    let server = start(&mut command, &log);
    let address = |port| format!("127.0.0.1:{port}");
    Some(Triton { server, log, rest: address(rest), grpc: address(grpc) })
}

#[tokio::test]
async fn a_real_triton_answers_over_both_protocols() {
    let dir = tempfile::tempdir().unwrap();
    let config = "name: \"screen\"\nbackend: \"python\"\nmax_batch_size: 8\n\
        input [{ name: \"tile\" data_type: TYPE_UINT8 dims: [4, 64, 64] }]\n\
        output [\n{ name: \"mask\" data_type: TYPE_FP32 dims: [1, 16, 16] },\n\
        { name: \"fraction\" data_type: TYPE_FP32 dims: [1] }\n]\n";
    let execute = "        answers = []\n        for request in requests:\n\
         \x20           tile = pb.get_input_tensor_by_name(request, 'tile').as_numpy()\n\
         \x20           out = [pb.Tensor(k, v) for k, v in screen(tile).items()]\n\
         \x20           answers.append(pb.InferenceResponse(output_tensors=out))\n\
         \x20       return answers\n";
    let Some(mut triton) = triton(dir.path(), config, execute) else { return };
    let pools = both(dir.path(), &triton.rest, &triton.grpc, "screen");
    for pool in &pools {
        ready(pool.as_ref(), &mut triton.server, &triton.log).await;
    }
    judge(&pools).await;
    // The mission that moves between the doubles moves here as it is.
    let doubles = Doubles::start().await;
    let words = moved::outcome(dir.path(), "words", &moved::openai(&doubles, "")).await;
    for (kind, place) in [("oip-rest", &triton.rest), ("oip-grpc", &triton.grpc)] {
        let row = moved::oip(kind, &format!("http://{place}"));
        moved::assert_same(&moved::outcome(dir.path(), kind, &row).await, &words);
    }
    // A model that is not decoupled is asked as ever, whatever the station file allows.
    let (rest, grpc) = (format!("http://{}", triton.rest), format!("http://{}", triton.grpc));
    let allowed = both_with(dir.path(), &rest, &grpc, "screen", "stream = true");
    assert!(allowed[1].infer(&tile()).await.is_ok());
}

/// A decoupled model: as many parts as its input says, of two rows each; 0 is none at all, less an
/// error after the first, much a stream that is never done.
const BURST: &str = "        import time\n        for request in requests:\n\
    \x20           sender = request.get_response_sender()\n\
    \x20           count = int(pb.get_input_tensor_by_name(request, 'x').as_numpy()[0, 0])\n\
    \x20           for at in range(abs(count)):\n\
    \x20               y = np.array([[at], [at + 0.5]], dtype=np.float32)\n\
    \x20               sender.send(pb.InferenceResponse([pb.Tensor('y', y)]))\n\
    \x20               if count > 100: time.sleep(0.01)\n\
    \x20               if count > 100 and request.is_cancelled(): break\n\
    \x20           if count < 0:\n\
    \x20               sender.send(pb.InferenceResponse(error=pb.TritonError('out of luck')))\n\
    \x20           sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)\n";

#[tokio::test]
async fn a_real_tritons_decoupled_model_is_asked_by_stream() {
    let dir = tempfile::tempdir().unwrap();
    let config = "name: \"screen\"\nbackend: \"python\"\nmax_batch_size: 0\n\
        model_transaction_policy { decoupled: true }\n\
        input [{ name: \"x\" data_type: TYPE_FP32 dims: [1, 1] }]\n\
        output [{ name: \"y\" data_type: TYPE_FP32 dims: [-1, 1] }]\n";
    let execute = format!("        import numpy as np\n{BURST}");
    let Some(mut triton) = triton(dir.path(), config, &execute) else { return };
    let (rest, grpc) = (format!("http://{}", triton.rest), format!("http://{}", triton.grpc));
    let whole = both_with(dir.path(), &rest, &grpc, "screen", "").remove(1);
    let pool = both_with(dir.path(), &rest, &grpc, "screen", "stream = true").remove(1);
    ready(pool.as_ref(), &mut triton.server, &triton.log).await;
    let ask = |count: f32, seconds: f64| {
        let x = Tensor::from_f32("x", vec![1, 1], &[count]).unwrap();
        request("cloud-mask/1", Input::Tensors(vec![x]), seconds)
    };
    let refused = whole.infer(&ask(1.0, 60.0)).await.unwrap_err();
    assert!(refused.said.contains("decoupled"), "{refused}");
    let answer = pool.infer(&ask(3.0, 60.0)).await.unwrap();
    let y = &answer.output.tensors()[0];
    assert_eq!(y.shape, [6, 1]);
    assert_eq!(y.to_f32().unwrap(), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
    assert_eq!(answer.model, "screen 1");
    assert!(pool.infer(&ask(0.0, 60.0)).await.unwrap().output.tensors().is_empty());
    let failed = pool.infer(&ask(-1.0, 60.0)).await.unwrap_err();
    assert_eq!(failed.cause, Cause::Failed);
    assert!(failed.said.contains("out of luck"), "{failed}");
    let late = pool.infer(&ask(1e6, 0.5)).await.unwrap_err();
    assert_eq!(late.cause, Cause::Deadline, "{late}");
    // The model hears of it, and is free for the next.
    assert!(pool.infer(&ask(1.0, 60.0)).await.is_ok());
}

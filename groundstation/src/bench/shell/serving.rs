//! What the way to a pool costs: our serving side and adapters beside bare servers and clients of
//! the same libraries, and a model's run in a pool beside the same run here.
//!
//! One child holds every server, so that all ways cross the same boundary between processes.

use super::{
    super::report::median,
    child::{Child, cpu_of_s, cpu_s, tell, told},
};
use crate::pool::{
    Handling, Input, Pool, Request, Trace,
    embedded::{self, ChildState, Embedded},
    oip::{Body, JSON_LENGTH_HEADER, write_question},
    oip_grpc::OipGrpc,
    oip_proto::{InferRequest, InferResponse, MESSAGE_BYTES_MAX, SERVICE, write_tensors},
    oip_rest::OipRest,
    serve::{grpc, models::Models, rest},
};
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use codecs::{
    tensor::{DType, Tensor},
    time::Tai,
};
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use onboard_model::{Package, Runtime, Trust};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::{TcpListener, TcpStream};
use tonic_prost::ProstCodec;

/// Bytes of the tensors that go there and back.
const SIZES: [usize; 2] = [1 << 10, 1 << 20];

/// Questions under way at a time.
const ABREAST: usize = 4;

const TASK: &str = "echo/1";

/// Where the child's servers are.
#[derive(Serialize, Deserialize)]
struct Ready {
    rest: String,
    grpc: String,
    bare_rest: String,
    bare_grpc: String,
}

/// A way, there and back: a bare client to a bare server, the same client to our serving side, our
/// adapter to our serving side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// `rest` or `grpc`.
    pub protocol: &'static str,
    /// Bytes of the tensor, each way.
    pub bytes: usize,
    /// A bare client and a bare server.
    pub bare: Rate,
    /// The same client and our serving side.
    pub served: Beside,
    /// Our adapter and our serving side.
    pub whole: Beside,
}

/// How fast something goes; medians of the rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rate {
    /// Questions a second.
    pub per_s: f64,
    /// Processor time of a question, client and server, in microseconds.
    pub cpu_us: f64,
}

/// A rate beside the bare one: medians of the rounds' ratios, 1 is as good, less is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Beside {
    /// The rate.
    pub rate: Rate,
    /// Questions a second to the bare ones.
    pub ratio: f64,
    /// The bare one's processor time to its own.
    pub ratio_cpu: f64,
}

impl Rate {
    fn of(rounds: &[Self]) -> Self {
        Self {
            per_s: median(rounds.iter().map(|round| round.per_s)),
            cpu_us: median(rounds.iter().map(|round| round.cpu_us)),
        }
    }
}

impl Beside {
    fn of(rounds: &[Rate], bare: &[Rate]) -> Self {
        let both = || rounds.iter().zip(bare);
        Self {
            rate: Rate::of(rounds),
            ratio: median(both().map(|(own, bare)| own.per_s / bare.per_s)),
            ratio_cpu: median(both().map(|(own, bare)| bare.cpu_us / own.cpu_us)),
        }
    }

    fn people(&self, what: &str) -> String {
        let Self { rate: Rate { per_s, cpu_us }, ratio, ratio_cpu } = self;
        format!("{what} {per_s:.0} a second ({cpu_us:.1} us CPU): {ratio:.2}, {ratio_cpu:.2} CPU")
    }
}

/// A model's run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Batch.
    pub batch: u64,
    /// Bytes that go in.
    pub bytes: usize,
    /// Microseconds of the run in this process, median.
    pub here_us: f64,
    /// Microseconds of the question to the embedded pool, median.
    pub pool_us: f64,
    /// Processor time of the run in this process, in microseconds.
    pub here_cpu_us: f64,
    /// Processor time of the question, of both processes.
    pub pool_cpu_us: f64,
    /// What the way adds, in microseconds: median of the rounds' differences.
    pub added_us: f64,
    /// The same as a share of the run.
    pub added: f64,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Way {
    /// Throughput beside bare libraries.
    pub throughput: Vec<Row>,
    /// A model here and in the embedded pool.
    pub runs: Vec<Run>,
}

impl Way {
    /// For people.
    pub fn people(&self) -> String {
        let mut lines = Vec::new();
        for Row { protocol, bytes, bare, served, whole } in &self.throughput {
            lines.push(format!(
                "{protocol}, {bytes} bytes there and back: bare {:.0} a second ({:.1} us CPU)\n  \
                 {}\n  {}",
                bare.per_s,
                bare.cpu_us,
                served.people("our server"),
                whole.people("our server and adapter"),
            ));
        }
        for run in &self.runs {
            let Run { batch, bytes, here_us, pool_us, added_us, added, .. } = run;
            let Run { here_cpu_us, pool_cpu_us, .. } = run;
            lines.push(format!(
                "model, batch {batch}, {bytes} bytes in: {here_us:.0} us here, {pool_us:.0} us in \
                 the embedded pool: {added_us:.0} us more, {:.1} % ({here_cpu_us:.0} and \
                 {pool_cpu_us:.0} us CPU)",
                added * 100.0
            ));
        }
        lines.join("\n")
    }
}

/// Measures; nothing where no time is given.
pub fn measure(seconds: f64, rounds: usize, package: Option<&Path>) -> anyhow::Result<Way> {
    if seconds <= 0.0 {
        return Ok(Way::default());
    }
    ensure!(seconds <= 600.0 && rounds > 0, "--seconds up to 600, --rounds at least 1");
    let time = Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut child = Child::start(&["bench".to_owned(), "serve".to_owned()])?;
    let ready: Ready = child.document()?;
    let meter = Meter { time, servers: child.id() };
    let throughput = runtime.block_on(throughput(&ready, &meter, rounds))?;
    child.tell(0)?;
    let runs = match package {
        Some(package) => runtime.block_on(runs(package, time, rounds))?,
        None => Vec::new(),
    };
    Ok(Way { throughput, runs })
}

/// The child: our serving side with a model that gives back what it gets, and bare servers.
pub fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let models = Arc::new(Models::echo());
        let mut listeners = Vec::new();
        for _ in 0..4 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await?);
        }
        let urls: Vec<String> = listeners
            .iter()
            .map(|listener| Ok(format!("http://{}", listener.local_addr()?)))
            .collect::<std::io::Result<_>>()?;
        let [rest, grpc, bare_rest, bare_grpc] = <[String; 4]>::try_from(urls).unwrap_or_default();
        let mut listeners = listeners.into_iter();
        let mut next = || listeners.next().context("a socket");
        tokio::spawn(rest::serve(next()?, Arc::clone(&models), std::future::pending()));
        tokio::spawn(grpc::serve(next()?, models, std::future::pending()));
        tokio::spawn(bare_http(next()?));
        tokio::spawn(bare_tonic(next()?));
        tell(&Ready { rest, grpc, bare_rest, bare_grpc })?;
        told().await.map(drop)
    })?;
    runtime.shutdown_background();
    Ok(())
}

async fn bare_http(listener: TcpListener) -> std::io::Result<()> {
    use hyper::body::Incoming;
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let echo = hyper::service::service_fn(|request: hyper::Request<Incoming>| async {
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>(hyper::Response::new(Full::new(body)))
        });
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(stream), echo));
    }
}

/// A service whose one method gives back the message that it gets.
async fn bare_tonic(listener: TcpListener) -> Result<(), tonic::transport::Error> {
    use tonic::codegen::{BoxFuture, Service, http};
    #[derive(Clone)]
    struct Bare;
    impl Service<http::Request<tonic::body::Body>> for Bare {
        type Response = http::Response<tonic::body::Body>;
        type Error = Infallible;
        type Future = BoxFuture<Self::Response, Infallible>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
            let codec = ProstCodec::<InferRequest, InferRequest>::default();
            let mut grpc =
                tonic::server::Grpc::new(codec).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Box::pin(async move { Ok(grpc.unary(Echo, request).await) })
        }
    }
    struct Echo;
    impl Service<tonic::Request<InferRequest>> for Echo {
        type Response = tonic::Response<InferRequest>;
        type Error = tonic::Status;
        type Future = std::future::Ready<Result<Self::Response, tonic::Status>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), tonic::Status>> {
            std::task::Poll::Ready(Ok(()))
        }
        fn call(&mut self, request: tonic::Request<InferRequest>) -> Self::Future {
            std::future::ready(Ok(tonic::Response::new(request.into_inner())))
        }
    }
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder().serve_with_incoming(Bare, incoming).await
}

fn request(task: &str, tensors: Vec<Tensor>) -> Request {
    Request {
        task: task.to_owned(),
        input: Input::Tensors(tensors),
        deadline: Tai::from_unix(4_000_000_000, 0),
        time_left: Duration::from_secs(60),
        priority: 0,
        handling: Handling::default(),
        budget: None,
        idempotency_key: "bench".to_owned(),
        trace: Trace::of("bench"),
        outputs_elements: None,
    }
}

/// What rates are measured by.
struct Meter {
    time: Duration,
    /// The process of the servers.
    servers: u32,
}

impl Meter {
    /// How often something is done by so many abreast.
    async fn rate<W, F>(&self, ask: W) -> anyhow::Result<Rate>
    where
        W: Fn(usize) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        let cpu = || cpu_s() + cpu_of_s(self.servers);
        let (began, cpu_before) = (Instant::now(), cpu());
        let workers = (0..ABREAST).map(|worker| {
            let ask = &ask;
            async move {
                let mut done = 0u32;
                while began.elapsed() < self.time {
                    ask(worker).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            }
        });
        let done: Vec<u32> = join_all(workers).await.into_iter().collect::<Result<_, _>>()?;
        let done = f64::from(done.iter().sum::<u32>());
        let per_s = done / began.elapsed().as_secs_f64();
        Ok(Rate { per_s, cpu_us: (cpu() - cpu_before) * 1e6 / done })
    }
}

async fn throughput(ready: &Ready, meter: &Meter, rounds: usize) -> anyhow::Result<Vec<Row>> {
    let models = BTreeMap::from([(TASK.to_owned(), "echo".to_owned())]);
    let rest = OipRest::new("rest", &ready.rest, models.clone(), None);
    let grpc = OipGrpc::new("grpc", &ready.grpc, models, None);
    let pools: [(&str, Arc<dyn Pool>); 2] = [
        ("rest", Arc::new(rest.map_err(anyhow::Error::msg)?)),
        ("grpc", Arc::new(grpc.map_err(anyhow::Error::msg)?)),
    ];
    let mut rows = Vec::new();
    for bytes in SIZES {
        let tensor = Tensor::new("x", DType::U8, vec![bytes as u64], vec![7; bytes].into())?;
        let asked = request(TASK, vec![tensor.clone()]);
        let tensors = std::slice::from_ref(&tensor);
        for (protocol, pool) in &pools {
            let ask = |_| async {
                let answer = pool.infer(&asked).await.map_err(anyhow::Error::new)?;
                ensure!(answer.output.tensors()[0].data.len() == bytes, "not what went out");
                Ok(())
            };
            let (mut bare, mut served, mut whole) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                if *protocol == "rest" {
                    let body = write_question("bench", tensors, true).whole();
                    bare.push(hyper_alone(&ready.bare_rest, &body, meter).await?);
                    served.push(hyper_alone(&ready.rest, &body, meter).await?);
                } else {
                    bare.push(tonic_alone::<InferRequest>(&ready.bare_grpc, tensors, meter).await?);
                    served.push(tonic_alone::<InferResponse>(&ready.grpc, tensors, meter).await?);
                }
                whole.push(meter.rate(ask).await?);
            }
            rows.push(Row {
                protocol,
                bytes,
                bare: Rate::of(&bare),
                served: Beside::of(&served, &bare),
                whole: Beside::of(&whole, &bare),
            });
        }
    }
    Ok(rows)
}

/// A client of nothing but hyper, which sends a question and wants about as much back.
async fn hyper_alone(url: &str, question: &Body, meter: &Meter) -> anyhow::Result<Rate> {
    let address = url.trim_start_matches("http://");
    let mut senders = Vec::new();
    for _ in 0..ABREAST {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        senders.push(tokio::sync::Mutex::new(sender));
    }
    let length = question.json_length.unwrap_or_default();
    let tensor = question.bytes.len() - length;
    meter
        .rate(|worker| {
            let sender = &senders[worker];
            async move {
                let mut sender = sender.lock().await;
                sender.ready().await?;
                let request = hyper::Request::post("/v2/models/echo/infer")
                    .header("host", address)
                    .header(JSON_LENGTH_HEADER, length);
                let body = Full::new(question.bytes.clone());
                let answer = sender.send_request(request.body(body)?).await?;
                let body = answer.into_body().collect().await?.to_bytes();
                ensure!(body.len() > tensor, "not what went out");
                Ok(())
            }
        })
        .await
}

/// What a bare client is answered with.
trait Contents: prost::Message + Default + 'static {
    const METHOD: &'static str;
    fn contents(&self) -> &[Bytes];
}

impl Contents for InferRequest {
    const METHOD: &'static str = "Echo";
    fn contents(&self) -> &[Bytes] {
        &self.raw_input_contents
    }
}

impl Contents for InferResponse {
    const METHOD: &'static str = "ModelInfer";
    fn contents(&self) -> &[Bytes] {
        &self.raw_output_contents
    }
}

/// A client of nothing but tonic.
async fn tonic_alone<A: Contents>(
    url: &str,
    tensors: &[Tensor],
    meter: &Meter,
) -> anyhow::Result<Rate> {
    let channel = tonic::transport::Endpoint::from_shared(url.to_owned())?.connect().await?;
    let (inputs, raw_input_contents) = write_tensors(tensors);
    let asked = InferRequest {
        model_name: "echo".to_owned(),
        inputs,
        raw_input_contents,
        ..InferRequest::default()
    };
    meter
        .rate(|_| {
            let (asked, channel) = (asked.clone(), channel.clone());
            async move {
                let mut client =
                    tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
                client.ready().await?;
                let codec = ProstCodec::<InferRequest, A>::default();
                let path = format!("/{SERVICE}/{}", A::METHOD);
                let path = tonic::codegen::http::uri::PathAndQuery::try_from(path)?;
                let answer = client.unary(tonic::Request::new(asked), path, codec).await?;
                ensure!(!answer.get_ref().contents().is_empty(), "not what went out");
                Ok(())
            }
        })
        .await
}

/// The package's model here and in the embedded pool, one question and as many as it takes.
async fn runs(package: &Path, time: Duration, rounds: usize) -> anyhow::Result<Vec<Run>> {
    let trust = Trust::nobody().danger_accept_development_key();
    let opened = Package::open(package, &trust)?;
    let mut session = Runtime::find(None)?.load(&opened)?;
    let manifest = opened.manifest().clone();
    let pool = Arc::new(Embedded::start(embedded::Config {
        name: "embedded".to_owned(),
        executable: std::env::current_exe()?,
        packages: vec![package.to_owned()],
        runtime: None,
        danger_accept_development_key: true,
        workers: 1,
        tasks: BTreeMap::from([(TASK.to_owned(), manifest.name.clone())]),
    }));
    let mut state = pool.state();
    let state = state.wait_for(|state| matches!(state, ChildState::Up { .. })).await?.clone();
    let ChildState::Up { pid, .. } = state else { bail!("the embedded pool did not start") };
    let mut rows = Vec::new();
    for batch in [1, manifest.max_batch] {
        let tensors = manifest.inputs.iter().map(|port| {
            let extents = port.shape.iter();
            let shape: Vec<u64> =
                extents.map(|extent| u64::try_from(*extent).unwrap_or(batch)).collect();
            let bytes = shape.iter().product::<u64>() as usize * port.datatype.size();
            Tensor::new(port.name.clone(), port.datatype, shape, vec![0; bytes].into())
        });
        let tensors: Vec<Tensor> = tensors.collect::<Result<_, _>>()?;
        let bytes = tensors.iter().map(|tensor| tensor.data.len()).sum();
        let asked = request(TASK, tensors.clone());
        let (mut here, mut there) = (Vec::new(), Vec::new());
        let (mut here_cpu, mut there_cpu) = (Vec::new(), Vec::new());
        let cpu = || cpu_s() + cpu_of_s(pid);
        for _ in 0..rounds {
            let (mut times, cpu_before) = (Vec::new(), cpu());
            let began = Instant::now();
            while began.elapsed() < time || times.is_empty() {
                let one = Instant::now();
                session.run(&tensors)?;
                times.push(one.elapsed().as_secs_f64() * 1e6);
            }
            here_cpu.push((cpu() - cpu_before) * 1e6 / times.len() as f64);
            here.push(median(times));
            let cpu_before = cpu();
            // In a task of its own, as the daemon asks.
            let (pool, asked) = (Arc::clone(&pool), asked.clone());
            let times = tokio::spawn(async move {
                let (mut times, began) = (Vec::new(), Instant::now());
                while began.elapsed() < time || times.is_empty() {
                    let one = Instant::now();
                    pool.infer(&asked).await?;
                    times.push(one.elapsed().as_secs_f64() * 1e6);
                }
                anyhow::Ok(times)
            });
            let times = times.await??;
            there_cpu.push((cpu() - cpu_before) * 1e6 / times.len() as f64);
            there.push(median(times));
        }
        rows.push(Run {
            batch,
            bytes,
            here_us: median(here.iter().copied()),
            pool_us: median(there.iter().copied()),
            here_cpu_us: median(here_cpu),
            pool_cpu_us: median(there_cpu),
            added_us: median(here.iter().zip(&there).map(|(here, there)| there - here)),
            added: median(here.iter().zip(&there).map(|(here, there)| there / here - 1.0)),
        });
    }
    Ok(rows)
}

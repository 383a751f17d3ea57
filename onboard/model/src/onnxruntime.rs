//! ONNX Runtime through `ort`: the only file of the workspace that knows either.
//!
//! Traps that this file steps around: `ort::init().build()` panics without the library, while
//! `init_from` returns an error; a process can hold one environment only, ever; telemetry is on
//! unless it is switched off; `IoBinding::bind_input` with a borrowed tensor deadlocks in
//! 2.0.0-rc.15, so inputs go in through `run` as views.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use codecs::tensor::{DType, Tensor};
use ort::{
    environment::Environment,
    ep::{ExecutionProvider, XNNPACK},
    logging::LogLevel,
    session::{Session, SessionInputValue, builder::SessionBuilder},
    value::{DynValue, TensorElementType, TensorRef},
};

use crate::backend::{Backend, BackendError, LoadOptions, LoadedModel};

// Tensors are little-endian bytes, and views of them are taken as they stand.
const _: () = assert!(cfg!(target_endian = "little"), "tensors are viewed in place");

/// The process's one environment, kept for its life.
static ENVIRONMENT: Mutex<Option<Arc<OnnxRuntime>>> = Mutex::new(None);

struct OnnxRuntime {
    environment: Environment,
    description: String,
}

/// Loads the library, or returns the one that this process already holds.
///
/// A failed attempt leaves nothing behind, so that another path can be tried.
pub(crate) fn load(path: &Path) -> Result<Arc<dyn Backend>, String> {
    let mut held = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*held {
        return Ok(runtime.clone());
    }
    let logger = |level: LogLevel, category: &str, _: &str, place: &str, message: &str| match level
    {
        LogLevel::Error | LogLevel::Fatal => {
            tracing::warn!(target: "onnxruntime", category, place, "{message}");
        }
        _ => tracing::debug!(target: "onnxruntime", category, place, "{message}"),
    };
    let environment = ort::init_from(path)
        .map_err(|error| error.to_string())?
        .with_name("groundtrack")
        .with_telemetry(false)
        .with_logger(Arc::new(logger))
        .build()
        .map_err(|error| error.to_string())?;
    environment.set_log_level(LogLevel::Warning);
    let build = ort::info();
    let description = format!("ONNX Runtime at {} ({build})", path.display());
    let runtime = Arc::new(OnnxRuntime { environment, description });
    *held = Some(runtime.clone());
    Ok(runtime)
}

impl Backend for OnnxRuntime {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn load(
        &self,
        model: &[u8],
        options: &LoadOptions,
    ) -> Result<Box<dyn LoadedModel>, BackendError> {
        let mut providers = Vec::new();
        let session = builder(&self.environment, options, &mut providers)
            .and_then(|mut builder| builder.commit_from_memory(model));
        Ok(Box::new(OnnxModel { session: session.map_err(refused)?, providers }))
    }

    fn available(&self, asked: &[String]) -> Vec<String> {
        asked.iter().filter(|name| has(name)).cloned().collect()
    }
}

/// Whether the library was built with a provider.
fn has(name: &str) -> bool {
    match name {
        "cpu" => true,
        "xnnpack" => XNNPACK::is_available().unwrap_or(false),
        _ => false,
    }
}

/// A session as options ask; `taken` are the providers that the library took.
fn builder(
    environment: &Environment,
    options: &LoadOptions,
    taken: &mut Vec<String>,
) -> ort::Result<SessionBuilder> {
    let mut builder = Session::builder(environment)?
        .with_intra_threads(options.threads)?
        .with_inter_threads(1)?
        // Spinning burns a core while a model waits for its next question.
        .with_intra_op_spinning(false)?
        // Without it the arena grows with every batch size it sees.
        .with_memory_pattern(false)?;
    for name in options.providers.iter().filter(|name| has(name)) {
        // The processor is always there, behind all others.
        if name == "xnnpack" && XNNPACK::default().register(&mut builder).is_err() {
            continue;
        }
        taken.push(name.clone());
    }
    Ok(builder)
}

fn environment() -> Result<Environment, BackendError> {
    let held = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = held.as_ref().ok_or_else(|| BackendError("no runtime is loaded".into()))?;
    Ok(runtime.environment.clone())
}

/// The library with as little around it as can be: what the rest is measured beside.
pub(crate) struct Bare(Session);

impl Bare {
    pub fn load(model: &[u8], options: &LoadOptions) -> Result<Self, BackendError> {
        let session = builder(&environment()?, options, &mut Vec::new())
            .and_then(|mut builder| builder.commit_from_memory(model));
        Ok(Self(session.map_err(refused)?))
    }

    /// One run, with the time that it took by the clock handed in.
    pub fn run<T>(
        &mut self,
        inputs: &[Tensor],
        now: &mut dyn FnMut() -> T,
    ) -> Result<<T as std::ops::Sub>::Output, BackendError>
    where
        T: std::ops::Sub,
    {
        let started = now();
        let views = inputs
            .iter()
            .map(|tensor| Ok((tensor.name.as_str(), view(tensor)?)))
            .collect::<Result<Vec<_>, BackendError>>()?;
        let outputs = self.0.run(views).map_err(refused)?;
        for (_, value) in outputs.iter() {
            let numbers = value.try_extract_tensor::<f32>().map_err(refused)?;
            std::hint::black_box(numbers);
        }
        drop(outputs);
        Ok(now() - started)
    }
}

/// Runs a question once and gives the path of the library's profile of it, which begins with
/// `prefix`.
pub(crate) fn profile(
    model: &[u8],
    options: &LoadOptions,
    inputs: &[Tensor],
    prefix: &Path,
) -> Result<String, BackendError> {
    let session = builder(&environment()?, options, &mut Vec::new())
        .and_then(|builder| Ok(builder.with_profiling(prefix)?))
        .and_then(|mut builder| builder.commit_from_memory(model));
    let mut model = OnnxModel { session: session.map_err(refused)?, providers: Vec::new() };
    model.run(inputs)?;
    model.session.end_profiling().map_err(refused)
}

struct OnnxModel {
    session: Session,
    providers: Vec<String>,
}

fn refused<R>(error: ort::Error<R>) -> BackendError {
    BackendError(error.message().to_owned())
}

/// A view of the tensor's bytes where they are aligned, else of one copy.
fn view(tensor: &Tensor) -> Result<SessionInputValue<'_>, BackendError> {
    let shape = tensor
        .shape
        .iter()
        .map(|extent| i64::try_from(*extent))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| BackendError(error.to_string()))?;
    macro_rules! numbers {
        ($type:ty) => {
            match bytemuck::try_cast_slice::<u8, $type>(&tensor.data) {
                Ok(numbers) => TensorRef::from_array_view((shape, numbers)).map(Into::into),
                Err(_) => {
                    let (chunks, _) = tensor.data.as_chunks::<{ size_of::<$type>() }>();
                    let copy = chunks.iter().map(|chunk| <$type>::from_le_bytes(*chunk));
                    let copy = copy.collect::<Vec<_>>();
                    ort::value::Tensor::from_array((shape, copy)).map(Into::into)
                }
            }
        };
    }
    match tensor.dtype {
        DType::U8 => numbers!(u8),
        DType::U16 => numbers!(u16),
        DType::U32 => numbers!(u32),
        DType::U64 => numbers!(u64),
        DType::I8 => numbers!(i8),
        DType::I16 => numbers!(i16),
        DType::I32 => numbers!(i32),
        DType::I64 => numbers!(i64),
        DType::F32 => numbers!(f32),
        DType::F64 => numbers!(f64),
        // A byte other than 0 or 1 is no truth value, so these are always read one by one.
        DType::Bool => {
            let truths = tensor.data.iter().map(|byte| *byte != 0).collect::<Vec<_>>();
            ort::value::Tensor::from_array((shape, truths)).map(Into::into)
        }
    }
    .map_err(refused)
}

fn copy(name: &str, value: &DynValue) -> Result<Tensor, BackendError> {
    let element = value.dtype().tensor_type();
    macro_rules! bytes {
        ($dtype:expr, $type:ty) => {{
            let (shape, numbers) = value.try_extract_tensor::<$type>().map_err(refused)?;
            (shape, $dtype, Bytes::copy_from_slice(bytemuck::cast_slice(numbers)))
        }};
    }
    let (shape, dtype, data) = match element {
        Some(TensorElementType::Uint8) => bytes!(DType::U8, u8),
        Some(TensorElementType::Uint16) => bytes!(DType::U16, u16),
        Some(TensorElementType::Uint32) => bytes!(DType::U32, u32),
        Some(TensorElementType::Uint64) => bytes!(DType::U64, u64),
        Some(TensorElementType::Int8) => bytes!(DType::I8, i8),
        Some(TensorElementType::Int16) => bytes!(DType::I16, i16),
        Some(TensorElementType::Int32) => bytes!(DType::I32, i32),
        Some(TensorElementType::Int64) => bytes!(DType::I64, i64),
        Some(TensorElementType::Float32) => bytes!(DType::F32, f32),
        Some(TensorElementType::Float64) => bytes!(DType::F64, f64),
        Some(TensorElementType::Bool) => {
            let (shape, truths) = value.try_extract_tensor::<bool>().map_err(refused)?;
            (shape, DType::Bool, truths.iter().map(|truth| u8::from(*truth)).collect())
        }
        other => return Err(BackendError(format!("output {name:?} is of type {other:?}"))),
    };
    let shape = shape.iter().map(|extent| u64::try_from(*extent).unwrap_or(0)).collect();
    Tensor::new(name, dtype, shape, data).map_err(|error| BackendError(error.to_string()))
}

impl LoadedModel for OnnxModel {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, BackendError> {
        let views = inputs
            .iter()
            .map(|tensor| Ok((tensor.name.as_str(), view(tensor)?)))
            .collect::<Result<Vec<_>, BackendError>>()?;
        let outputs = self.session.run(views).map_err(refused)?;
        outputs.iter().map(|(name, value)| copy(name, &value)).collect()
    }

    fn providers(&self) -> Vec<String> {
        self.providers.clone()
    }
}

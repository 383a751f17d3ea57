//! What a pool is asked: one request for every kind of adapter, in nobody's dialect.

use super::oip::BODY_BYTES_MAX;
use super::stream;
use super::usage::Cost;
use bytes::Bytes;
pub use codecs::mission::task::DataClass;
use codecs::tensor::Tensor;
use codecs::time::Tai;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;
use twox_hash::xxhash3_128::Hasher;

/// One piece of heavy work.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Task contract, such as `cloud-mask/1`.
    pub task: String,
    /// What it is about.
    pub input: Input,
    /// When it is worth nothing any more, by the station's clock.
    pub deadline: Tai,
    /// The same as time left at the moment of asking. An adapter gives up after it, and tells the
    /// server where its protocol can; a dropped future is given up too.
    pub time_left: Duration,
    /// Priority band: smaller goes first, where a pool has an order.
    pub priority: u8,
    /// Who may see it. Pools were chosen by this already: adapters need it only where a vendor
    /// asks for it.
    pub handling: Handling,
    /// Most that it may cost; none where nobody said.
    pub budget: Option<Cost>,
    /// Same key, same work.
    pub idempotency_key: String,
    /// What the request belongs to, from frame to insight.
    pub trace: Trace,
    /// Elements that the outputs have, where a contract tells.
    pub outputs_elements: Option<u64>,
}

/// What a pool answers in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// Numbers in JSON, or raw beside it.
    #[default]
    Json,
    /// gRPC's messages.
    Messages,
    /// Words, to tasks of tensors too.
    Words,
}

/// How an answer in tensors may be written.
struct Writing {
    /// Bytes of an element at most.
    element: u64,
    /// Bytes beside the contract's outputs: a model may give more than that.
    beside: u64,
    /// Memory for each byte that is read.
    times: u64,
}

/// Numbers as text, blanks and all. What has come is twice as large while it grows, and what is
/// read out of it comes beside.
const JSON: Writing = Writing { element: 32, beside: 256 << 10, times: 3 };

/// Numbers of gRPC's messages, of which one of a byte becomes one of eight, and all twice as many
/// while they grow.
const PROTO: Writing = Writing { element: 12, beside: 64 << 10, times: 17 };

impl Writing {
    /// Most bytes that are read: what is longer can't be the contract's.
    fn bytes_max(&self, elements: Option<u64>) -> u64 {
        let most = |of: u64| of.saturating_mul(self.element).saturating_add(self.beside);
        elements.map_or(u64::MAX, most).min(BODY_BYTES_MAX as u64)
    }

    fn room(&self, elements: u64) -> u64 {
        self.times * self.bytes_max(Some(elements))
    }
}

impl Answers {
    /// Memory that an answer may take until it is read, in bytes: one to a task whose outputs have
    /// so many elements, none of a task of words.
    pub fn room(self, elements: Option<u64>) -> u64 {
        match (self, elements) {
            (Self::Json, Some(of)) => JSON.room(of),
            (Self::Messages, Some(of)) => PROTO.room(of),
            (Self::Words, _) | (_, None) => stream::ROOM_BYTES,
        }
    }
}

impl Request {
    /// Most bytes of an answer that are read.
    pub fn answer_bytes_max(&self) -> usize {
        match self.input {
            Input::Tensors(_) => JSON.bytes_max(self.outputs_elements) as usize,
            Input::Document(_) => stream::WHOLE_BYTES_MAX,
        }
    }

    /// The same of an answer in gRPC's messages.
    pub fn message_bytes_max(&self) -> usize {
        PROTO.bytes_max(self.outputs_elements) as usize
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Named arrays, for models.
    Tensors(Vec<Tensor>),
    /// Words and images, for language models.
    Document(Document),
}

impl Input {
    /// The tensors; none of a document.
    pub fn tensors(&self) -> &[Tensor] {
        match self {
            Self::Tensors(tensors) => tensors,
            Self::Document(_) => &[],
        }
    }

    /// Bytes that go over the wire, before any encoding.
    pub fn bytes(&self) -> u64 {
        let sum: usize = match self {
            Self::Tensors(tensors) => tensors.iter().map(|tensor| tensor.data.len()).sum(),
            Self::Document(document) => {
                let parts = document.messages.iter().flat_map(|message| &message.parts);
                let of = |part: &Part| match part {
                    Part::Text(text) => text.len(),
                    Part::Image { data, .. } => data.len(),
                };
                document.system.len() + parts.map(of).sum::<usize>()
            }
        };
        sum as u64
    }
}

/// A conversation that ends with a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// What the model is to be and to do; empty where nothing is said.
    pub system: String,
    /// Turns, the user's last.
    pub messages: Vec<Message>,
    /// JSON schema that the answer must fulfil; none where it is free text. Objects in it list
    /// every property as required and allow no others: what every vendor's strict mode takes.
    pub schema: Option<Schema>,
    /// Most tokens of the answer.
    pub tokens_out_max: u32,
}

/// A JSON schema with the name that vendors want for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Letters, digits, `-` and `_`, at most 64.
    pub name: String,
    /// The schema.
    pub value: serde_json::Value,
}

/// One turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Whose turn.
    pub role: Role,
    /// What is said and shown, in order.
    pub parts: Vec<Part>,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The station's.
    User,
    /// The model's.
    Assistant,
}

/// A part of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Words.
    Text(String),
    /// A picture.
    Image {
        /// Its format.
        format: ImageFormat,
        /// The file's bytes.
        data: Bytes,
    },
}

/// Formats that every vendor reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
}

impl ImageFormat {
    /// Media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }
}

/// Who may see a request: filters, never weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// How freely it may travel.
    pub class: DataClass,
    /// Regions that it may be worked on in, such as `eu` or `eu-central-1`; none named is any.
    /// `eu` stands for everything that begins with `eu-` as well.
    pub regions: BTreeSet<String>,
    /// Export licences that a pool must be cleared for, such as `ear-9e515`.
    pub export: BTreeSet<String>,
}

/// Name of everything that belongs to one piece of data, and of one question about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trace {
    /// The same from frame to insight.
    pub id: u128,
    /// Of this question: it differs with each attempt.
    pub span: u64,
}

impl Trace {
    /// The trace of what a text identifies: the same text gives the same trace, over restarts too.
    pub fn of(about: &str) -> Self {
        Self { id: Hasher::oneshot(about.as_bytes()).max(1), span: 1 }
    }

    /// A part of it with a name: the same name gives the same span, over restarts too.
    pub fn part(self, name: &str) -> Self {
        let span = Hasher::oneshot(format!("{:032x}/{name}", self.id).as_bytes()) as u64;
        Self { span: span.max(1), ..self }
    }

    /// The question of an attempt, made at a moment: another after a restart is another question.
    pub fn attempt(self, key: &str, number: u32, at: Tai) -> Self {
        self.part(&format!("{key}#{number}@{}", at.0))
    }

    /// As the W3C's `traceparent` header has it; adapters over HTTP or gRPC send it.
    pub fn traceparent(self) -> String {
        let mut text = String::with_capacity(55);
        let _ = write!(text, "00-{:032x}-{:016x}-01", self.id, self.span);
        text
    }
}

//! What a process that runs models is asked and answers, as bytes.
//!
//! A message is `GTM1`, its kind, three zero bytes and the length of its body (u32, big-endian).
//! Every length is checked against what is there before anything is taken.

use bytes::{Buf, Bytes};
use codecs::{
    package::{MAX_BUNDLE_BYTES, MAX_PORTS, MAX_RANK},
    tensor::{DType, Tensor},
};

const MAGIC: [u8; 4] = *b"GTM1";
/// Bytes before a body.
pub const HEADER_BYTES: usize = 12;
/// Longest body: a model with some room.
pub const MAX_BODY_BYTES: usize = MAX_BUNDLE_BYTES + (1 << 20);

/// Types by their number.
const TYPES: [DType; 11] = [
    DType::Bool,
    DType::U8,
    DType::U16,
    DType::U32,
    DType::U64,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::F32,
    DType::F64,
];

/// A message, either way.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Load a model.
    Load {
        /// Threads inside one operator.
        threads: u32,
        /// Execution providers, the first first.
        providers: Vec<String>,
        /// The model.
        model: Bytes,
    },
    /// It is loaded.
    Loaded {
        /// Memory of the process, in bytes.
        rss_bytes: u64,
        /// What runs it.
        runtime: String,
        /// Execution providers that are in use.
        providers: Vec<String>,
    },
    /// Run it.
    Run(Vec<Tensor>),
    /// What it gave.
    Ran {
        /// Processor time of this run, in nanoseconds.
        cpu_ns: u64,
        /// Memory of the process, in bytes.
        rss_bytes: u64,
        /// The outputs.
        outputs: Vec<Tensor>,
    },
    /// It did not work, in words.
    Failed(String),
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They begin with something else.
    #[error("no message begins like this")]
    Magic,
    /// The kind is not known.
    #[error("message of kind {0}, which is not known")]
    Kind(u8),
    /// The body is longer than any.
    #[error("a body of {0} bytes, at most {MAX_BODY_BYTES}")]
    TooLong(usize),
    /// The body ends inside of something, goes on behind its end, or contradicts itself.
    #[error("a body that contradicts itself: {0}")]
    Body(&'static str),
}

/// Kind and length of the body that follows a header.
pub fn header(bytes: &[u8; HEADER_BYTES]) -> Result<(u8, usize), WireError> {
    let [a, b, c, d, kind, _, _, _, length @ ..] = *bytes;
    if [a, b, c, d] != MAGIC {
        return Err(WireError::Magic);
    }
    let length = u32::from_be_bytes(length) as usize;
    match kind {
        1..=5 if length <= MAX_BODY_BYTES => Ok((kind, length)),
        1..=5 => Err(WireError::TooLong(length)),
        _ => Err(WireError::Kind(kind)),
    }
}

/// Writes a message of tensors to be run, into a buffer that is used again.
pub fn encode_run(inputs: &[Tensor], out: &mut Vec<u8>) {
    begin(2, out);
    put_tensors(inputs, out);
    finish(out);
}

fn begin(kind: u8, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
}

fn finish(out: &mut [u8]) {
    let length = (out.len() - HEADER_BYTES) as u32;
    out[8..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_texts(texts: &[String], out: &mut Vec<u8>) {
    out.push(texts.len() as u8);
    texts.iter().for_each(|text| put_text(text, out));
}

fn put_tensors(tensors: &[Tensor], out: &mut Vec<u8>) {
    out.push(tensors.len() as u8);
    for tensor in tensors {
        put_text(&tensor.name, out);
        let kind = TYPES.iter().position(|kind| *kind == tensor.dtype).unwrap_or(0);
        out.extend_from_slice(&[kind as u8, tensor.shape.len() as u8]);
        tensor.shape.iter().for_each(|extent| out.extend_from_slice(&extent.to_be_bytes()));
        out.extend_from_slice(&(tensor.data.len() as u32).to_be_bytes());
        out.extend_from_slice(&tensor.data);
    }
}

impl Message {
    /// Writes it, header and body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Load { threads, providers, model } => {
                begin(1, out);
                out.extend_from_slice(&threads.to_be_bytes());
                put_texts(providers, out);
                out.extend_from_slice(model);
            }
            Self::Run(inputs) => return encode_run(inputs, out),
            Self::Loaded { rss_bytes, runtime, providers } => {
                begin(3, out);
                out.extend_from_slice(&rss_bytes.to_be_bytes());
                put_text(runtime, out);
                put_texts(providers, out);
            }
            Self::Ran { cpu_ns, rss_bytes, outputs } => {
                begin(4, out);
                out.extend_from_slice(&cpu_ns.to_be_bytes());
                out.extend_from_slice(&rss_bytes.to_be_bytes());
                put_tensors(outputs, out);
            }
            Self::Failed(why) => {
                begin(5, out);
                put_text(why, out);
            }
        }
        finish(out);
    }

    /// Reads the body of a message of this kind.
    pub fn parse(kind: u8, body: Bytes) -> Result<Self, WireError> {
        let mut rest = Rest(body);
        let message = match kind {
            1 => {
                let (threads, providers) = (rest.u32()?, rest.texts()?);
                Self::Load { threads, providers, model: std::mem::take(&mut rest.0) }
            }
            2 => Self::Run(rest.tensors()?),
            3 => Self::Loaded {
                rss_bytes: rest.u64()?,
                runtime: rest.text()?,
                providers: rest.texts()?,
            },
            4 => {
                Self::Ran { cpu_ns: rest.u64()?, rss_bytes: rest.u64()?, outputs: rest.tensors()? }
            }
            5 => Self::Failed(rest.text()?),
            _ => return Err(WireError::Kind(kind)),
        };
        if rest.0.is_empty() { Ok(message) } else { Err(WireError::Body("it has a tail")) }
    }
}

struct Rest(Bytes);

impl Rest {
    fn take(&mut self, length: usize) -> Result<Bytes, WireError> {
        if length > self.0.len() {
            return Err(WireError::Body("it is cut"));
        }
        Ok(self.0.split_to(length))
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.take(1)?.get_u8())
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        Ok(self.take(4)?.get_u32())
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        Ok(self.take(8)?.get_u64())
    }

    fn text(&mut self) -> Result<String, WireError> {
        let length = self.u32()? as usize;
        let text = self.take(length)?;
        String::from_utf8(text.into()).map_err(|_| WireError::Body("a text is no UTF-8"))
    }

    fn texts(&mut self) -> Result<Vec<String>, WireError> {
        let count = self.u8()?;
        (0..count).map(|_| self.text()).collect()
    }

    fn tensors(&mut self) -> Result<Vec<Tensor>, WireError> {
        let count = usize::from(self.u8()?);
        if count > MAX_PORTS {
            return Err(WireError::Body("too many tensors"));
        }
        (0..count).map(|_| self.tensor()).collect()
    }

    fn tensor(&mut self) -> Result<Tensor, WireError> {
        let name = self.text()?;
        let dtype = *TYPES.get(usize::from(self.u8()?)).ok_or(WireError::Body("a type"))?;
        let rank = usize::from(self.u8()?);
        if rank > MAX_RANK {
            return Err(WireError::Body("too many dimensions"));
        }
        let shape = (0..rank).map(|_| self.u64()).collect::<Result<Vec<_>, _>>()?;
        let length = self.u32()? as usize;
        let data = self.take(length)?;
        Tensor::new(name, dtype, shape, data).map_err(|_| WireError::Body("a shape lies"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        let tensor = Tensor::from_f32("features", vec![1, 2], &[1.0, 2.0]).unwrap();
        let mask = Tensor::new("m", DType::U8, vec![3], Bytes::from_static(&[1, 2, 3])).unwrap();
        vec![
            Message::Load {
                threads: 1,
                providers: vec!["cpu".into()],
                model: Bytes::from_static(b"onnx"),
            },
            Message::Run(vec![tensor.clone(), mask.clone()]),
            Message::Loaded { rss_bytes: 5, runtime: "ort".into(), providers: vec![] },
            Message::Ran { cpu_ns: 7, rss_bytes: 8, outputs: vec![tensor, mask] },
            Message::Failed("why".into()),
        ]
    }

    #[test]
    fn messages_read_back_and_every_cut_is_an_error() {
        let mut bytes = Vec::new();
        for message in messages() {
            message.encode(&mut bytes);
            let (kind, length) = header(bytes[..HEADER_BYTES].try_into().unwrap()).unwrap();
            let body = Bytes::copy_from_slice(&bytes[HEADER_BYTES..]);
            assert_eq!(length, body.len());
            assert_eq!(Message::parse(kind, body.clone()), Ok(message.clone()));
            // A model is whatever follows, so its end is not the message's to know.
            let least = if kind == 1 { 12 } else { length };
            for end in 0..least {
                assert!(Message::parse(kind, body.slice(..end)).is_err(), "{message:?} at {end}");
            }
            if kind != 1 {
                let long = Bytes::from([&body[..], b"x"].concat());
                assert!(Message::parse(kind, long).is_err(), "{message:?}");
            }
        }
    }

    #[test]
    fn lengths_and_shapes_that_lie_are_refused() {
        let mut bytes = Vec::new();
        messages()[1].encode(&mut bytes);
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut forged = bytes.clone();
                forged[at] = value;
                let Ok((kind, length)) = header(forged[..HEADER_BYTES].try_into().unwrap()) else {
                    continue;
                };
                assert!(length <= MAX_BODY_BYTES);
                // Whatever it says, reading it neither panics nor takes more than is there.
                let _ = Message::parse(kind, Bytes::copy_from_slice(&forged[HEADER_BYTES..]));
            }
        }
        let mut long = [0; HEADER_BYTES];
        long[..5].copy_from_slice(b"GTM1\x02");
        long[8..].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(header(&long), Err(WireError::TooLong(u32::MAX as usize)));
    }
}

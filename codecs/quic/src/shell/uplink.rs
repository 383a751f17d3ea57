//! One uplink stream of the ground's.

use codecs::link::uplink::object::{UplinkObject, UplinkReader};
use quinn::{RecvStream, VarInt};

/// Streams read at once; the ground's others wait for their credit.
pub(super) const STREAMS_MAX: usize = 4;
/// Bytes taken from a stream at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Code for a stream that holds no object.
const MALFORMED: VarInt = VarInt::from_u32(2);

/// Reads an object; none where the stream holds none.
pub(super) async fn receive(mut stream: RecvStream) -> Option<UplinkObject> {
    let mut reader = UplinkReader::new();
    let ended = loop {
        match stream.read_chunk(CHUNK_BYTES, true).await {
            Ok(Some(chunk)) => {
                if let Err(error) = reader.push(&chunk.bytes) {
                    break Err(error);
                }
            }
            Ok(None) => break reader.finish(),
            // It goes again on the next connection.
            Err(error) => {
                tracing::info!(%error, "an uplink stream broke off");
                return None;
            }
        }
    };
    ended
        .inspect_err(|error| {
            tracing::warn!(%error, "an uplink stream is refused");
            let _ = stream.stop(MALFORMED);
        })
        .ok()
}

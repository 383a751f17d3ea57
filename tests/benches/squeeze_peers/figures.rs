//! Rounds of all codecs in turn, by CPU time; medians, the table and the document.

use crate::peers::{Codec, all};
use crate::recordings::Recording;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// Rounds of each codec; odd, for a median.
const ROUNDS: usize = 5;
/// The least CPU time that is measured as one.
const TIMED_MIN_S: f64 = 0.004;

pub struct Row {
    recording: &'static str,
    block_packets: usize,
    codec: &'static str,
    ratio: f64,
    encode_mb_s: Option<f64>,
    decode_mb_s: Option<f64>,
}

fn cpu_s() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// CPU time of one go, over as many as it takes to be measured.
fn timed(mut once: impl FnMut()) -> f64 {
    let (begun, mut times) = (cpu_s(), 0);
    loop {
        once();
        times += 1;
        let taken = cpu_s() - begun;
        if taken >= TIMED_MIN_S {
            return taken / f64::from(times);
        }
    }
}

/// All codecs on a recording in blocks of so many packets.
pub fn measure(recording: &Recording, block_packets: usize) -> Vec<Row> {
    let Recording { name, length, ref data } = *recording;
    let blocks: Vec<&[u8]> = data.chunks(block_packets * length).collect();
    let codecs = all();
    let pack = |codec: &Codec| -> Vec<Vec<u8>> {
        blocks.iter().map(|block| (codec.pack)(block, length)).collect()
    };
    let squeezed: Vec<Vec<Vec<u8>>> = codecs.iter().map(pack).collect();
    let mut times = vec![(Vec::new(), Vec::new()); codecs.len()];
    for _ in 0..ROUNDS {
        for ((codec, squeezed), (packing, unpacking)) in
            codecs.iter().zip(&squeezed).zip(&mut times)
        {
            let Some(unpack) = &codec.unpack else { continue };
            packing.push(timed(|| drop(pack(codec))));
            unpacking.push(timed(|| {
                for (squeezed, block) in squeezed.iter().zip(&blocks) {
                    assert!(unpack(squeezed, length) == *block, "{} lost something", codec.name);
                }
            }));
        }
    }
    let rate = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).map(|taken| data.len() as f64 / 1e6 / taken)
    };
    let row = |((codec, squeezed), (packing, unpacking)): ((&Codec, &Vec<Vec<u8>>), _)| Row {
        recording: name,
        block_packets,
        codec: codec.name,
        ratio: data.len() as f64 / squeezed.iter().map(Vec::len).sum::<usize>() as f64,
        encode_mb_s: rate(packing),
        decode_mb_s: rate(unpacking),
    };
    codecs.iter().zip(&squeezed).zip(times).map(row).collect()
}

/// The table, or one JSON document.
pub fn print(rows: &[Row], as_json: bool) {
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "recording": row.recording, "block_packets": row.block_packets,
                    "packets_held_back": row.block_packets - 1, "codec": row.codec,
                    "ratio": row.ratio, "encode_mb_s": row.encode_mb_s,
                    "decode_mb_s": row.decode_mb_s, "lossless": true,
                })
            })
            .collect();
        println!("{}", json!({ "clock": "process CPU time", "rows": rows }));
        return;
    }
    let rate = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{rate:.1}"));
    for (at, row) in rows.iter().enumerate() {
        let (name, packets) = (row.recording, row.block_packets);
        if at == 0 || rows[at - 1].block_packets != packets {
            println!("\n{name}, {packets} packets a block | ratio | encode MB/s | decode MB/s");
            println!("--- | --- | --- | ---");
        }
        let (encode, decode) = (rate(row.encode_mb_s), rate(row.decode_mb_s));
        println!("{} | {:.2} | {encode} | {decode}", row.codec, row.ratio);
    }
}

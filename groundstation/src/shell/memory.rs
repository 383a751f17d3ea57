//! What of the machine's memory this process has.

use codecs_quic::Crowd;
use std::sync::atomic::{AtomicBool, Ordering};

/// Crowded from as many bytes in memory on.
pub fn crowd(crowded_bytes: u64) -> Crowd {
    let told = AtomicBool::new(false);
    Crowd::new(move || {
        let resident = resident_bytes();
        let crowded = resident.is_some_and(|bytes| bytes >= crowded_bytes);
        if told.swap(crowded, Ordering::Relaxed) != crowded {
            let resident = resident.unwrap_or_default();
            match crowded {
                true => tracing::warn!(
                    resident,
                    crowded_bytes,
                    "memory is crowded: datagrams are kept apart until it is not"
                ),
                false => tracing::info!(resident, "memory is no longer crowded"),
            }
        }
        crowded
    })
}

/// Bytes in memory; none where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_memory() {
        let before = resident_bytes().unwrap();
        assert!(before > 1 << 20, "{before}");
        let block = vec![1u8; 64 << 20];
        let after = resident_bytes().unwrap();
        assert!(after >= before + (32 << 20), "{before}, then {after}");
        drop(block);
    }
}

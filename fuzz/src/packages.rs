//! Texts that configure: manifests, signatures, mission definitions.

use crate::input::Input;
use codecs::ids::Apid;
use codecs::mission::{Definition, Monitor};
use codecs::package::{Manifest, Signature, Trust};
use codecs::time::Tai;

/// Manifests: what is accepted keeps every bound, and is read again from what it writes.
pub fn manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::from_json(data) else { return };
    assert_eq!(manifest.check(), Ok(()));
    let text = manifest.to_json();
    // Indentation may push it over the bound on its length.
    let Ok(again) = Manifest::from_json(text.as_bytes()) else {
        assert!(text.len() > codecs::package::MAX_MANIFEST_BYTES);
        return;
    };
    assert_eq!(again, manifest);
}

/// Signature files: none that was not made by a key convinces anyone.
pub fn signatures(data: &[u8]) {
    let Ok(signatures) = Signature::list_from_json(data) else { return };
    assert!(signatures.len() <= codecs::package::MAX_SIGNATURES);
    assert!(Trust::nobody().check(data, &signatures).is_err());
    let trust = signatures.iter().fold(Trust::nobody(), |trust, one| trust.accept(one.key));
    if let Ok(key) = trust.danger_accept_development_key().check(data, &signatures) {
        let signed = |one: &Signature| one.key == key && one.verifies(data);
        assert!(signatures.iter().any(signed), "accepted without a signature that verifies");
    }
    let text = Signature::list_to_json(&signatures);
    if text.len() <= codecs::package::MAX_SIGNATURE_BYTES {
        assert_eq!(Signature::list_from_json(text.as_bytes()), Ok(signatures));
    }
}

/// Mission definitions, and any packet through their decode plans. A zero byte parts the two.
pub fn definition(data: &[u8]) {
    let cut = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, packet) = data.split_at(cut);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(definition) = Definition::from_toml(text) else { return };
    let plans = definition.plans();
    let mut monitor = Monitor::new(&definition);
    let mut input = Input(packet.get(1..).unwrap_or(&[]));
    for container in &definition.containers {
        // The fuzzer need not find the header that a container wants.
        let mut packet = input.take(64).to_vec();
        packet.resize(packet.len().max(7), 0);
        let Apid(apid) = container.apid;
        let secondary = u16::from(container.time.is_some()) << 11;
        packet[..2].copy_from_slice(&(apid & 0x7FF | secondary).to_be_bytes());
        let length = (packet.len() - 7) as u16;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        let mut samples = 0;
        let decoded = plans.decode_or_at(&packet, Tai(7), &mut |sample| {
            samples += 1;
            assert!(definition.parameter(sample.parameter).is_some());
            monitor.check(sample.parameter, sample.time, sample.value);
        });
        let Ok(decoded) = decoded else { continue };
        assert_eq!(decoded.samples, samples);
        assert!(samples + decoded.missing <= container.entries.len());
    }
}

//! Fuzz targets: one for each parser of bytes that come from outside.
//!
//! ```text
//! bytes ─► input (choices first, the rest is parsed) ─► a target ─► its invariants, asserted
//! ```
//!
//! A target is a plain function that panics where an invariant breaks. The first bytes of its
//! input choose the configuration, so that one corpus covers every combination. `tools/fuzz` runs
//! a target under libFuzzer; `tests/corpus.rs` replays the corpus without it.

mod input;
pub mod sync;
pub mod fec;
pub mod frames;
pub mod extract;
pub mod packets;
pub mod times;
pub mod packages;
pub mod link;
pub mod machines;
pub mod uplink;
pub mod radio;
mod disk;
pub mod ground;
pub mod onboard;
pub mod blocks;
pub mod samples;
pub mod pocketplus;
pub mod orbits;
pub mod pools;
pub mod text;

pub use input::Input;

/// A target: panics where an invariant breaks.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus folder.
pub const TARGETS: &[(&str, Target)] = &[
    ("marker", sync::marker),
    ("cadu", sync::cadu),
    ("symbols", sync::symbols),
    ("guess", sync::guess),
    ("convolutional", fec::convolutional),
    ("node_sync", fec::node_sync),
    ("ldpc", fec::ldpc),
    ("reed_solomon", fec::reed_solomon),
    ("tm", frames::tm),
    ("aos", frames::aos),
    ("uslp", frames::uslp),
    ("tc", frames::tc),
    ("clcw", frames::clcw),
    ("cltu", frames::cltu),
    ("units", frames::units),
    ("extract", extract::extract),
    ("packets", packets::packets),
    ("pus", packets::pus),
    ("track", packets::track),
    ("time_codes", times::time_codes),
    ("rfc3339", times::rfc3339),
    ("leap_seconds", times::leap_seconds),
    ("manifest", packages::manifest),
    ("signatures", packages::signatures),
    ("definition", packages::definition),
    ("control", link::control),
    ("object", link::object),
    ("void", link::void),
    ("quicklook", link::quicklook),
    ("annotation", ground::annotation),
    ("sender", machines::sender),
    ("receiver", machines::receiver),
    ("uplink", uplink::object),
    ("uplink_note", uplink::note),
    ("uplink_record", uplink::record),
    ("uplink_executor", uplink::executor),
    ("uplink_queue", uplink::queue),
    ("rf_parts", radio::parts),
    ("rf_statements", radio::statements),
    ("uplink_log", ground::uplink_log),
    ("kiss", ground::kiss),
    ("files", ground::files),
    ("records", ground::records),
    ("segments", ground::segments),
    ("ground", ground::ground),
    ("squeeze", blocks::squeeze),
    ("rice", samples::rice),
    ("tile", samples::tile),
    ("pocketplus", pocketplus::pocketplus),
    ("product", blocks::product),
    ("tensor", blocks::tensor),
    ("imager", onboard::imager),
    ("sensors", onboard::sensors),
    ("elements", orbits::elements),
    ("oem", orbits::oem),
    ("eop", orbits::eop),
    ("network", orbits::network),
    ("oip_rest", pools::oip_rest),
    ("oip_grpc", pools::oip_grpc),
    ("line", pools::line),
    ("events", pools::events),
    ("aws_events", pools::aws_events),
    ("text", text::text),
];

/// The target of a name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

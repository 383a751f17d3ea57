//! `[channel]`: what else happens to packets; nothing where a key is left out.

use serde::Deserialize;

/// `[channel]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelTable {
    /// Between rise, or a loss of the carrier, and the first frame.
    #[serde(default = "lock")]
    pub lock_ms: f64,
    /// Longest wait in the sender's queue.
    #[serde(default = "queue")]
    pub queue_ms: f64,
    /// In modems and cables, beside the flight.
    #[serde(default)]
    pub ground_delay_ms: f64,
    /// Rain at rise as heavy as it is for this share of a year; 0 for none. By default as it comes.
    pub rain_at_rise_percent: Option<f64>,
    /// Whether rain fades at all.
    #[serde(default = "yes")]
    pub rain: bool,
    /// Whether clouds come and go.
    #[serde(default = "yes")]
    pub clouds: bool,
    /// Whether the air scintillates.
    #[serde(default = "yes")]
    pub scintillation: bool,
    /// Share of packets lost in bursts beside noise (Gilbert and Elliott),
    #[serde(default)]
    pub loss_share: f64,
    /// and how many in a row.
    #[serde(default = "one")]
    pub burst_packets: f64,
    /// A land mobile end in and out of shadow.
    pub shadowing: Option<ShadowingTable>,
    /// Every so often the path changes hands,
    pub handover_every_s: Option<f64>,
    /// and nothing passes for so long.
    #[serde(default)]
    pub handover_gap_ms: f64,
    /// From and to after rise: nothing passes.
    #[serde(default)]
    pub outages_s: Vec<(f64, f64)>,
    /// Share of packets that come late,
    #[serde(default)]
    pub reorder_share: f64,
    /// by up to this.
    #[serde(default)]
    pub reorder_ms: f64,
    /// Share of packets that come twice.
    #[serde(default)]
    pub duplicate_share: f64,
    /// Rate of the way back; the same as forth where it is left out.
    pub return_rate_bps: Option<f64>,
    /// Losses on the way back.
    #[serde(default)]
    pub return_loss_share: f64,
}

impl ChannelTable {
    /// Share of what is sent that passes so many seconds after rise, whatever is received: outages,
    /// handovers by their share of the time, and bursts.
    pub fn passing(&self, since_s: f64) -> f64 {
        if self.outages_s.iter().any(|(from, to)| (*from..*to).contains(&since_s)) {
            return 0.0;
        }
        let gap = self.handover_every_s.map_or(0.0, |every| self.handover_gap_ms / 1e3 / every);
        (1.0 - gap.min(1.0)) * (1.0 - self.loss_share)
    }
}

/// `[channel.shadowing]`: Lutz's two states.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowingTable {
    /// Mean stay in the open.
    pub open_s: f64,
    /// Mean stay in shadow.
    pub shadow_s: f64,
    /// Power of the direct wave over the scattered one in the open.
    pub rice_db: f64,
    /// Mean of the shadow's loss,
    pub shadow_mean_db: f64,
    /// and its deviation.
    pub shadow_sigma_db: f64,
    /// Time over which a fade stays itself.
    #[serde(default = "coherence")]
    pub coherence_ms: f64,
}

impl Default for ChannelTable {
    fn default() -> Self {
        Self {
            lock_ms: lock(),
            queue_ms: queue(),
            ground_delay_ms: 0.0,
            rain_at_rise_percent: None,
            rain: true,
            clouds: true,
            scintillation: true,
            loss_share: 0.0,
            burst_packets: 1.0,
            shadowing: None,
            handover_every_s: None,
            handover_gap_ms: 0.0,
            outages_s: Vec::new(),
            reorder_share: 0.0,
            reorder_ms: 0.0,
            duplicate_share: 0.0,
            return_rate_bps: None,
            return_loss_share: 0.0,
        }
    }
}

fn lock() -> f64 {
    500.0
}

fn queue() -> f64 {
    200.0
}

fn coherence() -> f64 {
    10.0
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

//! What a configuration names, tried without flying.

use codecs_quic::Monotonic;

use super::models;
use crate::config::{Config, Models};

/// Tries what a flight would open: identities, mission, models. The notices say why statistics
/// stand in for a model.
///
/// # Errors
/// A flight would not start.
pub fn flyable(config: &Config) -> anyhow::Result<Vec<String>> {
    let identity = &config.identity;
    // Both must work: a golden identity is looked at here, or never before it is needed.
    if config.ground.is_some() {
        codecs_quic::client_config(&identity.certificate, &identity.key, config.pins()?)?;
        if let Some((certificate, key)) = identity.golden() {
            codecs_quic::client_config(certificate, key, config.pins()?)?;
        }
    }
    // Slots are opened by a flight alone, which may put something into them.
    let packages = Models { slots: None, ..config.models.clone() };
    let (_, scorers) = models::load(&packages, Monotonic::start())?;
    Ok(scorers.notices)
}

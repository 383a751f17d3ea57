//! Pools behind Amazon's signed interfaces.
//!
//! ```text
//! credentials (file, environment, container, instance role) ─► sigv4 ─► service ─┬─► bedrock
//!                                                     reply ◄─ events ◄──────────┴─► sagemaker
//! ```

pub mod sigv4;
pub mod credentials;
pub mod service;
pub mod opaque;
pub mod events;
pub mod reply;
pub mod bedrock;
pub mod sagemaker;

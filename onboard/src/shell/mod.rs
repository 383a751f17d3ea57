//! What touches the operating system: sockets, models, the store's folder, the connection.

pub mod sources;
pub mod models;
mod held;
pub mod mind;
mod uplink;
mod contact;
mod radio;
mod bearers;
mod flight;

pub use flight::{Done, Ready, Said, run};

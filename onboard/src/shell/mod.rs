//! What touches the operating system: sockets, models, the store's folder, the connection.

pub mod sys;
pub mod sources;
pub mod models;
pub mod held;
pub mod mind;
pub mod check;
pub mod configs;
mod uplink;
pub mod contact;
mod radio;
mod bearers;
mod keeper;
mod flight;

pub use configs::Configs;
pub use flight::{Done, Ready, Said, fly, run};

//! Pools against other people's clients and servers: what speaks a vendor's protocol here is judged
//! by the vendor's own program.
//!
//! ```text
//! tritonclient ─► groundstation pools serve ◄─ our adapters ─► Triton, MLServer
//! opentelemetry-proto ─► what our traces are read by
//! openai, anthropic, boto3 ─► doubles ◄─ our adapters ─► moto
//! ```

mod python;
mod serving;
mod doubles;
mod vendors;
mod adapters;
mod streamed;
mod moved;
mod traces;
mod servers;
mod tls;
mod moto;
mod kserve;

//! Pools against other people's clients and servers: what speaks a vendor's protocol here is judged
//! by the vendor's own program.

mod python;
mod serving;

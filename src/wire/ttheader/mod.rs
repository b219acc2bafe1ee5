//! The TTHeader streaming wire (CloudWeGo Kitex "ttstream", v0.16.3): from frames to the neutral
//! stream model and back. Knows no other wire. Each file names the source of its rules.

pub mod adapter;
pub mod client;
mod conn;
pub mod end;
pub mod exception;
pub mod frame;
pub mod header;
pub mod keys;
mod known;
pub mod metadata;
pub mod pingpong;
mod probe;
pub mod server;
mod state;

pub use adapter::WIRE;
pub use conn::config::{ConnConfig, Counters};

/// The size of a stream's place on its connection.
#[cfg(test)]
pub(crate) const SLOT: usize = size_of::<conn::StreamSlot>();

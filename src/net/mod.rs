//! Sockets: what both wires need of a connection and neither should write twice.
//!
//! Knows no protocol but HTTP/2's connection handling (every HTTP/2 wire shares it).

pub mod answer;
pub mod bounds;
pub mod budget;
pub mod connection;
pub mod gather;
pub mod held;
pub mod http2;
pub mod outbox;
pub mod redirect;
pub mod socket;
pub mod tcp;
pub mod violation;
pub mod wake_flag;

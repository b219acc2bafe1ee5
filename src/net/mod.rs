//! Sockets: what all wires need of a connection, and none should write again.
//!
//! The only protocol that is known here is HTTP/2, as far as connections go. Every wire on HTTP/2
//! shares it.

pub mod answer;
pub mod bounds;
pub mod budget;
pub mod connection;
pub mod gather;
pub mod held;
pub mod http2;
pub mod outbox;
pub mod redirect;
mod refusals;
pub mod resets;
pub mod socket;
pub mod tcp;
pub mod unread;
pub mod violation;
pub mod wake_flag;
pub mod words;

//! The cases, by what must hold.

mod cancels;
mod ends;
mod golden;
mod payloads;

//! The cases, by what must hold.

mod cancels;
mod ends;
mod golden;
mod hops;
mod limits;
mod payloads;

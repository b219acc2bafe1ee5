//! The cases, by what must hold.

mod cancels;
mod chain;
mod deadlines;
mod drain;
mod ends;
mod frames;
mod golden;
mod hops;
mod limits;
mod payloads;
mod pingpong;
mod reload;

//! The cases, by what must hold.

mod cancels;
mod chain;
mod control;
mod crowd;
mod deadlines;
mod drain;
mod ends;
mod foreign;
mod frames;
mod golden;
mod h2spec;
mod hop_times;
mod hops;
mod limits;
mod official;
mod payloads;
mod pingpong;
mod reload;
mod sizes;
mod validate;

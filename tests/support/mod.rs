//! What the interop tests stand on: real peers as processes, the built ripcord, scenarios.

pub(crate) mod build;
pub(crate) mod chain;
pub(crate) mod collector;
pub(crate) mod foreign;
pub(crate) mod h2peer;
pub(crate) mod lab;
pub(crate) mod process;
pub(crate) mod ripcord;
pub(crate) mod scenario;
pub(crate) mod table;
pub(crate) mod tt;

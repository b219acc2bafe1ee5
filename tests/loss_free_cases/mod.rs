//! The parts of the tests of loss-free ends: two ripcords in this process, and raw peers around
//! them.

pub(crate) mod checked;
pub(crate) mod ends;
pub(crate) mod forge;
pub(crate) mod lies;
pub(crate) mod make;
pub(crate) mod world;

pub(crate) use crate::kit::scripts::{Fields, Pairs, Scripts, fields, soon};
pub(crate) use crate::kit::{frames, grpc, streams as tt};

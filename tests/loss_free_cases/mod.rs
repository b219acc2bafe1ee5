//! What the tests of loss-free ends stand on: two ripcords in this process, raw peers around them.

pub(crate) mod checked;
pub(crate) mod ends;
pub(crate) mod forge;
pub(crate) mod lies;
pub(crate) mod make;
pub(crate) mod world;

pub(crate) use crate::kit::scripts::{Fields, Pairs, Scripts, fields, soon};
pub(crate) use crate::kit::{frames, grpc, streams as tt};

//! The tables of `tests/abuse.rs`, and what plays their rows.

pub(crate) mod callee;
pub(crate) mod foreign;
pub(crate) mod grpc;
pub(crate) mod port;
pub(crate) mod rig;
pub(crate) mod silent;
pub(crate) mod texts;
pub(crate) mod ttheader;
pub(crate) mod unprivileged;
pub(crate) mod unread;

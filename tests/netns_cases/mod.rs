//! The cases, and what they stand on.

mod load;
mod net;
mod partition;
mod pod;
mod redirect;
mod rollout;
mod weather;

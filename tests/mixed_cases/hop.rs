//! A ripcord of either build, as a process of its own.

use std::path::PathBuf;

use crate::kit::spec::Spec;
use crate::loss_free_cases::world::{Hop, Starting};

/// The programs of the two hops, and that of this build.
#[derive(Clone)]
pub(crate) struct Pair {
    /// Of the hop that callers see.
    pub(crate) one: PathBuf,
    pub(crate) two: PathBuf,
    pub(crate) new: PathBuf,
}

impl Pair {
    /// Two of this build.
    pub(crate) fn both_new(&self) -> Self {
        Self {
            one: self.new.clone(),
            two: self.new.clone(),
            new: self.new.clone(),
        }
    }
}

/// Starts the hop of that node.
pub(crate) fn hop(pair: &Pair, node: &str, spec: Spec) -> Box<dyn Hop> {
    let program = if node == "one" { &pair.one } else { &pair.two };
    Box::new(spec.binary(program).start())
}

/// The same for the world of the loss-free streams.
pub(crate) fn start(pair: &Pair, node: &str, spec: Spec) -> Starting {
    let hop = hop(pair, node, spec);
    Box::pin(async move { hop })
}

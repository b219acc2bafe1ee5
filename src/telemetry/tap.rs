//! The ends of streams, told to whoever embeds the proxy.

use std::sync::Arc;

use crate::stream::End;

/// A stream's end, as a hop observed it.
#[derive(Debug)]
pub struct Observed {
    /// The hop's name.
    pub node: Arc<str>,
    /// When it had told both sides.
    pub at: std::time::Instant,
    /// The end, with the hop's name in a cancel's path.
    pub end: End,
}

/// Where the ends of streams are told to an embedder.
pub type Tap = tokio::sync::mpsc::UnboundedSender<Observed>;

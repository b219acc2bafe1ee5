//! The ends of streams, for a program that embeds the proxy.

use std::sync::Arc;

use crate::stream::End;

/// A stream's end, as a hop observed it.
#[derive(Debug)]
pub struct Observed {
    /// The hop's name.
    pub node: Arc<str>,
    /// When both sides had been sent the end.
    pub at: std::time::Instant,
    /// The end, with the hop's name in a cancel's path.
    pub end: End,
}

/// Receives the ends of streams, for a program that embeds the proxy.
pub type Tap = tokio::sync::mpsc::UnboundedSender<Observed>;

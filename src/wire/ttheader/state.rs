//! The state machine of one stream: which frames may come and go, and that the first end wins.
//!
//! It has no bytes, no queue and no clock: it decides what is allowed. Both roles have the same
//! states, since only the caller half-closes:
//!
//! ```text
//!             caller's Trailer
//!      Open ───────────────────► HalfClosed          (server: received, client: sent)
//!       │ │                        │ │
//!       │ └──────────┐  ┌──────────┘ │
//!       │   hop's own│  │end         │
//!       │            ▼  ▼            │
//!       │           Broken           │               the peer was not sent the end yet
//!       │            │  │            │
//!  peer's end        │  │terminal    │ peer's end
//!  or loss           │  │sent        │ or loss
//!       ▼            ▼  ▼            ▼
//!      Closed(Peer)    Closed(Hop)   Closed(Peer)
//!
//!  Open, HalfClosed ── terminal sent ──► Closed(Hop)
//! ```
//!
//! The sources are Kitex `stream_client.go` and `stream_server.go` (v0.16.3). One thing differs: a
//! fault of the peer ends its stream, not the connection.

/// Which side of the wire this hop plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Server: the peer is the caller.
    Server,
    /// Client: the peer is the callee.
    Client,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    HalfClosed,
    /// This hop ended it. The peer was not sent the end yet.
    Broken,
    Closed(ClosedBy),
}

/// Who closed a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosedBy {
    /// The peer ended it, or is gone: nothing more is written.
    Peer,
    /// This hop's terminal frame is in the queue: nothing more is expected.
    Hop,
}

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameAction {
    /// The frame is valid.
    Accept,
    /// The stream is past it: drop the frame and count it.
    Late,
    /// The frame is not allowed here: the stream is broken.
    Violation(&'static str),
}

/// One stream's state.
#[derive(Debug)]
pub(crate) struct State {
    role: Role,
    phase: Phase,
    /// Whether the callee's Header has passed: received by a client, written by a server.
    head: bool,
}

impl State {
    /// A stream that a Header frame just opened.
    pub(crate) const fn new(role: Role) -> Self {
        Self {
            role,
            phase: Phase::Open,
            head: false,
        }
    }

    /// Whether either direction may still carry frames.
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::HalfClosed)
    }

    /// Whether the caller sends no more, and no end came yet.
    pub(crate) const fn is_half_closed(&self) -> bool {
        matches!(self.phase, Phase::HalfClosed)
    }

    /// Whether the connection can forget it.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    /// A Header came for a stream that exists.
    pub(crate) const fn recv_head(&mut self) -> FrameAction {
        if !self.is_live() {
            return FrameAction::Late;
        }
        match self.role {
            Role::Server => FrameAction::Violation("unexpected header frame: the stream is open"),
            Role::Client if self.head => FrameAction::Violation("unexpected second header frame"),
            Role::Client => {
                self.head = true;
                FrameAction::Accept
            }
        }
    }

    /// A Data frame came. If the callee sent no Header, this counts as one.
    pub(crate) const fn recv_data(&mut self) -> FrameAction {
        match (self.role, self.phase) {
            (Role::Server, Phase::Open) => FrameAction::Accept,
            (Role::Client, Phase::Open | Phase::HalfClosed) => {
                self.head = true;
                FrameAction::Accept
            }
            (Role::Server, Phase::HalfClosed) | (_, Phase::Broken | Phase::Closed(_)) => {
                FrameAction::Late
            }
        }
    }

    /// The caller half-closed. Server only: a callee's Trailer is its end.
    pub(crate) const fn recv_half_close(&mut self) -> FrameAction {
        match self.phase {
            Phase::Open => {
                self.phase = Phase::HalfClosed;
                FrameAction::Accept
            }
            Phase::HalfClosed | Phase::Broken | Phase::Closed(_) => FrameAction::Late,
        }
    }

    /// The peer ended the stream, or is gone. `Accept` when this is the end. `Late` when another
    /// end came first; the peer then need not be sent that one any more.
    pub(crate) const fn recv_end(&mut self) -> FrameAction {
        let first = self.is_live();
        if !self.is_closed() {
            self.phase = Phase::Closed(ClosedBy::Peer);
        }
        if first {
            FrameAction::Accept
        } else {
            FrameAction::Late
        }
    }

    /// This hop ends the stream itself. Returns whether this is the end.
    pub(crate) const fn reset_local(&mut self) -> bool {
        let first = self.is_live();
        if first {
            self.phase = Phase::Broken;
        }
        first
    }

    /// Whether a Header has to be written now (server). It then counts as written.
    pub(crate) const fn send_head(&mut self) -> bool {
        let send = matches!(self.role, Role::Server) && !self.is_closed() && !self.head;
        self.head |= send;
        send
    }

    /// Whether a message may be written. Otherwise it is dropped.
    pub(crate) const fn may_send_data(&self) -> bool {
        match (self.role, self.phase) {
            (_, Phase::Open) | (Role::Server, Phase::HalfClosed) => true,
            (Role::Client, Phase::HalfClosed) | (_, Phase::Broken | Phase::Closed(_)) => false,
        }
    }

    /// Whether a half-close has to be written now (client).
    pub(crate) const fn send_half_close(&mut self) -> bool {
        let send = matches!(self.phase, Phase::Open);
        if send {
            self.phase = Phase::HalfClosed;
        }
        send
    }

    /// Whether the peer has to be sent an end now. It then counts as sent.
    pub(crate) const fn send_terminal(&mut self) -> bool {
        let send = !self.is_closed();
        if send {
            self.phase = Phase::Closed(ClosedBy::Hop);
        }
        send
    }

    /// Whether a Kitex caller would still send its Trailer after the callee's end.
    pub(crate) const fn owes_half_close(&self) -> bool {
        matches!((self.role, self.phase), (Role::Client, Phase::Open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_wins() {
        let mut state = State::new(Role::Server);
        assert!(state.reset_local());
        assert_eq!(state.recv_end(), FrameAction::Late);
        // The caller canceled meanwhile, so it receives no end.
        assert!(!state.send_terminal());

        let mut state = State::new(Role::Server);
        assert_eq!(state.recv_end(), FrameAction::Accept);
        assert!(!state.reset_local() && !state.send_terminal() && !state.send_head());
        assert!(state.is_closed());

        let mut state = State::new(Role::Client);
        assert!(state.send_terminal());
        assert!(!state.send_terminal());
        assert_eq!(state.recv_end(), FrameAction::Late);
    }

    #[test]
    fn a_server_writes_one_header_and_nothing_after_its_end() {
        let mut state = State::new(Role::Server);
        assert!(state.send_head());
        assert!(!state.send_head());
        assert!(state.may_send_data());
        assert_eq!(state.recv_data(), FrameAction::Accept);
        assert_eq!(state.recv_half_close(), FrameAction::Accept);
        assert_eq!(state.recv_half_close(), FrameAction::Late);
        assert_eq!(state.recv_data(), FrameAction::Late);
        assert!(matches!(state.recv_head(), FrameAction::Violation(_)));
        assert!(state.may_send_data());
        assert!(state.send_terminal());
        assert!(!state.may_send_data());
        assert_eq!(state.recv_head(), FrameAction::Late);
    }

    #[test]
    fn a_client_takes_one_header() {
        let mut state = State::new(Role::Client);
        assert!(!state.send_head());
        assert_eq!(state.recv_head(), FrameAction::Accept);
        assert!(matches!(state.recv_head(), FrameAction::Violation(_)));
        assert!(state.owes_half_close());
        assert!(state.send_half_close());
        assert!(!state.send_half_close() && !state.may_send_data());
        assert!(!state.owes_half_close());
        assert_eq!(state.recv_data(), FrameAction::Accept);

        let mut state = State::new(Role::Client);
        assert_eq!(state.recv_data(), FrameAction::Accept);
        assert!(matches!(state.recv_head(), FrameAction::Violation(_)));
    }
}

//! The built ripcord as a user without a name, without capabilities, and unable to gain any.

use ripcord::stream::Reason;

use crate::kit::halves::{Callee, Callers, Storm, Then, Traffic, Wire};
use crate::kit::ripcord::Ripcord;

/// Nobody's, and no system's.
const ID: &str = "65534";

/// Streams on both wires, there and back, through a process that owns nothing.
pub(crate) fn serves() {
    let callee = Callee::start(Wire::TtHeader, None);
    let hop = Ripcord::named("unprivileged")
        .backend("main", "protocol: ttheader", callee.address)
        .route("main", "match: { service: Storm }, backend: main")
        .unprivileged(ID)
        .start();
    let status = hop.status();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_ascii_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), [ID; 4]);
    assert_eq!(field("Gid:"), [ID; 4]);
    assert_eq!(field("Groups:"), [""; 0]);
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    let address = hop.socket_address();
    for wire in Wire::ALL {
        let callers = Callers::start(wire, address, (1, 10), Traffic::Busy, Then::Nothing);
        callers.seen.wait_ready(10);
        callers.let_go(Storm::Finish);
        for (_, end) in callers.seen.wait_ended(10) {
            assert!(matches!(end.reason, Reason::Complete), "{end:?}");
        }
        callers.close();
    }
}

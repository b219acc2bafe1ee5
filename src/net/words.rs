//! What a failed connection means, in plain words. Neither the system's nor a library's own texts
//! are for the people who read an end or the log.

use std::io::{self, ErrorKind};

/// What happened to the connection to `peer` (`the callee`, `the peer`), as a sentence without a
/// full stop.
#[must_use]
pub fn failed(error: &io::Error, peer: &str) -> String {
    let kind = error.kind();
    match kind {
        ErrorKind::ConnectionRefused => format!("{peer} refused the connection"),
        ErrorKind::ConnectionReset => format!("{peer} reset the connection"),
        ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof
        | ErrorKind::NotConnected
        | ErrorKind::ConnectionAborted
        | ErrorKind::WriteZero => format!("{peer} closed the connection"),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            format!("there is no network path to {peer}")
        }
        ErrorKind::AddrNotAvailable => {
            format!("this host has no free address or port for a connection to {peer}")
        }
        ErrorKind::PermissionDenied => format!("this host forbids a connection to {peer}"),
        _ => match error.get_ref() {
            // A text of our own: whoever made the error says what it is.
            Some(text) => text.to_string(),
            None if kind == ErrorKind::TimedOut => format!("{peer} did not answer in time"),
            None => format!("the connection to {peer} failed: {kind}"),
        },
    }
}

/// Why a look-up of a name failed: the resolver's reason without the library's words before it.
#[must_use]
pub fn unresolved(error: &io::Error) -> String {
    let text = error.to_string();
    let reason = text.strip_prefix("failed to lookup address information: ");
    reason.unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_and_what_it_did_are_named() {
        let own = io::Error::other("backend b answers TLS");
        assert_eq!(failed(&own, "the callee"), "backend b answers TLS");
        let slow = io::Error::new(ErrorKind::TimedOut, "no connection within 3s");
        assert_eq!(failed(&slow, "the callee"), "no connection within 3s");
        let inner = io::Error::new(ErrorKind::BrokenPipe, "inner words");
        assert_eq!(
            failed(&inner, "the callee"),
            "the callee closed the connection"
        );
        for (number, text) in [
            (111, "the callee refused the connection"),
            (104, "the callee reset the connection"),
            (32, "the callee closed the connection"),
            (110, "the callee did not answer in time"),
            (113, "there is no network path to the callee"),
        ] {
            assert_eq!(
                failed(&io::Error::from_raw_os_error(number), "the callee"),
                text
            );
        }
        for number in 1..134 {
            let text = failed(&io::Error::from_raw_os_error(number), "the callee");
            assert!(
                text.contains("the callee") && !text.contains("os error"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_name_that_does_not_resolve_has_the_resolvers_reason() {
        let error =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(unresolved(&error), "Name or service not known");
        assert_eq!(unresolved(&io::Error::other("x")), "x");
    }
}

//! The kind of a stream's payload: what it is assumed to be, whether route and backend accept it,
//! and how it is named on the way out.
//!
//! Here are the texts of a refusal, which tell what to do.

use crate::config::{AssumedPayload, PayloadKind, Validate};
use crate::stream::{End, LocalEndKind, Payload, PayloadNaming, RequestHead, Wire};

/// A request's payload on a route.
pub(super) struct PayloadCheck<'a> {
    pub(super) head: &'a mut RequestHead,
    /// The route's name.
    pub(super) route: &'a str,
    /// The caller's wire.
    pub(super) wire: &'static Wire,
    /// The backend's.
    pub(super) callee: &'static Wire,
}

impl PayloadCheck<'_> {
    /// Applies the route's `assume_payload` when the caller names no kind.
    pub(super) fn assume(&mut self, assumed: AssumedPayload) {
        if self.is_unnamed() && assumed == AssumedPayload::Thrift {
            self.head.payload = Payload::Thrift;
        }
    }

    /// Checks that the backend accepts it.
    ///
    /// # Errors
    /// The backend does not.
    pub(super) fn check_backend(&self, name: &str, takes: PayloadKind) -> Result<(), End> {
        let wanted = match takes {
            PayloadKind::Any => return Ok(()),
            PayloadKind::Thrift => Payload::Thrift,
            PayloadKind::Protobuf => Payload::Protobuf,
        };
        let who = format!("backend {name} takes {}", wanted.name());
        self.check(&who, &wanted, "payload: any on the backend")
    }

    /// Checks that the route's validation applies to it.
    ///
    /// # Errors
    /// It does not apply.
    pub(super) fn check_route(&self, validate: Validate) -> Result<(), End> {
        match validate {
            Validate::Off => Ok(()),
            Validate::Thrift => {
                let who = format!("route {} takes thrift structs", self.route);
                self.check(&who, &Payload::Thrift, "validate: off on the route")
            }
        }
    }

    /// Chooses how the backend's wire names it, so that the backend reads it as what it is.
    pub(super) fn name_for(&mut self, assumed: AssumedPayload) {
        self.head.naming = match assumed {
            AssumedPayload::Protobuf => PayloadNaming::Usual,
            AssumedPayload::Thrift if self.head.payload == Payload::Thrift => {
                PayloadNaming::Unnamed
            }
            AssumedPayload::Thrift => PayloadNaming::Named,
        };
    }

    fn check(&self, who: &str, wanted: &Payload, or_set: &str) -> Result<(), End> {
        let is = &self.head.payload;
        if is == wanted {
            return Ok(());
        }
        let said = (self.wire.payload_text)(is, self.head.naming);
        let send = (self.wire.payload_text)(wanted, PayloadNaming::Named);
        let assume = match (self.is_unnamed(), wanted) {
            (true, Payload::Thrift) => format!(
                "set assume_payload: thrift on route {} if it is thrift, ",
                self.route
            ),
            (true, Payload::Protobuf | Payload::Other(_)) => format!(
                "set assume_payload: protobuf on route {} if it is protobuf, ",
                self.route
            ),
            (false, Payload::Thrift | Payload::Protobuf | Payload::Other(_)) => String::new(),
        };
        let is = is.name();
        let text = if self.callee.callees_tell_kinds {
            format!("{who}; the request is {is} ({said}): send {send}, {assume}or set {or_set}")
        } else {
            let assume = assume.trim_end_matches([',', ' ']);
            let or = if assume.is_empty() { "" } else { ", or " };
            format!(
                "{who}; the request is {is} ({said}): send {send}{or}{assume}; ripcord \
                 translates {is} only by a schema (translate on the route)"
            )
        };
        Err(End::hop(LocalEndKind::PayloadMismatch, text))
    }

    fn is_unnamed(&self) -> bool {
        self.head.naming == PayloadNaming::Unnamed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn head(payload: Payload, naming: PayloadNaming) -> RequestHead {
        RequestHead {
            payload,
            naming,
            ..RequestHead::default()
        }
    }

    fn on<'a>(head: &'a mut RequestHead, wire: &str) -> PayloadCheck<'a> {
        toward("grpc", head, wire)
    }

    fn toward<'a>(callee: &str, head: &'a mut RequestHead, wire: &str) -> PayloadCheck<'a> {
        PayloadCheck {
            head,
            route: "r",
            wire: wire::named(wire).unwrap(),
            callee: wire::named(callee).unwrap(),
        }
    }

    fn text(result: Result<(), End>) -> String {
        match result.unwrap_err().reason {
            crate::stream::Reason::Hop(hop) => hop.text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_names_no_kind_is_assumed() {
        for (naming, kind) in [
            (PayloadNaming::Unnamed, Payload::Thrift),
            (PayloadNaming::Named, Payload::Protobuf),
            (PayloadNaming::Usual, Payload::Protobuf),
        ] {
            let mut head = head(Payload::Protobuf, naming);
            on(&mut head, "grpc").assume(AssumedPayload::Thrift);
            assert_eq!(head.payload, kind, "{naming:?}");
        }
    }

    #[test]
    fn a_backend_is_sent_the_name_that_it_reads_right() {
        use PayloadNaming::{Named, Unnamed, Usual};
        for (assumed, payload, naming) in [
            (AssumedPayload::Protobuf, Payload::Protobuf, Usual),
            (AssumedPayload::Protobuf, Payload::Thrift, Usual),
            (AssumedPayload::Thrift, Payload::Thrift, Unnamed),
            (AssumedPayload::Thrift, Payload::Protobuf, Named),
            (AssumedPayload::Thrift, Payload::Other("json".into()), Named),
        ] {
            let mut head = head(payload, Usual);
            on(&mut head, "grpc").name_for(assumed);
            assert_eq!(head.naming, naming, "{assumed:?} {:?}", head.payload);
        }
    }

    #[test]
    fn a_refusal_says_what_is_taken_and_what_to_do() {
        use PayloadNaming::{Named, Unnamed, Usual};
        let mut named = head(Payload::Protobuf, Named);
        let named = on(&mut named, "grpc").check_backend("chat", PayloadKind::Thrift);
        assert_eq!(
            text(named),
            "backend chat takes thrift; the request is protobuf (application/grpc+proto): send \
             application/grpc+thrift, or set payload: any on the backend"
        );
        let mut plain = head(Payload::Protobuf, Unnamed);
        let plain = on(&mut plain, "grpc").check_route(Validate::Thrift);
        assert_eq!(
            text(plain),
            "route r takes thrift structs; the request is protobuf (application/grpc): send \
             application/grpc+thrift, set assume_payload: thrift on route r if it is thrift, or set \
             validate: off on the route"
        );
        let mut frames = head(Payload::Thrift, Usual);
        let frames = on(&mut frames, "ttheader").check_backend("chat", PayloadKind::Protobuf);
        assert_eq!(
            text(frames),
            "backend chat takes protobuf; the request is thrift (TTHeader's protocol id 0x10): send \
             TTHeader's protocol id 0x11, or set payload: any on the backend"
        );
    }

    /// Kitex would read protobuf as thrift, so nothing recommends to pass it on.
    #[test]
    fn a_refusal_toward_a_callee_that_tells_no_kinds_does_not_open_the_backend() {
        use PayloadNaming::{Named, Unnamed, Usual};
        let mut named = head(Payload::Protobuf, Named);
        let named =
            toward("ttheader", &mut named, "grpc").check_backend("chat", PayloadKind::Thrift);
        assert_eq!(
            text(named),
            "backend chat takes thrift; the request is protobuf (application/grpc+proto): send \
             application/grpc+thrift; ripcord translates protobuf only by a schema (translate \
             on the route)"
        );
        let mut plain = head(Payload::Protobuf, Unnamed);
        let plain = toward("ttheader", &mut plain, "grpc").check_route(Validate::Thrift);
        assert_eq!(
            text(plain),
            "route r takes thrift structs; the request is protobuf (application/grpc): send \
             application/grpc+thrift, or set assume_payload: thrift on route r if it is thrift; \
             ripcord translates protobuf only by a schema (translate on the route)"
        );
        let mut frames = head(Payload::Thrift, Usual);
        let frames = toward("ttheader", &mut frames, "ttheader")
            .check_backend("chat", PayloadKind::Protobuf);
        assert_eq!(
            text(frames),
            "backend chat takes protobuf; the request is thrift (TTHeader's protocol id 0x10): send \
             TTHeader's protocol id 0x11; ripcord translates thrift only by a schema (translate \
             on the route)"
        );
    }
}

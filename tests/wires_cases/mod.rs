//! An `App` between callers and callees of every wire, all in this process.

mod peers;

use std::net::SocketAddr;

use ripcord::stream::{
    Cancel, CancelSignal, Cause, Class, End, LocalEndKind, Path, Payload, RequestHead, Wire, code,
};
use ripcord::{App, Observed, config, wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

pub(crate) use peers::{Call, Callee};

/// A caller's wire and a callee's.
pub(crate) type Pair = (&'static Wire, &'static Wire);

/// Runs a case on a thread of its own runtime, and no longer than it may take.
pub(crate) fn local(case: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        let limit = std::time::Duration::from_secs(60);
        tokio::time::timeout(limit, case()).await.expect("it hangs");
    });
}

/// What an application sends when it cancels.
pub(crate) fn canceled(name: &str) -> Cancel {
    Cancel {
        cause: Cause {
            code: code::BIZ_CANCELED,
            text: "why".to_owned(),
        },
        path: Path::from_origin(name),
        class: Class::ByCaller,
        signal: CancelSignal::OWN,
        status: None,
    }
}

pub(crate) struct World {
    pub(crate) app: Option<App>,
    entry: SocketAddr,
    observed: mpsc::UnboundedReceiver<Observed>,
    callees: Vec<Callee>,
    heard: mpsc::UnboundedReceiver<End>,
    /// The call that a case is about.
    pub(crate) ended: Option<Call>,
    /// Whether that call's callee was certainly asked.
    pub(crate) reached: bool,
    /// Calls that stay open beside it.
    pub(crate) held: Vec<Call>,
}

impl World {
    /// `more` are top-level keys of the configuration.
    pub(crate) async fn start(more: &str) -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        let mut callees = Vec::new();
        let (mut backends, mut routes) = (String::new(), String::new());
        // Nobody listens there: it is closed again.
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = dead.local_addr().unwrap();
        for wire in wire::ALL {
            let callee = Callee::start(wire, tell.clone()).await;
            let (name, at) = (wire.name, callee.address);
            backends += &format!(
                "
  {name}: {{ protocol: {name}, endpoints: ['{at}'] }}
  picky-{name}: {{ protocol: {name}, endpoints: ['{at}'], payload: thrift }}
  dead-{name}: {{ protocol: {name}, endpoints: ['{dead}'] }}"
            );
            for (kind, backend, what) in [
                ("to", "", ""),
                ("picky", "picky-", ""),
                ("dead", "dead-", ""),
                ("idle", "", ", timeouts: { idle: 300ms }"),
                ("first", "", ", timeouts: { first_response: 300ms }"),
                ("checked", "", ", validate: thrift"),
            ] {
                routes += &format!(
                    "
  - {{ name: {kind}-{name}, match: {{ service: {kind}.{name} }}, backend: {backend}{name}{what} }}"
                );
            }
            callees.push(callee);
        }
        let text = format!(
            "
node: hop
workers: 1
listeners:
  - {{ name: in, address: '127.0.0.1:0' }}
  - {{ name: memory-only, address: '127.0.0.1:0', protocol: memory }}
telemetry: {{ access_log: off }}
{more}
backends:{backends}
routes:{routes}
"
        );
        let config = config::parse("test", &text).unwrap_or_else(|faults| panic!("{faults}"));
        let (tap, observed) = mpsc::unbounded_channel();
        let app = App::start(config, None, Some(tap)).await.unwrap();
        Self {
            entry: app.address("in").unwrap(),
            app: Some(app),
            observed,
            callees,
            heard,
            reached: true,
            ended: None,
            held: Vec::new(),
        }
    }

    /// All nine.
    pub(crate) fn pairs() -> Vec<Pair> {
        let from = wire::ALL.iter();
        from.flat_map(|from| wire::ALL.iter().map(|to| (*from, *to)))
            .collect()
    }

    /// The service of that kind of route to the pair's callee.
    pub(crate) fn service(kind: &str, pair: Pair) -> String {
        format!("{}.{}", kind.to_ascii_lowercase(), pair.1.name)
    }

    fn head(pair: Pair, method: &str, change: impl FnOnce(&mut RequestHead)) -> RequestHead {
        let mut head = RequestHead {
            service: Self::service("to", pair),
            method: method.to_owned(),
            payload: Payload::Thrift,
            caller: Some("app".to_owned()),
            ..RequestHead::default()
        };
        change(&mut head);
        head
    }

    /// A stream on a connection of its own.
    pub(crate) async fn call(
        &self,
        pair: Pair,
        method: &str,
        change: impl FnOnce(&mut RequestHead),
    ) -> Call {
        Call::open(pair.0, self.entry, &Self::head(pair, method, change)).await
    }

    /// The same, as the call that the case is about.
    pub(crate) async fn start_call(
        &mut self,
        pair: Pair,
        method: &str,
        change: impl FnOnce(&mut RequestHead),
    ) {
        self.ended = Some(self.call(pair, method, change).await);
    }

    /// The same on the connection of another call.
    pub(crate) async fn start_call_on(&mut self, other: &Call, pair: Pair, method: &str) {
        self.ended = Some(other.another(&Self::head(pair, method, |_| {})).await);
    }

    /// The same, once the callee has sent a message.
    pub(crate) async fn start_held(&mut self, pair: Pair, change: impl FnOnce(&mut RequestHead)) {
        let mut call = self.call(pair, "Hold", change).await;
        call.first_message().await;
        self.ended = Some(call);
    }

    /// Closes every connection to the pair's callee.
    pub(crate) fn lose_callees(&self, pair: Pair) {
        let callee = self.callees.iter().find(|callee| callee.wire == pair.1);
        callee.unwrap().lose();
    }

    /// The next end that the hop observed.
    pub(crate) async fn observed(&mut self) -> Observed {
        self.observed.recv().await.unwrap()
    }

    /// The next end that a callee received.
    pub(crate) async fn heard(&mut self) -> End {
        self.heard.recv().await.unwrap()
    }

    /// One echoed message by another listener, if it takes the pair's caller.
    pub(crate) async fn call_at(&self, listener: &str, pair: Pair) -> (Vec<Vec<u8>>, End) {
        let address = self.app.as_ref().unwrap().address(listener).unwrap();
        let mut call = Call::open(pair.0, address, &Self::head(pair, "Echo", |_| {})).await;
        call.send(b"one").await;
        call.half_close();
        call.finish().await
    }

    /// Says this on a connection of a listener, and waits until that is closed.
    pub(crate) async fn says(&self, listener: &str, bytes: &[u8]) {
        let address = self.app.as_ref().unwrap().address(listener).unwrap();
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }

    /// Asserts that so many streams of the pair ended so.
    pub(crate) fn has_line(&self, (inbound, outbound): Pair, end: &str, count: u32) {
        let metrics = self.metrics();
        let line = format!(
            r#"ripcord_streams_total{{listener="in",route="to-{outbound}",inbound="{inbound}",outbound="{outbound}",end="{end}"}} {count}"#
        );
        assert!(
            metrics.lines().any(|l| l == line),
            "no {line} in\n{metrics}"
        );
    }

    /// Asserts that the hop's own end is counted with the pair's wires.
    pub(crate) fn counted_own_end(&self, kind: LocalEndKind, (inbound, outbound): Pair) {
        let outbound = if kind == LocalEndKind::NoRoute {
            "none"
        } else {
            outbound.name
        };
        let wires = format!(r#"inbound="{inbound}",outbound="{outbound}",end="hop"}} "#);
        let metrics = self.metrics();
        let mut counts = metrics.lines().filter_map(|l| l.split_once(&wires));
        assert!(counts.any(|(_, n)| n != "0"), "no {wires}in\n{metrics}");
    }

    /// `/metrics`.
    pub(crate) fn metrics(&self) -> String {
        self.app.as_ref().unwrap().metrics().encode()
    }
}

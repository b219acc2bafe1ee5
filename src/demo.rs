//! `ripcord demo`: both protocols, two hops and both ends in one process. It uses real sockets and
//! the same [`App`] that `ripcord run` starts.
//!
//! It shows a stream each way, then a cancel in each direction, with the path and the time at each
//! hop. What every node observed is compared with the end table ([`crate::explain`]).

mod peers;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::sync::mpsc;

use crate::app::App;
use crate::config::{self, Config};
use crate::explain;
use crate::stream::{
    Cancel, CancelSignal, Cause, Class, End, Initiator, Path, Payload, Reason, RequestHead, Status,
    code,
};
use crate::telemetry::Observed;
use peers::{Call, Callee, Seen};

/// The longest time that anything in the demo may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the demo.
///
/// # Errors
/// The first result that differs from the end table, or a socket's error.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, demo())
            .await
            .context("the demo hung")?
    })
}

async fn demo() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    println!(
        "\
gRPC caller     -- gRPC -->     [egress] -- TTHeader --> [ingress] -- gRPC -->     gRPC callee
TTHeader caller -- TTHeader --> [egress] -- gRPC -->     [ingress] -- TTHeader --> TTHeader callee
"
    );
    world.streams().await?;
    world.caller_lets_go().await?;
    world.callee_lets_go().await?;
    world.egress.drain().await;
    world.ingress.drain().await;
    println!(
        "cause: why it began; class: from where the hop received it (12009 callee, 12010 caller, \
         12011 another protocol)\n\
         Every node observed what the table of ends says. Try: target/release/ripcord explain 12007"
    );
    Ok(())
}

/// Two hops, with a callee of each wire behind the second one.
struct World {
    egress: App,
    ingress: App,
    observed: mpsc::UnboundedReceiver<Observed>,
    grpc_callee: Callee,
    ttheader_callee: Callee,
}

/// A hop with these keys for its backends: `over_ttheader` for the stream that leaves the first hop
/// over TTHeader, and `over_grpc` for the other.
fn hop(node: &str, over_ttheader: &str, over_grpc: &str) -> anyhow::Result<Config> {
    let text = format!(
        "
node: {node}
workers: 1
listeners: [{{ name: in, address: '127.0.0.1:0' }}]
backends:
  over-ttheader: {{ {over_ttheader} }}
  over-grpc: {{ {over_grpc} }}
routes:
  - {{ name: over-ttheader, match: {{ service: demo.OverTTHeader }}, backend: over-ttheader }}
  - {{ name: over-grpc, match: {{ service: OverGrpc }}, backend: over-grpc }}
telemetry: {{ access_log: off }}
"
    );
    config::parse("demo", &text).map_err(|faults| anyhow::anyhow!("{faults}"))
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        let grpc_callee = Callee::grpc().await?;
        let ttheader_callee = Callee::ttheader().await?;
        let (tap, observed) = mpsc::unbounded_channel();
        // The last hop changes the protocol of each stream again. The one that came over TTHeader
        // goes to the gRPC callee, the other one to the TTHeader callee.
        let last = hop(
            "ingress",
            &format!("protocol: grpc, endpoints: ['{}']", grpc_callee.address),
            &format!(
                "protocol: ttheader, endpoints: ['{}']",
                ttheader_callee.address
            ),
        )?;
        let ingress = App::start(last, None, Some(tap.clone())).await?;
        let next = ingress.address("in").context("ingress does not listen")?;
        let first = hop(
            "egress",
            &format!("protocol: ttheader, endpoints: ['{next}']"),
            &format!("protocol: grpc, endpoints: ['{next}'], hop: ripcord"),
        )?;
        let egress = App::start(first, None, Some(tap)).await?;
        Ok(Self {
            egress,
            ingress,
            observed,
            grpc_callee,
            ttheader_callee,
        })
    }

    fn entry(&self) -> anyhow::Result<std::net::SocketAddr> {
        self.egress.address("in").context("egress does not listen")
    }

    /// Sends a stream each way and checks the echo.
    async fn streams(&mut self) -> anyhow::Result<()> {
        for (name, call) in [
            (
                "gRPC -> TTHeader -> gRPC",
                Call::grpc(self.entry()?, &head("demo.OverTTHeader", "Echo")).await?,
            ),
            (
                "TTHeader -> gRPC -> TTHeader",
                Call::ttheader(self.entry()?, &head("OverGrpc", "Echo")).await?,
            ),
        ] {
            let began = Instant::now();
            let sent = ["one", "two", "three"];
            let (echoed, end) = call.exchange(&sent).await?;
            ensure!(echoed == sent, "{name}: sent {sent:?}, got {echoed:?}");
            ensure!(
                end.reason == Reason::Complete,
                "{name}: ended with {:?}",
                end.reason
            );
            println!(
                "stream {name}: sent {sent:?}, got them back, end OK ({:.1?})",
                began.elapsed()
            );
            self.hops("a stream", 2, Reason::Complete).await?;
        }
        println!();
        Ok(())
    }

    /// What the two hops observed of one stream, in the order of their observations.
    async fn hops(&mut self, what: &str, count: usize, expected: Reason) -> anyhow::Result<()> {
        for _ in 0..count {
            let seen = self.observed.recv().await.context("a hop is gone")?;
            ensure!(
                seen.end.reason == expected,
                "{what}: {} observed {:?}",
                seen.node,
                seen.end.reason
            );
        }
        Ok(())
    }

    /// The user of a gRPC caller closes the page. Every node behind it receives the cancel.
    async fn caller_lets_go(&mut self) -> anyhow::Result<()> {
        let mut request = head("demo.OverTTHeader", "Wait");
        request.caller = Some("page".to_owned());
        let mut call = Call::grpc(self.entry()?, &request).await?;
        call.first_message().await?;
        println!("the gRPC caller \"page\" cancels (RST_STREAM CANCEL):");
        let began = Instant::now();
        call.cancel(&own_cancel("page"));
        let row = row("caller grpc reset=8 source-service=peer")?;
        ensure!(
            row.ttheader.contains("rst 12011") && row.grpc.contains("reset=8"),
            "unexpected row: {row}"
        );
        // The second hop receives a Rst from the first one, and passes it on with a longer path.
        self.cascade(
            began,
            &[
                ("egress", "page,egress", 12011),
                ("ingress", "page,egress,ingress", 12011),
            ],
        )
        .await?;
        let heard = self.grpc_callee.heard().await?;
        let Reason::Canceled(cancel) = &heard.end.reason else {
            bail!("the callee heard {:?}", heard.end.reason)
        };
        ensure!(
            cancel.signal == CancelSignal::numbered("reset", 8),
            "the gRPC callee saw {:?}",
            cancel.signal
        );
        show(began, "gRPC callee", &heard, "RST_STREAM CANCEL");

        let mut call = Call::ttheader(self.entry()?, &head("OverGrpc", "Wait")).await?;
        call.first_message().await?;
        println!("\nthe TTHeader caller \"chat\" cancels (Rst 12007, path \"chat\"):");
        let began = Instant::now();
        call.cancel(&own_cancel("chat"));
        row_for("caller ttheader rst 12007", &["rst 12007"])?;
        // gRPC is between the hops, where a reset is only a number. To another ripcord that number
        // is the cause; the control stream carries text and path.
        self.cascade(
            began,
            &[
                ("egress", "chat,egress", 12007),
                ("ingress", "chat,egress,ingress", 12007),
            ],
        )
        .await?;
        let heard = self.ttheader_callee.heard().await?;
        let Reason::Canceled(cancel) = &heard.end.reason else {
            bail!("the callee heard {:?}", heard.end.reason)
        };
        ensure!(
            cancel.path.to_wire() == "chat,egress,ingress"
                && cancel.cause == own_cancel("chat").cause,
            "the callee saw {cancel:?}"
        );
        show(
            began,
            "TTHeader callee",
            &heard,
            &format!("Rst {}", cancel.cause.code),
        );
        println!();
        Ok(())
    }

    /// A model server cancels. Its caller receives who it was.
    async fn callee_lets_go(&mut self) -> anyhow::Result<()> {
        let mut call = Call::ttheader(self.entry()?, &head("OverGrpc", "LetGo")).await?;
        println!("the TTHeader callee \"model\" cancels (Rst 12007, path \"model\"):");
        let began = Instant::now();
        let end = call.end().await?;
        self.cascade(
            began,
            &[
                ("ingress", "model,ingress", 12007),
                ("egress", "model,ingress,egress", 12007),
            ],
        )
        .await?;
        row_for("callee ttheader rst 12007", &["status=1", "rst 12007"])?;
        let Reason::Canceled(cancel) = &end.reason else {
            bail!("the caller heard {:?}", end.reason)
        };
        ensure!(
            cancel.cause.code == 12007 && cancel.path.to_wire() == "model,ingress,egress",
            "heard {cancel:?}"
        );
        let seen = Seen {
            at: Instant::now(),
            end,
        };
        show(began, "TTHeader caller", &seen, "Rst 12007");
        println!();
        Ok(())
    }

    /// Checks and shows what each hop observed of a cancel.
    async fn cascade(
        &mut self,
        began: Instant,
        expected: &[(&str, &str, i32)],
    ) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        for _ in expected {
            seen.push(self.observed.recv().await.context("a hop is gone")?);
        }
        seen.sort_by_key(|s| s.at);
        for (node, path, code) in expected {
            let found = seen
                .iter()
                .find(|s| *s.node == **node)
                .with_context(|| format!("{node} observed nothing"))?;
            let Reason::Canceled(cancel) = &found.end.reason else {
                bail!("{node} observed {:?}", found.end.reason);
            };
            ensure!(
                cancel.path.to_wire() == *path,
                "{node}: path {} instead of {path}",
                cancel.path.to_wire()
            );
            ensure!(
                cancel.cause.code == *code,
                "{node}: cause {} instead of {code}",
                cancel.cause.code
            );
            let at = found.at.saturating_duration_since(began);
            println!(
                "  {:>7.0?}  {node:<16} cause {code}, class {}, path {}",
                at,
                cancel.class.code(),
                cancel.path
            );
        }
        Ok(())
    }
}

fn show(began: Instant, who: &str, seen: &Seen, saw: &str) {
    let path = match &seen.end.reason {
        Reason::Canceled(cancel) if !cancel.path.is_empty() => format!(", path {}", cancel.path),
        Reason::Canceled(_) | Reason::Complete | Reason::Failed(_) | Reason::Hop(_) => {
            String::new()
        }
    };
    println!(
        "  {:>7.0?}  {who:<16} saw {saw}{path}",
        seen.at.saturating_duration_since(began)
    );
}

fn row(from: &str) -> anyhow::Result<explain::Row> {
    explain::rows()
        .into_iter()
        .find(|row| row.from == from)
        .with_context(|| format!("the table has no row {from:?}"))
}

fn row_for(from: &str, says: &[&str]) -> anyhow::Result<explain::Row> {
    let row = row(from)?;
    let text = row.to_string();
    ensure!(
        says.iter().all(|s| text.contains(s)),
        "unexpected row: {text}"
    );
    Ok(row)
}

fn head(service: &str, method: &str) -> RequestHead {
    RequestHead {
        service: service.to_owned(),
        method: method.to_owned(),
        payload: Payload::Thrift,
        ..RequestHead::default()
    }
}

/// What a Kitex application sends when its user code cancels.
fn own_cancel(name: &str) -> Cancel {
    Cancel {
        cause: Cause {
            code: code::BIZ_CANCELED,
            text: "user code canceled the stream".to_owned(),
        },
        path: Path::from_origin(name),
        class: Class::ByCaller,
        signal: crate::wire::ttheader::end::RST,
        status: None::<Box<Status>>,
    }
}

/// The end with which the callee "model" cancels.
fn model_end() -> End {
    End::canceled(
        Initiator::Callee,
        Cancel {
            class: Class::ByCallee,
            ..own_cancel("model")
        },
    )
}

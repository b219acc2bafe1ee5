//! The samples of every few seconds: the kernel's numbers for each hop, every family of its
//! `/metrics`, and the load's own counts. They are written to a CSV file as they come.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use crate::hops::Hop;
use crate::procfs;
use crate::world::World;

/// Families that are kept by their labels; the series of all others are added up.
const BY_LABEL: [&str; 3] = [
    "ripcord_connections_active",
    "ripcord_reloads_total",
    "ripcord_ttheader_events_total",
];

/// One reading of `/metrics`: by family, or by series for [`BY_LABEL`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    values: BTreeMap<String, f64>,
    panics: f64,
}

impl Page {
    pub(crate) async fn read(hop: &Hop) -> Result<Self> {
        let text = hop.page("/metrics").await?;
        let mut page = Self::default();
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ") {
                // A family without series yet has its column.
                match family.split_once(' ') {
                    Some((name, "counter")) => page.add(format!("{name}_total"), 0.0),
                    Some((name, "gauge")) => page.add(name.to_owned(), 0.0),
                    _ => {}
                }
            }
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let family = series.split('{').next().unwrap_or_default();
            if line.starts_with('#') || family.ends_with("_bucket") {
                continue;
            }
            let value: f64 = value.parse().unwrap_or_default();
            if series.contains("error_type=\"panic\"") {
                page.panics += value;
            }
            page.add(family.to_owned(), value);
            if BY_LABEL.contains(&family) {
                page.add(series.to_owned(), value);
            }
        }
        Ok(page)
    }

    fn add(&mut self, name: String, value: f64) {
        *self.values.entry(name).or_default() += value;
    }

    /// The value of a family or series; zero when there is none.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.values.get(name).copied().unwrap_or_default()
    }

    /// Connections of that side.
    pub(crate) fn connections(&self, side: &str) -> f64 {
        let of = |wire| format!("ripcord_connections_active{{side=\"{side}\",wire=\"{wire}\"}}");
        self.get(&of("grpc")) + self.get(&of("ttheader"))
    }

    /// Bytes of live allocations in KiB, of a build that counts them (feature `live-heap`).
    pub(crate) fn heap_kib(&self) -> Option<f64> {
        let bytes = self.values.get("ripcord_heap_bytes")?;
        Some(bytes / 1024.0)
    }

    /// Connections closed since the peer did not read an end.
    pub(crate) fn grace_closes(&self) -> f64 {
        self.get("ripcord_ttheader_events_total{event=\"grace_closes\"}")
    }

    /// Streams that ended by a panic.
    pub(crate) fn panics(&self) -> f64 {
        self.panics
    }
}

/// What the kernel knows of a hop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) rss_kib: u64,
    pub(crate) data_kib: u64,
    pub(crate) fds: u64,
    pub(crate) threads: u64,
}

impl Kernel {
    pub(crate) fn read(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.and_then(|l| l.split_whitespace().next()?.parse().ok())
                .unwrap_or_default()
        };
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd"));
        Self {
            rss_kib: field("VmRSS:"),
            data_kib: field("VmData:"),
            fds: fds.map_or(0, |fds| fds.count() as u64),
            threads: field("Threads:"),
        }
    }
}

/// What of a sample the report draws.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Seconds since the start.
    pub(crate) at: f64,
    /// Of egress and ingress.
    pub(crate) rss_kib: [f64; 2],
    pub(crate) heap_kib: [Option<f64>; 2],
    pub(crate) open: [f64; 2],
    /// Finished streams of the egress so far.
    pub(crate) streams: f64,
    pub(crate) messages: f64,
    /// Seconds of CPU that both hops, and this process, have used.
    pub(crate) cpu: [f64; 2],
}

/// The file and what was put into it.
pub(crate) struct Samples {
    file: File,
    columns: Vec<String>,
    pub(crate) all: Vec<Sample>,
}

impl Samples {
    pub(crate) fn new(file: &Path) -> Result<Self> {
        Ok(Self {
            file: File::create(file)?,
            columns: Vec::new(),
            all: Vec::new(),
        })
    }

    /// Reads everything once and writes a line.
    pub(crate) async fn take(&mut self, world: &Rc<World>) -> Result<()> {
        let at = world.ledger.elapsed().as_secs_f64();
        let total = world.ledger.total();
        let (live, notes) = world.ledger.left();
        let mut row: Vec<(String, f64)> = vec![
            ("seconds".into(), at),
            ("paused".into(), f64::from(u8::from(world.paused.get()))),
            ("callers".into(), world.in_flight.get() as f64),
            ("callee_streams".into(), live as f64),
            ("notes".into(), notes as f64),
            ("streams".into(), world.ledger.streams.get() as f64),
            ("messages".into(), world.ledger.messages.get() as f64),
            ("good".into(), total.good as f64),
            ("faulted".into(), total.faulted as f64),
            ("unexpected".into(), total.unexpected as f64),
            ("faults".into(), world.faults.borrow().len() as f64),
            ("span_exports".into(), world.collector.requests.get() as f64),
        ];
        let mut sample = Sample {
            at,
            rss_kib: [0.0; 2],
            heap_kib: [None; 2],
            open: [0.0; 2],
            streams: 0.0,
            messages: 0.0,
            cpu: [0.0, used(std::process::id())],
        };
        let mut graces = 0.0;
        for (n, hop) in world.hops().into_iter().enumerate() {
            let page = Page::read(hop).await?;
            graces += page.grace_closes();
            let kernel = Kernel::read(hop.pid);
            sample.rss_kib[n] = kernel.rss_kib as f64;
            sample.heap_kib[n] = page.heap_kib();
            sample.open[n] = page.get("ripcord_streams_active");
            if n == 0 {
                sample.streams = page.get("ripcord_streams_total");
                sample.messages = page.get("ripcord_messages_total");
            }
            let cpu = used(hop.pid);
            sample.cpu[0] += cpu;
            let own = [
                ("rss_kib", kernel.rss_kib as f64),
                ("data_kib", kernel.data_kib as f64),
                ("fds", kernel.fds as f64),
                ("threads", kernel.threads as f64),
                ("cpu_seconds", cpu),
            ];
            row.extend(own.map(|(name, value)| (format!("{}.{name}", hop.name), value)));
            let named = |(name, value): (&String, &f64)| (format!("{}.{name}", hop.name), *value);
            row.extend(page.values.iter().map(named));
        }
        world.ledger.grace_closes(graces);
        self.write(&row)?;
        self.all.push(sample);
        Ok(())
    }

    /// The first line decides the columns.
    fn write(&mut self, row: &[(String, f64)]) -> Result<()> {
        if self.columns.is_empty() {
            self.columns = row.iter().map(|(name, _)| name.clone()).collect();
            let quoted: Vec<_> = self
                .columns
                .iter()
                .map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
                .collect();
            writeln!(self.file, "{}", quoted.join(","))?;
        }
        let row: BTreeMap<&str, f64> = row
            .iter()
            .map(|(name, value)| (&name[..], *value))
            .collect();
        let cells: Vec<_> = self
            .columns
            .iter()
            .map(|name| row.get(&name[..]).map_or(String::new(), number))
            .collect();
        writeln!(self.file, "{}", cells.join(","))?;
        Ok(())
    }

    /// One line for people.
    pub(crate) fn progress(&self, world: &World, length: Duration) -> String {
        let Some(last) = self.all.last() else {
            return String::new();
        };
        let before = self.all.iter().rev().find(|s| s.at <= last.at - 10.0);
        let before = before.or(self.all.first()).unwrap_or(last);
        let passed = (last.at - before.at).max(1e-9);
        let rate = |now: f64, then: f64| (now - then) / passed;
        let total = world.ledger.total();
        format!(
            "{:6.0}/{:.0} s  {} callers  {:.0} streams/s  {:.0} messages/s  CPU {:.2}+{:.2}  RSS {:.1}+{:.1} MiB  {} good, {} faulted, {} unexpected, {} faults{}",
            last.at,
            length.as_secs_f64(),
            world.in_flight.get(),
            rate(last.streams, before.streams),
            rate(last.messages, before.messages),
            rate(last.cpu[0], before.cpu[0]),
            rate(last.cpu[1], before.cpu[1]),
            last.rss_kib[0] / 1024.0,
            last.rss_kib[1] / 1024.0,
            total.good,
            total.faulted,
            total.unexpected,
            world.faults.borrow().len(),
            if world.paused.get() { "  (quiet)" } else { "" },
        )
    }
}

fn number(value: &f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// CPU seconds that the threads of a process have used.
fn used(pid: u32) -> f64 {
    procfs::cpu(&[pid]).since(&procfs::cpu(&[])).as_secs_f64()
}

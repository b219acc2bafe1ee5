//! The order and names of the families on `/metrics`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{Connections, Kind, Reload, Series, Side, State};
use crate::telemetry::{names, process};

pub(super) struct Encoder(pub(super) Arc<State>);

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

/// Label sets in the shape that the encoder takes.
type Labels<'a, const N: usize> = [(&'a str, &'a str); N];

impl Collector for Encoder {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let state = &*self.0;
        encode_streams(state, &mut out)?;
        encode_ends(state, &mut out)?;
        encode_connections(state, &mut out)?;
        encode_violations(state, &mut out)?;
        encode_process(state, &mut out)?;
        encode_reads(state, &mut out)
    }
}

fn family<'a>(
    out: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    out.encode_descriptor(name, help, None, kind)
}

fn counter(to: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
    to.encode_family(labels)?
        .encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

fn gauge(to: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: i64) -> fmt::Result {
    to.encode_family(labels)?.encode_gauge(&value)
}

fn labels(series: &Series) -> Labels<'_, 4> {
    [
        ("listener", &*series.listener),
        ("route", &*series.route),
        ("inbound", series.inbound.name),
        ("outbound", series.outbound_name()),
    ]
}

fn encode_streams(state: &State, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let all = state
        .series
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();

    let mut to = family(
        out,
        "ripcord_streams",
        "Finished streams by how they ended",
        MetricType::Counter,
    )?;
    for series in &all {
        let [a, b, c, d] = labels(series);
        for (end, value) in names::ENDS.iter().zip(&series.ends) {
            let labels = [a, b, c, d, ("end", *end)];
            counter(&mut to, &labels, value.load(Relaxed))?;
        }
    }

    let mut to = family(
        out,
        "ripcord_streams_active",
        "Streams that are open now",
        MetricType::Gauge,
    )?;
    for series in &all {
        gauge(&mut to, &labels(series), series.active.load(Relaxed))?;
    }

    let mut to = family(
        out,
        "ripcord_stream_duration_seconds",
        "How long finished streams lived",
        MetricType::Histogram,
    )?;
    for series in &all {
        let (sum, count, buckets) = series.duration.read();
        to.encode_family(&labels(series))?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }

    let mut to = family(
        out,
        "ripcord_messages",
        "Messages of finished streams",
        MetricType::Counter,
    )?;
    for series in &all {
        directions(&mut to, series, &series.messages)?;
    }

    let mut to = family(
        out,
        "ripcord_message_bytes",
        "Payload bytes of the messages of finished streams",
        MetricType::Counter,
    )?;
    for series in &all {
        directions(&mut to, series, &series.bytes)?;
    }
    Ok(())
}

fn directions(to: &mut MetricEncoder<'_>, series: &Series, values: &[AtomicU64; 2]) -> fmt::Result {
    let [a, b, c, d] = labels(series);
    for (direction, value) in ["request", "response"].into_iter().zip(values) {
        let labels = [a, b, c, d, ("direction", direction)];
        counter(to, &labels, value.load(Relaxed))?;
    }
    Ok(())
}

/// A route's streams, whatever their listener and wires.
type OfRoute<'a> = (&'a str, Vec<&'a Series>);

fn by_route(all: &[Arc<Series>]) -> Vec<OfRoute<'_>> {
    let mut routes: BTreeMap<&str, Vec<&Series>> = BTreeMap::new();
    for series in all {
        routes.entry(&series.route).or_default().push(series);
    }
    routes.into_iter().collect()
}

/// The sum of one counter over all series; `None` for one that never counted.
fn touched<'a>(
    all: &'a [&Series],
    counter: impl Fn(&'a Series) -> Option<&'a AtomicU64>,
) -> Option<u64> {
    let values = all.iter().filter_map(|series| counter(series));
    let sum: u64 = values.map(|value| value.load(Relaxed)).sum();
    (sum > 0).then_some(sum)
}

/// What failed and what was canceled, by route. Only what happened is shown: see
/// [`super::MAX_SERIES`].
fn encode_ends(state: &State, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let all = state
        .series
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let routes = by_route(&all);
    let mut to = family(
        out,
        "ripcord_stream_errors",
        "Streams that failed, by what failed; cancels are not errors",
        MetricType::Counter,
    )?;
    for (route, all) in &routes {
        for at in 0..names::ERRORS {
            if let Some(value) = touched(all, |series| series.errors.get(at)) {
                let labels = [("route", *route), ("error_type", names::error_name(at))];
                counter(&mut to, &labels, value)?;
            }
        }
    }

    let mut to = family(
        out,
        "ripcord_stream_retries",
        "Streams that were opened again, since their first callee did not look at them",
        MetricType::Counter,
    )?;
    for (route, all) in &routes {
        if let Some(value) = touched(all, |series| Some(&series.retries)) {
            counter(&mut to, &[("route", *route)], value)?;
        }
    }

    let mut to = family(
        out,
        "ripcord_translate_skipped_fields",
        "Fields of translated messages that were skipped, since the IDL does not know them or their type",
        MetricType::Counter,
    )?;
    for (route, all) in &routes {
        if let Some(value) = touched(all, |series| Some(&series.skipped)) {
            counter(&mut to, &[("route", *route)], value)?;
        }
    }

    let mut to = family(
        out,
        "ripcord_cancels",
        "Canceled streams by class (where this hop saw it come from) and cause (the originator's code)",
        MetricType::Counter,
    )?;
    for (route, all) in &routes {
        for (class, name) in names::CLASSES
            .map(names::class_name)
            .into_iter()
            .enumerate()
        {
            for (at, cause) in names::CAUSES.iter().enumerate() {
                let value = touched(all, |series| series.cancels.get(class)?.get(at));
                if let Some(value) = value {
                    let labels = [("route", *route), ("class", name), ("cause", *cause)];
                    counter(&mut to, &labels, value)?;
                }
            }
        }
    }
    Ok(())
}

fn encode_connections(state: &State, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let each = |f: &mut dyn FnMut(&Connections, &Labels<'_, 2>) -> fmt::Result| {
        for (at, side) in Side::ALL.into_iter().enumerate() {
            for (wire, sides) in &state.connections {
                let labels = [("side", side.name()), ("wire", wire.name)];
                if let Some(connections) = sides.get(at) {
                    f(connections, &labels)?;
                }
            }
        }
        Ok(())
    };
    let mut to = family(
        out,
        "ripcord_connections_active",
        "Connections that are open now",
        MetricType::Gauge,
    )?;
    each(&mut |c, labels| gauge(&mut to, labels, c.active.load(Relaxed)))?;
    let mut to = family(
        out,
        "ripcord_connections",
        "Connections opened",
        MetricType::Counter,
    )?;
    each(&mut |c, labels| counter(&mut to, labels, c.total.load(Relaxed)))
}

fn encode_violations(state: &State, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut to = family(
        out,
        "ripcord_violations",
        "What peers did that their protocol forbids, or that looks like an attack",
        MetricType::Counter,
    )?;
    for ([side, wire, kind], value) in state.violations.read() {
        let labels = [("side", side), ("wire", wire), ("kind", kind)];
        counter(&mut to, &labels, value)?;
    }
    Ok(())
}

fn encode_process(state: &State, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut to = family(
        out,
        "ripcord_reloads",
        "Configuration changes by result",
        MetricType::Counter,
    )?;
    for (result, value) in Reload::ALL.iter().zip(&state.reloads) {
        let labels = [("result", result.name())];
        counter(&mut to, &labels, value.load(Relaxed))?;
    }
    family(
        out,
        "ripcord_config_version",
        "Version of the configuration in force",
        MetricType::Gauge,
    )?
    .encode_gauge(&to_i64(state.config_version.load(Relaxed)))?;
    family(
        out,
        "ripcord_config_last_reload_successful",
        "0 while the file is one that was refused",
        MetricType::Gauge,
    )?
    .encode_gauge(&i64::from(!state.refused.load(Relaxed)))?;

    let mut to = family(
        out,
        "ripcord_build_info",
        "Always 1; the labels say what was built",
        MetricType::Gauge,
    )?;
    let node = state.node.get().map_or("", String::as_str);
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("node", node)];
    gauge(&mut to, &labels, 1)?;

    for (name, help, value) in process::gauges() {
        family(out, name, help, MetricType::Gauge)?.encode_gauge(&to_i64(value))?;
    }
    if let Some(seconds) = process::start_time_seconds() {
        family(
            out,
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds",
            MetricType::Gauge,
        )?
        .encode_gauge(&seconds)?;
    }
    if let Some(seconds) = process::cpu_seconds() {
        family(
            out,
            "process_cpu_seconds",
            "User and system CPU time",
            MetricType::Counter,
        )?
        .encode_counter::<NoLabelSet, f64, f64>(&seconds, None)?;
    }
    Ok(())
}

fn encode_reads(state: &State, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let reads = state.reads.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, read_family) in &*reads {
        let kind = match read_family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        let mut to = family(out, name, &read_family.help, kind)?;
        for (labels, read) in &read_family.reads {
            let value = read();
            match (read_family.kind, labels.is_empty()) {
                (Kind::Counter, false) => counter(&mut to, labels, value)?,
                (Kind::Counter, true) => {
                    to.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
                }
                (Kind::Gauge, false) => gauge(&mut to, labels, to_i64(value))?,
                (Kind::Gauge, true) => to.encode_gauge(&to_i64(value))?,
            }
        }
    }
    Ok(())
}

fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

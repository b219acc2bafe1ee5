//! The end of a run: a short summary in Markdown and the picture, and whether the run passed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::fit::Memory;
use crate::plot::Plot;
use crate::quiet::Quiet;
use crate::samples::Samples;
use crate::world::World;

/// What a run found.
pub(crate) struct Report<'a> {
    pub(crate) world: &'a World,
    pub(crate) samples: &'a Samples,
    pub(crate) quiet: &'a [Quiet],
    pub(crate) seed: u64,
    pub(crate) rate: f64,
    /// Why it ended before its time.
    pub(crate) early: Option<&'static str>,
    pub(crate) ripcord: &'a Path,
}

impl Report<'_> {
    /// Writes `summary.md` and `soak.svg`; whether all was as expected.
    pub(crate) fn write(&self, directory: &Path) -> Result<bool> {
        let ledger = &self.world.ledger;
        let length = ledger.elapsed().as_secs_f64();
        let memory = [0, 1].map(|n| Memory::new(self.quiet, n));
        let flat = memory.iter().flatten().all(Memory::is_flat);
        let unexpected = ledger.count_unexpected();
        let passed = flat && unexpected == 0;
        let total = ledger.total();
        let mut out = String::new();
        let _ = writeln!(
            out,
            "# Soak: {:.1} minutes, {}\n",
            length / 60.0,
            if passed { "passed" } else { "FAILED" }
        );
        if let Some(why) = self.early {
            let _ = writeln!(out, "Ended early: {why}.\n");
        }
        let last = self.samples.all.last();
        let (streams, cpu) = last.map_or((0.0, [0.0; 2]), |s| (s.streams, s.cpu));
        let _ = writeln!(
            out,
            "`{}`, seed {}, rate {}. {} streams were opened by callers, {:.0} of them finished at the egress; {} messages were \
             compared; {} scenarios were as expected, {} were ended by a callee that was killed (down for {:.0} s in all), \
             {unexpected} things were unexpected. CPU: {:.2} of a core for both ripcords, {:.2} for load and peers.\n",
            self.ripcord.display(),
            self.seed,
            self.rate,
            ledger.streams.get(),
            streams,
            ledger.messages.get(),
            total.good,
            total.faulted,
            ledger.down_for().as_secs_f64(),
            cpu[0] / length,
            cpu[1] / length,
        );
        for (n, hop) in self.world.hops().into_iter().enumerate() {
            let said = memory[n].as_ref().map_or_else(
                || "too few quiet points for a verdict".to_owned(),
                Memory::verdict,
            );
            let _ = writeln!(out, "- {}: {said}", hop.name);
        }
        self.kinds(&mut out);
        self.quiet_points(&mut out);
        let shown = ledger.shown();
        if !shown.is_empty() {
            let _ = writeln!(
                out,
                "\n## Unexpected (the first; all in unexpected.log)\n\n```text"
            );
            for line in shown {
                let _ = writeln!(out, "{line}");
            }
            out.push_str("```\n");
        }
        fs::write(directory.join("summary.md"), &out)?;
        let faults = self.world.faults.borrow();
        let plot = Plot {
            title: format!(
                "ripcord soak, {:.0} minutes, seed {}: {streams:.0} streams, {} faults, {unexpected} unexpected",
                length / 60.0,
                self.seed,
                faults.len()
            ),
            samples: &self.samples.all,
            quiet: self.quiet,
            memory,
            faults: &faults,
            length,
        };
        fs::write(directory.join("soak.svg"), plot.svg())?;
        println!("{out}");
        Ok(passed)
    }

    fn kinds(&self, out: &mut String) {
        out.push_str("\n| what | begun | as expected | ended by a fault | unexpected |\n|---|---|---|---|---|\n");
        for (kind, tally) in self.world.ledger.tallies() {
            let _ = writeln!(
                out,
                "| {kind} | {} | {} | {} | {} |",
                tally.started, tally.good, tally.faulted, tally.unexpected
            );
        }
        let mut faults = BTreeMap::<_, u64>::new();
        for (_, which) in self.world.faults.borrow().iter() {
            *faults.entry(*which).or_default() += 1;
        }
        let faults: Vec<_> = faults.iter().map(|(f, n)| format!("{n} × {f}")).collect();
        let _ = writeln!(out, "\nFaults: {}.", faults.join(", "));
    }

    fn quiet_points(&self, out: &mut String) {
        out.push_str(
            "\n| quiet at, s | all zero after, s | RSS, MiB | live heap, MiB | VmData, MiB | descriptors besides connections | threads |\n|---|---|---|---|---|---|---|\n",
        );
        let mib = |[a, b]: [f64; 2]| format!("{:.1}, {:.1}", a / 1024.0, b / 1024.0);
        for quiet in self.quiet {
            let _ = writeln!(
                out,
                "| {:.0} | {:.1} | {} | {} | {} | {}, {} | {}, {} |",
                quiet.at,
                quiet.took,
                mib(quiet.rss_kib),
                match quiet.heap_kib {
                    [Some(egress), Some(ingress)] => mib([egress, ingress]),
                    _ => "-".to_owned(),
                },
                mib(quiet.data_kib),
                quiet.fds[0],
                quiet.fds[1],
                quiet.threads[0],
                quiet.threads[1],
            );
        }
        out.push_str("\n(egress, ingress)\n");
    }
}

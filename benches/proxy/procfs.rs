//! What the kernel knows of a process tree: CPU time and resident memory, from `/proc`.
//!
//! CPU time is the sum over all threads of the first field of `/proc/PID/task/TID/schedstat`, in
//! nanoseconds. If the kernel has no schedstat, it is utime + stime, in ticks of 10 ms.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// How finely the CPU times are known on this machine.
pub(crate) fn resolution() -> &'static str {
    if schedstat(std::process::id()).is_some() {
        "1 ns (schedstat)"
    } else {
        "10 ms (utime + stime)"
    }
}

/// Cores and processor, as far as the kernel knows them.
pub(crate) fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find(|l| l.starts_with("model name"))
        .and_then(|l| Some(l.split_once(':')?.1.trim()));
    let cores = text.lines().filter(|l| l.starts_with("processor")).count();
    format!(
        "{cores} cores of {}",
        model.unwrap_or("an unnamed processor")
    )
}

/// CPU time spent in user mode: free of what the kernel and a hypervisor add, but in ticks of 10
/// ms.
pub(crate) fn user(pids: &[u32]) -> Duration {
    let ticks = |pid: &u32| stat(*pid)?.get(11)?.parse::<u64>().ok();
    Duration::from_millis(pids.iter().filter_map(ticks).sum::<u64>() * 10)
}

/// CPU time that these processes have used.
pub(crate) fn cpu(pids: &[u32]) -> Cpu {
    let mut used = BTreeMap::new();
    for pid in pids {
        match schedstat(*pid) {
            Some(threads) => used.extend(threads),
            None => drop(used.insert((*pid, String::new()), ticks(*pid).unwrap_or_default())),
        }
    }
    Cpu(used)
}

/// By process and thread: a thread that ends takes its time out of any sum, so sums cannot be
/// subtracted.
pub(crate) struct Cpu(BTreeMap<(u32, String), Duration>);

impl Cpu {
    /// What has been used since, but for threads that have ended.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let mine = self.0.iter();
        mine.map(|(thread, now)| {
            let then = before.0.get(thread).copied().unwrap_or_default();
            now.saturating_sub(then)
        })
        .sum()
    }
}

fn schedstat(pid: u32) -> Option<Vec<((u32, String), Duration)>> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // Not there: it has just ended.
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let used = text
            .split_whitespace()
            .next()
            .and_then(|t| t.parse::<u64>().ok());
        if let Some(used) = used {
            let thread = task.file_name().to_string_lossy().into_owned();
            threads.push(((pid, thread), Duration::from_nanos(used)));
        }
    }
    threads
        .iter()
        .any(|(_, used)| !used.is_zero())
        .then_some(threads)
}

fn ticks(pid: u32) -> Option<Duration> {
    let fields = stat(pid)?;
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}

/// The fields of `/proc/PID/stat` behind the command name, which may hold blanks.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Resident memory of these processes, in KiB.
pub(crate) fn rss_kib(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| rss(*pid)).sum()
}

fn rss(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A process and all its descendants.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, p)| *p == parent)
                .map(|(c, _)| *c),
        );
        next += 1;
    }
    found
}

/// The 1-minute load average: numbers from a busy machine deserve a warning.
pub(crate) fn load_average() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|t| t.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

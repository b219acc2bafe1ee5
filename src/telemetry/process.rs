//! What the kernel knows of this process (Linux `/proc`), under the names that Prometheus clients
//! use. On another system there is nothing.

/// Name, help and value of each gauge that could be read.
pub(crate) fn gauges() -> Vec<(&'static str, &'static str, u64)> {
    let mut found = Vec::new();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = kilobytes(&status, "VmRSS:") {
        found.push((
            "process_resident_memory_bytes",
            "Resident memory size",
            bytes,
        ));
    }
    if let Some(bytes) = kilobytes(&status, "VmSize:") {
        found.push(("process_virtual_memory_bytes", "Virtual memory size", bytes));
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        let open = open.count().saturating_sub(1) as u64;
        found.push(("process_open_fds", "Open file descriptors", open));
    }
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = open_files(&limits) {
        let help = "The most file descriptors that may be open";
        found.push(("process_max_fds", help, most));
    }
    found
}

/// `USER_HZ`, the unit of `/proc/self/stat`: 100 on every Linux that Rust's `std` runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of all threads since the start, in seconds.
pub(crate) fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    #[expect(clippy::cast_precision_loss, reason = "exact for 2.8 million years")]
    cpu_ticks(&stat).map(|ticks| ticks as f64 / TICKS_PER_SECOND)
}

/// When the process started, in seconds since 1970: when the system started, and how long after it.
pub(crate) fn start_time_seconds() -> Option<f64> {
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    #[expect(clippy::cast_precision_loss, reason = "exact for 2.8 million years")]
    let (booted, ticks) = (boot_seconds(&system)? as f64, start_ticks(&own)? as f64);
    Some(booted + ticks / TICKS_PER_SECOND)
}

/// `btime` of proc(5): when the system started, in seconds since 1970.
fn boot_seconds(stat: &str) -> Option<u64> {
    let mut lines = stat.lines();
    let time = lines.find_map(|line| line.strip_prefix("btime "))?;
    time.trim().parse().ok()
}

/// `starttime`, field 22: ticks from the system's start to the process'.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

/// `utime` and `stime`, fields 14 and 15 of proc(5). The name in parentheses may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// The soft limit of open files; `None` for `unlimited`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let number = line.trim().strip_suffix("kB")?.trim();
    number.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_status_file() {
        let status = "Name:\tx\nVmSize:\t   2048 kB\nVmRSS:\t     100 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(102_400));
        assert_eq!(kilobytes(status, "VmSize:"), Some(2_097_152));
        assert_eq!(kilobytes(status, "VmPeak:"), None);
        assert_eq!(kilobytes("VmRSS:\tmany kB\n", "VmRSS:"), None);
    }

    #[test]
    fn processor_time_is_read_whatever_the_process_is_called() {
        let stat = "7 (a) b ) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (a"), None);
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
        assert!(cpu_seconds().is_some());
    }

    #[test]
    fn the_start_is_found_whatever_the_process_is_called() {
        let stat = "7 (a) b ) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 12345 9";
        assert_eq!(start_ticks(stat), Some(12345));
        assert_eq!(start_ticks("7 (a) S 1"), None);
        assert_eq!(
            boot_seconds("cpu 1 2\nbtime 1700000000\nprocesses 5\n"),
            Some(1_700_000_000)
        );
        assert_eq!(boot_seconds("cpu 1 2\n"), None);
        let now = std::time::SystemTime::now();
        let now = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let age = now - start_time_seconds().unwrap();
        // The kernel counts the system's start in whole seconds.
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }

    #[test]
    fn descriptors_have_a_soft_limit() {
        let limits = "Limit Soft Hard Units\nMax open files   1024   4096   files\n";
        assert_eq!(open_files(limits), Some(1024));
        let limits = "Max open files   unlimited   unlimited   files\n";
        assert_eq!(open_files(limits), None);
        assert_eq!(open_files(""), None);
    }
}

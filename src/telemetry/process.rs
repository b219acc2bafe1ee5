//! What the kernel says about this process (Linux `/proc`), under the names that Prometheus
//! clients use. On another system there is simply nothing.

/// Name, help and value of each gauge that could be read.
pub(crate) fn read() -> Vec<(&'static str, &'static str, u64)> {
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
    found
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
}

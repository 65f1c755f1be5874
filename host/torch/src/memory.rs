//! How much memory the process holds.

/// Largest resident set so far, bytes; 0 where the system does not tell.
pub fn peak_rss() -> u64 {
    status("VmHWM:")
}

/// Resident set, bytes; 0 where the system does not tell.
pub fn rss() -> u64 {
    status("VmRSS:")
}

fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_peak_is_not_below_the_present() {
        assert!(super::rss() > 1 << 20 && super::peak_rss() >= super::rss() / 2);
    }
}

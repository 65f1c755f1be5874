//! How much memory the process holds.

/// Largest resident set so far, bytes; 0 where the system does not tell.
pub fn peak_rss() -> u64 {
    status("VmHWM:")
}

/// Resident set, bytes; 0 where the system does not tell.
pub fn rss() -> u64 {
    status("VmRSS:")
}

/// What is allocated and not freed by malloc, bytes; 0 where the C library does not tell.
pub fn allocated() -> u64 {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: reads the allocator's own counts.
        let info = unsafe { libc::mallinfo2() };
        (info.uordblks + info.hblkhd) as u64
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    0
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

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn what_is_allocated_is_counted() {
        let before = super::allocated();
        let held = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(super::allocated() >= before + held.len() as u64 / 2);
    }
}

//! The core's time and the process's memory, as Linux tells them: a busy machine does not show in the first.

use std::{fs, sync::LazyLock, time::Instant};

/// Seconds that this thread has had a core; what has passed where that is not told.
pub fn on_core_s() -> f64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|told| told.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| BEGAN.elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

/// Linux forgets how large the process was.
pub fn forget_peak() {
    // Elsewhere the peak is of all runs so far.
    drop(fs::write("/proc/self/clear_refs", "5"));
}

/// How large the process was at most, MB.
pub fn peak_mb() -> f64 {
    let told = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = told.lines().find(|line| line.starts_with("VmHWM:"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kb.unwrap_or(0.0) * 1.024e-3
}

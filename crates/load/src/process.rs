//! What the system tells: a process's CPU and memory, our own descriptors, the steady clock.

use std::{fs, time::Duration};

/// CPU a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) kernel: Duration,
}

impl Cpu {
    /// Of a process; zero if it is gone. Ticks of 10 ms (proc_pid_stat(5), fields 14 and 15).
    pub(crate) fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let mut ticks = after_name
            .split_whitespace()
            .skip(11)
            .map(|field| field.parse::<u64>().unwrap_or(0));
        let mut next = || Duration::from_millis(ticks.next().unwrap_or(0) * 10);
        Self {
            user: next(),
            kernel: next(),
        }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            kernel: self.kernel.saturating_sub(before.kernel),
        }
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.kernel
    }
}

/// CPU that all threads of a process have used, to the nanosecond; none if it is gone (clock_getcpuclockid(3)).
pub(crate) fn cpu_ns(pid: u32) -> Option<u64> {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: both calls get a valid pointer to a value of ours, and the second a clock that the first gave.
    let is_known = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) == 0
            && libc::clock_gettime(clock, &mut time) == 0
    };
    is_known.then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// The machine: what it calls its kernel and its processor, and how many cores it has.
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: model
                .and_then(|line| line.split(':').nth(1))
                .map_or_else(String::new, |name| name.trim().to_owned()),
            // Those this process may use are fewer where it was pinned.
            cores: cpuinfo
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
        }
    }
}

/// The cores a process may use, as the kernel lists them: `0-3` (proc_pid_status(5), `Cpus_allowed_list`).
pub(crate) fn cores_of(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.map_or_else(String::new, |cores| cores.trim().to_owned())
}

/// Resident bytes of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) before: u64,
    pub(crate) after: u64,
    /// The most it ever had.
    pub(crate) peak: u64,
}

/// Resident bytes of a process now, and at most (proc_pid_status(5): `VmRSS`, `VmHWM`); zero if it is gone.
pub(crate) fn resident_bytes(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// SYNs that were sent again, of the whole machine: a full backlog shows here (`TCPSynRetrans`).
pub(crate) fn syn_retransmits() -> u64 {
    let netstat = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let place = names.split_whitespace().position(|name| name == "TCPSynRetrans");
    let value = place.and_then(|place| values.split_whitespace().nth(place));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// The machine's steady clock (`CLOCK_MONOTONIC`): the same in every process.
pub(crate) fn steady_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid pointer to a struct of ours; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Lets others go first on a core they share with this process: a niceness of 10 is a tenth of their time where both
/// are always busy (setpriority(2)).
pub(crate) fn give_way() {
    // SAFETY: it takes numbers, and cannot fail for a process that makes itself nicer.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// Raises the limit of descriptors as far as it goes; returns what it is then.
pub(crate) fn raise_descriptors() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a valid pointer to a struct of ours.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return 0;
        }
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    limit.rlim_cur
}

//! How much memory the process has, and how much of it is taken.
//!
//! A thread of its own looks four times a second and leaves a number where every shard finds
//! it: a shard under a memory ceiling sheds (`core/gate`) before the kernel kills. What counts is resident
//! memory, as the kernel counts it, page tables of freed memory included: after a storm the
//! allocator gives pages back in its own time, and until then they are taken.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tidegate_core::admission::{Marks, Pressure};
use tidegate_engine::Bell;

/// How often memory is looked at: allocating a gigabyte takes longer.
const INTERVAL: Duration = Duration::from_millis(250);
/// `auto`: this part of what there is; the rest is the kernel's for sockets.
const SHARE_PERCENT: u64 = 80;

/// What the last look told, for shards and scrapes.
#[derive(Debug, Default)]
pub struct Memory {
    resident_bytes: AtomicU64,
    bytes_max: AtomicU64,
}

impl Memory {
    /// A ceiling.
    pub(crate) fn new(bytes_max: u64) -> Arc<Self> {
        let memory = Self::default();
        memory.bytes_max.store(bytes_max, Ordering::Relaxed);
        Arc::new(memory)
    }

    /// Resident bytes of the process.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Ordering::Relaxed)
    }

    /// The ceiling.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// How close one is to the other.
    pub(crate) fn pressure(&self) -> Pressure {
        Pressure::of(self.resident_bytes(), self.bytes_max())
    }
}

/// Looks at memory until it is dropped.
#[derive(Debug)]
pub(crate) struct Watchman {
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchman {
    /// Starts its thread. It rings shards only while there is something to say.
    pub(crate) fn start(memory: Arc<Memory>, shards: Vec<Arc<Bell>>) -> std::io::Result<Self> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stopped = is_stopped.clone();
        let marks = Marks::default();
        let told_above = marks.refuse[0] - marks.slack;
        let thread = thread::Builder::new().name("memory".to_owned()).spawn(move || {
            let Ok(statm) = File::open("/proc/self/statm") else {
                return tracing::warn!("/proc/self/statm cannot be read: there is no memory ceiling");
            };
            let page_bytes = rustix::param::page_size() as u64;
            while !stopped.load(Ordering::Relaxed) {
                if let Some(pages) = resident_pages(&statm) {
                    memory.resident_bytes.store(pages * page_bytes, Ordering::Relaxed);
                }
                // A shard asleep allocates nothing; one that sheds must be told when it may stop, and does
                // so by itself.
                if memory.pressure().share() > told_above {
                    for bell in &shards {
                        bell.ring();
                    }
                }
                thread::park_timeout(INTERVAL);
            }
        })?;
        Ok(Self {
            is_stopped,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchman {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The second field of proc_pid_statm(5). One short read of an open file: 2 µs.
fn resident_pages(statm: &File) -> Option<u64> {
    let mut text = [0; 128];
    let len = statm.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..len]).ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// A share of what the control group allows, or the machine has; all there can be if neither tells.
pub(crate) fn memory_max() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let group = group_max(&read("/proc/self/cgroup"), &read);
    let machine = machine_total(&read("/proc/meminfo"));
    let there_is = [group, machine].into_iter().flatten().min();
    there_is.map_or(u64::MAX, |bytes| bytes / 100 * SHARE_PERCENT)
}

/// The lowest `memory.max` (version 1: `limit_in_bytes`) from this process's control group up to the root.
fn group_max(groups: &str, read: &dyn Fn(&str) -> String) -> Option<u64> {
    let mut lowest: Option<u64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            // In a container the path may be the host's; what is mounted is then the group itself.
            let number = read(&format!("{root}{path}/{file}")).trim().parse().ok();
            lowest = [lowest, number].into_iter().flatten().min();
            match path.rfind('/') {
                Some(end) => path = &path[..end],
                None => break,
            }
        }
    }
    lowest
}

fn machine_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bound_of_all_groups_above_counts() {
        let files = |path: &str| {
            let text = match path {
                "/sys/fs/cgroup/memory.max" => "",
                "/sys/fs/cgroup/a/memory.max" => "1000\n",
                "/sys/fs/cgroup/a/b/memory.max" => "max\n",
                "/sys/fs/cgroup/memory/a/memory.limit_in_bytes" => "77\n",
                _ => "",
            };
            text.to_owned()
        };
        assert_eq!(group_max("0::/a/b\n", &files), Some(1_000));
        assert_eq!(group_max("0::/\n", &files), None);
        assert_eq!(group_max("4:cpu,memory:/a\n1:pids:/x\n", &files), Some(77));
        assert_eq!(group_max("nonsense", &files), None);
    }

    #[test]
    fn this_process_is_resident_and_the_machine_has_more() {
        let statm = File::open("/proc/self/statm").unwrap();
        let resident = resident_pages(&statm).unwrap() * rustix::param::page_size() as u64;
        assert!(resident > 1 << 20 && resident < memory_max());
        assert_eq!(machine_total("MemFree: 1 kB\nMemTotal:    8 kB\n"), Some(8_192));
    }
}

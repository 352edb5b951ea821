//! What a process uses of the machine, as the kernel tells it.

use std::fs;
use std::ops::{Add, Sub};

use anyhow::Context;
use serde::Serialize;

/// The unit of processor time in `/proc`: a hundredth of a second on every Linux that is common.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process, or a family of them, that is watched.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) name: &'static str,
    pid: u32,
    with_children: bool,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    /// Processor time in the program and in the kernel for it.
    pub(crate) cpu_seconds: f64,
    /// Memory in RAM now (`VmRSS`). Of a family, memory that its members share counts once.
    pub(crate) resident_bytes: u64,
}

impl Process {
    pub(crate) fn alone(name: &'static str, pid: u32) -> Self {
        Self { name, pid, with_children: false }
    }

    /// A process with all its children, such as PostgreSQL's main process with one for each connection.
    pub(crate) fn family(name: &'static str, pid: u32) -> Self {
        Self { name, pid, with_children: true }
    }

    /// This process.
    pub(crate) fn this(name: &'static str) -> Self {
        Self::alone(name, std::process::id())
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        if self.with_children {
            return self.family_usage();
        }
        let stat = Stat::read(self.pid).with_context(|| format!("{} has ended", self.name))?;
        let memory = Memory::read(self.pid).with_context(|| format!("{} has ended", self.name))?;
        Ok(Usage { cpu_seconds: stat.own_seconds, resident_bytes: memory.private + memory.shared })
    }

    /// The children that have ended count too, or time would go back when one ends.
    fn family_usage(&self) -> anyhow::Result<Usage> {
        loop {
            let before = Stat::read(self.pid).with_context(|| format!("{} has ended", self.name))?;
            let mut cpu_seconds = before.own_seconds + before.ended_children_seconds;
            let (mut private, mut shared) = (0, 0);
            for pid in children(self.pid)?.into_iter().chain([self.pid]) {
                // One that has ended has no memory, and still its time, until its parent takes note.
                if let Some(memory) = Memory::read(pid) {
                    private += memory.private;
                    shared = shared.max(memory.shared);
                }
                if pid != self.pid {
                    cpu_seconds += Stat::read(pid).map_or(0.0, |stat| stat.own_seconds);
                }
            }
            // When the parent took note of one meanwhile, it is counted twice or not at all.
            let after = Stat::read(self.pid).with_context(|| format!("{} has ended", self.name))?;
            if after.ended_children_seconds.total_cmp(&before.ended_children_seconds).is_eq() {
                return Ok(Usage { cpu_seconds, resident_bytes: private + shared });
            }
        }
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let resident_bytes = self.resident_bytes.max(other.resident_bytes);
        Self { cpu_seconds: self.cpu_seconds + other.cpu_seconds, resident_bytes }
    }
}

/// What was used since an earlier look; the memory is that of the later one.
impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { cpu_seconds: self.cpu_seconds - earlier.cpu_seconds, ..self }
    }
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    Some(Stat::read(pid)?.parent)
}

fn children(pid: u32) -> anyhow::Result<Vec<u32>> {
    let pids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter(|child| parent(*child) == Some(pid)).collect())
}

/// The part of `/proc/PID/stat` that is needed.
struct Stat {
    parent: u32,
    own_seconds: f64,
    ended_children_seconds: f64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name stands in brackets and may hold anything; what follows the last bracket has no blanks in it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let seconds = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own_seconds: seconds(11)? + seconds(12)?,
            ended_children_seconds: seconds(13)? + seconds(14)?,
        })
    }
}

/// The part of `/proc/PID/status` that is needed: `VmRSS` in its two parts.
struct Memory {
    private: u64,
    /// With other processes: shared memory, and files such as the program itself.
    shared: u64,
}

impl Memory {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
        };
        let shared = bytes("RssShmem:")? + bytes("RssFile:")?;
        Some(Self { private: bytes("RssAnon:")?, shared })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_is_no_hindrance() {
        let text = "7 (a (b) c) S 3 7 7 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0 9 9 9";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat.parent, 3);
        assert!((stat.own_seconds - 2.0).abs() < 1e-9);
        assert!((stat.ended_children_seconds - 0.5).abs() < 1e-9);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(Process::this("test").usage().unwrap().resident_bytes > 0);
    }
}

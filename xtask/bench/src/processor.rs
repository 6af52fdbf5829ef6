//! Work that the kernel puts off.

use std::{fs, sync::OnceLock, time::Duration};

use anyhow::{Context as _, Result};

/// How long the thread has run that deals with packets which come in faster
/// than a processor deals with them at once (`schedstat`;
/// Documentation/scheduler/sched-stats.rst).
pub fn deferred(processor: usize) -> Result<Duration> {
    let path = format!("/proc/{}/schedstat", softirq_thread(processor)?);
    let text = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let first = text.split_whitespace().next();
    let nanoseconds = first.with_context(|| format!("{path} is empty"))?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// The number of the thread `ksoftirqd/N`.
fn softirq_thread(processor: usize) -> Result<u32> {
    static FOUND: OnceLock<Vec<(String, u32)>> = OnceLock::new();
    let all = FOUND.get_or_init(|| {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let threads = entries.filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((name.trim().to_owned(), number))
        });
        threads.filter(|(name, _)| name.starts_with("ksoftirqd/")).collect()
    });
    let name = format!("ksoftirqd/{processor}");
    let found = all.iter().find(|(thread, _)| *thread == name);
    found.map(|(_, number)| *number).with_context(|| format!("no thread {name} is to be seen"))
}

//! What the kernel's own stack has counted in a namespace.

use std::{collections::HashMap, fs};

use sandbox::Namespace;

/// `/proc/net/snmp` and `/proc/net/netstat`: names as `Tcp.InSegs`, `TcpExt.TCPChallengeACK`.
#[derive(Debug)]
pub struct Stack(HashMap<String, u64>);

impl Stack {
    /// What it has counted so far.
    ///
    /// # Panics
    /// If it cannot be read.
    #[track_caller]
    #[must_use]
    pub fn of(namespace: &Namespace) -> Self {
        // The thread's own: `/proc/net` would be the first thread's.
        let read = |name| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        let text = namespace
            .enter(|| [read("snmp"), read("netstat")])
            .expect("entered")
            .map(|text| text.expect("read"))
            .concat();
        let mut counters = HashMap::new();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let (names, values) = (pair[0].split_whitespace(), pair[1].split_whitespace());
            let group = pair[0].split(':').next().unwrap_or_default();
            for (name, value) in names.zip(values).skip(1) {
                // A negative one says that there is no such limit.
                counters.insert(format!("{group}.{name}"), value.parse().unwrap_or(0));
            }
        }
        Self(counters)
    }

    /// One counter.
    ///
    /// # Panics
    /// If this kernel has none of that name.
    #[track_caller]
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("the kernel counts no `{name}`"))
    }

    /// How much a counter has grown in `namespace` since this was read.
    ///
    /// # Panics
    /// As [`Self::get`].
    #[track_caller]
    #[must_use]
    pub fn grown(&self, namespace: &Namespace, name: &str) -> u64 {
        Self::of(namespace).get(name) - self.get(name)
    }
}

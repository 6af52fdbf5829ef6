//! Every metric there is: its name, what it counts, and its labels.

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up, and to zero with the daemon's start at most.
    Counter,
    /// Up and down.
    Gauge,
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it tells.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: Family = Family {
            name: $name,
            kind: Kind::$kind,
            help: $help,
            labels: &[$($label),*],
        };)*

        /// All metrics, in the order in which they are told.
        #[must_use]
        pub const fn families() -> &'static [Family] {
            &[$($constant),*]
        }
    };
}

families! {
    BUILD_INFO = Gauge "nodewall_build_info" ["version"]
        "The daemon's version; always 1.";
    START_TIME = Gauge "nodewall_start_time_seconds" []
        "When the daemon was started, in seconds since 1970.";
    GENERATION = Gauge "nodewall_generation" []
        "Switches of policy since the daemon's start.";
    MONITOR_MODE = Gauge "nodewall_monitor_mode" []
        "1 if the whole policy is in monitor mode and nothing is dropped.";
    MATCHES_DISK = Gauge "nodewall_policy_matches_disk" []
        "1 if the daemon's policy file holds what is in force; 0: a reload or start would load another policy.";
    PENDING = Gauge "nodewall_change_pending" []
        "1 while a change of policy waits for its confirmation and is taken back without.";
    ATTACHED = Gauge "nodewall_attached" ["interface", "mode"]
        "1 for the mode in which the filter runs on the interface; 0 in each mode: the interface is unguarded.";
    FALLBACK = Gauge "nodewall_attach_fallback" ["interface"]
        "1 if the filter runs in generic mode because the driver refused native mode.";
    PACKETS = Counter "nodewall_packets_total" ["interface", "verdict", "reason"]
        "Packets received, each once, by what became of them and why.";
    BYTES = Counter "nodewall_bytes_total" ["interface", "verdict", "reason"]
        "Their frames' bytes.";
    MONITORED = Counter "nodewall_monitored_packets_total" ["reason"]
        "Packets that monitor mode let through, by the reason they would have been dropped for.";
    RULE_PACKETS = Counter "nodewall_rule_packets_total" ["rule", "verdict", "reason", "scope"]
        "Packets that a rule decided on; scope is that of the limit that refused, and else empty.";
    RULE_MONITORED = Counter "nodewall_rule_monitored_packets_total" ["rule", "reason", "scope"]
        "Packets that monitor mode let through and a rule would have dropped.";
    RULE_CONNECTIONS = Gauge "nodewall_rule_connections" ["rule"]
        "TCP connections that peers hold under a rule.";
    CONNECTIONS_SURPLUS = Counter "nodewall_connections_surplus_total" []
        "Connections that were established when a limit was reached already.";
    CONNECTIONS_DESTROYED = Counter "nodewall_connections_destroyed_total" []
        "Of these, connections that were closed.";
    CONNECTIONS_IDLE = Counter "nodewall_connections_idle_closed_total" []
        "Connections closed because no byte moved for the rule's idle_timeout.";
    CONNECTIONS_CORRECTED = Counter "nodewall_connections_corrected_total" []
        "Connections that had to be added or taken off because the count was not the sockets'.";
    CONTENDED = Counter "nodewall_contended_packets_total" []
        "Packets refused because other processors won every swap of their bucket, or for want of room for their source.";
    BANS = Gauge "nodewall_bans" []
        "Addresses and prefixes that are banned.";
    BANS_SAVED = Gauge "nodewall_bans_saved" []
        "1 if every ban is in the state file; 0: the daemon could not write it, and a restart would lose some.";
    TABLE_ENTRIES = Gauge "nodewall_table_entries" ["table"]
        "Entries that a table holds.";
    TABLE_CAPACITY = Gauge "nodewall_table_capacity" ["table"]
        "Entries that a table has room for.";
    TABLE_LOST = Counter "nodewall_table_lost_total" ["table"]
        "What was lost for want of room: newcomers, and of sources the debts that were forgotten.";
    SET_READ_ERRORS = Counter "nodewall_set_read_errors_total" ["set"]
        "Times that the file of a set was missing, bad or in conflict, and its earlier content stayed.";
    SET_IN_FORCE = Gauge "nodewall_set_in_force" ["set"]
        "1 if the file of a set is in force as it is now; 0: an earlier content of it is.";
    EVENTS_LOST = Counter "nodewall_events_lost_total" []
        "Drop events that were lost because the log was not read fast enough.";
}

//! What `--json` says, by the operator's names.

use serde_json::Value;

/// `nodewall status --json`
#[derive(Debug, Clone)]
pub struct Status(pub Value);

/// `nodewall rules --json`
#[derive(Debug, Clone)]
pub struct Rules(pub Value);

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list `{key}` in {value}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no number `{key}` in {value}"))
}

fn text(value: &Value, key: &str) -> Option<String> {
    match &value[key] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => panic!("`{key}` is {other}, neither text nor null"),
    }
}

fn sum<'a>(rows: impl Iterator<Item = &'a Value>, reason: &str) -> u64 {
    rows.filter(|row| row["reason"] == reason).map(|row| number(row, "packets")).sum()
}

impl Status {
    /// The generation in force.
    ///
    /// # Panics
    /// As everything here: where the document has another shape.
    #[must_use]
    pub fn generation(&self) -> u64 {
        number(&self.0, "generation")
    }

    /// Packets that were passed or dropped for that reason, on all interfaces.
    #[must_use]
    pub fn packets(&self, reason: &str) -> u64 {
        sum(self.rows(), reason)
    }

    /// Packets that monitor mode let through and that would have been dropped
    /// for that reason.
    #[must_use]
    pub fn monitored(&self, reason: &str) -> u64 {
        sum(list(&self.0, "monitored").iter(), reason)
    }

    /// The same on one interface.
    #[must_use]
    pub fn packets_on(&self, interface: &str, reason: &str) -> u64 {
        sum(self.rows().filter(|row| row["interface"] == interface), reason)
    }

    /// Packets and bytes of every verdict and reason on one interface.
    #[must_use]
    pub fn total_on(&self, interface: &str) -> (u64, u64) {
        self.rows().filter(|row| row["interface"] == interface).fold(
            (0, 0),
            |(packets, bytes), row| {
                (packets + number(row, "packets"), bytes + number(row, "bytes"))
            },
        )
    }

    /// The rows of `totals`.
    pub fn rows(&self) -> impl Iterator<Item = &Value> {
        list(&self.0, "totals").iter()
    }

    /// Why the file of a set is not in force as it is now; `None` where it is.
    ///
    /// # Panics
    /// If there is no such set.
    #[must_use]
    pub fn set_problem(&self, set: &str) -> Option<String> {
        let found = list(&self.0, "sets").iter().find(|entry| entry["name"] == set);
        text(found.unwrap_or_else(|| panic!("no set `{set}` in {}", self.0)), "problem")
    }

    /// How the filter runs on an interface, and why so; the first is `None`
    /// where it does not run.
    #[must_use]
    pub fn attach(&self, interface: &str) -> (Option<String>, Option<String>) {
        let found = list(&self.0, "interfaces").iter().find(|entry| entry["name"] == interface);
        let entry = found.unwrap_or_else(|| panic!("no interface `{interface}` in {}", self.0));
        (text(entry, "attach"), text(entry, "why"))
    }
}

impl Rules {
    /// The names, in their order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        list(&self.0, "rules").iter().filter_map(|rule| text(rule, "name")).collect()
    }

    /// One rule.
    ///
    /// # Panics
    /// As everything here: where there is no such rule.
    #[must_use]
    pub fn rule(&self, name: &str) -> &Value {
        let found = list(&self.0, "rules").iter().find(|rule| rule["name"] == name);
        found.unwrap_or_else(|| panic!("no rule `{name}` in {}", self.0))
    }

    /// Packets that the rule passed or dropped for that reason.
    #[must_use]
    pub fn packets(&self, name: &str, reason: &str) -> u64 {
        sum(list(self.rule(name), "counters").iter(), reason)
    }

    /// Packets that monitor mode let through and that the rule would have
    /// dropped for that reason.
    #[must_use]
    pub fn monitored(&self, name: &str, reason: &str) -> u64 {
        sum(list(self.rule(name), "monitored").iter(), reason)
    }
}

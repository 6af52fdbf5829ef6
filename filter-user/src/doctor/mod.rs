//! `nodewall doctor`: whether this host can run the filter, and how well.
//! Nothing is changed, no daemon is needed, and each finding that is not good
//! names the command that mends it.

mod clock;
mod conntrack;
mod finding;
mod host;
mod interfaces;
mod kernel;
mod link;
mod mounts;
mod netdev;
mod policy;
mod privileges;
mod sockets;
mod ssh;

use std::path::Path;

pub use self::finding::{Finding, Level};
use self::host::Host;

/// Looks at everything. `config`: the policy file.
#[must_use]
pub fn examine(config: &Path) -> Vec<Finding> {
    let host = Host::here();
    let mut findings = kernel::examine(&host);
    findings.extend(privileges::examine(&host));
    findings.extend(mounts::examine(&host));
    let (policy, of_policy) = policy::examine(config);
    findings.extend(of_policy);
    findings.extend(link::examine(&host, policy.as_ref()));
    findings.extend(ssh::examine(&host, policy.as_ref()));
    findings.extend(sockets::examine());
    findings.extend(conntrack::examine(&host));
    findings.push(clock::examine());
    findings
}

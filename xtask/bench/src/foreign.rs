//! Another's program on a cgroup, which does not keep to the filter's manners.

use std::fs::File;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{CgroupAttachMode, SockOps},
};

use crate::flood::OBJECT;

/// A `sock_ops` program that wants no callbacks, and says so for all. It ends
/// with this value.
pub struct Forgetful(#[expect(dead_code, reason = "it holds the program and its link")] Ebpf);

impl Forgetful {
    /// Puts it on a cgroup (of version 2).
    pub fn attach(cgroup: &File) -> Result<Self> {
        let mut ebpf = Ebpf::load(OBJECT).context("the instruments do not load")?;
        let program: &mut SockOps =
            ebpf.program_mut("forgetful").context("no such instrument")?.try_into()?;
        program.load()?;
        // A link; these stand beside one another whatever the mode.
        program.attach(cgroup, CgroupAttachMode::Single)?;
        Ok(Self(ebpf))
    }
}

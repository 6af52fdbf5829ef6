//! Puts the classifier that records what is sent on an interface.

use std::io;

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcError, qdisc_add_clsact},
    },
    util::KernelVersion,
};

use super::{AttachError, Interface, LoadError, error::root_cause};

/// The first kernel with TCX.
const TCX: KernelVersion = KernelVersion::new(6, 6, 0);

/// How a classifier comes to see what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// By a link of its own (Linux 6.6).
    Tcx,
    /// As a filter of the `clsact` qdisc, which is made if there is none and stays.
    Clsact,
}

impl Hook {
    /// The best that the running kernel has.
    #[must_use]
    pub fn of_kernel() -> Self {
        let has_tcx = KernelVersion::current().is_ok_and(|kernel| kernel >= TCX);
        if has_tcx { Self::Tcx } else { Self::Clsact }
    }
}

/// The classifier's name in the object.
pub(super) const PROGRAM: &str = "nodewall_egress";

/// The classifier.
pub(super) fn program(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, LoadError> {
    let missing = LoadError::Object { what: "program", name: PROGRAM };
    match ebpf.program_mut(PROGRAM) {
        Some(program) => program.try_into().map_err(|_| missing),
        None => Err(missing),
    }
}

/// Attaches it, before all others of its hook: they may end a packet's way
/// through the classifiers, and it lets them all run.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    interface: &Interface,
    hook: Hook,
) -> Result<SchedClassifierLink, AttachError> {
    let refused = |why: String| AttachError::Egress { interface: interface.name.clone(), why };
    let program = program(ebpf).map_err(|error| refused(error.to_string()))?;
    let options = match hook {
        Hook::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
        Hook::Clsact => {
            match qdisc_add_clsact(&interface.name) {
                Ok(()) => {}
                Err(error) if code(&error) == Some(nix::libc::EEXIST) => {}
                Err(error) => return Err(refused(root_cause(&error))),
            }
            TcAttachOptions::Netlink(NlOptions { priority: 1, ..NlOptions::default() })
        }
    };
    let link = program
        .attach_with_options(&interface.name, TcAttachType::Egress, options)
        .and_then(|id| program.take_link(id));
    link.map_err(|error: ProgramError| match code(&error) {
        Some(nix::libc::EPERM) => AttachError::NotPermitted { interface: interface.name.clone() },
        Some(nix::libc::ENODEV) => AttachError::NoInterface { interface: interface.name.clone() },
        _ => refused(root_cause(&error)),
    })
}

/// The system call's own error, where there is one.
fn code(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(TcError::NetlinkError(error)) = error.downcast_ref() {
            return error.raw_os_error();
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        next = error.source();
    }
    None
}

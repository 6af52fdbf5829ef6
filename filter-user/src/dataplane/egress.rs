//! Puts the classifier that records what is sent on an interface.

use std::io;

use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, TcAttachType,
        links::FdLink,
        tc::{
            NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
        },
    },
    util::KernelVersion,
};

use super::{
    AttachError, Interface, LoadError, Pins, attach::program_name, error::root_cause, link,
};

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

/// Where the filter stands among those of its qdisc: by this it is known again.
const PRIORITY: u16 = 1;
const HANDLE: TcHandle = TcHandle::new(0, 0x6e77);

/// Puts it on an interface to stay as long as its link: in the place of the one
/// that was pinned before, if there is one.
pub(super) fn hold(
    ebpf: &mut Ebpf,
    interface: &Interface,
    pins: Option<&Pins>,
) -> Result<link::Held, AttachError> {
    let hook = Hook::of_kernel();
    let pin = pins.map(|pins| pins.link("egress", interface.index));
    if hook == Hook::Clsact {
        // A filter of a qdisc has no owner: where another program judges, the filter is that one's.
        let is_ours = |pins: &Pins| link::open(&pins.link("xdp", interface.index)).is_some();
        if interface.program.is_some() && !pins.is_some_and(is_ours) {
            return Err(AttachError::Occupied {
                program: program_name(interface.program),
                interface: interface.name.clone(),
            });
        }
        let (link, taken_over) = put(ebpf, interface, hook)?;
        return Ok(link::Held::filter(link, pins.is_some(), taken_over));
    }
    let refused = |why: String| AttachError::Egress { interface: interface.name.clone(), why };
    if let Some(path) = &pin
        && let Some(earlier) = link::open(path)
    {
        let replaced = SchedClassifierLink::try_from(earlier)
            .map_err(|error| refused(error.to_string()))
            .and_then(|earlier| replace(ebpf, interface, earlier));
        match replaced {
            Ok(link) => {
                let link = FdLink::try_from(link).map_err(|error| refused(error.to_string()))?;
                return Ok(link::Held::pinned(link, path.clone()));
            }
            // Of an interface that is no more and whose index this one has now, or
            // nothing of ours: attached anew, below.
            Err(_) => link::remove(path).map_err(|error| refused(error.to_string()))?,
        }
    }
    let link = FdLink::try_from(attach(ebpf, interface, hook)?)
        .map_err(|error| refused(error.to_string()))?;
    link::Held::new(link, pin).map_err(|error| refused(error.to_string()))
}

/// Whether a filter with that handle is the classifier.
#[must_use]
pub fn is_own_filter(handle: u32) -> bool {
    handle == u32::from(HANDLE)
}

/// Takes off what no pin keeps there, where the process is gone that put it there:
/// the filter of a qdisc.
///
/// # Errors
///
/// When there is no such interface.
pub fn take_off(interface: &str) -> io::Result<()> {
    if Hook::of_kernel() == Hook::Clsact {
        let attach = TcAttachType::Egress;
        drop(SchedClassifierLink::attached(interface, attach, PRIORITY, HANDLE, None)?);
    }
    Ok(())
}

/// Attaches it, before all others of its hook: they may end a packet's way
/// through the classifiers, and it lets them all run.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    interface: &Interface,
    hook: Hook,
) -> Result<SchedClassifierLink, AttachError> {
    put(ebpf, interface, hook).map(|(link, _)| link)
}

/// As [`attach`]; also whether it is where an earlier process had put its own.
fn put(
    ebpf: &mut Ebpf,
    interface: &Interface,
    hook: Hook,
) -> Result<(SchedClassifierLink, bool), AttachError> {
    let options = match hook {
        Hook::Tcx => TcAttachOptions::TcxOrder(LinkOrder::first()),
        Hook::Clsact => {
            match qdisc_add_clsact(&interface.name) {
                Ok(()) => {}
                Err(error) if code(&error) == Some(nix::libc::EEXIST) => {}
                Err(error) => return Err(refusal(interface, &error)),
            }
            let (priority, handle) = (PRIORITY, HANDLE);
            TcAttachOptions::Netlink(NlOptions { priority, handle, ..NlOptions::default() })
        }
    };
    let program = program(ebpf).map_err(|error| refusal(interface, &error))?;
    let link = program
        .attach_with_options(&interface.name, TcAttachType::Egress, options)
        .and_then(|id| program.take_link(id));
    match link {
        // One that an earlier process left: the kernel swaps the programs.
        Err(error) if hook == Hook::Clsact && code(&error) == Some(nix::libc::EEXIST) => {
            let attach = TcAttachType::Egress;
            let earlier =
                SchedClassifierLink::attached(&interface.name, attach, PRIORITY, HANDLE, None);
            let earlier = earlier.map_err(|error| refusal(interface, &error))?;
            Ok((replace(ebpf, interface, earlier)?, true))
        }
        link => Ok((link.map_err(|error| refusal(interface, &error))?, false)),
    }
}

/// Puts it in the place of an earlier program.
fn replace(
    ebpf: &mut Ebpf,
    interface: &Interface,
    earlier: SchedClassifierLink,
) -> Result<SchedClassifierLink, AttachError> {
    let program = program(ebpf).map_err(|error| refusal(interface, &error))?;
    let link = program.attach_to_link(earlier).and_then(|id| program.take_link(id));
    link.map_err(|error: ProgramError| refusal(interface, &error))
}

fn refusal(interface: &Interface, error: &(dyn std::error::Error + 'static)) -> AttachError {
    let name = interface.name.clone();
    match code(error) {
        Some(nix::libc::EPERM) => AttachError::NotPermitted { interface: name },
        Some(nix::libc::ENODEV) => AttachError::NoInterface { interface: name },
        _ => AttachError::Egress { interface: name, why: root_cause(error) },
    }
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

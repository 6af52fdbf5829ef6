//! The thread that makes a namespace, lives in it and starts its processes.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process::{Child, Command},
    sync::{Mutex, mpsc},
    thread::{self, JoinHandle},
};

use nix::sched::{CloneFlags, unshare};

use super::{PARAMETER_ROOT, lock, mounts};
use crate::{Error, Result, link::netlink::Netlink, sys};

/// Kernel parameters that every namespace starts with, whatever the machine
/// around it uses. Those of IPv6 are missing where the kernel has no IPv6.
const PARAMETERS: &[(&str, &str)] = &[
    // Replies may leave by another way than the request came.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/ip_forward", "0"),
    // A test that counts ICMP errors wants each of them.
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
    // Addresses are usable at once, and nobody asks for routers.
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/default/disable_ipv6", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
];

/// Open files that keep the namespaces and lead into them.
pub(super) struct Handles {
    pub(super) net: File,
    pub(super) mount: File,
    pub(super) files: File,
    pub(super) bpf: File,
}

/// A process to start, and where its handle goes.
type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// The thread that lives in the namespace and starts its processes.
///
/// Processes ask to be killed with the thread that started them, so it must be
/// one that stays.
pub(super) struct Resident {
    /// `None` only while it is being dropped.
    jobs: Option<Mutex<mpsc::Sender<Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Resident {
    pub(super) fn start(tag: &str) -> Result<(Self, Handles, Netlink)> {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (ready, made) = mpsc::channel();
        let body = move || {
            let outcome = settle();
            let settled = outcome.is_ok();
            // Nobody listens any more only if the caller's thread is gone.
            if ready.send(outcome).is_err() || !settled {
                return;
            }
            drop(ready);
            for (mut command, answer) in todo {
                sys::die_with_parent(&mut command);
                // Dropped unheard, the child ends with the namespace.
                let _unheard = answer.send(command.spawn());
            }
        };
        let thread = thread::Builder::new()
            .name(format!("namespace {tag}"))
            .spawn(body)
            .map_err(|source| Error::Thread { namespace: tag.to_owned(), source })?;
        let resident = Self { jobs: Some(Mutex::new(jobs)), thread: Some(thread) };
        let gone = || Err(("keep its thread", io::ErrorKind::BrokenPipe.into()));
        let (handles, netlink) =
            made.recv().unwrap_or_else(|_| gone()).map_err(|(step, source)| Error::Namespace {
                namespace: tag.to_owned(),
                step,
                source,
            })?;
        Ok((resident, handles, netlink))
    }

    pub(super) fn spawn(&self, command: Command) -> io::Result<Child> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let (answer, spawned) = mpsc::channel();
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        lock(jobs).send((command, answer)).map_err(|_| gone())?;
        spawned.recv().map_err(|_| gone())?
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported when it happened.
            let _reported = thread.join();
        }
    }
}

/// Moves the calling thread into fresh namespaces. Errors name the step.
fn settle() -> Result<(Handles, Netlink), (&'static str, io::Error)> {
    let at = |step| move |source: io::Error| (step, source);
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .map_err(|errno| ("leave the machine's network and mounts", errno.into()))?;
    mounts::mount_all()?;
    for (parameter, value) in PARAMETERS {
        match fs::write(Path::new(PARAMETER_ROOT).join(parameter), value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(at("write its parameters below /proc/sys/net"))?,
        }
    }
    let place = |path: &str| {
        File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(path)
            .map_err(at("open its directories"))
    };
    let handles = Handles {
        net: File::open("/proc/thread-self/ns/net").map_err(at("open its network namespace"))?,
        mount: File::open("/proc/thread-self/ns/mnt").map_err(at("open its mount namespace"))?,
        files: place(mounts::FILES)?,
        bpf: place(mounts::BPFFS)?,
    };
    let netlink = Netlink::open().map_err(at("connect to its rtnetlink"))?;
    Ok((handles, netlink))
}

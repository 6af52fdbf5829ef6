//! Puts the program on an interface, and takes it off.

use std::{fs, path::PathBuf};

use aya::programs::{
    ProgramError, XdpMode,
    tc::SchedClassifierLink,
    xdp::{XdpError, XdpLink},
};
use nix::libc;

use super::{AttachError, DataPlane, Hook};
use crate::policy::Attach;

/// How the program runs on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver, before the kernel spends anything on the packet.
    Native,
    /// In the network stack.
    Generic,
}

impl AttachMode {
    /// The name that the command line, JSON and metrics show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// The programs on an interface; they are taken off when this value goes.
#[derive(Debug)]
pub struct Attachment {
    /// How it runs.
    pub mode: AttachMode,
    /// Why it does not run natively, where it was to.
    pub why: Option<String>,
    /// The kernel's index of the interface.
    pub index: u32,
    // In this order: what is received is judged for as long as what is sent is recorded.
    _link: XdpLink,
    _egress: SchedClassifierLink,
}

/// Types of interface, include/uapi/linux/if_arp.h.
const ARPHRD_ETHER: u32 = 1;
const ARPHRD_RAWIP: u32 = 519;
const ARPHRD_LOOPBACK: u32 = 772;
const ARPHRD_NONE: u32 = 65_534;

impl DataPlane {
    /// Guards an interface: the program is on it when this returns.
    ///
    /// # Errors
    ///
    /// When there is no such interface, its frames cannot be read, another
    /// program is on it, or the driver refuses. Then nothing is left on it.
    pub fn attach(
        &mut self,
        interface: &Interface,
        number: u32,
        wanted: Attach,
    ) -> Result<Attachment, AttachError> {
        let Interface { name, index, kind, .. } = interface;
        let raw_ip = match *kind {
            ARPHRD_ETHER | ARPHRD_LOOPBACK => false,
            _ if interface.is_raw_ip() => true,
            kind => return Err(AttachError::Framing { interface: name.clone(), kind }),
        };
        // First the table, so that not one packet is judged under no number.
        self.guard(*index, number, raw_ip)?;
        let attached = self.attach_both(interface, wanted);
        if attached.is_err() {
            self.unguard(*index)?;
        }
        attached
    }

    /// First what records, so that nothing is missed that is answered later;
    /// then what was open before; then what judges.
    fn attach_both(
        &mut self,
        interface: &Interface,
        wanted: Attach,
    ) -> Result<Attachment, AttachError> {
        let egress = super::egress::attach(&mut self.ebpf, interface, Hook::of_kernel())?;
        self.seed()?;
        let (mode, why, link) = self.attach_link(interface, wanted)?;
        Ok(Attachment { mode, why, index: interface.index, _link: link, _egress: egress })
    }

    fn attach_link(
        &mut self,
        interface: &Interface,
        wanted: Attach,
    ) -> Result<(AttachMode, Option<String>, XdpLink), AttachError> {
        let native = match wanted {
            Attach::Generic => None,
            Attach::Auto | Attach::Native => match self.try_mode(interface, XdpMode::Driver) {
                Ok(link) => {
                    return Ok((AttachMode::Native, None, link));
                }
                Err(error) => Some(error),
            },
        };
        let why = match native {
            Some(error) => {
                if let Some(error) = error.beyond_mode(interface) {
                    return Err(error);
                }
                let why = error.why_not_native(interface);
                if wanted == Attach::Native {
                    return Err(AttachError::NoNative { interface: interface.name.clone(), why });
                }
                Some(why)
            }
            None => None,
        };
        match self.try_mode(interface, XdpMode::Skb) {
            Ok(link) => Ok((AttachMode::Generic, why, link)),
            Err(error) => Err(error.beyond_mode(interface).unwrap_or_else(|| {
                AttachError::Refused { interface: interface.name.clone(), why: error.text }
            })),
        }
    }

    fn try_mode(&mut self, interface: &Interface, mode: XdpMode) -> Result<XdpLink, Refusal> {
        let program = super::load::program(&mut self.ebpf)
            .map_err(|error| Refusal { code: None, text: error.to_string() })?;
        let id = program.attach_to_if_index(interface.index, mode)?;
        Ok(program.take_link(id)?)
    }
}

/// An interface of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The kernel's index.
    pub index: u32,
    /// ARPHRD type.
    pub kind: u32,
    /// Its largest packet, in bytes.
    pub mtu: u32,
    /// The XDP program on it, by id.
    pub program: Option<u32>,
}

impl Interface {
    /// Whether its frames begin with the IP header.
    #[must_use]
    pub const fn is_raw_ip(&self) -> bool {
        matches!(self.kind, ARPHRD_NONE | ARPHRD_RAWIP)
    }
}

/// What the kernel said when it refused a link.
struct Refusal {
    code: Option<i32>,
    text: String,
}

impl From<ProgramError> for Refusal {
    fn from(error: ProgramError) -> Self {
        let mut code = None;
        let mut text = String::new();
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = next {
            if let Some(io) = error.downcast_ref::<std::io::Error>() {
                code = io.raw_os_error();
            }
            text = error.to_string();
            next = error.source();
        }
        if let ProgramError::XdpError(XdpError::NetlinkError(netlink)) = &error {
            text = netlink.to_string();
            code = netlink.raw_os_error().or(code);
        }
        Self { code, text }
    }
}

impl Refusal {
    /// The error where another mode would change nothing.
    fn beyond_mode(&self, interface: &Interface) -> Option<AttachError> {
        let name = interface.name.clone();
        match self.code {
            Some(libc::EBUSY | libc::EEXIST) => Some(AttachError::Occupied {
                program: program_name(interface.program),
                interface: name,
            }),
            Some(libc::ENODEV) => Some(AttachError::NoInterface { interface: name }),
            Some(libc::EPERM) => Some(AttachError::NotPermitted { interface: name }),
            _ => None,
        }
    }

    /// What is known to keep a driver from it.
    fn why_not_native(&self, interface: &Interface) -> String {
        let driver = driver(&interface.name);
        let driver = driver.as_deref().unwrap_or("its driver");
        match self.code {
            Some(libc::EOPNOTSUPP) => format!("{driver} has no native XDP"),
            _ => format!(
                "{driver} refuses ({}); known causes are an MTU that is too large (it is {}), large receive offload (`ethtool -K {} lro off`), or too few queues",
                self.text, interface.mtu, interface.name
            ),
        }
    }
}

fn driver(interface: &str) -> Option<String> {
    let link = fs::read_link(PathBuf::from("/sys/class/net").join(interface).join("device/driver"))
        .ok()?;
    Some(format!("the driver {}", link.file_name()?.to_string_lossy()))
}

fn program_name(id: Option<u32>) -> String {
    let Some(id) = id else {
        return "of unknown id".to_owned();
    };
    let found = aya::programs::loaded_programs().flatten().find(|program| program.id() == id);
    match found.as_ref().and_then(aya::programs::ProgramInfo::name_as_str) {
        Some(name) if !name.is_empty() => format!("`{name}`, id {id}"),
        _ => format!("id {id}"),
    }
}

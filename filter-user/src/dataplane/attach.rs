//! Puts the program on an interface, and takes it off.

use std::{fs, path::PathBuf};

use aya::programs::{
    ProgramError, XdpMode,
    links::FdLink,
    xdp::{XdpError, XdpLink},
};
use nix::libc;
use tracing::warn;

use super::{AttachError, DataPlane, Hook, link};
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

/// The programs on an interface. Where they are pinned they stay when this value
/// goes; otherwise they go with it.
#[derive(Debug)]
pub struct Attachment {
    /// How it runs.
    pub mode: AttachMode,
    /// Why it does not run natively, where it was to.
    pub why: Option<String>,
    /// The kernel's index of the interface.
    pub index: u32,
    /// Whether its frames begin with the IP header.
    pub raw_ip: bool,
    // In this order: what is received is judged for as long as what is sent is recorded.
    link: link::Held,
    egress: link::Held,
}

impl Attachment {
    /// Whether the filter was on before this process, which replaced its program.
    #[must_use]
    pub fn is_taken_over(&self) -> bool {
        self.link.taken_over
    }

    /// Takes the programs off.
    pub fn take_off(self) {
        for held in [self.link, self.egress] {
            if let Err(error) = held.take_off() {
                warn!(
                    "a pin could not be removed, so a program stays on the interface with index {} ({error}): `nodewall detach` takes it off",
                    self.index
                );
            }
        }
    }
}

/// Why it does not run natively where it was there already.
const AS_BEFORE: &str =
    "an earlier start attached it so; `nodewall detach` and another start choose anew";

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

    /// Puts back what records, on a kernel on which others can take it off.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn put_classifier_back(
        &mut self,
        interface: &Interface,
        attachment: &mut Attachment,
    ) -> Result<(), AttachError> {
        let filter = super::egress::attach(&mut self.ebpf, interface, Hook::Clsact)?;
        attachment.egress.put_back(filter);
        // What was begun meanwhile is known to connection tracking at most.
        Ok(self.seed()?)
    }

    /// First what records, so that nothing is missed that is answered later;
    /// then what was open before; then what judges.
    fn attach_both(
        &mut self,
        interface: &Interface,
        wanted: Attach,
    ) -> Result<Attachment, AttachError> {
        let egress = super::egress::hold(&mut self.ebpf, interface, self.pins.as_ref())?;
        let attached = self.seed().map_err(Into::into).and_then(|()| self.put(interface, wanted));
        match attached {
            Ok((mode, why, link)) => {
                let Interface { index, .. } = *interface;
                let raw_ip = interface.is_raw_ip();
                Ok(Attachment { mode, why, index, raw_ip, link, egress })
            }
            Err(error) => {
                if let Err(error) = egress.undo() {
                    warn!("{}: what is sent is still recorded: {error}", interface.name);
                }
                Err(error)
            }
        }
    }

    /// Attaches what judges.
    fn put(
        &mut self,
        interface: &Interface,
        wanted: Attach,
    ) -> Result<(AttachMode, Option<String>, link::Held), AttachError> {
        Ok(match self.replace_link(interface)? {
            Some(link) => {
                let mode = interface.mode.unwrap_or(AttachMode::Generic);
                let why = (mode == AttachMode::Generic).then(|| AS_BEFORE.to_owned());
                (mode, why, link)
            }
            None => {
                let (mode, why, link) = self.attach_link(interface, wanted)?;
                (mode, why, self.hold(interface, link)?)
            }
        })
    }

    /// Keeps a new link, pinned where links are pinned.
    fn hold(&self, interface: &Interface, link: XdpLink) -> Result<link::Held, AttachError> {
        let refused = |why: String| AttachError::Refused { interface: interface.name.clone(), why };
        let link = FdLink::try_from(link).map_err(|error| refused(error.to_string()))?;
        let pin = self.pins.as_ref().map(|pins| pins.link("xdp", interface.index));
        link::Held::new(link, pin).map_err(|error| refused(error.to_string()))
    }

    /// Puts the program in the place of the one that an earlier process left on
    /// the interface, in one step. `None`: there is none.
    fn replace_link(&mut self, interface: &Interface) -> Result<Option<link::Held>, AttachError> {
        let Some(pins) = &self.pins else { return Ok(None) };
        let path = pins.link("xdp", interface.index);
        let Some(earlier) = link::open(&path) else { return Ok(None) };
        let program = super::load::program(&mut self.ebpf)
            .map_err(|error| Refusal { code: None, text: error.to_string() });
        let replaced = program.and_then(|program| {
            let earlier = XdpLink::try_from(earlier)
                .map_err(|error| Refusal { code: None, text: error.to_string() })?;
            let id = program.attach_to_link(earlier)?;
            FdLink::try_from(program.take_link(id)?)
                .map_err(|error| Refusal { code: None, text: error.to_string() })
        });
        match replaced {
            Ok(link) => Ok(Some(link::Held::pinned(link, path))),
            // The interface is no more, and another one has its index now.
            Err(Refusal { code: Some(libc::ENOLINK), .. }) => {
                link::remove(&path).map_err(|error| AttachError::Refused {
                    interface: interface.name.clone(),
                    why: error.to_string(),
                })?;
                Ok(None)
            }
            Err(Refusal { text, .. }) => Err(AttachError::Refused {
                interface: interface.name.clone(),
                why: format!(
                    "the program that is there could not be replaced, and stays as it is: {text}"
                ),
            }),
        }
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
    /// How that runs.
    pub mode: Option<AttachMode>,
}

impl Interface {
    /// Whether its frames are of a form that can be read.
    #[must_use]
    pub const fn can_be_read(&self) -> bool {
        matches!(self.kind, ARPHRD_ETHER | ARPHRD_LOOPBACK) || self.is_raw_ip()
    }

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

pub(crate) fn program_name(id: Option<u32>) -> String {
    let Some(id) = id else {
        return "of unknown id".to_owned();
    };
    let found = aya::programs::loaded_programs().flatten().find(|program| program.id() == id);
    match found.as_ref().and_then(aya::programs::ProgramInfo::name_as_str) {
        Some(name) if !name.is_empty() => format!("`{name}`, id {id}"),
        _ => format!("id {id}"),
    }
}

//! A link without Ethernet whose other side is this process.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    time::{Duration, Instant},
};

use super::Link;
use crate::{Error, Namespace, Result, poll, sys};

/// The largest IP packet.
const LARGEST_PACKET: usize = 65_535;

/// A TUN link: what is written arrives on it, what the namespace sends over it
/// can be read. Bare IP packets, no Ethernet header. The link ends with this value.
#[derive(Debug)]
pub struct Tun {
    link: Link,
    device: File,
}

impl Tun {
    /// Makes the link and sets it up.
    ///
    /// # Errors
    /// [`Error::NoDriver`]; [`Error::Socket`] where the name is taken.
    pub fn new(namespace: &Namespace, name: &str) -> Result<Self> {
        let make = || -> io::Result<File> {
            let device = File::options()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")?;
            sys::create_tun(device.as_fd(), name)?;
            Ok(device)
        };
        let device = namespace.enter(make)?.map_err(|source| match source.raw_os_error() {
            // No such file, or a file without its driver.
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => namespace.no_driver(name, "tun"),
            _ => namespace.socket_error(format!("make the TUN link `{name}`"), source),
        })?;
        let link = namespace.link(name)?;
        link.up()?;
        Ok(Self { link, device })
    }

    /// The link, for addresses and routes.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Lets a packet arrive on the link.
    ///
    /// # Errors
    /// [`Error::Socket`]: `EINVAL` if it is neither IPv4 nor IPv6.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        let sent = (&self.device).write(packet);
        sent.map(drop).map_err(|source| self.error("send", source))
    }

    /// The next packet that the namespace sends over the link and that `accept`
    /// takes; others are skipped. `None` when `timeout` is over.
    ///
    /// # Errors
    /// [`Error::Socket`]
    pub fn receive(
        &self,
        timeout: Duration,
        mut accept: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let until = Instant::now() + timeout;
        let mut buffer = vec![0; LARGEST_PACKET];
        let failed = |source| self.error("receive", source);
        while poll::readable(self.device.as_fd(), until).map_err(failed)? {
            match (&self.device).read(&mut buffer) {
                Ok(length) if accept(&buffer[..length]) => {
                    return Ok(Some(buffer[..length].to_vec()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(failed(error)),
            }
            // A flood would never let the wait above run out.
            if Instant::now() >= until {
                break;
            }
        }
        Ok(None)
    }

    fn error(&self, action: &str, source: io::Error) -> Error {
        self.link
            .namespace()
            .socket_error(format!("{action} on the TUN link `{}`", self.link.name()), source)
    }
}

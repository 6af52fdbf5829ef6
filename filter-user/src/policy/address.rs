//! Addresses and prefixes as text.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use super::suggest::shown;

/// Why a text is no address or prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing, or only spaces.
    #[error("this address is empty; write one such as \"203.0.113.7\" or \"2001:db8:1::/48\"")]
    Empty,
    /// A name that would have to be looked up.
    #[error(
        "`{0}` is a host name, and what it stands for can change or be forged, so nodewall looks none up; write its \
         addresses, or keep them in a set file"
    )]
    HostName(String),
    /// A good address with a bad length.
    #[error("`{length}` is no prefix length for {address}; write a number from 0 to {most}")]
    Length {
        /// The address before the slash.
        address: IpAddr,
        /// What follows it.
        length: String,
        /// 32 or 128.
        most: u8,
    },
    /// An IPv4 address as an IPv6 socket shows it.
    #[error(
        "`{written}` is an IPv4 address in IPv6 clothing, which no packet carries; write {plain}"
    )]
    Mapped {
        /// As written.
        written: String,
        /// As packets carry it.
        plain: IpNet,
    },
    /// An address with its interface.
    #[error(
        "`{0}` names an interface; write the address alone, and the interface in the rule's `interfaces`"
    )]
    Zone(String),
    /// An address with a port.
    #[error("`{0}` has a port; write the address alone, and the port in the rule's `ports`")]
    Port(String),
    /// A range.
    #[error("`{0}` is a range; write it as prefixes, such as \"192.0.2.0/24\"")]
    Range(String),
    /// Anything else.
    #[error(
        "`{0}` is no address or prefix; write one such as \"203.0.113.7\" or \"2001:db8:1::/48\""
    )]
    Malformed(String),
}

/// The network that `text` stands for, and whether it was written with bits
/// beyond its length. A bare address is a network of one.
///
/// # Errors
///
/// When it is no address or prefix as a policy has them.
pub fn parse(text: &str) -> Result<(IpNet, bool), AddressError> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err(not_an_address(text, address));
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(length) => prefix_length(length)
            .filter(|number| *number <= most)
            .ok_or_else(|| AddressError::Length { address, length: shown(length), most })?,
    };
    if let IpAddr::V6(v6) = address
        && let Some(plain) = unmapped(v6, length)
    {
        return Err(AddressError::Mapped { written: shown(text), plain });
    }
    let written = IpNet::new_assert(address, length);
    let network = written.trunc();
    Ok((network, network != written))
}

/// Digits alone, without a leading zero that might mean octal.
fn prefix_length(text: &str) -> Option<u8> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// The IPv4 network inside of an IPv4-mapped IPv6 one (RFC 4291, 2.5.5.2).
fn unmapped(address: Ipv6Addr, length: u8) -> Option<IpNet> {
    let plain = address.to_ipv4_mapped()?;
    let length = length.checked_sub(96)?;
    Some(IpNet::new_assert(IpAddr::V4(plain), length).trunc())
}

fn not_an_address(text: &str, address: &str) -> AddressError {
    let written = || shown(text);
    let is_address = |part: &str| part.trim().parse::<IpAddr>().is_ok();
    if text.trim().is_empty() {
        return AddressError::Empty;
    }
    if address.split_once('%').is_some_and(|(before, _)| is_address(before)) {
        return AddressError::Zone(written());
    }
    if address.parse::<std::net::SocketAddr>().is_ok() {
        return AddressError::Port(written());
    }
    if text.split_once('-').is_some_and(|(first, last)| is_address(first) && is_address(last)) {
        return AddressError::Range(written());
    }
    let label = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    // With a letter it was not meant to be IPv4, without a colon not IPv6.
    if address.chars().all(label) && address.chars().any(char::is_alphabetic) {
        return AddressError::HostName(written());
    }
    AddressError::Malformed(written())
}

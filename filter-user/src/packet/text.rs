//! The text of a packet: `[IF:] tcp|udp|icmp|icmp6 SRC[:PORT] > DST[:PORT] [WORDS]`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddrV6},
    num::ParseIntError,
    str::FromStr,
};

use filter_common::read::tcp_flags;
use thiserror::Error;

use super::{FLAGS, Fragment, Packet, Transport};
use crate::{
    capture::Link,
    policy::{is_valid_interface, without_controls},
};

/// The port that is taken where the sender's is not named: the first of those
/// that programs are given (RFC 6335, section 6).
const SOURCE_PORT: u16 = 49_152;

/// The name of an ICMP message: type and code over IPv4, and over IPv6.
type Message = (&'static str, (u8, u8), (u8, u8));

const MESSAGES: [Message; 5] = [
    ("echo", (8, 0), (128, 0)),
    ("echo-reply", (0, 0), (129, 0)),
    ("unreachable", (3, 1), (1, 3)),
    ("too-big", (3, 4), (2, 0)),
    ("time-exceeded", (11, 0), (3, 0)),
];

/// Why a text is no packet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {what}")]
pub struct PacketError {
    /// Where, in characters from 1.
    pub column: u32,
    /// A sentence.
    pub what: String,
}

fn wrong(column: u32, what: impl fmt::Display) -> PacketError {
    PacketError { column, what: without_controls(what.to_string().chars()) }
}

impl FromStr for Packet {
    type Err = PacketError;

    fn from_str(text: &str) -> Result<Self, PacketError> {
        let mut words = Words::new(text);
        let interface = match words.peek() {
            Some(Word { text, .. }) if text.ends_with(':') => {
                words.next().map(interface).transpose()?
            }
            _ => None,
        };
        let protocol = words.take("a protocol: tcp, udp, icmp or icmp6")?;
        let kind = Kind::of(protocol)?;
        let source = End::of(words.take("the sender, such as 198.51.100.9:4000")?)?;
        let arrow = words.take("`>` and the receiver, such as `> 203.0.113.5:22`")?;
        if arrow.text != ">" {
            let what =
                format!("`{}` stands where `>` should, between sender and receiver", arrow.text);
            return Err(wrong(arrow.column, what));
        }
        let destination = End::of(words.take("the receiver, such as 203.0.113.5:22")?)?;
        kind.check_families(&source, &destination)?;
        let said = Said::of(&mut words, kind, source.address.is_ipv4())?;
        let later = said.fragment.is_some_and(|fragment| fragment.offset != 0);
        let (source_port, destination_port) = kind.ports(&source, &destination, later)?;
        let transport = match kind {
            Kind::Tcp => Transport::Tcp {
                source: source_port,
                destination: destination_port,
                flags: said.flags.unwrap_or(tcp_flags::SYN),
            },
            Kind::Udp => Transport::Udp { source: source_port, destination: destination_port },
            Kind::Icmp | Kind::Icmp6 => {
                let (kind, code) = said.message;
                Transport::Icmp { kind, code }
            }
        };
        let packet = Self {
            interface,
            source: source.address,
            destination: destination.address,
            transport,
            length: said.length.map(|(_, length)| length),
            fragment: said.fragment,
        };
        // What can be built with a frame's header can be built without.
        let column = said.length.map_or(1, |(column, _)| column);
        packet.frame(Link::Ethernet).map_err(|what| wrong(column, what))?;
        Ok(packet)
    }
}

#[derive(Clone, Copy)]
struct Word<'a> {
    /// In characters from 1.
    column: u32,
    text: &'a str,
}

/// What is between spaces; `>` is always a word for itself.
struct Words<'a> {
    words: std::iter::Peekable<std::vec::IntoIter<Word<'a>>>,
    /// The column after the last character.
    end: u32,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        let mut words = Vec::new();
        let mut begun: Option<(u32, usize)> = None;
        let mut end = 1;
        let finish = |words: &mut Vec<Word<'a>>, begun: &mut Option<(u32, usize)>, until| {
            if let Some((column, from)) = begun.take() {
                words.push(Word { column, text: &text[from..until] });
            }
        };
        for (column, (at, c)) in (1..).zip(text.char_indices()) {
            end = column + 1;
            if c.is_whitespace() || c == '>' {
                finish(&mut words, &mut begun, at);
                if c == '>' {
                    words.push(Word { column, text: &text[at..=at] });
                }
            } else if begun.is_none() {
                begun = Some((column, at));
            }
        }
        finish(&mut words, &mut begun, text.len());
        Self { words: words.into_iter().peekable(), end }
    }

    fn peek(&mut self) -> Option<Word<'a>> {
        self.words.peek().copied()
    }

    fn next(&mut self) -> Option<Word<'a>> {
        self.words.next()
    }

    /// The next word, which must be there.
    fn take(&mut self, wanted: &str) -> Result<Word<'a>, PacketError> {
        self.next().ok_or_else(|| wrong(self.end, format!("here is missing {wanted}")))
    }

    /// The next word, which must be a number.
    fn number<N: FromStr<Err = ParseIntError>>(
        &mut self,
        wanted: &str,
    ) -> Result<(u32, N), PacketError> {
        let Word { column, text } = self.take(wanted)?;
        let number = text.parse();
        number
            .map(|number| (column, number))
            .map_err(|_| wrong(column, format!("`{text}` stands where there should be {wanted}")))
    }
}

fn interface(word: Word<'_>) -> Result<String, PacketError> {
    let name = &word.text[..word.text.len() - 1];
    if !is_valid_interface(name) {
        let what = format!("`{name}` is no name of an interface; write one such as `eth0:`");
        return Err(wrong(word.column, what));
    }
    Ok(name.to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    Icmp,
    Icmp6,
}

impl Kind {
    fn of(word: Word<'_>) -> Result<Self, PacketError> {
        match word.text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "icmp" => Ok(Self::Icmp),
            "icmp6" | "icmpv6" => Ok(Self::Icmp6),
            _ => {
                let what = format!(
                    "`{}` is no protocol that a packet can be written with; write tcp, udp, icmp or icmp6 (and the interface before it with a colon and a space, as in `eth0: tcp`)",
                    word.text
                );
                Err(wrong(word.column, what))
            }
        }
    }

    fn check_families(self, source: &End<'_>, destination: &End<'_>) -> Result<(), PacketError> {
        if source.address.is_ipv4() != destination.address.is_ipv4() {
            let what = format!(
                "{} and {} are of different families: a packet has two IPv4 or two IPv6 addresses",
                source.address, destination.address
            );
            return Err(wrong(destination.word.column, what));
        }
        let what = match (self, source.address.is_ipv4()) {
            (Self::Icmp, false) => "icmp goes over IPv4; with IPv6 addresses write icmp6",
            (Self::Icmp6, true) => "icmp6 goes over IPv6; with IPv4 addresses write icmp",
            _ => return Ok(()),
        };
        Err(wrong(source.word.column, what))
    }

    /// The ports, 0 where there are none.
    fn ports(
        self,
        source: &End<'_>,
        destination: &End<'_>,
        later: bool,
    ) -> Result<(u16, u16), PacketError> {
        if let Self::Icmp | Self::Icmp6 = self {
            let with_port = [source, destination].into_iter().find(|end| end.port.is_some());
            return with_port.map_or(Ok((0, 0)), |end| {
                let what = "icmp has no ports; write the address alone";
                Err(wrong(end.word.column, what))
            });
        }
        match destination.port {
            Some(port) => Ok((source.port.unwrap_or(SOURCE_PORT), port)),
            None if later => Ok((0, 0)),
            None => {
                let address = destination.address;
                let with_port = match address {
                    IpAddr::V4(v4) => format!("{v4}:22"),
                    IpAddr::V6(v6) => format!("[{v6}]:22"),
                };
                let what = format!("{address} has no port; write one, such as {with_port}");
                Err(wrong(destination.word.column, what))
            }
        }
    }
}

/// An address, and a port where there is one.
struct End<'a> {
    word: Word<'a>,
    address: IpAddr,
    port: Option<u16>,
}

impl<'a> End<'a> {
    fn of(word: Word<'a>) -> Result<Self, PacketError> {
        let Word { column, text } = word;
        let (address, port) = split_port(text);
        let offset = |part: &str| {
            let before = part.as_ptr() as usize - text.as_ptr() as usize;
            column + u32::try_from(text[..before].chars().count()).unwrap_or(0)
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(wrong(offset(address), not_an_address(address)));
        };
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            let what = format!(
                "`{v6}` is an IPv4 address in IPv6 clothing, which no packet carries; write {v4}"
            );
            return Err(wrong(column, what));
        }
        let port = match port {
            None => None,
            Some(port) => Some(port.parse().map_err(|_| {
                let what = format!("`{port}` is no port; write a number from 0 to 65535");
                wrong(offset(port), what)
            })?),
        };
        Ok(Self { word, address, port })
    }
}

/// What is before and after the colon of a port.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some(inner) = text.strip_prefix('[')
        && let Some((address, rest)) = inner.split_once(']')
        && (rest.is_empty() || rest.starts_with(':'))
    {
        return (address, rest.strip_prefix(':'));
    }
    match text.split_once(':') {
        // More than one is an IPv6 address.
        Some((address, port)) if !port.contains(':') => (address, Some(port)),
        _ => (text, None),
    }
}

fn not_an_address(text: &str) -> String {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    if let Some((address, length)) = text.split_once('/')
        && is_address(address)
    {
        return format!(
            "a packet has one address, and `{text}` is a prefix; leave out `/{length}`"
        );
    }
    if let Some((address, zone)) = text.split_once('%')
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return format!(
            "`{text}` names an interface; write the address alone, and the interface in front: `{zone}: tcp …`"
        );
    }
    if format!("[{text}").parse::<SocketAddrV6>().is_ok() || text.contains(['[', ']']) {
        return format!("`{text}` has half of its brackets; write it as [2001:db8::1]:22");
    }
    if text.contains(|c: char| c.is_ascii_alphabetic() && !c.is_ascii_hexdigit())
        && !text.contains(':')
    {
        return format!("`{text}` is a host name, and nodewall looks none up; write its address");
    }
    format!("`{text}` is no address; write one such as 198.51.100.9 or 2001:db8::1")
}

/// What is said after the addresses.
struct Said {
    /// `None`: nothing of flags.
    flags: Option<u8>,
    /// Type and code.
    message: (u8, u8),
    /// With the column of the number.
    length: Option<(u32, u32)>,
    fragment: Option<Fragment>,
}

impl Said {
    fn of(words: &mut Words<'_>, kind: Kind, is_ipv4: bool) -> Result<Self, PacketError> {
        let is_icmp = matches!(kind, Kind::Icmp | Kind::Icmp6);
        let (_, v4, v6) = MESSAGES[0];
        let message = if is_ipv4 { v4 } else { v6 };
        let mut said = Self { flags: None, message, length: None, fragment: None };
        while let Some(word) = words.next() {
            let text = word.text.to_ascii_lowercase();
            let flag = FLAGS.iter().position(|name| *name == text).filter(|_| kind == Kind::Tcp);
            let message = MESSAGES.iter().find(|(name, ..)| *name == text).filter(|_| is_icmp);
            match (text.as_str(), flag, message) {
                (_, Some(bit), _) => said.flags = Some(said.flags.unwrap_or(0) | 1 << bit),
                ("none", ..) if kind == Kind::Tcp => said.flags = Some(0),
                (_, _, Some((_, v4, v6))) => said.message = if is_ipv4 { *v4 } else { *v6 },
                ("type", ..) if is_icmp => {
                    said.message.0 = words.number("ICMP's type, from 0 to 255")?.1;
                }
                ("code", ..) if is_icmp => {
                    said.message.1 = words.number("ICMP's code, from 0 to 255")?.1;
                }
                ("len", ..) => {
                    said.length = Some(words.number("the frame's length in bytes")?);
                }
                ("frag", ..) => said.fragment = Some(fragment(words, is_ipv4)?),
                _ => return Err(wrong(word.column, unknown(word.text, kind))),
            }
        }
        Ok(said)
    }
}

fn unknown(word: &str, kind: Kind) -> String {
    let (of, mut known) = match kind {
        Kind::Tcp => ("tcp", FLAGS.to_vec()),
        Kind::Udp => ("udp", Vec::new()),
        Kind::Icmp | Kind::Icmp6 => {
            let names = MESSAGES.iter().map(|(name, ..)| *name);
            ("icmp", names.chain(["type N", "code N"]).collect())
        }
    };
    known.extend(["len N", "frag ID,OFFSET,MF"]);
    format!("`{word}` is no word for {of}; there are: {}", known.join(", "))
}

/// `ID,OFFSET[,MF]`
fn fragment(words: &mut Words<'_>, is_ipv4: bool) -> Result<Fragment, PacketError> {
    const WANTED: &str = "ID,OFFSET,MF of the fragment, such as 7,0,mf or 7,1480";
    let Word { column, text } = words.take(WANTED)?;
    let bad = |what: &str| Err(wrong(column, format!("`{text}` {what}")));
    let parts: Vec<&str> = text.split(',').collect();
    let (identification, offset, more) = match parts[..] {
        [identification, offset] => (identification, offset, "0"),
        [identification, offset, more] => (identification, offset, more),
        _ => return bad(&format!("stands where there should be {WANTED}")),
    };
    let most = if is_ipv4 { u32::from(u16::MAX) } else { u32::MAX };
    let Some(identification) = identification.parse().ok().filter(|number| *number <= most) else {
        return bad(&format!("begins with no identification; write a number up to {most}"));
    };
    let Some(offset) = offset.parse::<u16>().ok().filter(|offset| offset.is_multiple_of(8)) else {
        return bad(
            "has no offset that a fragment can have; write a multiple of 8 up to 65528, in bytes",
        );
    };
    let more = match more.to_ascii_lowercase().as_str() {
        "mf" | "1" => true,
        "" | "0" => false,
        _ => return bad("does not end in mf or 1 (more fragments follow) or 0 (it is the last)"),
    };
    Ok(Fragment { identification, offset, more })
}

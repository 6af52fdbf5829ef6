//! Frames that this host sends in one, and the card in several: longer than the
//! kernel runs a classifier on. What is recorded of them does not depend on how
//! much they carry.

use std::borrow::Cow;

use crate::capture::Link;

/// Up to here they are left as they are. The kernel takes somewhat less than a page.
const LONG: usize = 2048;

/// The frame, or one that carries less, with lengths to match.
pub(super) fn shortened(frame: &[u8], link: Link) -> Cow<'_, [u8]> {
    if frame.len() <= LONG {
        return Cow::Borrowed(frame);
    }
    let Some((offset, version)) = ip(frame, link) else { return Cow::Borrowed(frame) };
    let mut short = frame[..LONG].to_vec();
    let rest = LONG - offset;
    let (at, length) = match version {
        4 => (offset + 2, rest),
        _ => (offset + 4, rest - 40),
    };
    set(&mut short, at, length);
    // Without options and extension headers: with them UDP is left as it is,
    // and a datagram that claims to be longer than its packet is not recorded.
    let (protocol, transport) = match version {
        4 if short[offset] == 0x45 => (short[offset + 9], offset + 20),
        4 => return Cow::Owned(short),
        _ => (short[offset + 6], offset + 40),
    };
    const UDP: u8 = 17;
    if protocol == UDP {
        set(&mut short, transport + 4, LONG - transport);
    }
    Cow::Owned(short)
}

/// Where the IP header begins, and its version.
fn ip(frame: &[u8], link: Link) -> Option<(usize, u8)> {
    let mut offset = 0;
    if link == Link::Ethernet {
        offset = 14;
        for _ in 0..2 {
            match frame.get(offset - 2..offset)? {
                [0x81, 0x00] | [0x88, 0xa8] => offset += 4,
                _ => break,
            }
        }
    }
    let version = frame.get(offset)? >> 4;
    matches!(version, 4 | 6).then_some((offset, version))
}

fn set(frame: &mut [u8], at: usize, length: usize) {
    let bytes = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    frame[at..at + 2].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use filter_common::{
        Reason,
        read::{self, Parsed},
    };

    use super::*;
    use crate::packet::Packet;

    #[test]
    fn the_flow_stays_what_it_is() -> Result<(), Box<dyn std::error::Error>> {
        for text in [
            "tcp 192.0.2.1:1 > 192.0.2.2:2 ack len 60000",
            "udp 192.0.2.1:1 > 192.0.2.2:2 len 60000",
            "udp [2001:db8::1]:1 > [2001:db8::2]:2 len 9000",
            "tcp [2001:db8::1]:1 > [2001:db8::2]:2 ack len 9000",
            "tcp [2001:db8::1]:1 > [2001:db8::2]:2 ack len 2048",
        ] {
            for link in [Link::Ethernet, Link::RawIp] {
                let frame = text.parse::<Packet>()?.frame(link)?;
                let short = shortened(&frame, link);
                assert!(short.len() <= LONG);
                let read = |frame: &[u8]| {
                    let mut parsed = Parsed::default();
                    let reason = read::packet(frame, link == Link::RawIp, &mut parsed);
                    assert_eq!(reason, Reason::Rule, "{text}");
                    (parsed.flow, parsed.protocol, parsed.tcp)
                };
                assert_eq!(read(&short), read(&frame), "{text}");
            }
        }
        Ok(())
    }
}

//! Packets as they are written on the command line.

use filter_common::{
    Reason,
    read::{self, Parsed},
};
use filter_user::{
    capture::Link,
    packet::{Packet, PacketError},
};

use crate::{PLANTED, sentence::is_one_line};

/// Reads a packet, and builds the frames that it stands for.
pub fn packet(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match text.parse::<Packet>() {
        Ok(packet) => {
            let mut again = packet.to_string();
            if PLANTED {
                // Some lengths lose a digit.
                again = again.replace(" len 3", " len ");
            }
            match again.parse::<Packet>() {
                // The ports of a later fragment are said, and left out.
                Ok(other) if packet.is_later_fragment() => {
                    assert_eq!(
                        other.frame(Link::Ethernet),
                        packet.frame(Link::Ethernet),
                        "{again}"
                    );
                }
                other => assert_eq!(other.as_ref(), Ok(&packet), "{again}"),
            }
            for link in [Link::Ethernet, Link::RawIp] {
                built(&packet, link);
            }
        }
        Err(PacketError { column, what }) => {
            is_one_line(&what);
            let columns = text.chars().count() + 1;
            assert!((1..=columns).contains(&(column as usize)), "{column}: {what}");
        }
    }
}

fn built(packet: &Packet, link: Link) {
    let Ok(frame) = packet.frame(link) else {
        // Without Ethernet's header there is less to fit.
        assert_eq!((link, packet.length.is_some()), (Link::RawIp, true));
        return;
    };
    if let Some(length) = packet.length {
        assert_eq!(frame.len(), length as usize);
    }
    let mut parsed = Parsed::default();
    if read::packet(&frame[..], link == Link::RawIp, &mut parsed) != Reason::Rule {
        // A fragment beyond the longest datagram, and a first one without its header.
        assert!(packet.fragment.is_some(), "{packet}: the filter cannot read it");
        return;
    }
    let flow = &parsed.flow;
    assert_eq!((flow.source, flow.destination), (packet.source.into(), packet.destination.into()));
    if let Some(ports) = packet.ports().filter(|_| !packet.is_later_fragment()) {
        assert_eq!((flow.source_port, flow.destination_port), ports);
    }
}

//! What a driver can do for XDP, by the kernel's own word: the generic netlink
//! family `netdev` (Linux 6.3, Documentation/netlink/specs/netdev.yaml).

use futures_util::StreamExt as _;
use genetlink::{GenetlinkError, GenetlinkHandle};
use netlink_packet_core::{
    DecodeError, Emitable, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlasIterator,
    ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};

const DEV_GET: u8 = 1;
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;

/// The driver runs XDP programs.
pub(super) const BASIC: u64 = 1;
/// It hands them frames of several buffers.
pub(super) const RX_SG: u64 = 1 << 5;

/// A request for one interface, and its answer.
#[derive(Debug, Clone, Default)]
struct Device {
    index: u32,
    features: Option<u64>,
}

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        DEV_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        8
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer[..2].copy_from_slice(&8_u16.to_ne_bytes());
        buffer[2..4].copy_from_slice(&IFINDEX.to_ne_bytes());
        buffer[4..8].copy_from_slice(&self.index.to_ne_bytes());
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(buffer: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        let mut device = Self::default();
        for attribute in NlasIterator::new(buffer) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                IFINDEX => {
                    device.index =
                        value.first_chunk().map_or(0, |value| u32::from_ne_bytes(*value));
                }
                XDP_FEATURES => {
                    device.features = value.first_chunk().map(|value| u64::from_ne_bytes(*value));
                }
                _ => {}
            }
        }
        Ok(device)
    }
}

/// The XDP features of an interface; `None` where the kernel does not tell.
pub(super) async fn xdp_features(handle: &mut GenetlinkHandle, index: u32) -> Option<u64> {
    let asked = Device { index, features: None };
    let mut message = NetlinkMessage::from(GenlMessage::from_payload(asked));
    message.header.flags = NLM_F_REQUEST;
    let answer: Result<_, GenetlinkError> = handle.request(message).await;
    let mut answer = answer.ok()?;
    while let Some(message) = answer.next().await {
        if let NetlinkPayload::InnerMessage(found) = message.ok()?.payload
            && found.payload.index == index
        {
            return found.payload.features;
        }
    }
    None
}

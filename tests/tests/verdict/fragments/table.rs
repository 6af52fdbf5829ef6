//! The table of datagrams: who gives way to whom.

use std::time::{Duration, Instant};

use filter_common::Reason;
use nodewall_tests::{
    e2e::scaled,
    verdict::{Expected, with_kernel},
};

use super::datagram::{Datagram, OPEN};
use crate::common::PEER;

/// First fragments of different datagrams from all over the world.
fn flood(port: u16) -> impl Iterator<Item = Vec<u8>> {
    let mut bytes = Datagram { ipv6: false, source: PEER, id: 0 }.udp(port);
    (1_u32..).map(move |number| {
        // Identification and source; the header's checksum is the stack's business.
        bytes[18..20].copy_from_slice(&(number as u16).to_be_bytes());
        bytes[26..30].copy_from_slice(
            &(0x0b00_0000 + number.wrapping_mul(0x9e37) % (1 << 24)).to_be_bytes(),
        );
        bytes.clone()
    })
}

#[test]
fn no_flood_pushes_out_what_is_fresh() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        let open = Expected::rule("open");
        let begun = Instant::now();
        for datagram in Datagram::both(7) {
            kernel.expect("the first", &datagram.udp(22), open);
        }
        // So many that every bucket is full of datagrams that passed.
        let size: u32 = scaled(1_000_000);
        for bytes in flood(22).take(size as usize) {
            kernel.run(&bytes, 1);
        }
        for bytes in flood(22).take(100_000) {
            kernel.model_passes(&bytes, 1);
        }
        let (used, capacity) = kernel.plane.fragments().expect("the table can be read");
        let full = kernel.plane.fragments_full().expect("the counters can be read");
        println!(
            "{:?} for {size}: {used} of {capacity} entries, no room {full} times",
            begun.elapsed()
        );
        if begun.elapsed() > Duration::from_secs(29) {
            println!("skipped: this machine takes longer for a flood than an entry lives");
            return;
        }
        kernel.check(used == capacity, format!("{used} of {capacity} entries are in use"));
        kernel.check(full == u64::from(size + 2 - capacity), format!("no room {full} times"));
        let _flood = kernel.added();
        for datagram in Datagram::both(7) {
            kernel.expect("it follows after the flood", &datagram.next(3, true), open);
        }
        for datagram in Datagram::both(8) {
            // A newcomer loses: its first is judged, the rest has nothing to follow.
            kernel.run(&datagram.udp(22), 1);
            kernel.model_passes(&datagram.udp(22), 1);
            let passed = kernel.added_for(Reason::Rule);
            kernel.check(passed == 1, "a newcomer's first passes");
            kernel.expect("a newcomer's second", &datagram.next(3, true), Reason::Fragment);
        }
        let after = kernel.plane.fragments_full().expect("the counters can be read");
        kernel.check(after == full + 2, format!("newcomers are counted: {after} after {full}"));
    });
}

#[test]
fn what_drops_makes_way_for_what_passes() {
    with_kernel(|kernel| {
        kernel.policy(OPEN);
        // To a closed port: it fills the table as well.
        for bytes in flood(23).take(100_000) {
            kernel.run(&bytes, 1);
            kernel.model_passes(&bytes, 1);
        }
        let (used, capacity) = kernel.plane.fragments().expect("the table can be read");
        kernel.check(used == capacity, format!("{used} of {capacity} entries are in use"));
        let _flood = kernel.added();
        let open = Expected::rule("open");
        for datagram in Datagram::both(7) {
            kernel.expect("the first", &datagram.udp(22), open);
            kernel.expect("its second", &datagram.next(3, true), open);
        }
        for bytes in flood(23).skip(100_000).take(50_000) {
            kernel.run(&bytes, 1);
            kernel.model_passes(&bytes, 1);
        }
        let _flood = kernel.added();
        for datagram in Datagram::both(7) {
            kernel.expect("its last", &datagram.next(5, false), open);
        }
    });
}

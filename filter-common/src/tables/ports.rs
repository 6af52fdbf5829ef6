//! The port table: protocol and port to view.

/// Ports in one word.
const PER_WORD: u32 = 4;
/// Words of one table: TCP's ports, then UDP's.
pub const WORDS: u32 = 2 * 65_536 / PER_WORD;
/// The highest number of a view; 0 is a closed port.
pub const VIEWS_MAX: u32 = 65_535;

/// The word and the shift at which a port's view stands.
#[inline(always)]
#[must_use]
pub const fn place(udp: bool, port: u16) -> (u32, u32) {
    let base = if udp { WORDS / 2 } else { 0 };
    (base + port as u32 / PER_WORD, port as u32 % PER_WORD * 16)
}

//! Attacks at full scale: what they must not reach, by the filter's counters,
//! by real sockets, and by what the host's own stack has counted.

mod answers;
mod blind;
mod names;
mod servers;
mod siege;
mod slots;

const NW0: &str = "interfaces = [\"nw0\"]\n";
/// Segments of one flood.
fn flood_size() -> u32 {
    nodewall_tests::e2e::scaled(100_000)
}

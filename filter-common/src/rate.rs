//! Rates, as the generic cell rate algorithm (ITU-T I.371, annex A).
//!
//! One 64-bit word holds a whole bucket: the *theoretical arrival time* at
//! which it will be idle again. A packet that costs `c` moves it on by `c`;
//! it conforms while the word stays within the bucket's window of now. There
//! are no window edges to game and no refill to run.

use crate::state::Cell;

/// Ticks in a nanosecond. A tick of 1/16 ns keeps the cost of a small packet
/// exact to a percent at 10 GB/s, and 64 bits of ticks last 36 years of uptime.
pub const TICKS_PER_NS: u64 = 16;

/// Swaps tried before a packet is refused because others keep winning.
const TRIES: u32 = 8;

/// One limit of one rule, as the compiler writes it for the verdict to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Limit {
    /// Ticks that one unit (a packet or a byte) costs, times `2^shift`.
    /// Zero: no limit.
    pub multiplier: u64,
    /// Ticks that the bucket holds: what `burst` units cost.
    pub window: u64,
    /// The binary point of `multiplier`, so that a byte can cost less than a tick.
    pub shift: u32,
    /// Keeps the layout the same for both sides.
    pub reserved: u32,
}

/// The largest `multiplier` that has a binary point: times a frame of 2^20
/// bytes it still fits 64 bits. Without one, one byte an hour is the slowest
/// rate and the product fits for frames below 2^18 bytes.
const MULTIPLIER_MAX: u64 = 1 << 44;

impl Limit {
    /// `burst` units at once from idle, then `amount` a `period`.
    ///
    /// `amount` in units, `period` in nanoseconds, `burst` in units; none of
    /// them 0. `None` where the bucket would take longer to drain than the
    /// clock can count (about 9 years).
    #[must_use]
    pub const fn new(amount: u64, period: u64, burst: u64) -> Option<Self> {
        let ticks = period as u128 * TICKS_PER_NS as u128;
        let mut shift = 32;
        let mut multiplier = (ticks << shift) / amount as u128;
        while multiplier > MULTIPLIER_MAX as u128 && shift > 0 {
            shift -= 1;
            multiplier = (ticks << shift) / amount as u128;
        }
        if multiplier == 0 {
            // Faster than this clock can tell apart from no limit at all.
            multiplier = 1;
        }
        let window = (multiplier * burst as u128) >> shift;
        if window >= 1 << 62 || multiplier >= 1 << 62 {
            return None;
        }
        Some(Self { multiplier: multiplier as u64, window: window as u64, shift, reserved: 0 })
    }

    /// Whether there is a limit at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.multiplier != 0
    }

    /// Ticks that `units` cost. Rounded down, so that exactly `burst` units
    /// fit the window however they are cut into packets.
    #[inline(always)]
    #[must_use]
    pub const fn cost(&self, units: u32) -> u64 {
        self.multiplier.wrapping_mul(units as u64) >> (self.shift & 63)
    }

    /// The bucket's word after a packet of that cost, or `None` if the
    /// packet does not conform. `tat` and `now` in ticks.
    #[inline(always)]
    #[must_use]
    pub const fn conform(&self, tat: u64, now: u64, cost: u64) -> Option<u64> {
        let from = if tat > now { tat } else { now };
        let after = from.wrapping_add(cost);
        if after.wrapping_sub(now) > self.window { None } else { Some(after) }
    }

    /// Charges `cost` to the bucket in `cell`, exactly once, whatever other
    /// CPUs do to it meanwhile.
    #[inline(always)]
    pub fn take<C: Cell>(&self, cell: &C, now: u64, cost: u64) -> Taken {
        let mut tat = cell.load();
        for _ in 0..TRIES {
            let Some(after) = self.conform(tat, now, cost) else {
                return Taken::Refused;
            };
            let seen = cell.compare_exchange(tat, after);
            if seen == tat {
                return Taken::Paid;
            }
            tat = seen;
        }
        Taken::Contended
    }
}

/// What came of charging a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The packet conforms and has paid.
    Paid,
    /// The bucket is full.
    Refused,
    /// Other CPUs won every swap: refused, and counted as that.
    Contended,
}

//! Rates, as the generic cell rate algorithm (ITU-T I.371, annex A).
//!
//! One 64-bit word holds a whole bucket: the *theoretical arrival time* at
//! which it will be idle again. A packet that costs `c` moves it on by `c`;
//! it conforms while the word stays within the bucket's window of now. There
//! are no window edges to game and no refill to run.

use crate::state::Cell;

/// Ticks in a nanosecond. A tick of 1/16 ns keeps the cost of a small packet
/// exact to a percent at 10 GB/s, and 63 bits of ticks last 18 years of uptime.
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

/// How far `time` is ahead of `now`, in ticks; 0 where it is not. They lie less
/// than 2^63 ticks apart. Without a branch: the kernel's verifier would follow
/// both ways, at every try of every bucket.
#[inline(always)]
#[must_use]
pub const fn ahead(time: u64, now: u64) -> u64 {
    let difference = time.wrapping_sub(now) as i64;
    (difference & !(difference >> 63)) as u64
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

    /// [`new`](Self::new) for packets and connections, whose cost is a whole
    /// number of ticks: exactly `burst` of them fit, however many that are.
    /// `None` likewise.
    #[must_use]
    pub const fn of_packets(amount: u64, period: u64, burst: u64) -> Option<Self> {
        let ticks = period as u128 * TICKS_PER_NS as u128 / amount as u128;
        // Faster than this clock can tell apart: a tick each, whatever the burst.
        let (multiplier, most) = if ticks == 0 { (1, (1 << 62) - 1) } else { (ticks, u128::MAX) };
        let window = if burst as u128 > most { most } else { multiplier * burst as u128 };
        if window >= 1 << 62 {
            return None;
        }
        Some(Self { multiplier: multiplier as u64, window: window as u64, shift: 0, reserved: 0 })
    }

    /// Whether there is a limit at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.multiplier != 0
    }

    /// Ticks that `units` cost. Rounded down, so that `burst` units fit the
    /// window however they are cut into packets.
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
        let owes = ahead(tat, now).wrapping_add(cost);
        if owes > self.window { None } else { Some(now.wrapping_add(owes)) }
    }

    /// How much of the burst is used up, in percent. At 100 the next packet does
    /// not conform.
    #[must_use]
    pub const fn used(&self, tat: u64, now: u64) -> u32 {
        let left = self.window.saturating_sub(ahead(tat, now));
        if left < self.cost(1) {
            return 100;
        }
        // Of so many ticks the last digits do not matter.
        let percent = (self.window - left) / (self.window / 100 + 1);
        if percent > 99 { 99 } else { percent as u32 }
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

#[cfg(test)]
mod tests {
    use core::cell::Cell as Value;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3600 * SECOND;
    /// Ticks.
    const YEAR: u64 = 365 * 24 * HOUR * TICKS_PER_NS;

    /// A bucket that so many others get to first.
    #[derive(Default)]
    struct Bucket {
        word: Value<u64>,
        losses: Value<u32>,
        swaps: Value<u32>,
    }

    impl Cell for Bucket {
        fn load(&self) -> u64 {
            self.word.get()
        }

        fn compare_exchange(&self, old: u64, new: u64) -> u64 {
            self.swaps.set(self.swaps.get() + 1);
            if self.losses.get() > 0 {
                self.losses.set(self.losses.get() - 1);
                self.word.set(self.word.get() + 1);
            }
            self.word.compare_exchange(old, new)
        }

        fn subtract(&self, amount: u64) {
            self.word.subtract(amount);
        }
    }

    fn packets(amount: u64, period: u64, burst: u64) -> Limit {
        match Limit::of_packets(amount, period, burst) {
            Some(limit) => limit,
            None => unreachable!("{amount} in {period} ns, {burst} at once"),
        }
    }

    fn bytes(amount: u64, period: u64, burst: u64) -> Limit {
        match Limit::new(amount, period, burst) {
            Some(limit) => limit,
            None => unreachable!("{amount} in {period} ns, {burst} at once"),
        }
    }

    fn takes(limit: &Limit, bucket: &Bucket, now: u64, units: u32) -> bool {
        limit.take(bucket, now, limit.cost(units)) == Taken::Paid
    }

    /// Rates from one an hour to 10 GB/s.
    const RATES: [(u64, u64); 9] = [
        (1, HOUR),
        (7, HOUR),
        (1, 60 * SECOND),
        (1, SECOND),
        (3, SECOND),
        (1000, SECOND),
        (999_983, SECOND),
        (50_000_000, SECOND),
        (10_000_000_000, SECOND),
    ];
    /// The clock at its start, after a day, after eighteen years.
    const CLOCKS: [u64; 5] = [0, 1, 24 * HOUR * TICKS_PER_NS, YEAR, 18 * YEAR];

    #[test]
    fn all_is_used_when_the_next_is_refused() {
        for (limit, units) in [
            (Limit::of_packets(10, 1_000_000_000, 4), 1),
            (Limit::of_packets(1, 1, 1), 1),
            (Limit::new(1_000_000, 1_000_000_000, 64_000), 640),
            (Limit::of_packets(1, 3_600_000_000_000, 1000), 1),
        ] {
            let (Some(limit), now) = (limit, 1 << 50) else { panic!("a limit") };
            let (mut tat, mut before) = (0, 0);
            assert_eq!(limit.used(tat, now), 0);
            while let Some(after) = limit.conform(tat, now, limit.cost(units)) {
                assert!(limit.used(tat, now) < 100, "{limit:?}");
                tat = after;
                assert!(limit.used(tat, now) >= before);
                before = limit.used(tat, now);
            }
            assert_eq!(limit.used(tat, now), 100, "{limit:?}");
        }
    }

    #[test]
    fn exactly_the_burst_passes_from_idle() {
        for (amount, period) in RATES {
            // A rate of one an hour has no room for the last.
            let bursts = [1, 2, 3, 40, 1000, 100_000];
            for burst in bursts.into_iter().filter(|burst| *burst <= 1000 || amount >= 1000) {
                for now in CLOCKS {
                    let (limit, bucket) = (packets(amount, period, burst), Bucket::default());
                    for n in 0..burst {
                        assert!(
                            takes(&limit, &bucket, now, 1),
                            "{n} of {burst}, {amount} in {period}"
                        );
                    }
                    assert!(
                        !takes(&limit, &bucket, now, 1),
                        "beyond {burst}, {amount} in {period}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_burst_of_bytes_is_exact_however_it_is_cut() {
        for (amount, period) in RATES.into_iter().filter(|(_, period)| *period == SECOND) {
            for now in CLOCKS {
                for cut in [1_u32, 7, 60, 64, 333, 1514, 9000, 65_536] {
                    let burst = 65_536;
                    let (limit, bucket) = (bytes(amount, period, burst.into()), Bucket::default());
                    let mut left = burst;
                    while left >= cut {
                        assert!(
                            takes(&limit, &bucket, now, cut),
                            "{left} left, {cut} a piece, {amount}"
                        );
                        left -= cut;
                    }
                    assert!(
                        left == 0 || takes(&limit, &bucket, now, left),
                        "the last {left}, {amount}"
                    );
                    // What is beyond by more than the rounding of all the pieces.
                    let pieces = u64::from(burst / cut + 2);
                    let more = u32::try_from(pieces / limit.cost(1).max(1) + 1).unwrap_or(u32::MAX);
                    assert!(
                        !takes(&limit, &bucket, now, more),
                        "{more} beyond, {cut} a piece, {amount}"
                    );
                }
            }
        }
    }

    #[test]
    fn tokens_come_back_at_the_rate() {
        for (amount, period) in RATES {
            for start in CLOCKS {
                let (limit, bucket) = (packets(amount, period, 10), Bucket::default());
                let unit = limit.cost(1);
                let mut now = start;
                while takes(&limit, &bucket, now, 1) {}
                for _ in 0..100 {
                    assert!(
                        !takes(&limit, &bucket, now + unit - 1, 1),
                        "too soon, {amount} in {period}"
                    );
                    now += unit;
                    assert!(takes(&limit, &bucket, now, 1), "too late, {amount} in {period}");
                }
                // Idle for long: the burst again, no more.
                now += 1000 * unit;
                let again = (0..20).filter(|_| takes(&limit, &bucket, now, 1)).count();
                assert_eq!(again, 10, "{amount} in {period}");
            }
        }
    }

    /// A sender that never rests gets its rate to within a millionth, whatever
    /// the rounding of a single packet.
    #[test]
    fn nothing_drifts() {
        for (amount, units, seconds) in
            [(3, 1, 3600), (999_983, 1514, 60), (50_000_000, 64, 1), (1000, 1, 100)]
        {
            let limit = bytes(amount, SECOND, 10_000.max(amount / 100));
            let bucket = Bucket::default();
            let start = YEAR;
            while takes(&limit, &bucket, start, units) {}
            let end = start + seconds * SECOND * TICKS_PER_NS;
            let (mut now, mut passed) = (start, 0_u64);
            while now < end {
                now += limit.cost(units);
                assert!(takes(&limit, &bucket, now, units));
                passed += u64::from(units);
            }
            let due = amount * seconds;
            let off = passed.abs_diff(due);
            assert!(off <= u64::from(units) + due / 1_000_000, "{passed} of {due} at {amount}/s");
        }
    }

    #[test]
    fn refused_takes_nothing() {
        let (limit, bucket) = (bytes(1, HOUR, 1000), Bucket::default());
        assert!(takes(&limit, &bucket, 0, 600));
        let before = bucket.load();
        for _ in 0..100 {
            assert_eq!(limit.take(&bucket, 0, limit.cost(401)), Taken::Refused);
        }
        assert_eq!(bucket.load(), before);
        assert!(takes(&limit, &bucket, 0, 400));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        for (amount, period) in RATES {
            let (limit, bucket) = (packets(amount, period, 5), Bucket::default());
            let now = YEAR;
            (0..5).for_each(|n| assert!(takes(&limit, &bucket, now, 1), "{n}"));
            assert!(!takes(&limit, &bucket, now, 1));
            bucket.subtract(limit.cost(1));
            assert!(takes(&limit, &bucket, now, 1), "{amount} in {period}");
            assert!(!takes(&limit, &bucket, now, 1), "{amount} in {period}");
        }
    }

    #[test]
    fn extreme_rates() {
        // Faster than a tick a unit: the shift keeps it exact.
        let fast = bytes(100_000_000_000, SECOND, 100_000_000_000);
        assert!(fast.is_set() && fast.cost(1) == 0, "{fast:?}");
        let cost = fast.cost(1_000_000);
        assert!((159_990..=160_000).contains(&cost), "{cost} ticks for 1 MB at 100 GB/s");
        // As fast as can be written: as good as none, and still a limit.
        for fastest in [bytes(u64::MAX, SECOND, u64::MAX), packets(u64::MAX, SECOND, u64::MAX)] {
            assert!(fastest.is_set());
            assert!(takes(&fastest, &Bucket::default(), 0, u32::MAX));
        }
        // One an hour, a year's worth of burst.
        let slow = packets(1, HOUR, 8760);
        let bucket = Bucket::default();
        assert_eq!((0..10_000).filter(|_| takes(&slow, &bucket, 0, 1)).count(), 8760);
        // One byte an hour and the largest frame there is.
        assert!(!takes(&slow, &Bucket::default(), 0, 65_549));
        for make in [Limit::new, Limit::of_packets] {
            assert_eq!(make(1, HOUR, 1 << 40), None, "longer than the clock counts");
        }
        // A million at once at a rate that no tick divides: not one more.
        let (odd, bucket) = (packets(3_000_000, SECOND, 3_000_000), Bucket::default());
        assert_eq!((0..3_010_000).filter(|_| takes(&odd, &bucket, YEAR, 1)).count(), 3_000_000);
        assert!(!Limit::default().is_set());
    }

    #[test]
    fn the_swap_is_tried_again_and_not_for_ever() {
        let limit = packets(1, SECOND, 1000);
        for losses in 0..TRIES {
            let bucket = Bucket { losses: Value::new(losses), ..Bucket::default() };
            bucket.word.set(1);
            assert_eq!(limit.take(&bucket, 0, limit.cost(1)), Taken::Paid, "{losses} lost");
            assert_eq!(bucket.swaps.get(), losses + 1);
            // It is charged on top of what the others took.
            assert_eq!(bucket.load(), 1 + u64::from(losses) + limit.cost(1));
        }
        let bucket = Bucket { losses: Value::new(u32::MAX), ..Bucket::default() };
        assert_eq!(limit.take(&bucket, 0, limit.cost(1)), Taken::Contended);
        assert_eq!(bucket.swaps.get(), TRIES);
        // Others filled it meanwhile: refused, not contended.
        let bucket = Bucket { losses: Value::new(1), ..Bucket::default() };
        bucket.word.set(limit.window - limit.cost(1));
        assert_eq!(limit.take(&bucket, 0, limit.cost(1)), Taken::Refused);
    }
}

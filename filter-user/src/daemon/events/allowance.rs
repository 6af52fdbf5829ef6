//! How many drops may be shown: a token bucket whose tokens the program takes.

use std::time::{Duration, Instant};

use crate::policy::Rate;

/// What is left to be taken, at the rate that the policy names.
#[derive(Debug)]
pub(super) struct Allowance {
    rate: Option<Rate>,
    /// When it was last filled.
    filled: Instant,
    /// How many had been taken then.
    taken: u64,
    /// In events times the nanoseconds of the rate's period.
    level: u128,
}

impl Allowance {
    /// Nothing is allowed yet. `taken`: as the kernel counts.
    pub(super) fn new(now: Instant, taken: u64) -> Self {
        Self { rate: None, filled: now, taken, level: 0 }
    }

    /// How many there may have been in all, from now on.
    pub(super) fn granted(&mut self, rate: Option<Rate>, now: Instant, taken: u64) -> u64 {
        let Some(Rate { amount, period, burst }) = rate else {
            *self = Self::new(now, taken);
            return taken;
        };
        let period = Duration::from_secs(period.seconds()).as_nanos();
        let most = u128::from(burst).saturating_mul(period);
        if self.rate == rate {
            let came = (now - self.filled).as_nanos().saturating_mul(amount.into());
            let went = u128::from(taken - self.taken).saturating_mul(period);
            self.level = self.level.saturating_sub(went).saturating_add(came).min(most);
        } else {
            self.level = most;
        }
        (self.rate, self.filled, self.taken) = (rate, now, taken);
        taken.saturating_add(u64::try_from(self.level / period).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Period;

    const fn rate(amount: u64, period: Period, burst: u64) -> Option<Rate> {
        Some(Rate { amount, period, burst })
    }

    /// Whoever takes all that there is, looking so often, for so long.
    fn shown(rate: Option<Rate>, every: Duration, looks: u32) -> u64 {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun, 7);
        let mut taken = 7;
        for look in 0..=looks {
            taken = allowance.granted(rate, begun + every * look, taken);
        }
        taken - 7
    }

    #[test]
    fn a_flood_is_shown_at_the_rate_and_once_at_the_burst() {
        let tenth = Duration::from_millis(100);
        assert_eq!(shown(rate(50, Period::Second, 50), tenth, 100), 50 + 500);
        assert_eq!(shown(rate(50, Period::Second, 3), tenth, 100), 3 + 100 * 3);
        assert_eq!(shown(rate(6, Period::Minute, 1), tenth, 600), 1 + 6);
        assert_eq!(shown(rate(1, Period::Hour, 1), tenth, 35_999), 1);
        assert_eq!(shown(None, tenth, 100), 0);
    }

    #[test]
    fn what_is_not_taken_is_kept_up_to_the_burst() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun, 0);
        let of = rate(10, Period::Second, 20);
        assert_eq!(allowance.granted(of, begun, 0), 20);
        assert_eq!(allowance.granted(of, begun + Duration::from_secs(60), 15), 15 + 20);
        assert_eq!(allowance.granted(of, begun + Duration::from_secs(60), 35), 35);
        // Another rate begins anew, and none takes back what is left.
        assert_eq!(
            allowance.granted(rate(1, Period::Second, 5), begun + Duration::from_secs(60), 36),
            41
        );
        assert_eq!(allowance.granted(None, begun + Duration::from_secs(90), 36), 36);
    }
}

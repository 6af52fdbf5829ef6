//! The clock of a capture, as the program's goes: never backwards.

/// Of records that are out of order by less, the later one's time stands: what
/// several queues of a card have captured is not sorted.
const DISORDER: u64 = 1_000_000_000;
/// A longer gap is taken for this: every rate is as new after a year.
const LONGEST_GAP: u64 = 366 * 86_400 * 1_000_000_000;
/// The program's clock counts 18 years.
const LONGEST: u64 = 16 * LONGEST_GAP;

/// Nanoseconds that have gone by in a capture.
#[derive(Debug, Default)]
pub struct Clock {
    /// Of the last record.
    last: Option<u64>,
    elapsed: u64,
}

impl Clock {
    /// Goes on to the time of the next record, and says how long it is since
    /// the first. A record without a time is of the same moment as the one before it. Where
    /// the capture's clock was set back, it goes on from there.
    pub fn follow(&mut self, time: Option<u64>) -> u64 {
        let Some(time) = time else { return self.elapsed };
        let last = *self.last.get_or_insert(time);
        if time >= last {
            let gap = (time - last).min(LONGEST_GAP);
            self.elapsed = self.elapsed.saturating_add(gap).min(LONGEST);
            self.last = Some(time);
        } else if last - time >= DISORDER {
            self.last = Some(time);
        }
        self.elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn time_goes_on_with_the_capture_and_never_back() {
        let mut clock = Clock::default();
        let start = 1_700_000_000 * SECOND;
        let mut at = |time: Option<u64>| clock.follow(time);
        assert_eq!(at(None), 0);
        assert_eq!(at(Some(start)), 0);
        assert_eq!(at(Some(start + 7)), 7);
        assert_eq!(at(None), 7);
        // Out of order: the clock waits.
        assert_eq!(at(Some(start + 3)), 7);
        assert_eq!(at(Some(start + SECOND)), SECOND);
        // Set back: it goes on.
        assert_eq!(at(Some(start - 3600 * SECOND)), SECOND);
        assert_eq!(at(Some(start - 3590 * SECOND)), 11 * SECOND);
    }

    #[test]
    fn no_time_is_too_far() {
        let mut clock = Clock::default();
        clock.follow(Some(0));
        assert_eq!(clock.follow(Some(u64::MAX)), LONGEST_GAP);
        for _ in 0..40 {
            clock.follow(Some(0));
            clock.follow(Some(u64::MAX));
        }
        assert_eq!(clock.elapsed, LONGEST);
        assert!(LONGEST.checked_mul(filter_common::rate::TICKS_PER_NS).is_some());
    }
}

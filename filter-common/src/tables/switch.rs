//! Which generation is in force: one word, so that every reader sees a change
//! whole, and the kernel's own clock takes back what nobody confirmed.

use super::GENERATIONS;

const PLACE: u64 = GENERATIONS as u64 - 1;
const BEFORE: u32 = GENERATIONS.trailing_zeros();
/// A policy was put in force at all.
const SET: u64 = 1 << (2 * BEFORE);
/// What is above these bits is the deadline: its nanoseconds, rounded down.
const DEADLINE: u64 = !(2 * SET - 1);

/// An immutable record: the place in force, the one before it, and until when
/// the first must be confirmed. All zeros: nothing is in force yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switch(pub u64);

impl Switch {
    /// `place` is in force for good.
    #[must_use]
    pub const fn to(place: u32, before: u32) -> Self {
        Self(SET | place as u64 & PLACE | (before as u64 & PLACE) << BEFORE)
    }

    /// `place` is in force until `deadline`, nanoseconds of the boot-time clock;
    /// then `before` is again. A deadline of a few nanoseconds is none.
    #[must_use]
    pub const fn until(place: u32, before: u32, deadline: u64) -> Self {
        Self(Self::to(place, before).0 | deadline & DEADLINE)
    }

    /// Whether any policy was put in force.
    #[must_use]
    pub const fn is_set(self) -> bool {
        self.0 & SET != 0
    }

    /// The place that was put in force last.
    #[must_use]
    pub const fn place(self) -> u32 {
        (self.0 & PLACE) as u32
    }

    /// The one that was in force before it.
    #[must_use]
    pub const fn before(self) -> u32 {
        (self.0 >> BEFORE & PLACE) as u32
    }

    /// Until when it must be confirmed, as above.
    #[must_use]
    pub const fn deadline(self) -> Option<u64> {
        match self.0 & DEADLINE {
            0 => None,
            deadline => Some(deadline),
        }
    }

    /// The place in force. The clock is read only while something is pending.
    #[inline(always)]
    pub fn in_force(self, boot_time: impl FnOnce() -> u64) -> u32 {
        let deadline = self.0 & DEADLINE;
        if deadline != 0 && boot_time() >= deadline { self.before() } else { self.place() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unasked() -> u64 {
        panic!("nothing is pending, so the clock does not matter")
    }

    #[test]
    fn a_place_is_in_force_for_good() {
        for place in 0..GENERATIONS {
            for before in 0..GENERATIONS {
                let switch = Switch::to(place, before);
                assert!(switch.is_set());
                assert_eq!(switch.in_force(unasked), place);
                assert_eq!((switch.before(), switch.deadline()), (before, None));
            }
        }
        assert!(!Switch::default().is_set());
        assert_eq!(Switch::default().in_force(unasked), 0);
    }

    #[test]
    fn what_is_not_confirmed_is_taken_back_at_its_deadline() {
        let deadline = 3_600_000_000_000;
        let switch = Switch::until(2, 1, deadline);
        let rounded = switch.deadline().unwrap_or_default();
        assert!(rounded <= deadline && deadline - rounded < 64);
        assert_eq!(switch.in_force(|| rounded - 1), 2);
        assert_eq!(switch.in_force(|| rounded), 1);
        assert_eq!(switch.in_force(|| u64::MAX), 1);
    }
}

//! Looks for a case that fails, and makes it small.

use std::{collections::BTreeMap, fmt};

use filter_common::Reason;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{Case, Difference, Played, draw};

/// How often each reason was seen, what monitor mode let through included.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    reasons: BTreeMap<Reason, usize>,
    /// Packets.
    pub packets: usize,
    /// Cases.
    pub cases: usize,
}

impl Histogram {
    /// Adds what was made of a case.
    pub fn add(&mut self, played: &Played) {
        self.cases += 1;
        self.packets += played.outcomes.len();
        for (_, outcome) in &played.outcomes {
            for reason in [Some(outcome.reason), outcome.monitored].into_iter().flatten() {
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
    }

    /// How often a reason was seen.
    #[must_use]
    pub fn of(&self, reason: Reason) -> usize {
        self.reasons.get(&reason).copied().unwrap_or(0)
    }

    /// The reasons that were seen less often than so many times.
    #[must_use]
    pub fn rarer_than(&self, least: usize) -> Vec<&'static str> {
        let rare = Reason::ALL.iter().filter(|reason| self.of(**reason) < least);
        rare.map(|reason| reason.name()).collect()
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} packets in {} cases", self.packets, self.cases)?;
        for reason in Reason::ALL {
            writeln!(f, "{:>20} {}", reason.name(), self.of(*reason))?;
        }
        Ok(())
    }
}

/// A case that fails, as small as it became.
#[derive(Debug, Clone)]
pub struct Found {
    /// The case.
    pub case: Case,
    /// In what.
    pub difference: Difference,
    /// Packets that were judged before it.
    pub after: usize,
}

/// Where cases come from.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// The same cases come of the same seed.
    pub seed: u64,
    /// No new case is begun after so many packets.
    pub packets: usize,
    /// Acts of a case, at most.
    pub acts: usize,
}

impl Search {
    /// Draws cases and tries them, until one fails or there were enough.
    ///
    /// # Errors
    /// With the case that fails.
    ///
    /// # Panics
    /// If no case can be drawn.
    pub fn run(
        &self,
        mut attempt: impl FnMut(&Case) -> Result<Played, Difference>,
    ) -> Result<Histogram, Box<Found>> {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), random);
        let cases = draw::cases(self.acts);
        let mut seen = Histogram::default();
        while seen.packets < self.packets {
            let mut tree = match cases.new_tree(&mut runner) {
                Ok(tree) => tree,
                Err(reason) => panic!("no case can be drawn: {reason}"),
            };
            let case = tree.current();
            let Err(difference) = attempt(&case).map(|played| seen.add(&played)) else { continue };
            let mut found = Found { case, difference, after: seen.packets };
            // Each way down is taken while the case still fails.
            let mut more = tree.simplify();
            while more {
                let case = tree.current();
                more = match attempt(&case) {
                    Ok(_) => tree.complicate(),
                    Err(difference) => {
                        (found.case, found.difference) = (case, difference);
                        tree.simplify()
                    }
                };
            }
            found.prune(&mut attempt);
            return Err(Box::new(found));
        }
        Ok(seen)
    }
}

impl Found {
    /// Takes out each step and each line of a policy by itself that the failure does not need.
    fn prune(&mut self, attempt: &mut impl FnMut(&Case) -> Result<Played, Difference>) {
        let mut fails = |found: &mut Self, case: Case| {
            if case.prepare().is_err() {
                return false;
            }
            let Err(difference) = attempt(&case) else { return false };
            (found.case, found.difference) = (case, difference);
            true
        };
        let mut shrunk = true;
        while shrunk {
            shrunk = false;
            for index in (0..self.case.steps.len()).rev() {
                let mut case = self.case.clone();
                case.steps.remove(index);
                shrunk |= fails(self, case);
            }
            for policy in 0..self.case.policies.len() {
                for index in (0..self.case.policies[policy].lines().count()).rev() {
                    let mut case = self.case.clone();
                    let lines = case.policies[policy].lines().enumerate();
                    let kept = lines.filter(|(number, _)| *number != index);
                    case.policies[policy] = kept.map(|(_, line)| format!("{line}\n")).collect();
                    shrunk |= fails(self, case);
                }
            }
        }
        // Policies that are not in force at any time.
        for policy in (1..self.case.policies.len()).rev() {
            let mut case = self.case.clone();
            case.policies.remove(policy);
            fails(self, case);
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.difference.to_string().lines() {
            writeln!(f, "# {line}")?;
        }
        self.case.fmt(f)
    }
}

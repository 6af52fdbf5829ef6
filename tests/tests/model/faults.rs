//! A search that finds nothing proves something only if it would find what is there.

use nodewall_tests::model::{Case, Fault, Host, compare, play};

use crate::common::{ACTS, START, in_guest, search};

/// As many as CI has the kernel judge.
const BUDGET: usize = 100_000;
/// Packets of a case that people read at a glance.
const SMALL: usize = 3;

#[test]
fn every_planted_fault_is_found_and_made_small() {
    if in_guest() {
        println!("not here: no kernel has a part in it");
        return;
    }
    for fault in Fault::ALL {
        let found = search(1, BUDGET, ACTS, |case| {
            let prepared = case.prepare().unwrap_or_else(|error| panic!("{error}\n{case}"));
            let right = play(case, &prepared, &mut Host::default(), START);
            let wrong = play(case, &prepared, &mut Host::with(fault), START);
            compare(("the model", &right), ("the faulty one", &wrong))?;
            Ok(right)
        });
        let Err(found) = found else { panic!("{fault:?} was not found") };
        println!("{fault:?}, after {} packets:\n{found}", found.after);
        assert!(found.case.packets() <= SMALL, "{fault:?} is not small:\n{found}");
        // What is written down is the case, whole.
        let again: Result<Case, String> = found.to_string().parse();
        assert_eq!(again.as_ref(), Ok(&found.case), "{fault:?}, read again");
    }
}

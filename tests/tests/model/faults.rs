//! A search that finds nothing proves something only if it would find what is there.

use nodewall_tests::model::{Fault, Host, Search, compare, play};

/// Nanoseconds.
const START: u64 = 1 << 40;

#[test]
fn histogram() {
    let search = Search { seed: 1, packets: 100_000, acts: 120 };
    let began = std::time::Instant::now();
    let seen = search.run(|case| {
        let prepared = case.prepare().unwrap_or_else(|error| panic!("{error}\n{case}"));
        Ok(play(case, &prepared, &mut Host::default(), START))
    });
    println!("{} {:?}", seen.unwrap_or_else(|found| panic!("{found}")), began.elapsed());
}

#[test]
fn every_planted_fault_is_found_and_made_small() {
    for fault in Fault::ALL {
        let search = Search { seed: 1, packets: 100_000, acts: 120 };
        let mut tried = 0;
        let found = search.run(|case| {
            tried += 1;
            let prepared = case.prepare().unwrap_or_else(|error| panic!("{error}\n{case}"));
            let right = play(case, &prepared, &mut Host::default(), START);
            let wrong = play(case, &prepared, &mut Host::with(fault), START);
            compare(("the model", &right), ("the faulty one", &wrong))?;
            Ok(right)
        });
        let Err(found) = found else { panic!("{fault:?} was not found") };
        println!("{fault:?}, after {} packets, {tried} attempts:\n{found}", found.after);
        assert!(found.case.packets() <= 4, "{fault:?} is not small:\n{found}");
    }
}
